# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The build: both compilers, the installed tree, the library's symbols, the scripts.

load ../lib/common

# On a busy machine, two builds of everything take minutes.
time_limit 900

luas=(lua5.1 lua5.3 lua5.4 luajit)

# sources: prints the files of the tree, except those that a build has made.
sources() {
	find "$ROOT" -name .git -prune -o -path "$ROOT/build" -prune -o -type f -print
}

# make_in DIR ARGUMENT...: runs make with its products in DIR.
make_in() {
	local dir=$1
	shift
	expect 0 make -s -j"$(nproc)" -C "$ROOT" BUILD="$dir" "$@"
}

# -O0 will do: clang's warnings do not depend on optimization. The products under test are gcc's.
@test "clang builds everything without a warning" {
	make_in "$BATS_TEST_TMPDIR/clang" CC=clang CFLAGS=-O0 WERROR=1 tools
}

@test "musl has what the library, the programs and the Lua module use" {
	local dir=$BATS_TEST_TMPDIR/headers arch header
	requires musl-gcc
	arch=/usr/include/$(cc -print-multiarch)
	# Beside musl's own: the kernel's, and those of other libraries.
	mkdir -p "$dir/sys" "$dir/openssl"
	for header in asm-generic bpf curses.h fts.h gelf.h hiredis jansson.h libelf.h libmnl linux lua5.4 microhttpd.h \
		ncurses.h ncurses_dll.h unctrl.h; do
		ln -s "/usr/include/$header" "$dir"
	done
	ln -s "$arch"/{asm,jansson_config.h,lua5.4-deb-multiarch.h} "$dir"
	ln -s /usr/include/openssl/* "$arch"/openssl/* "$dir/openssl"
	# What glibc's fts.h wants; musl's other library of fts has a header of its own.
	printf '#define %s\n' __BEGIN_DECLS __END_DECLS __THROW '__nonnull(x)' '__REDIRECT(name, type, alias) name type' \
		>"$dir/sys/cdefs.h"
	cd "$ROOT"
	# shellcheck disable=SC2046 # words
	expect 0 musl-gcc -fsyntax-only -std=gnu11 -Wall -Wextra -Werror -D_GNU_SOURCE -DCONNCOUNT_VERSION='""' \
		$(printf -- '-I%s ' user/*/) -Ibpf -I"$BUILD"/{bpf,page} -idirafter "$dir" -idirafter "$dir/lua5.4" user/*/*.c lua/*.c
}

@test "a library that is missing is named before anything is compiled" {
	local pc=$BATS_TEST_TMPDIR/pkg-config products=$BATS_TEST_TMPDIR/none
	# shellcheck disable=SC2016
	printf '#!/bin/sh\n%s\n' 'for word; do case $word in lua* | hiredis) exit 1 ;; esac; done' \
		'exec pkg-config "$@"' >"$pc"
	chmod +x "$pc"
	expect 2 make -s -C "$ROOT" BUILD="$products" PKG_CONFIG="$pc"
	expect_match 'not found: hiredis\.pc lua5\.4\.pc; .*scripts/deps build' "$errors"
	[ ! -e "$products" ] || fail "$(ls "$products")"
	expect 0 make -s -C "$ROOT" BUILD="$products" PKG_CONFIG="$pc" help
}

@test "a changed header rebuilds what includes it, in BPF and in user space" {
	local name dir
	dir=$(realpath "$ROOT")/build
	# By either name, so that the dependencies that one has noted hold for the other, too.
	for name in build "$dir"; do
		expect 0 make -s -j"$(nproc)" -C "$ROOT" BUILD="$name" all
		expect 0 make -s -n -C "$ROOT" BUILD="$name" all
		expect_eq '' "$output" 'a second make'
		expect 0 make -n -C "$ROOT" BUILD="$name" -W bpf/abi.h all V=1
		expect_match 'conncount\.bpf\.o' "$output"
		expect_match 'user/lib/view\.o' "$output"
		expect_match 'user/load/load\.o' "$output"
		[[ $output != *"-o $dir/"* ]] || fail "files have another name with BUILD=$name"
	done
}

@test "Lua is found by the names that distributions give it" {
	local name pc=$BATS_TEST_TMPDIR/pkg-config want
	want=$(pkg-config --cflags lua5.4)
	# Where it is called otherwise, there is no lua5.4.
	# shellcheck disable=SC2016
	printf '#!/bin/sh\n%s\n' 'for word; do shift; case $word in' \
		'"$OTHER") word=lua5.4 ;; lua5.4 | lua-5.4 | lua54 | lua) exit 1 ;; esac' \
		'set -- "$@" "$word"; done; exec pkg-config "$@"' >"$pc"
	chmod +x "$pc"
	for name in lua-5.4 lua54 lua; do
		expect 0 env OTHER=$name make -n -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/none" PKG_CONFIG="$pc" V=1 \
			"$BATS_TEST_TMPDIR/none/lua/5.4/conncount.o"
		expect_match " ${want% } .*-c lua/conncount.c" "$output" "$name"
	done
}

@test "make install: each directory can be set, and all users can read what is in it" {
	local dest=$BATS_TEST_TMPDIR/dest places=() name
	for name in SBINDIR LIBDIR INCLUDEDIR OPENSMTPDDIR SYSTEMDUNITDIR SYSUSERSDIR TMPFILESDIR MANDIR \
		BASHCOMPDIR ZSHCOMPDIR DOCDIR LUA_CDIR LUA_DIR; do
		places+=("$name=/usr/$name")
	done
	(umask 077 && make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$dest" PREFIX=/usr "${places[@]}" install)
	expect_eq "$(printf '%s\n' bin lib share "${places[@]%%=*}" | sort)" "$(find "$dest/usr" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort)" \
		'directories in /usr'
	expect_eq './bin/conncount ./lib/conncount/conncount-cluster ./lib/conncount/conncount-exporter' \
		"$(cd "$dest/usr" && find bin lib -type f -printf './%p\n' | sort | xargs)" 'what only PREFIX moves'
	expect_eq '' "$(find "$dest/usr" ! -type l ! -perm -444)" 'files that not all can read'
	expect_eq '' "$(grep -rlE '/usr/(sbin|include|libexec)/|@[A-Z_]+@' "$dest"/usr/{LIBDIR/{pkgconfig,cmake},SYSTEMDUNITDIR})" \
		'files with other directories'
	expect 0 env PKG_CONFIG_SYSROOT_DIR="$dest" PKG_CONFIG_PATH="$dest/usr/LIBDIR/pkgconfig" pkg-config --cflags conncount
	expect_match "^-I$dest/usr/INCLUDEDIR( |\$)" "$output"
	# A package for all architectures, as conncount-policyd's, also comes where that directory is not.
	expect_eq '3' "$(cat "$dest"/usr/SYSTEMDUNITDIR/*.service | grep -c '^ExecPaths=.* -/usr/LIBDIR$')" \
		'units that start without LIBDIR'
}

@test "make install: under /usr, Lua says where its modules are; where it does not, below LIBDIR" {
	local dir=$BATS_TEST_TMPDIR/pkgconfig
	places() {
		# shellcheck disable=SC2016 # make's variables
		expect 0 make -s -C "$ROOT" PKG_CONFIG="env PKG_CONFIG_LIBDIR=$dir pkg-config" PREFIX=/usr "$@" \
			--eval='places:; @echo $(LUA_CDIR) $(LUA_DIR)' places
	}
	mkdir "$dir"
	places
	expect_eq '/usr/lib/lua /usr/share/lua' "$output" 'without a Lua'
	printf '%s\n' 'Name: Lua' 'Description: Lua' 'Version: 5.4.6' >"$dir/lua.pc"
	places LIBDIR=/usr/lib64
	expect_eq '/usr/lib64/lua /usr/share/lua' "$output" 'not said'
	# shellcheck disable=SC2016 # pkg-config's variable
	sed -i '1i V=5.4\nINSTALL_CMOD=/usr/lib64/lua/${V}' "$dir/lua.pc"
	places
	expect_eq '/usr/lib64/lua /usr/share/lua' "$output" 'said'
}

@test "make install: programs in Lua are run by Lua 5.4, whatever its name is" {
	local dir=$BATS_TEST_TMPDIR/bin dest=$BATS_TEST_TMPDIR/dest name
	mkdir "$dir"
	# Only what the build needs, but for Lua.
	for name in /usr/bin/* /usr/sbin/*; do
		[[ ${name##*/} == lua* ]] || ln -sf "$name" "$dir"
	done
	ln -s "$(command -v lua5.1)" "$dir/lua"
	for name in lua5.4 lua-5.4; do
		[ "$name" = lua5.4 ] || ln -s "$(command -v lua5.4)" "$dir/$name"
		expect 0 env PATH="$dir" make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$dest/$name" PREFIX=/usr install
	done
	expect_eq '#!/usr/bin/lua5.4' "$(head -n 1 "$dest/lua5.4/usr/sbin/conncount-policyd")" 'where none is 5.4'
	for name in sbin/conncount-policyd libexec/opensmtpd/filter-conncount; do
		expect_eq "#!$dir/lua-5.4" "$(head -n 1 "$dest/lua-5.4/usr/$name")" "$name"
		[ -x "$dest/lua-5.4/usr/$name" ] || fail "$name is not executable"
	done
	expect_match "^ExecPaths=/usr/sbin/conncount-policyd $dir/lua-5.4 /bin/sh" \
		"$(grep -m1 ^ExecPaths "$dest/lua-5.4/usr/lib/systemd/system/conncount-policyd.service")"
}

@test "make uninstall removes what make install has installed, and nothing else" {
	local dest=$BATS_TEST_TMPDIR/dest
	mkdir -p "$dest"/usr/{bin,share/conncount,share/lua/5.4/msys,share/zsh/site-functions}
	touch "$dest"/usr/bin/other "$dest"/usr/share/conncount/mine "$dest"/usr/share/lua/5.4/msys/mine.lua
	expect 0 make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$dest" PREFIX=/usr install
	[ -x "$dest/usr/bin/conncount" ] || fail 'nothing is installed'
	expect 0 make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$dest" PREFIX=/usr uninstall
	expect_eq './usr/bin/other ./usr/share/conncount/mine ./usr/share/lua/5.4/msys/mine.lua' \
		"$(cd "$dest" && find . ! -type d | sort | xargs)" 'files that are left'
	expect_eq './usr/share/conncount ./usr/share/lua/5.4/msys' \
		"$(cd "$dest" && find . -type d \( -path '*conncount*' -o -path '*/msys*' \) | sort | xargs)" 'directories'
	[ -d "$dest/usr/share/zsh/site-functions" ] || fail 'a directory of others is gone'
}

@test "make dist makes the same tarball twice, with what is committed" {
	local dir=$BATS_TEST_TMPDIR
	git -C "$ROOT" rev-parse HEAD >/dev/null 2>&1 || skip 'requires git: this is no checkout'
	expect 0 make -s -C "$ROOT" BUILD="$dir/one" dist
	sleep 1.1
	expect 0 make -s -C "$ROOT" BUILD="$dir/two" dist
	expect 0 cmp "$dir"/{one,two}/conncount-0.1.0.tar.gz
	expect_eq "$(git -C "$ROOT" ls-tree -r --name-only HEAD | sed 's|^|conncount-0.1.0/|' | sort)" \
		"$(tar -tf "$dir/one/conncount-0.1.0.tar.gz" | grep -v '/$' | sort)" files
}

@test "make install: the installed files are as listed; pkg-config finds the library, Lua its modules" {
	local dest=$BATS_TEST_TMPDIR/dest lua version modules
	requires "${luas[@]}"
	modules=/usr/lib/$(cc -print-multiarch)/lua
	expect 0 make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$dest" PREFIX=/usr install
	expect_eq "$(cd "$dest" && find . -type f -o -type l | sort)" "$(sort <<-END
		./usr/bin/conncount
		./usr/include/conncount.h
		./usr/include/conncount_lua.h
		./usr/lib/cmake/conncount/conncount-config-version.cmake
		./usr/lib/cmake/conncount/conncount-config.cmake
		./usr/lib/conncount/conncount-cluster
		./usr/lib/conncount/conncount-exporter
		./usr/lib/libconncount-lua5.1.a
		./usr/lib/libconncount-lua5.3.a
		./usr/lib/libconncount-lua5.4.a
		./usr/lib/libconncount.a
		./usr/lib/libconncount.so
		./usr/lib/libconncount.so.0
		.$modules/5.1/conncount.so
		.$modules/5.3/conncount.so
		.$modules/5.4/conncount.so
		./usr/lib/pkgconfig/conncount-lua.pc
		./usr/lib/pkgconfig/conncount-lua5.1.pc
		./usr/lib/pkgconfig/conncount-lua5.3.pc
		./usr/lib/pkgconfig/conncount-lua5.4.pc
		./usr/lib/pkgconfig/conncount.pc
		./usr/lib/systemd/system/conncount-cluster.service
		./usr/lib/systemd/system/conncount-exporter.service
		./usr/lib/systemd/system/conncount-exporter.socket
		./usr/lib/systemd/system/conncount-policyd.service
		./usr/lib/systemd/system/conncount-policyd.socket
		./usr/lib/systemd/system/conncount.service
		./usr/lib/sysusers.d/conncount-cluster.conf
		./usr/lib/sysusers.d/conncount.conf
		./usr/lib/tmpfiles.d/conncount.conf
		./usr/libexec/opensmtpd/filter-conncount
		./usr/sbin/conncount-policyd
		./usr/share/bash-completion/completions/conncount
		./usr/share/conncount/haproxy.lua
		./usr/share/conncount/policyd/clients.lua
		./usr/share/conncount/policyd/connections.lua
		./usr/share/conncount/policyd/decisions.lua
		./usr/share/conncount/policyd/listeners.lua
		./usr/share/conncount/policyd/log.lua
		./usr/share/conncount/policyd/policy_file.lua
		./usr/share/conncount/policyd/sandbox.lua
		./usr/share/conncount/policyd/sessions.lua
		./usr/share/conncount/rspamd.lua
		./usr/share/doc/conncount/examples/conncount-cluster.conf
		./usr/share/doc/conncount/examples/conncount-policy.lua
		./usr/share/doc/conncount/examples/conncount.conf
		./usr/share/doc/conncount/examples/conncount.dashboard.json
		./usr/share/doc/conncount/examples/conncount.rules.yml
		./usr/share/doc/conncount/examples/conncount.container
		./usr/share/doc/conncount/examples/conncount-exporter.container
		./usr/share/doc/conncount/examples/conncount.daemonset.yml
		./usr/share/doc/conncount/examples/conncount.schema.json
		./usr/share/doc/conncount/examples/server/CMakeLists.txt
		./usr/share/doc/conncount/examples/server/Makefile
		./usr/share/doc/conncount/examples/server/limits.lua
		./usr/share/doc/conncount/examples/server/msys.lua
		./usr/share/doc/conncount/examples/server/smtp_policy.c
		./usr/share/doc/conncount/examples/server/smtp_policy.h
		./usr/share/doc/conncount/examples/server/smtp_server.c
		./usr/share/doc/conncount/examples/server/smtp_session.c
		./usr/share/doc/conncount/examples/server/smtp_session.h
		./usr/share/lua/5.1/conncount/ask.lua
		./usr/share/lua/5.1/msys/audit.lua
		./usr/share/lua/5.1/msys/extended/ac.lua
		./usr/share/lua/5.3/conncount/ask.lua
		./usr/share/lua/5.3/msys/audit.lua
		./usr/share/lua/5.3/msys/extended/ac.lua
		./usr/share/lua/5.4/conncount/ask.lua
		./usr/share/lua/5.4/msys/audit.lua
		./usr/share/lua/5.4/msys/extended/ac.lua
		./usr/share/man/man1/conncount.1
		./usr/share/man/man3/conncount-lua.3
		./usr/share/man/man3/libconncount.3
		./usr/share/man/man5/conncount.conf.5
		./usr/share/man/man7/conncount-containers.7
		./usr/share/man/man7/conncount-metrics.7
		./usr/share/man/man7/conncount-momentum.7
		./usr/share/man/man7/conncount-servers.7
		./usr/share/man/man7/conncount-troubleshooting.7
		./usr/share/man/man8/conncount-cluster.8
		./usr/share/man/man8/conncount-exporter.8
		./usr/share/man/man8/conncount-policyd.8
		./usr/share/zsh/site-functions/_conncount
	END
	)" 'installed files'

	export PKG_CONFIG_SYSROOT_DIR=$dest PKG_CONFIG_PATH=$dest/usr/lib/pkgconfig
	cat >"$BATS_TEST_TMPDIR/client.c" <<-'END'
		#include <conncount.h>
		#include <stdio.h>
		int main(void)
		{
			struct conncount *cc;
			puts(conncount_version());
			return -conncount_open("/nowhere", &cc);
		}
	END
	# shellcheck disable=SC2046 # flags are words
	expect 0 cc -Wall -Wextra -Werror -pedantic -std=c99 -o "$BATS_TEST_TMPDIR/client" \
		"$BATS_TEST_TMPDIR/client.c" $(pkg-config --cflags --libs conncount)
	expect 2 env LD_LIBRARY_PATH="$dest/usr/lib" "$BATS_TEST_TMPDIR/client"
	expect_eq "$(pkg-config --modversion conncount)" "$output" version
	expect 0 "$dest/usr/bin/conncount" --version
	expect_eq "conncount $(pkg-config --modversion conncount)" "$output" version
	for lua in "${luas[@]}"; do
		version=$(lua_version "$lua")
		expect 0 env LUA_PATH="$dest/usr/share/lua/$version/?.lua" \
			LUA_CPATH="$dest$modules/$version/?.so" \
			"$lua" -e 'require("msys.audit") require("msys.extended.ac")'
	done

	# A server that embeds Lua.
	for lua in "${luas[@]}"; do
		version=$(lua_version "$lua")
		# shellcheck disable=SC2046 # flags are words
		expect 0 cc -o "$BATS_TEST_TMPDIR/server" "$ROOT/tests/unit/embed.c" \
			$(pkg-config --cflags --libs "conncount-lua$version") \
			$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --cflags --libs "$lua")
		expect 0 env LD_LIBRARY_PATH="$dest/usr/lib" "$BATS_TEST_TMPDIR/server" -e
	done
}

@test "Debian's Lua looks where make install puts the modules, under /usr and /usr/local" {
	local lua version prefix libraries scripts
	requires "${luas[@]}"
	for prefix in /usr /usr/local; do
		# shellcheck disable=SC2016 # make's variables
		expect 0 make -s -C "$ROOT" PREFIX="$prefix" \
			--eval='places:; @echo $(LUA_CDIR) $(LUA_DIR)' places
		read -r libraries scripts <<<"$output"
		for lua in "${luas[@]}"; do
			version=$(lua_version "$lua")
			expect 0 env -u LUA_PATH -u LUA_CPATH "$lua" -e \
				"io.write(';', package.path, ';', package.cpath, ';')"
			expect_match ";$scripts/$version/\?\.lua;" "$output"
			expect_match ";$libraries/$version/\?\.so;" "$output"
		done
	done
}

@test "the Lua module is built for the versions that pkg-config finds, or for those asked for" {
	local dir=$BATS_TEST_TMPDIR/versions
	requires lua5.1 luajit
	mkdir "$dir"
	# shellcheck disable=SC2046 # names are words
	ln -s $(pkg-config --path lua5.4) $(pkg-config --path luajit) "$dir"
	modules() {
		# shellcheck disable=SC2016 # make's variables
		expect 0 make -s -C "$ROOT" "$@" --eval='modules:; @echo $(LUA_MODULES)' BUILD=b modules
	}
	modules PKG_CONFIG="env PKG_CONFIG_LIBDIR=$dir pkg-config"
	expect_eq 'b/lua/5.1/conncount.so b/lua/5.4/conncount.so' "$output" found
	modules LUAS='lua5.4 lua5.3'
	expect_eq 'b/lua/5.3/conncount.so b/lua/5.4/conncount.so' "$output" 'asked for'

	# Without Lua 5.1's own headers, the build uses LuaJIT's.
	make_in "$dir/build" LUAS='lua5.4 luajit' "$dir/build/lua/5.1/conncount.so"
	expect 0 env LUA_CPATH="$dir/build/lua/5.1/?.so" lua5.1 -e 'require("msys.audit")'
}

@test "the rockspec has the version and all sources of the module, and LuaRocks installs it" {
	local version rockspec checkout=$BATS_TEST_TMPDIR/checkout tree=$BATS_TEST_TMPDIR/tree
	requires lua5.4 luarocks
	# shellcheck disable=SC2016 # make's variable
	version=$(make -s -C "$ROOT" --eval='version:; @echo $(VERSION)' version)
	rockspec=lua/conncount-$version-1.rockspec
	expect_eq "$(cd "$ROOT" && ls lua/*.c user/lib/*.c)" \
		"$(grep -oE "[a-z_/]+\.c" "$ROOT/$rockspec")" sources

	# A copy, because LuaRocks leaves its objects beside the sources.
	mkdir -p "$checkout/user"
	cp -r "$ROOT/lua" "$ROOT/bpf" "$checkout"
	cp -r "$ROOT/user/lib" "$checkout/user"
	cd "$checkout"
	expect 0 luarocks --lua-version 5.4 --tree "$tree" make "$rockspec"
	expect 0 env LUA_PATH="$tree/share/lua/5.4/?.lua" LUA_CPATH="$tree/lib/lua/5.4/?.so" \
		lua5.4 -e 'require("msys.audit") require("msys.extended.ac")
			print(require("conncount")._VERSION)'
	expect_eq "$version" "$output" version
}

@test "the library exports the functions of its header, with versions, and no others" {
	local declared exported module
	declared=$(grep -oE 'conncount_[a-z_]+\(' "$ROOT/user/lib/conncount.h" | tr -d '(' | sort -u)
	exported=$(nm -D --defined-only "$BUILD/libconncount.so" | awk '$2 == "T" { print $3 }' |
		sed 's/@@CONNCOUNT_0$//' | sort)
	expect_eq "$declared" "$exported" 'exported functions'
	for module in "$BUILD"/lua/*/conncount.so; do
		expect 0 nm -D --defined-only "$module"
		expect_match 'luaopen_conncount' "$output"
		expect_eq '' "$(grep -E ' T conncount_' <<<"$output" | grep -v conncount_lua_)" \
			"library functions in $module"
	done
}

@test "every public function has a doc block" {
	local name
	for name in $(nm -D --defined-only "$BUILD/libconncount.so" | awk '$2 == "T" { print $3 }' |
		sed 's/@@.*//'); do
		[ "$name" = conncount_version ] || grep -qE "^(/\*| \*) $name\(\) - " \
			"$ROOT/user/lib/conncount.h" || fail "$name() is not described in conncount.h"
	done
}

# Base names that more than one source file may have, because a tool or a reader expects them.
same_names=(README.md Makefile .gitattributes run)

@test "no two source files have the same name, except for a few such as README.md" {
	local duplicates
	duplicates=$(sources | grep -v "^$ROOT/tests/fuzz/corpus/" | sed 's|.*/||' | sort | uniq -d |
		grep -vxF "$(printf '%s\n' "${same_names[@]}")" || true)
	expect_eq '' "$duplicates" 'names that more than one file has'
}

@test "a folder of user/ includes headers only from itself and from lower layers" {
	local -A levels=([lib]=0 [common]=1 [load]=2 [metrics]=2 [top]=2 [json]=3 [exporter]=4 [cluster]=4 [cmd]=4)
	local -A folders
	local file header from to wrong=''
	cd "$ROOT/user"
	for file in */*.h; do
		folders[${file##*/}]=${file%/*}
	done
	while IFS=: read -r file header; do
		from=${file%/*} to=${folders[${header##*/}]:-}
		# Headers of bpf/, and those made from them, may be included everywhere.
		[ -z "$to" ] || [ "$from" = "$to" ] || ((${levels[$from]?} > ${levels[$to]?})) ||
			wrong+=$'\n'"user/$file includes user/$to/$header"
	done < <(grep -oE '^#include "[^"]+"' -- */*.[ch] | sed -E 's/#include "(.*)"/\1/')
	expect_eq '' "$wrong" 'wrong includes'
}

@test "every source file begins with its licence" {
	local file want head
	while read -r file; do
		case ${file#"$ROOT"/} in
		user/dist/debian/copyright | user/dist/debian/source/format) continue ;;
		*.md | LICENSE | .gitignore | vmlinux/types | *.pc.in | *.map | *.txt | *.json | *.svg | *.png | tests/fuzz/*/*)
			continue ;;
		vmlinux/vmlinux.h) want='GPL-2.0 ' ;;
		bpf/* | *.bpf.c) want='GPL-2.0 OR BSD-2-Clause' ;;
		*) want='BSD-2-Clause' ;;
		esac
		mapfile -t -n 3 head <"$file"
		[[ ${head[*]} = *"SPDX-License-Identifier: $want"* ]] ||
			fail "$file: no line SPDX-License-Identifier: $want"
	done < <(sources)
}

@test "shellcheck finds nothing in the scripts and tests" {
	local files=()
	while read -r file; do
		case $file in
		*.bats | *.bash) files+=("$file") ;;
		*/tests/fuzz/corpus/*) ;;
		*) [[ $(head -c 64 "$file" | head -n 1) =~ ^'#!'.*sh$ ]] && files+=("$file") ;;
		esac
	done < <(sources)
	[ "${#files[@]}" -gt 5 ] || fail "only ${#files[@]} scripts found"
	expect 0 shellcheck -x "${files[@]}"
}

@test "clang-format would change no C file" {
	requires clang-format-14
	expect 0 clang-format --dry-run --Werror "$ROOT"/bpf/*.[ch] "$ROOT"/user/*/*.[ch] \
		"$ROOT"/lua/*.[ch] "$ROOT"/lua/*/*.[ch] "$ROOT"/vmlinux/trim.c "$ROOT"/tests/*/*.[ch]
}
