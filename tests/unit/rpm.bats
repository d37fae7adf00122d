# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The RPM packages, built from the tarball of make dist, as on Fedora. Nothing is installed.

load ../lib/common

setup_file() {
	export RPMS=$BATS_FILE_TMPDIR/rpms
	checkout && have rpmbuild || return 0
	# Debian's rpm makes its database there.
	export HOME=$BATS_FILE_TMPDIR
	# Quick to compile; and a path of which no part is in Debian's packages.
	make -s -C "$ROOT" BUILD="$BATS_FILE_TMPDIR" dist
	env -u BUILD rpmbuild -tb --nodeps --define "_topdir $BATS_FILE_TMPDIR/top" --define "_rpmdir $RPMS" \
		--define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' --define '_build_id_links none' --define 'optflags -O0' \
		--define '_libdir /usr/lib64' "$BATS_FILE_TMPDIR"/conncount-*.tar.gz >"$BATS_FILE_TMPDIR/log" 2>&1 ||
		{ tail -n 40 "$BATS_FILE_TMPDIR/log" && return 1; }
}

# checkout: whether this is a checkout of git, from which make dist makes a tarball.
checkout() {
	git -C "$ROOT" rev-parse HEAD >/dev/null 2>&1
}

setup() {
	checkout || skip 'requires git: this is no checkout'
	requires rpmbuild
}

# rpm_of NAME: prints the path of that package.
rpm_of() {
	echo "$RPMS/$1"-[0-9]*.rpm
}

# wanted: the files of Debian's packages, as mode, package of RPM and path.
wanted() {
	local tree=$BATS_TEST_TMPDIR/tree list package pattern
	make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$tree" PREFIX=/usr LIBDIR=/usr/lib/any LUA_CDIR=/usr/lib/any/lua install
	cd "$tree" || return
	for list in "$ROOT"/user/dist/debian/*.install; do
		package=${list##*/} package=${package%.install}
		case $package in
		libconncount0) package=conncount-libs ;;
		libconncount-dev) package=conncount-devel ;;
		esac
		while read -r pattern _; do
			# shellcheck disable=SC2016 # debhelper's variable
			pattern=${pattern/'${env:UNITDIR}'/usr/lib/systemd/system}
			# shellcheck disable=SC2086 # a pattern
			find $pattern ! -type d -printf "%M $package /%p\n"
		done < <(grep -v '^#' "$list")
	done | sed 's|/usr/lib/any/|/usr/lib64/|' | sort
}

@test "the RPM packages have the files of Debian's packages, for all users to read" {
	local rpm
	wanted >"$BATS_TEST_TMPDIR/wanted"
	for rpm in "$RPMS"/*.rpm; do
		rpm -qp --qf '[%{FILEMODES:perms} %{=NAME} %{FILENAMES} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]' "$rpm"
	done | sort >"$BATS_TEST_TMPDIR/all"
	expect_eq '' "$(grep -v ' root:root$' "$BATS_TEST_TMPDIR/all")" 'files that are not of root'
	# Beside these: directories, and licences and README, which Debian has in /usr/share/doc.
	expect_eq '' "$(diff "$BATS_TEST_TMPDIR/wanted" <(sed 's/ root:root$//; s/\.gz$//' "$BATS_TEST_TMPDIR/all" |
		grep -vE '^d|/(LICENSE|README.md)$'))" 'files other than Debian has'
	expect_eq 6 "$(grep -c '/LICENSE ' "$BATS_TEST_TMPDIR/all")" licences
	for rpm in /usr/lib/conncount /usr/share/conncount /usr/share/conncount/policyd /usr/share/lua/5.4/msys; do
		expect_match "drwxr-xr-x [^ ]* $rpm " "$(<"$BATS_TEST_TMPDIR/all")"
	done
}

@test "the spec has the version of the Makefile, and requires what Debian's packages require" {
	local name
	expect_eq "$(sed -n 's/^VERSION := //p' "$ROOT/Makefile")" "$(rpm -qp --qf '%{VERSION}' "$(rpm_of conncount)")" version
	expect 0 rpm -qp --requires "$(rpm_of conncount)"
	! grep hiredis <<<"$output" || fail 'conncount requires hiredis'
	expect 0 rpm -qp --requires "$(rpm_of conncount-cluster)"
	expect_match '(^|'$'\n'')conncount\(x86-64\) = |(^|'$'\n'')conncount.* = ' "$output"
	expect_match 'libhiredis' "$output"
	expect 0 rpm -qp --requires "$(rpm_of conncount-policyd)"
	for name in conncount lua-conncount 'lua-argparse' 'lua-luv'; do
		expect_match "(^|[ ($NL])$name" "$output"
	done
	expect 0 rpm -qp --requires "$(rpm_of conncount-devel)"
	expect_match 'conncount-libs.* = ' "$output"
}

@test "rpmlint finds nothing in the spec and the packages, but for what is meant so" {
	requires rpmlint
	expect 0 rpmlint --ignore-unused-rpmlintrc -r "$ROOT/user/dist/rpm/conncount.rpmlintrc" "$ROOT/user/dist/rpm/conncount.spec" "$RPMS"/*.rpm
	expect_match ' 0 errors, 0 warnings' "$output"
}

# script PACKAGE TAG NUMBER: runs a script as rpm does, and prints the commands that it runs. is-active
# succeeds for what $ACTIVE names.
script() {
	local name bin=$BATS_TEST_TMPDIR/bin
	mkdir -p "$bin"
	for name in systemctl systemd-sysusers systemd-tmpfiles mountpoint conncount; do
		# shellcheck disable=SC2016
		printf '#!/bin/sh\ncase $* in *is-active*) [ "$3" = "$ACTIVE" ] ;; *) echo %s "$*" ;; esac\n' "$name" >"$bin/$name"
	done
	chmod +x "$bin"/*
	rpm -qp --qf "%{$2}" "$(rpm_of "$1")" | PATH=$bin /bin/sh -e -s "$3"
}

@test "the RPM packages' scripts: an upgrade reloads and never stops; a removal stops what it removes" {
	local package
	expect_eq 'systemd-sysusers conncount.conf
systemd-tmpfiles --create conncount.conf
systemctl daemon-reload
systemctl preset conncount.service' "$(ACTIVE='' script conncount POSTIN 1)" 'installed'
	expect_eq 'systemd-sysusers conncount.conf
systemd-tmpfiles --create conncount.conf
systemctl daemon-reload
systemctl reload conncount.service
systemctl try-restart conncount-exporter.service' "$(ACTIVE=conncount.service script conncount POSTIN 2)" 'upgraded'
	for package in conncount conncount-cluster conncount-policyd; do
		expect_eq '' "$(script "$package" PREUN 1)" "$package: the old version of an upgrade"
	done
	expect_eq 'systemctl disable --now conncount-exporter.socket conncount-exporter.service conncount.service
mountpoint -q /run/conncount
conncount unload' "$(script conncount PREUN 0)" 'removed'
	expect_eq 'systemd-sysusers conncount-cluster.conf
systemctl daemon-reload
systemctl reload conncount.service' "$(ACTIVE=conncount.service script conncount-cluster POSTIN 1)" 'the cluster is installed'
	expect_eq 'systemctl disable --now conncount-cluster.service' "$(script conncount-cluster PREUN 0)"
	expect_eq 'systemctl daemon-reload
systemctl try-restart conncount-policyd.service' "$(script conncount-policyd POSTIN 2)"
	expect_eq 'systemctl disable --now conncount-policyd.socket conncount-policyd.service' "$(script conncount-policyd PREUN 0)"
}

NL=$'\n'
