# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# ac:inbound_session_count(cidr, service) and msys.audit.inbound_session_count() on real
# connections: the arguments that are easy to get wrong, and what the functions return. Where the
# command can answer the same question, it is asked too.

load ../lib/common
load ../lib/asking
load ../lib/instance

@test "0.0.0.0/0 counts all IPv4 sessions of a service, and ::/0 all IPv6 sessions" {
	v4 47 '"0.0.0.0/0"'
	v4 47 '"::/0"'
	v6 47 '"0.0.0.0/0"'
	v6 47 '"10.1.2.3/0"'
	v6 16 '"0.0.0.0/0", "Control"'
	expect_count 47 0.0.0.0/0
	expect_count 47 ::/0
	expect_count 94
}

@test "/32 counts only the connecting address, also for an IPv6 client" {
	v4 5 '"/32"'
	v6 5 '"/32"'
	v6 16 '"/32", "Control"'
	expect_lua 32 2a00::1 '[2001:db8::1]:25' 'ac:inbound_session_count("/32")'
	# With an address, /32 is a network of IPv6.
	v6 15 '"2001:db8::/32"'
}

@test "of /24,/64 the first prefix length applies to an IPv4 client, the second to an IPv6 client" {
	v4 7 '"/24,/64"'
	v6 7 '"/24,/64"'
	v4 15 '"/8,/64"'
	v6 15 '"/8,/33"'
	v4 5 '"/32,/48"'
	v6 5 '"/8,/128"'
	v4 16 '"/24,/64", "Control"'
}

@test "an IPv4 network has the same count however it is written" {
	v4 15 '"10.0.0.0/8"'
	v4 15 '"10.1.2.3/255.0.0.0"'
	v4 15 '"10.1.2.3/8"'
	v4 5 '"10.1.2.3"'
	v4 5 '"10.1.2.3/32"'
	v4 2 '"10.1.2.4"'
	v6 15 '"10.0.0.0/8"'
	v4 16 '"10.0.0.0/8", "Control"'
	expect_count 15 10.1.2.3/255.0.0.0
	expect_count 5 10.1.2.3
}

@test "an IPv6 network has the same count with and without brackets" {
	v4 15 '"2001:db8::/32"'
	v6 7 '"[2001:db8:1:2::1]/64"'
	v6 7 '"2001:db8:1:2::1/64"'
	v6 5 '"[2001:db8:1:2::3]"'
	v6 5 '"2001:db8:1:2::3"'
	v6 5 '"2001:0DB8:0001:0002:0000:0000:0000:0003"'
	v4 16 '"2001:db8::/32", "Control"'
	expect_count 7 '[2001:db8:1:2::1]/64'
}

@test "IPv4-mapped addresses, in arguments and of clients, are IPv4 addresses" {
	v4 5 '"::ffff:10.1.2.3"'
	v4 15 '"::ffff:10.0.0.0/104"'
	v4 5 '"[::ffff:10.1.2.3]/128"'
	expect_lua 7 ::ffff:10.1.2.3 192.0.2.1:25 'ac:inbound_session_count("/24")'
	expect_lua 7 ::ffff:10.1.2.3 192.0.2.1:25 'ac:inbound_session_count("/24,/64")'
	expect_match '\[::ffff:10\.1\.2\.3\]' "$(in_ns ss -Htn 'sport = :25')"
}

@test "localhost is resolved, and any other name is an error" {
	sessions open 1 127.0.0.1 127.0.0.1:25
	sessions open 2 ::1 '[::1]:25'
	v4 1 '"localhost/32"'
	v6 1 '"localhost/32"'
	v4 1 '"localhost"'
	v4 2 '"localhost/128"'
	raises '"mail.example.org"' mail.example.org localhost
	raises '"mail.example.org/24"' mail.example.org/24
	raises '"localhost.localdomain"' localhost.localdomain
}

@test "a service can be given with no network, with a prefix length, or with a network" {
	v4 16 'nil, "Control"'
	v6 16 'nil, "Control"'
	v4 5 'nil, "SMTP"'
	v4 16 '"/8", "Control"'
	v4 0 '"172.16.0.0/12", "Control"'
	v4 32 '"172.16.0.0/12", "SMTP"'
}

@test "a known type that no listener has counts 0, and an unknown type is an error" {
	v4 0 'nil, "ECStream"'
	v4 0 '"0.0.0.0/0", "ECmmove2"'
	v4 0 '"::/0", "ECCluster"'
	raises '"/24", "smtp"' smtp SMTP ECStream Control ECmmove2 ECCluster inbound_cidr '#2'
	raises '"/24", ""'
	raises '"/24", "SMTP "' 'SMTP '
	raises '"/24", 5'
	raises '"/24", {}'
	expect_count 0 --service ECStream
	expect 2 conncount count --service smtp 10.0.0.0/8
	expect_match ECmmove2 "$errors"
}

@test "inbound_cidr gives the counts of SMTP on a single host" {
	v4 15 '"10.0.0.0/8", "inbound_cidr"'
	v4 7 '"/24", "inbound_cidr"'
	v6 5 'nil, "inbound_cidr"'
	expect_count 15 --service inbound_cidr 10.0.0.0/8
}

@test "a malformed cidr is an error that names the argument and quotes its text" {
	local text
	for text in 300.1.1.1 10.0.0.0/33 10.0.0.0/ /129 /33 fe80::1%eth0 '' '10.0.0.0/8 ' \
		' 10.0.0.0/8' 10.0.0.0/8x / /-1 /+8 /24,/64,/64 '/24,' ,/64 /24,64 /24,/129 /33,/64 \
		10.0.0.0/255.0.255.0 '[2001:db8::1' 2001:db8::/129 '[10.0.0.1]'; do
		raises "'$text'" '#1' "'$text'"
	done
	raises '10' '#1'
	raises '{}' '#1'
	raises 'true' '#1'
	raises 'print' '#1'
	raises '"10.0.0.0/8\0"' '#1'
	# /33 is valid for an IPv6 client.
	v6 15 '"/33"'
	v6 7 '"/24,/64"'
}

@test "msys.audit takes the same arguments, and requires both" {
	local session=(10.1.2.3 192.0.2.1:25)
	expect_lua 15 "${session[@]}" 'audit.inbound_session_count("10.0.0.0/8", "SMTP")'
	expect_lua 16 "${session[@]}" 'audit.inbound_session_count("10.0.0.0/8", "Control")'
	expect_lua 47 "${session[@]}" 'audit.inbound_session_count("::/0", "SMTP")'
	expect_lua 7 "${session[@]}" 'audit.inbound_session_count("/24", "SMTP")'
	local arguments
	for arguments in '' '"10.0.0.0/8"' 'nil, "SMTP"' '"10.0.0.0/8", nil' '"10.0.0.0/8", "smtp"' \
		'"10.0.0.0/33", "SMTP"'; do
		expect 1 lua_print "${session[@]}" "audit.inbound_session_count($arguments)"
		expect_match 'inbound_session_count' "$errors"
	done
	# A prefix length alone needs a current session.
	expect 1 "$LUA" -e 'print(require("msys.audit").inbound_session_count("/24", "SMTP"))'
	expect_match '/24' "$errors"
	expect 0 "$LUA" -e 'print(require("msys.audit").inbound_session_count("10.0.0.0/8", "SMTP"))'
	expect_eq 15 "$output"
}

@test "an integer is returned, and the next call no longer counts a session that has closed" {
	local integer=integer
	[[ $LUA_VERSION != 5.1 ]] || integer=number # Lua 5.1 has one kind of number
	expect_lua $integer 10.1.2.3 192.0.2.1:25 \
		'(math.type or type)(ac:inbound_session_count("/24"))'
	v4 7 '"/24"'
	sessions close server 1
	v4 6 '"/24"'
	v4 0 ''
	sessions open 1 10.1.2.3 192.0.2.1:25
	v4 1 ''
}

@test "not loaded: a call returns nil, a message and an errno, and a count again after a load" {
	sessions close server
	expect 0 conncount unload
	expect 0 lua_print 10.1.2.3 192.0.2.1:25 'ac:inbound_session_count("/24")'
	expect_match $'^nil\t.*not loaded.*\t2$' "$output"
	expect 0 lua_print 10.1.2.3 192.0.2.1:25 'ac:inbound_session_count()'
	expect_match $'^nil\t.+\t2$' "$output"
	expect 0 lua_print 10.1.2.3 192.0.2.1:25 'audit.inbound_session_count("10.0.0.0/8", "SMTP")'
	expect_match $'^nil\t.+\t2$' "$output"
	# A malformed argument is an error even if nothing is loaded.
	raises '"10.0.0.0/33"' 10.0.0.0/33
	load
	v4 0 '"/24"'
	sessions open 3 10.1.2.3 192.0.2.1:25
	v4 3 '"/24"'
}

# as_momentum REMOTE LOCAL POLICY: runs POLICY, which is written for Momentum, on this session, and
# prints what it does: `disconnect CODE TEXT` or `go on`. The script stands in for Momentum.
as_momentum() {
	"$LUA" - "$@" <<-'END'
		local hooks
		msys = { core = { VALIDATE_CONT = 'continue', VALIDATE_DONE = 'done' } }
		function msys.registerModule(name, module) hooks = module end
		package.preload['msys.core'] = function() return msys.core end
		local ac = require('conncount').accept{ remote = arg[1], ['local'] = arg[2] }
		require('msys.audit').current(ac)
		assert((loadstring or load)(arg[3]))()

		local vctx, done = {}, 'go on'
		function vctx:disconnect(code, text) done = 'disconnect ' .. code .. ' ' .. text end
		local result = hooks:validate_connect(ac, vctx)
		assert(result == (done == 'go on' and 'continue' or 'done'))
		print(done)
	END
}

@test "a policy written for Momentum runs unchanged" {
	local policy='
		require("msys.core");
		require("msys.extended.ac");
		require("msys.audit");

		local mod = {};

		function mod:validate_connect(ac, vctx)
			local here = ac:inbound_session_count();
			local near = ac:inbound_session_count("/24");
			local own = msys.audit.inbound_session_count("/32", "SMTP");
			local loop = ac:inbound_session_count("localhost/32");
			local control = msys.audit.inbound_session_count("10.0.0.0/8", "Control");
			local cluster = ac:inbound_session_count("/32", "inbound_cidr");

			if own > 5 then
				vctx:disconnect(421, string.format("%d %d %d %d %d %d", here, near, own,
					loop, control, cluster));
				return msys.core.VALIDATE_DONE;
			end
			return msys.core.VALIDATE_CONT;
		end

		msys.registerModule("limit", mod);'
	# 10.1.2.3 has 1 session on this listener and 4 on the other listener of SMTP.
	expect 0 as_momentum 10.1.2.3 192.0.2.1:25 "$policy"
	expect_eq 'go on' "$output"
	sessions open 3 10.1.2.3 192.0.2.1:25
	sessions open 2 127.0.0.1 192.0.2.1:25
	expect 0 as_momentum 10.1.2.3 192.0.2.1:25 "$policy"
	expect_eq 'disconnect 421 4 10 8 2 16 8' "$output"
	expect 0 as_momentum 10.1.2.4 192.0.2.1:25 "$policy"
	expect_eq 'go on' "$output" 'another client'
}
