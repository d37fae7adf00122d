# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The recipes of Arch and Alpine: read as makepkg and abuild read them, and their functions called with
# what is built here.

load ../lib/common

setup() {
	VERSION=$(sed -n 's/^VERSION := //p' "$ROOT/Makefile")
	srcdir=$BATS_TEST_TMPDIR/src pkgdir=$BATS_TEST_TMPDIR/pkg
	mkdir "$srcdir" "$pkgdir"
	ln -s "$ROOT" "$srcdir/conncount-$VERSION"
	export BUILD
}

# files DIRECTORY: prints the files below it, a line each.
files() {
	(cd "$1" && find . ! -type d -printf '%P\n' | sort)
}

# expect_set RECIPE NAME...: that these variables have a value after reading it.
expect_set() {
	local name
	for name in "${@:2}"; do
		[ -n "${!name}" ] || fail "$1 sets no $name"
	done
}

@test "PKGBUILD: it has what makepkg requires, and installs where Arch has its files" {
	local recipe=$ROOT/user/dist/arch/PKGBUILD installed
	requires build
	expect 0 bash -n "$recipe"
	expect 0 shellcheck "$recipe"
	# shellcheck source=/dev/null
	. "$recipe"
	expect_set PKGBUILD pkgname pkgver pkgrel pkgdesc arch url license source sha256sums
	expect_eq "$VERSION" "$pkgver" version
	expect_eq "${#source[@]}" "${#sha256sums[@]}" checksums
	cd "$srcdir"
	package >/dev/null
	installed=$(files "$pkgdir")
	for name in usr/bin/conncount{,-policyd} usr/lib/conncount/conncount-{cluster,exporter} usr/lib/libconncount.so \
		usr/lib/systemd/system/conncount.service usr/share/licenses/conncount/LICENSE; do
		grep -qx "$name" <<<"$installed" || fail "no $name"
	done
	expect_eq '' "$(grep -vE '^usr/(bin|include|lib|share)/' <<<"$installed")" 'files elsewhere'
	expect_eq 'ExecStart=/usr/bin/conncount-policyd' \
		"$(grep ^ExecStart= "$pkgdir/usr/lib/systemd/system/conncount-policyd.service")"
}

@test "PKGBUILD: makepkg builds the package from a tarball, without a warning" {
	local dir=$BATS_TEST_TMPDIR/makepkg
	requires root makepkg bsdtar fakeroot setpriv
	mkdir "$dir"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
	tar -C "$ROOT" --exclude=./.git --exclude=./build --transform="s,^\.,conncount-$VERSION," \
		-czf "$dir/conncount-$VERSION.tar.gz" .
	cp "$ROOT/user/dist/arch/PKGBUILD" "$dir"
	chown -R 65534:65534 "$dir"
	cd "$dir"
	# Not as root, and without pacman, which would look for what it depends on.
	expect 0 env -u BUILD HOME="$dir" PACMAN=true PKGEXT=.pkg.tar.gz setpriv --reuid=65534 --regid=65534 --clear-groups \
		makepkg --nodeps --nocolor
	expect_eq '==> WARNING: Skipping dependency checks.' "$(grep -e WARNING -e ERROR <<<"$output"$'\n'"$errors")" warnings
	expect_match $'\nusr/bin/conncount\n' "$(bsdtar -tf "conncount-$VERSION-1-$(uname -m).pkg.tar.gz")"
}

# amove PATH...: what abuild has for subpackages.
amove() {
	local path
	for path; do
		mkdir -p "$subpkgdir/${path%/*}"
		mv "$pkgdir/$path" "$subpkgdir/$path"
	done
}

@test "APKBUILD: it has what abuild requires, and its subpackages take what they name" {
	local recipe=$ROOT/user/dist/alpine/APKBUILD name
	requires build
	for name in APKBUILD conncount.initd conncount.pre-install; do
		expect 0 sh -n "$ROOT/user/dist/alpine/$name"
		expect 0 shellcheck "$ROOT/user/dist/alpine/$name"
	done
	# shellcheck source=/dev/null
	. "$recipe"
	expect_set APKBUILD pkgname pkgver pkgrel pkgdesc url arch license source
	expect_eq "$VERSION" "$pkgver" version
	for name in $source $install; do
		[ "$name" = "conncount-$VERSION.tar.gz" ] || [ -e "$ROOT/user/dist/alpine/$name" ] || fail "no file $name"
	done
	cp "$ROOT/user/dist/alpine/conncount.initd" "$srcdir"
	cd "$ROOT"
	package >/dev/null
	for name in cluster policyd modules; do
		subpkgdir=$BATS_TEST_TMPDIR/$name
		"$name"
	done
	expect_eq 'usr/lib/conncount/conncount-cluster' "$(files "$BATS_TEST_TMPDIR/cluster")" cluster
	expect_match '^usr/sbin/conncount-policyd' "$(files "$BATS_TEST_TMPDIR/policyd")"
	expect_match 'usr/lib/lua/5.4/conncount.so' "$(files "$BATS_TEST_TMPDIR/modules")"
	# abuild itself takes the rest of what is not the command's: headers, libraries, pages, completions.
	expect_eq 'etc/init.d/conncount usr/bin/conncount usr/lib/conncount/conncount-exporter' \
		"$(files "$pkgdir" | grep -vE '^usr/(include|lib/(lib.*\.(a|so.*)|pkgconfig/.*|cmake/.*)|share/(man|doc|bash-completion|zsh)/)' | xargs)" \
		'the main package'
}

@test "the script for OpenRC loads, loads again and unloads" {
	local action
	# shellcheck disable=SC2317,SC2329 # called by the script
	conncount() { echo "conncount $*"; }
	ebegin() { :; }
	eend() { return "$1"; }
	# shellcheck source=/dev/null
	. "$ROOT/user/dist/alpine/conncount.initd"
	for action in start reload stop; do
		$action
	done >"$BATS_TEST_TMPDIR/done"
	expect_eq 'conncount load conncount load conncount unload' "$(xargs <"$BATS_TEST_TMPDIR/done")"
}
