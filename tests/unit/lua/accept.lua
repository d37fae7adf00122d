-- SPDX-License-Identifier: BSD-2-Clause
-- Accept constructs: how they are made and what they let a policy do.
local expect = require('expect')
local conncount = require('conncount')
local accept = conncount.accept

local function from(remote, at)
	return accept{ remote = remote, ['local'] = at }
end

-- The forms of an address, and the addresses that they give.
for _, case in ipairs{
	{ '192.0.2.7', '198.51.100.1:25', '192.0.2.7 to 198.51.100.1:25' },
	{ '2001:db8::7', '[2001:db8::1]:587', '2001:db8::7 to [2001:db8::1]:587' },
	{ '[2001:DB8:0::7]', '[::1]:65535', '2001:db8::7 to [::1]:65535' },
	{ '::ffff:192.0.2.7', '[::ffff:198.51.100.1]:1', '192.0.2.7 to 198.51.100.1:1' },
	{ 'localhost', '127.0.0.1:25', '127.0.0.1 to 127.0.0.1:25' },
} do
	expect.returns({ 'conncount.accept: ' .. case[3] }, tostring, from(case[1], case[2]))
end

-- Malformed addresses.
local good_remote, good_local = '192.0.2.7', '198.51.100.1:25'
for _, text in ipairs{
	'', ' ', '300.1.1.1', '192.0.2.7/32', '192.0.2.0/24', '/32', '2001:db8::/128', '192.0.2.7:25',
	'[2001:db8::7]:25', '[192.0.2.7]', '192.0.2.7 ', 'fe80::1%eth0', 'example.org', '*',
} do
	expect.raises({ "accept: bad field 'remote' '" .. text .. "': " }, from, text, good_local)
end
for _, text in ipairs{
	'', ':', ':25', '25', '*:25', '198.51.100.1', '198.51.100.1:', '198.51.100.1:0',
	'198.51.100.1:65536', '198.51.100.1:-1', '198.51.100.1:025', '198.51.100.1:smtp',
	'198.51.100.1:25 ', '198.51.100.1/32:25', '2001:db8::1:25', '[2001:db8::1]', '[2001:db8::1]25',
	'[198.51.100.1]:25', '[fe80::1%eth0]:25', 'example.org:25',
} do
	expect.raises({ "accept: bad field 'local' '" .. text .. "': " }, from, good_remote, text)
end
expect.raises({ "accept: bad field 'remote' '1.2.3.4\\000': ", 'NUL' }, from, '1.2.3.4\0',
	good_local)
expect.raises({ "accept: bad field 'local' '1.2.3.4:25\\000': ", 'NUL' }, from, good_remote,
	'1.2.3.4:25\0')
for _, value in ipairs{ true, false, {}, print } do
	expect.raises({ "accept: bad field 'remote': string expected, got " .. type(value) }, from,
		value, good_local)
	expect.raises({ "accept: bad field 'local': string expected, got " .. type(value) }, from,
		good_remote, value)
end
expect.raises({ "accept: bad field 'local' '25': string expected, got number" }, from, good_remote,
	25)

-- Fields.
expect.raises({ "accept: field 'remote' is missing" }, accept, {})
expect.raises({ "accept: field 'remote' is missing" }, from, nil, good_local)
expect.raises({ "accept: field 'local' is missing" }, from, good_remote, nil)
expect.raises({ "accept: unknown field 'Remote': " }, accept, { Remote = good_remote })
expect.raises({ "accept: unknown field '1': " }, accept, { good_remote })
expect.raises({ 'accept: unknown field: ' }, accept, { [{}] = 1 })
expect.raises({ "accept: unknown field 'peer': ", 'remote', 'local' }, accept,
	{ remote = good_remote, ['local'] = good_local, peer = good_remote })
expect.raises({ "accept: unknown field 'remote\\000': " }, accept,
	{ ['remote\0'] = good_remote, ['local'] = good_local })
local inherited = setmetatable({}, { __index = { remote = good_remote, ['local'] = good_local } })
expect.raises({ "accept: field 'remote' is missing" }, accept, inherited)

-- Arguments.
expect.raises({ 'accept: bad argument #1: table or file descriptor expected, got no value' },
	accept)
for _, value in ipairs{ '7', true, print, io.stdout } do
	expect.raises({ 'accept: bad argument #1', 'table or file descriptor expected, got '
		.. type(value) }, accept, value)
end
for text, value in pairs{
	['-1'] = -1, ['1.5'] = 1.5, ['2147483648'] = 2147483648, ['inf'] = math.huge, ['nan'] = 0.0 / 0.0,
} do
	expect.raises({ 'accept: bad argument #1', text, 'not a file descriptor' }, accept, value)
end
expect.raises({ 'accept: 1 argument at most, got 2' }, accept, good_remote, good_local)
expect.raises({ 'accept: 1 argument at most, got 2' }, accept,
	{ remote = good_remote, ['local'] = good_local }, nil)

-- File descriptors that are not connected TCP sockets: nil and an errno, because a session may have
-- ended.
local EBADF, ENOTSOCK = 9, 88
assert(expect.fails(EBADF, accept, 2147483647):find('2147483647', 1, true))
expect.fails(ENOTSOCK, accept, 0) -- lua.bats makes it /dev/null

-- require('msys.extended.ac') adds the method, also to constructs made before.
local ac = from(good_remote, good_local)
assert(ac.inbound_session_count == nil)
require('msys.extended.ac')
assert(ac.inbound_session_count == conncount.inbound_session_count)
assert(from('::1', '[::1]:25').inbound_session_count == conncount.inbound_session_count)

-- A construct cannot be changed, and hides its metatable.
assert(getmetatable(ac) == 'conncount.accept')
assert(not pcall(setmetatable, ac, {}))
assert(not pcall(function() ac.remote = '192.0.2.8' end))
assert(not pcall(function() ac.inbound_session_count = print end))
assert(ac.remote == nil and ac[1] == nil)
assert(tostring(ac) == 'conncount.accept: 192.0.2.7 to 198.51.100.1:25')
assert(type(conncount._VERSION) == 'string' and conncount._VERSION:match('^%d+%.%d+%.%d+'))

-- The modules set no other global; msys.audit has its global name, beside what a server put there.
assert(_G.conncount == nil and _G.msys == nil)
local core = {}
msys = { core = core }
assert(require('msys.audit') == msys.audit and msys.audit == conncount.audit)
assert(msys.core == core)
