-- SPDX-License-Identifier: BSD-2-Clause
-- The arguments of the module's functions, with nothing loaded: a call with well-formed ones
-- reaches the system and fails there with ENOENT, a call with malformed ones raises an error
-- before.
local expect = require('expect')
local conncount = require('conncount')
require('msys.extended.ac')
local audit = require('msys.audit')

local ENOENT = 2
local ac4 = conncount.accept{ remote = '192.0.2.7', ['local'] = '198.51.100.1:25' }
local ac6 = conncount.accept{ remote = '2001:db8::7', ['local'] = '[2001:db8::1]:25' }

local function method(ac)
	return function(...) return ac.inbound_session_count(ac, ...) end
end
local count4, count6 = method(ac4), method(ac6)

local CIDR = 'inbound_session_count: bad argument #1 (cidr)'
local SERVICE = 'inbound_session_count: bad argument #2 (service_type)'

-- Well-formed for every caller.
local absolute = {
	'10.0.0.0/8', '10.1.2.3/255.0.0.0', '10.1.2.3', '10.1.2.3/8', '10.1.2.3/0.0.0.0',
	'2001:db8::/32', '[2001:db8::1]/64', '[2001:db8::1]', '2001:db8::1',
	'::ffff:192.0.2.1', '::ffff:192.0.2.1/120', '[::ffff:192.0.2.1]',
	'localhost', 'localhost/32', 'localhost/0', 'localhost/64', 'localhost/128',
	'0.0.0.0/0', '::/0', '255.255.255.255/32', '::/128', '2001:db8::1/127',
}
for _, text in ipairs(absolute) do
	expect.fails(ENOENT, count4, text)
	expect.fails(ENOENT, count6, text)
	expect.fails(ENOENT, count4, text, 'Control')
	expect.fails(ENOENT, audit.inbound_session_count, text, 'SMTP')
end
for length = 0, 32 do
	expect.fails(ENOENT, count4, '10.1.2.3/' .. length)
	expect.fails(ENOENT, count4, '/' .. length)
	expect.fails(ENOENT, count4, '/' .. length .. ',/64')
end
for length = 0, 128 do
	expect.fails(ENOENT, count4, '2001:db8::1/' .. length)
	expect.fails(ENOENT, count6, '/' .. length)
	expect.fails(ENOENT, count6, '/24,/' .. length)
end

-- Arguments left out.
for _, count in ipairs{ count4, count6 } do
	expect.fails(ENOENT, count)
	expect.fails(ENOENT, count, nil)
	expect.fails(ENOENT, count, nil, nil)
	expect.fails(ENOENT, count, '/24', nil)
	expect.fails(ENOENT, count, nil, 'Control')
	-- Only the system can tell whether a type exists, because the configuration may define it.
	expect.fails(ENOENT, count, '/24', 'smtp')
end

-- Malformed for every caller.
local malformed = {
	'', ' ', '/', '//', '.', ':', '[', '[]', '-', ',', '/,', '*', 'any',
	'300.1.1.1', '256.0.0.1', '1.2.3', '1.2.3.4.5', '10', '010.0.0.1', '0x7f.0.0.1', '1.2.3.-4',
	'10.0.0.0/33', '10.0.0.0/', '10.0.0.0//8', '10.0.0.0/8/8', '10.0.0.0/08', '10.0.0.0/+8',
	'10.0.0.0/-1', '10.0.0.0/ 8', '10.0.0.0/8 ', ' 10.0.0.0/8', '10.0.0.0/8\n', '10.0.0.0/8x',
	'10.0.0.0/0x8', '10.0.0.0/8.0', '10.0.0.0/1e1', '10.0.0.0/4294967304', '10.0.0.0 /8',
	'10.0.0.0/18446744073709551624', '10.0.0.0/255.0.255.0', '10.0.0.0/255.0.0',
	'10.0.0.0/255.0.0.0.0', '10.0.0.0/256.0.0.0', '10.0.0.0/0.0.0.255', '10.0.0.0/::',
	'10.0.0.1:25', '10.0.0.0-10.0.0.9', '10.0.0.0,10.1.0.0', '[10.0.0.1]', '[10.0.0.0]/8',
	'::/129', '2001:db8::/', '2001:db8::/255.0.0.0', '2001:db8:::1', '1:2:3:4:5:6:7:8:9', '12345::',
	'2001:db8::g', '[2001:db8::1', '2001:db8::1]', '[2001:db8::/32]', '[[2001:db8::1]]',
	'[2001:db8::1]64', '[2001:db8::1]:25', 'fe80::1%eth0', '[fe80::1%eth0]', 'fe80::1%eth0/64',
	'::ffff:192.0.2.1/95', '::ffff:192.0.2.1/129', '::ffff:192.0.2.1/255.0.0.0', '::ffff:1.2.3.300',
	'example.org', 'example.org/24', 'localhost.', 'LOCALHOST', 'localhost/129', 'localhost/',
	'localhost/8 ', 'ip6-localhost', '[localhost]',
	('1'):rep(70), ('1.'):rep(35), ('0'):rep(60) .. '::1',
}
for _, text in ipairs(malformed) do
	-- A newline is shown escaped.
	local texts = { CIDR .. " '" .. text:gsub('\n', '\\010') .. "': " }
	expect.raises(texts, count4, text)
	expect.raises(texts, count6, text)
	expect.raises(texts, count4, text, 'Control')
	if text:sub(1, 1) ~= '/' then
		expect.raises(texts, audit.inbound_session_count, text, 'SMTP')
	end
end
expect.raises({ CIDR, "'example.org'", 'localhost' }, count4, 'example.org')

-- Prefix lengths for the connecting session.
for _, text in ipairs{
	'/33', '/64', '/129', '/-1', '/+1', '/024', '/24 ', '/ 24', '/24x', '/255.255.255.0', '/24/',
	'/24,', '/24,64', '/24,/', '/24, /64', '/24,/64,', '/24,/64,/64', '/24,/129', '/33,/64', ',/64',
	'/,/64', '/99999999999999999999',
} do
	expect.raises({ CIDR .. " '" .. text .. "': " }, count4, text)
end
for _, text in ipairs{ '/129', '/999', '/24,/129', '/33,/64', '/64,' } do
	expect.raises({ CIDR .. " '" .. text .. "': " }, count6, text)
end

-- Text that a message escapes or shortens.
expect.raises({ CIDR .. " '10.0.0.0/8\\000': ", 'NUL' }, count4, '10.0.0.0/8\0')
expect.raises({ CIDR .. " '\\000': ", 'NUL' }, count4, '\0')
expect.raises({ CIDR .. " '10.0.0.0\\000/8': ", 'NUL' }, audit.inbound_session_count,
	'10.0.0.0\0/8', 'SMTP')
expect.raises({ CIDR .. " 'a\\027[31m\\127': " }, count4, 'a\27[31m\127')
expect.raises({ CIDR .. " '" .. ('x'):rep(80) .. "...': " }, count4, ('x'):rep(1000000))
expect.raises({ CIDR .. " '%d%s%n': " }, count4, '%d%s%n')

-- Values that are not strings.
local others = { true, false, {}, print, io.stdout, ac4, coroutine.create(function() end) }
for _, value in ipairs(others) do
	local texts = { CIDR .. ': string expected, got ' .. type(value) }
	expect.raises(texts, count4, value)
	expect.raises(texts, audit.inbound_session_count, value, 'SMTP')
	texts = { SERVICE .. ': string expected, got ' .. type(value) }
	expect.raises(texts, count4, nil, value)
	expect.raises(texts, count4, '/24', value)
	expect.raises(texts, audit.inbound_session_count, '10.0.0.0/8', value)
end
for text, number in pairs{ ['24'] = 24, ['0'] = 0, ['1.5'] = 1.5 } do
	expect.raises({ CIDR .. " '" .. text .. "': string expected, got number" }, count4, number)
	expect.raises({ SERVICE .. " '" .. text .. "': string expected, got number" }, count4, '/24',
		number)
end
local named = setmetatable({}, { __tostring = function() return '/24' end, __name = '/24' })
expect.raises({ CIDR .. ': string expected, got table' }, count4, named)

-- Service types.
expect.raises({ SERVICE .. " '': unknown service type", 'SMTP', 'Control' }, count4, '/24', '')
expect.raises({ SERVICE .. " '': unknown service type", 'SMTP' }, count4, nil, '')
expect.raises({ SERVICE .. " '': unknown service type", 'SMTP' }, audit.inbound_session_count,
	'10.0.0.0/8', '')
expect.raises({ SERVICE .. " 'SMTP\\000': ", 'NUL' }, count4, '/24', 'SMTP\0')
expect.raises({ CIDR .. " '/129': " }, count4, '/129', '') -- the first error is reported

-- Too many arguments.
expect.raises({ 'inbound_session_count: 2 arguments at most, got 3' }, count4, '/24', 'SMTP', nil)
expect.raises({ 'inbound_session_count: 2 arguments at most, got 3' }, count4, nil, nil, nil)
expect.raises({ 'inbound_session_count: 2 arguments at most, got 4' }, audit.inbound_session_count,
	'10.0.0.0/8', 'SMTP', 'SMTP', 'SMTP')

-- A call without its accept construct.
for _, value in ipairs{ '/24', 24, true, {}, io.stdout } do
	expect.raises({ 'inbound_session_count: accept construct expected before the colon, got '
		.. type(value) }, ac4.inbound_session_count, value)
end
expect.raises({ 'inbound_session_count: accept construct expected before the colon, got no value' },
	ac4.inbound_session_count)
expect.raises({ 'inbound_session_count: accept construct expected before the colon, got nil' },
	ac4.inbound_session_count, nil, '/24')

-- msys.audit requires both arguments; a prefix length alone needs a current session.
expect.raises({ CIDR .. ': string expected, got no value' }, audit.inbound_session_count)
expect.raises({ CIDR .. ': string expected, got nil' }, audit.inbound_session_count, nil, 'SMTP')
expect.raises({ SERVICE .. ': string expected, got no value' }, audit.inbound_session_count,
	'10.0.0.0/8')
expect.raises({ SERVICE .. ': string expected, got nil' }, audit.inbound_session_count,
	'10.0.0.0/8', nil)
for _, text in ipairs{ '/24', '/24,/64', '/129', '/' } do
	expect.raises({ CIDR .. " '" .. text .. "': ", 'current' }, audit.inbound_session_count, text,
		'SMTP')
end
expect.returns({ n = 0 }, audit.current, ac4)
expect.fails(ENOENT, audit.inbound_session_count, '/24', 'SMTP')
expect.fails(ENOENT, audit.inbound_session_count, '/24,/64', 'SMTP')
expect.raises({ CIDR .. " '/64': " }, audit.inbound_session_count, '/64', 'SMTP')
audit.current(ac6)
expect.fails(ENOENT, audit.inbound_session_count, '/64', 'SMTP')
for _, value in ipairs{ 1, 'ac', {}, io.stdout, true, false } do
	expect.raises({ 'current: bad argument #1', 'accept construct or nil expected, got '
		.. type(value) }, audit.current, value)
end
expect.raises({ 'current: bad argument #1: accept construct or nil expected, got no value' },
	audit.current)
expect.raises({ 'current: 1 argument at most, got 2' }, audit.current, ac4, ac6)
expect.fails(ENOENT, audit.inbound_session_count, '/64', 'SMTP') -- the calls that failed changed nothing
audit.current(nil)
expect.raises({ CIDR .. " '/64': ", 'current' }, audit.inbound_session_count, '/64', 'SMTP')

-- Connections in windows of time. Only the system can tell which are configured.
local function connections(...) return ac4.connections(ac4, ...) end
local MONITOR = 'connections: bad argument #1 (monitor)'
for _, text in ipairs{ '60,1', '60, 1', ' 60 ,1 ', '60,0', '86400,30' } do
	expect.fails(ENOENT, connections, text)
end
for _, text in ipairs{ '', '60', '60,', ',1', '0,1', '60,-1', '60,1,1', '60 1', '60;1', '60,1x', '1e2,1',
	'99999999999,1', '60,99999999999999999999' } do
	expect.raises({ MONITOR .. " '" .. text .. "': expected 'SECONDS,WINDOWS'" }, connections, text)
end
expect.raises({ MONITOR .. " '60,1\\000': ", 'NUL' }, connections, '60,1\0')
expect.raises({ MONITOR .. ': string expected, got no value' }, audit.connections)
expect.raises({ MONITOR .. ': string expected, got nil' }, connections, nil, '10.0.0.0/8')
expect.raises({ MONITOR .. " '60': string expected, got number" }, connections, 60)

expect.fails(ENOENT, connections, '60,3', { startv = 0, endv = 3, cidr = '/24,/64', cluster = true })
expect.fails(ENOENT, connections, '60,3', { startv = 3, endv = 0, cluster = false, service = 'SMTP' })
expect.fails(ENOENT, connections, '60,3', setmetatable({}, { __index = error }))
for _, field in ipairs{ 'startv', 'endv' } do
	local what = 'connections: bad argument #2 (' .. field .. ')'
	for _, number in ipairs{ -1, 4, 0.5, 1 / 0, -1 / 0, 0 / 0, 2 ^ 32, 2 ^ 63 } do
		expect.raises({ what, "': expected the number of a window of '60,3' " }, connections, '60,3',
			{ [field] = number })
	end
	expect.raises({ what .. " '1': number expected, got string" }, connections, '60,3',
		{ [field] = '1' })
	expect.raises({ what .. ': number expected, got boolean' }, connections, '60,3',
		{ [field] = true })
	expect.raises({ what .. " '1': expected the number of a window of '60,0' " }, connections, '60,0',
		{ [field] = 1 })
end
for _, value in ipairs{ 24, true, print } do
	expect.raises({ 'connections: bad argument #2 (options)', 'table or string expected, got '
		.. type(value) }, connections, '60,1', value)
end
for _, options in ipairs{ '/33', { cidr = '/33' } } do
	expect.raises({ "connections: bad argument #2 (cidr) '/33': " }, connections, '60,1', options)
	expect.raises({ "connections: bad argument #2 (cidr) '/33': ", 'current' }, audit.connections,
		'60,1', options)
end
expect.raises({ "connections: bad argument #2 (cidr) '24': string expected, got number" }, connections,
	'60,1', { cidr = 24 })
expect.raises({ "connections: bad argument #2 (cluster) '1': boolean expected, got number" },
	connections, '60,1', { cluster = 1 })
expect.raises({ 'connections: bad argument #2 (service): string expected, got boolean' }, connections,
	'60,1', { service = true })
expect.raises({ "connections: bad argument #2 (service) '': unknown service type", 'SMTP' },
	connections, '60,1', { service = '' })
expect.raises({ "connections: bad argument #2 (service) 'SMTP': cluster" }, connections, '60,1',
	{ service = 'SMTP', cluster = true })
for key, text in pairs{ start = " 'start'", startV = " 'startV'", [1] = " '1'", [true] = '' } do
	expect.raises({ 'connections: unknown option' .. text .. ": the options are 'startv', " },
		connections, '60,1', { [key] = '10.0.0.0/8' })
end
expect.raises({ 'connections: 2 arguments at most, got 3' }, connections, '60,1', nil, nil)
expect.raises({ 'connections: 2 arguments at most, got 3' }, audit.connections, '60,1', nil, nil)
expect.raises({ 'connections: accept construct expected before the colon, got string' },
	ac4.connections, '60,1')
expect.raises({ 'connections: accept construct expected before the colon, got no value' },
	conncount.connections)

-- Without a current session, the network must be absolute.
expect.fails(ENOENT, audit.connections, '60,1', '10.0.0.0/8')
for _, options in ipairs{ { n = 1 }, { n = 1, {} }, { n = 1, { endv = 1 } } } do
	expect.raises({ 'connections: without a cidr it needs a current session (msys.audit.current(ac)' },
		audit.connections, '60,1', options[1])
end
audit.current(ac6)
expect.fails(ENOENT, audit.connections, '60,1')
expect.fails(ENOENT, audit.connections, '60,1', '/64')
audit.current(nil)

-- Momentum's other two functions count messages.
for _, name in ipairs{ 'receptions', 'rejections' } do
	expect.raises({ name .. ': conncount sees connections, not messages' }, audit[name], '60,1')
end

-- Functions for policy services.
for text, network in pairs{
	['192.0.2.7'] = { '192.0.2.7/32', 4, 32 },
	['192.0.2.7/24'] = { '192.0.2.0/24', 4, 24 },
	['::ffff:192.0.2.7'] = { '192.0.2.7/32', 4, 32 },
	['[2001:DB8:0::7]/32'] = { '2001:db8::/32', 6, 32 },
	['::/0'] = { '::/0', 6, 0 },
} do
	expect.returns(network, conncount.network, text)
end
for _, text in ipairs{ '', '/24', '192.0.2.7/33', 'example.org' } do
	expect.raises({ "network: bad argument #1 (cidr) '" .. text .. "': " }, conncount.network, text)
end
expect.raises({ 'network: bad argument #1 (cidr): string expected, got no value' }, conncount.network)
expect.raises({ 'network: 1 argument at most, got 2' }, conncount.network, '::/0', '::/0')
expect.fails(ENOENT, conncount.service, '198.51.100.1:25')
for _, text in ipairs{ '', '198.51.100.1', '198.51.100.1:0', '2001:db8::1:25', '*:25' } do
	expect.raises({ "service: bad argument #1 (local) '" .. text .. "': " }, conncount.service, text)
	expect.raises({ "socket: bad argument #1 (remote) '" .. text .. "': " }, conncount.socket, text,
		'198.51.100.1:25')
	expect.raises({ "socket: bad argument #2 (local) '" .. text .. "': " }, conncount.socket,
		'192.0.2.7:1024', text)
end
expect.raises({ 'service: 1 argument at most, got 2' }, conncount.service, '198.51.100.1:25', nil)
expect.raises({ 'socket: one address is IPv4, the other IPv6' }, conncount.socket, '192.0.2.7:1024',
	'[2001:db8::1]:25')
expect.raises({ 'socket: 3 arguments at most, got 4' }, conncount.socket, '192.0.2.7:1024',
	'198.51.100.1:25', nil, nil)
expect.returns({ false }, conncount.socket, '192.0.2.7:1024', '198.51.100.1:25', nil)
expect.returns({ false }, conncount.socket, '192.0.2.7:1024', '198.51.100.1:25')
expect.returns({ false }, conncount.socket, '[2001:db8::7]:1024', '[2001:db8::1]:25')

-- An error that a policy raises has the position in the policy.
local load = loadstring or load
-- LuaJIT loses it in a tail call, hence the parentheses.
local policy = assert(load("local ac = ...\n\nreturn (ac:inbound_session_count('/33'))", '=policy'))
expect.raises({ 'policy:3: ' .. CIDR .. " '/33': " }, policy, ac4)
policy = assert(load("local audit = ...\nreturn (audit.inbound_session_count('/33', 'SMTP'))",
	'=policy'))
expect.raises({ 'policy:2: ' .. CIDR .. " '/33': " }, policy, audit)
