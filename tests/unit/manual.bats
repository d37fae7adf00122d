# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The manual pages, compared with what they describe: the command's own help, the keys of the
# configuration, the header, the Lua functions, the messages.

load ../lib/common

setup() {
	requires build
	MAN=$ROOT/user/dist/man
}

# page_options COMMAND: prints the options that conncount(1) gives it, sorted.
page_options() {
	awk -v command="$1" '
		/^\.Pp$/ && !deep { on = 0 }
		/^\.Bl/ { deep++ }
		/^\.El/ { deep-- }
		deep == 1 && /^\.(It )?Cm / { on = $0 ~ "^\\.(It )?Cm " command "( |$)" }
		deep == 1 && /^\.It Xo/ { on = 0 }
		/^\.Sh EXIT/ { exit }
		on' "$MAN/conncount.1" | grep -oE 'Fl -?[[:alnum:]][-[:alnum:]]*' | sed 's/^Fl /-/' |
		sort -u
}

# policyd OPTION...: runs conncount-policyd from the source tree.
policyd() {
	LUA_CPATH="$BUILD/lua/5.4/?.so;;" "$ROOT/lua/servers/policyd/conncount-policyd" "$@"
}

@test "mandoc finds nothing wrong with the pages" {
	requires mandoc
	local page
	for page in "$MAN"/*.[1-9] "$BUILD"/man/*.[1-9]; do
		expect 0 mandoc -T lint -W warning "$page"
	done
}

@test "conncount(1) has every command of --help, and no other" {
	local page
	[ "$(commands | wc -l)" -gt 5 ] || fail 'commands not found in --help'
	page=$(sed -n '/^\.Sh COMMANDS/,/^\.Sh NETWORKS/{
		s/^\.It Cm \([a-z]*\).*/\1/p
		s/^\.Cm \([a-z]*\)$/\1/p
	}' "$MAN/conncount.1")
	expect_eq "$(commands | sort)" "$(sort <<<"$page")" 'commands in conncount(1)'
}

@test "conncount(1) gives each command the options of its --help, and no other" {
	local command page help
	for command in $(commands); do
		help=$(options_of "$command")
		page=$(page_options "$command")
		expect_eq "$help" "$page" "options of $command"
	done
}

@test "each option that conncount(1) describes belongs to a command" {
	local all option
	all=$(for option in $(commands); do options_of "$option"; done)$'\n--help\n--version'
	while read -r option; do
		grep -qxe "$option" <<<"$all" || fail "conncount(1): no command has $option"
	done < <(grep -oE '^\.It Fl .*' "$MAN/conncount.1" | grep -oE 'Fl -?[[:alnum:]-]+' |
		sed 's/^Fl /-/')
}

@test "conncount.conf(5) has every key that the command knows, and no other" {
	local conf=$BATS_TEST_TMPDIR/conf known
	printf '[conncount]\nx = 1\n' >"$conf"
	expect 2 conncount check "$conf"
	known=$(sed -n 's/.*(known: \(.*\))$/\1/p' <<<"$errors" | tr -d ' ' | tr , '\n')
	printf '[a]\nx = 1\n' >"$conf"
	expect 2 conncount check "$conf"
	known+=$'\n'$(sed -n 's/.*(known: \(.*\))$/\1/p' <<<"$errors" | tr -d ' ' | tr , '\n')
	expect_eq "$known" "$(sed -n 's/^\.It Ic \([a-z_]*\).*/\1/p' "$MAN/conncount.conf.5")" \
		'keys in conncount.conf(5)'
}

# cluster_keys: prints the keys of a cluster's configuration that the command knows, sorted.
cluster_keys() {
	printf '[cluster]\nx = 1\n' >"$BATS_TEST_TMPDIR/conf"
	expect 2 conncount check "$BATS_TEST_TMPDIR/conf" >/dev/null
	sed -n 's/.*(known: \(.*\))$/\1/p' <<<"$errors" | tr -d ' ' | tr , '\n' | sort
}

@test "conncount-cluster(8) and the example have every key that the command knows, and no other" {
	expect_match '(^|'$'\n'')lease($|'$'\n'')' "$(cluster_keys)"
	expect_eq "$(cluster_keys)" "$(sed -n '/^\.It Ic /{ s/^\.It //; s/ , /\n/g; p }' "$MAN/conncount-cluster.8" |
		sed -n 's/^Ic \([a-z_]*\) .*/\1/p' | sort)" 'keys in conncount-cluster(8)'
	expect_eq "$(cluster_keys)" "$(sed -n 's/^#\{0,1\}\([a-z_]*\) = .*/\1/p' \
		"$ROOT/user/dist/conncount-cluster.conf" | sort)" 'keys in conncount-cluster.conf'
}

@test "conncount-cluster(8) has the options of its command's --help, and no other" {
	expect_eq "$(options_of cluster)" "$(sed -n '/^\.Sh DESC/,/^\.Sh CONF/{ s/^\.It Fl \(-*[a-z]*\).*/-\1/p; }' \
		"$MAN/conncount-cluster.8" | sort)" options
}

@test "conncount-cluster(8) permits the commands that the daemon sends, and no other" {
	local sent
	sent=$(sed -nE '/(engine_ask\(engine|add_word\(&words), "|\*words\[.*= \{ "/{
		s/.*(ask\(engine, |add_word\(&words, |= \{ )"([A-Z]+).*/\2/p; }' "$ROOT"/user/cluster/*.c |
		grep -vx SENTINEL | tr '[:upper:]' '[:lower:]' | sort -u)
	[ "$(wc -l <<<"$sent")" -ge 10 ] || fail "only these commands found: $sent"
	expect_eq "$sent" "$(sed -n '/^redis-cli ACL SETUSER/,/^\.Ed/p' "$MAN/conncount-cluster.8" |
		grep -oE ' \+[a-z]+' | sed 's/ +//' | sort)" 'commands'
}

@test "conncount-cluster(8) and the example name the same defaults" {
	local key value
	while read -r key value; do
		expect_eq "$value" "$(awk -v key="$key" '$1 == ".It" { on = $3 == key }
			on && /Default: / { sub(/.*Default: /, ""); sub(/\.$/, ""); print; exit }' \
			"$MAN/conncount-cluster.8")" "$key in conncount-cluster(8)"
		expect 0 grep -x "#$key = $value" "$ROOT/user/dist/conncount-cluster.conf"
	done <<-'END'
		interval 250ms
		lease 10s
		hold 60s
		max_prefixes 4194304
	END
}

@test "user/dist/conncount.conf and conncount-cluster.conf are valid configurations" {
	expect 0 conncount check "$ROOT/user/dist/conncount.conf"
	expect 0 conncount check "$ROOT/user/dist/conncount-cluster.conf"
	expect_match 'conncount-cluster.conf: cluster mail, this host as ' "$output"
}

@test "each example in conncount-servers(7) is run by a test in servers/, integration/ or vm/" {
	local section example n=0
	while IFS=$'\t' read -r section example; do
		n=$((n + 1))
		grep -qrE "example conncount-servers.7 '?$section'? $example" "$ROOT"/tests/{servers,integration,vm} ||
			fail "no test runs example $example of $section in conncount-servers(7)"
	done < <(awk '/^\.Sh / { section = substr($0, 5); n = 0 }
		/^\.Bd -literal/ { print section "\t" ++n }' "$MAN/conncount-servers.7")
	[ "$n" -ge 6 ] || fail "only $n examples found"
}

@test "libconncount(3) has every public function and every type of conncount.h" {
	local page=$BUILD/man/libconncount.3 name n=0
	while read -r name; do
		grep -qE "^[a-z].*[ *]$name" "$page" || fail "libconncount(3): $name is not in it"
		n=$((n + 1))
	done < <(grep -oE '^[a-z].*conncount_[a-z_]+[( ]' "$ROOT/user/lib/conncount.h" |
		grep -oE 'conncount_[a-z_]+[( ]$' | tr -d '( ')
	[ "$n" -gt 20 ] || fail "only $n names found in conncount.h"
	# The page has the functions' descriptions, too.
	expect 0 grep -c '^Open an instance for reading\.$' "$page"
	expect 0 grep -c 'ESRCH: no such service type' "$page"
}

@test "conncount-lua(3) has every function of the modules" {
	requires lua
	local name
	expect 0 "$LUA" -e '
		local function each(t, prefix)
			for k, v in pairs(t) do
				if type(v) == "function" then print(k) end
				if type(v) == "table" then each(v) end
			end
		end
		require("msys.extended.ac")
		each(require("conncount"))'
	[ "$(wc -l <<<"$output")" -ge 4 ] || fail 'functions not found'
	for name in $output; do
		grep -qE "\.(Fn|It Fn) [a-z.:]*$name( |$)" "$MAN/conncount-lua.3" ||
			fail "conncount-lua(3): $name is not in it"
	done
}

@test "conncount-policyd(8) has the options of --help, and the fields of a limit, and no other" {
	local page=$MAN/conncount-policyd.8 options fields
	requires lua5.4
	expect 0 policyd --help
	options=$(grep -oE -- '--[a-z]+' <<<"$output" | sort -u)
	expect_eq "$options" "$(sed -n '/^\.Sh OPTIONS/,/^\.Sh POLICY/p' "$page" |
		grep -oE '^\.It Fl .*' | grep -oE 'Fl -[a-z]+' | sed 's/^Fl /-/' | sort -u)" options
	echo 'limit{ x = 1 }' >"$BATS_TEST_TMPDIR/policy.lua"
	expect 2 policyd --check -c "$BATS_TEST_TMPDIR/policy.lua"
	fields=$(sed -n 's/.*(known: \(.*\))$/\1/p' <<<"$errors" | tr -d ' ' | tr , '\n' | sort)
	expect_eq "$fields" "$(grep -oE '^\.It Va .*' "$page" | sed 's/^\.It Va //; s/ , Va /\n/' | sort)" fields
}

@test "the example policy and those in conncount-policyd(8) and the README are valid" {
	local n=0 file
	requires lua5.4
	awk -v dir="$BATS_TEST_TMPDIR" '/^\.Ed/ { on = 0 }
		on { print >(dir "/page" n) }
		/^\.Bd/ { on = 1; n++ }' "$MAN/conncount-policyd.8"
	sed -n '/^limit{/p' "$ROOT/README.md" >"$BATS_TEST_TMPDIR/page-readme"
	for file in "$ROOT/lua/servers/policyd/conncount-policy.lua" \
		$(grep -lE '^limit\{' "$BATS_TEST_TMPDIR"/page*); do
		expect 0 policyd --check -c "$file"
		n=$((n + 1))
	done
	expect_eq 4 "$n" 'policies found'
}

@test "conncount-troubleshooting(7) quotes only messages that the source has" {
	expect 0 python3 -I "$TOOLS/messages.py" "$MAN/conncount-troubleshooting.7" \
		"$ROOT"/user/*/*.c "$ROOT"/lua/*.c
	[ "$output" -ge 20 ] || fail "only $output messages found in the page"
}

@test "a message that the source does not have is found" {
	local page=$BATS_TEST_TMPDIR/page.7
	printf '%s\n' '.It Ar dir Ns Li \&: not loaded' '.It Ar dir Ns Li \&: on holiday' >"$page"
	expect 1 python3 -I "$TOOLS/messages.py" "$page" "$ROOT"/user/*/*.c
	expect_match 'on holiday' "$errors"
	expect_eq 1 "$(wc -l <<<"$errors")" 'messages missing'
}

@test "every page is referred to, and every page that is referred to exists" {
	local page name
	for page in "$MAN"/*.[1-9] "$BUILD"/man/*.[1-9]; do
		name=${page##*/}
		name=${name%.*}
		grep -qE "^\.Xr $name " "$MAN"/*.[1-9] || fail "no page refers to $name"
	done
	while read -r name; do
		[ -e "$MAN/$name" ] || [ -e "$BUILD/man/$name" ] ||
			fail "no page $name, which is referred to"
	done < <(cat "$MAN"/*.[1-9] "$BUILD"/man/*.[1-9] |
		sed -n 's/.*Xr \([a-z.-]*conncount[a-z.-]*\) \([1-9]\).*/\1.\2/p')
}
