-- SPDX-License-Identifier: BSD-2-Clause
-- Print what a policy can ask about sessions, one column per session, and what demo_policy.lua decides.
-- usage: lua5.4 demo_ask.lua REMOTE LOCAL:PORT [REMOTE LOCAL:PORT]...
local policy = dofile(arg[0]:match('^(.*/)') .. 'demo_policy.lua')
local accept = require('conncount').accept

local questions = {
	{ "()", 'this address, on this listener' },
	{ "('/32')", 'this address, on all of the service SMTP' },
	{ "('/24')", 'its /24, on SMTP' },
	{ "('/24,/64')", 'its /24 if it is IPv4, its /64 if it is IPv6' },
	{ "('127.0.0.0/8')", 'all of that network, on SMTP' },
	{ "(nil, 'Control')", 'this address, on the service Control' },
}
local sessions = {}

for i = 1, #arg, 2 do
	table.insert(sessions, accept{ remote = arg[i], ['local'] = arg[i + 1] })
end

local function print_row(name, values, meaning)
	io.write(('%-24s'):format(name))
	for i, value in ipairs(values) do
		io.write((' %' .. #arg[2 * i - 1] .. 's'):format(value))
	end
	io.write('  ', meaning, '\n')
end

local function ask(call)
	local f = load('local ac = ...; return ac:inbound_session_count' .. call)
	local values = {}

	for i, ac in ipairs(sessions) do
		local count, why = f(ac)
		values[i] = count or why
	end
	return values
end

local remotes = {}
for i in ipairs(sessions) do
	remotes[i] = arg[2 * i - 1]
end
print_row('ac:inbound_session_count', remotes, '<- the sessions')
for _, question in ipairs(questions) do
	print_row(question[1], ask(question[1]), question[2])
end
print('The policy answers:')
for i, ac in ipairs(sessions) do
	print(('  %-22s %s'):format(remotes[i], policy(ac)))
end
