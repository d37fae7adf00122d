-- SPDX-License-Identifier: BSD-2-Clause
-- What the binding asks the library, and what a policy gets for its answers. fake.c is linked into
-- the module: fake.answer() sets the answer to queries, and fake.asked() returns the last query.
local expect = require('expect')

local file = package.cpath:gsub('%?', 'conncount') -- lua.bats sets it to one directory
local fake = assert(package.loadlib(file, 'luaopen_fake'))()

-- Lua finalizes last what was marked first, so this asks after the handle was closed. Nobody would
-- see an assertion fail here, so lua.bats compares what it writes.
local ac4
local function ask_again()
	local count, message, errno = ac4:inbound_session_count()
	io.stderr:write('then ', tostring(count), ', ', tostring(message), ', ', tostring(errno), '\n')
end
if newproxy then -- Lua 5.1 finalizes no tables
	finalized_last = newproxy(true)
	getmetatable(finalized_last).__gc = ask_again
else
	finalized_last = setmetatable({}, { __gc = ask_again })
end

local conncount = require('conncount')
require('msys.extended.ac')
local audit = require('msys.audit')

local ENOENT, ESRCH, EACCES, EDOM, ENODATA, EPROTO = 2, 3, 13, 33, 61, 71
ac4 = conncount.accept{ remote = '192.0.2.7', ['local'] = '198.51.100.1:25' }
local ac6 = conncount.accept{ remote = '2001:db8:1:2::7', ['local'] = '[2001:db8::1]:587' }
local mapped = conncount.accept{ remote = '::ffff:192.0.2.7', ['local'] = '[::ffff:192.0.2.1]:25' }

-- The first query opens the instance; while that fails, every query tries again.
local opened = fake.opened()
assert(opened == 0)
fake.answer{ open_error = EACCES }
expect.fails(EACCES, ac4.inbound_session_count, ac4)
expect.fails(EACCES, ac4.inbound_session_count, ac4, '/24')
expect.fails(EACCES, ac4.inbound_session_count, ac4, '/24', 'nonsense')
assert(fake.opened() == 3)
assert(not pcall(ac4.inbound_session_count, ac4, '/33'))
assert(fake.opened() == 3) -- a call with a malformed argument does not try
fake.answer{ count = 12 }
expect.returns({ 12 }, ac4.inbound_session_count, ac4)
expect.returns({ 12 }, ac4.inbound_session_count, ac4, '/24')
assert(fake.opened() == 4) -- the handle stays open

-- Each form of the call.
local function asks(asked, ac, ...)
	expect.returns({ 12 }, ac.inbound_session_count, ac, ...)
	if fake.asked() ~= asked then
		error(('asked %q, not %q'):format(fake.asked(), asked), 2)
	end
end
asks('local 198.51.100.1/32 25 192.0.2.7/32', ac4)
asks('local 198.51.100.1/32 25 192.0.2.7/32', ac4, nil, nil)
asks('local 2001:db8::1/128 587 2001:db8:1:2::7/128', ac6)
asks('local 192.0.2.1/32 25 192.0.2.7/32', mapped)
asks('service (default) 192.0.2.0/24', ac4, '/24')
asks('service (default) 192.0.2.0/24', ac4, '/24', nil)
asks('service (default) 192.0.2.7/32', ac4, '/32')
asks('service (default) 2001:db8:1:2::7/128', ac6, '/32')
asks('service (default) 2001:db8:1::/48', ac6, '/48')
asks('service (default) 192.0.2.0/24', ac4, '/24,/64')
asks('service (default) 2001:db8:1:2::/64', ac6, '/24,/64')
asks('service (default) 192.0.2.0/24', mapped, '/24,/64')
asks('service (default) 10.0.0.0/8', ac6, '10.0.0.0/8')
asks('service (default) 10.0.0.0/8', ac4, '10.1.2.3/255.0.0.0')
asks('service (default) 10.1.2.3/32', ac4, '10.1.2.3')
asks('service Control 2001:db8::/32', ac4, '2001:db8::/32', 'Control')
asks('service (default) 2001:db8::/64', ac4, '[2001:db8::1]/64')
asks('service (default) 2001:db8::1/128', ac4, '[2001:db8::1]')
asks('service (default) 192.0.2.1/32', ac4, '::ffff:192.0.2.1')
asks('service (default) 127.0.0.1/32', ac6, 'localhost/32')
asks('service Control 192.0.2.7/32', ac4, nil, 'Control')
asks('service SMTP 2001:db8:1:2::7/128', ac6, nil, 'SMTP')
asks('service inbound_cidr 10.0.0.0/8', ac4, '10.0.0.0/8', 'inbound_cidr')
asks('service (default) 0.0.0.0/0', ac4, '0.0.0.0/0')
asks('service (default) ::/0', ac4, '::/0')

expect.returns({ 12 }, audit.inbound_session_count, '192.0.2.0/24', 'SMTP')
assert(fake.asked() == 'service SMTP 192.0.2.0/24')
audit.current(ac6)
collectgarbage()
expect.returns({ 12 }, audit.inbound_session_count, '/48', 'Control')
assert(fake.asked() == 'service Control 2001:db8:1::/48')
audit.current(conncount.accept{ remote = '192.0.2.200', ['local'] = '198.51.100.1:25' })
collectgarbage()
expect.returns({ 12 }, audit.inbound_session_count, '/25', 'Control')
assert(fake.asked() == 'service Control 192.0.2.128/25')
audit.current(nil)

-- Counts are integers, of any size that Lua has.
for _, n in ipairs{ 0, 1, 1099511627776, math.maxinteger or 9007199254740992 } do
	fake.answer{ count = n }
	expect.returns({ n }, ac4.inbound_session_count, ac4)
	expect.returns({ n }, audit.inbound_session_count, '::/0', 'SMTP')
end

-- A count that is not exact comes with the reason.
local function inexact(text, answer)
	fake.answer(answer)
	expect.returns({ answer.count, text }, ac4.inbound_session_count, ac4)
	expect.returns({ answer.count, text }, ac4.inbound_session_count, ac4, '/24')
	expect.returns({ answer.count, text }, audit.inbound_session_count, '::/0', 'SMTP')
end
inexact('2 sessions are not counted', { count = 5, uncounted = 2 })
inexact('1 session is not counted', { count = 5, uncounted = 1 })
inexact('1 change was lost', { count = 5, lost = 1 })
inexact('2 sessions are not counted, 3 changes were lost', { count = 0, uncounted = 2, lost = 3 })
inexact('sessions that were already open are still being counted', { count = 0, seeding = true })
inexact('1 change was lost, the counted cgroup was removed',
    { count = 0, lost = 1, detached = true })
inexact('cluster: cut off for 14 s', { count = 7, cluster = true })
inexact('1 change was lost, cluster: cut off for 14 s', { count = 7, lost = 1, cluster = true })

-- Failures of the system.
for _, errno in ipairs{ ENOENT, EACCES, EPROTO } do
	fake.answer{ error = errno }
	for _, f in ipairs{
		function() return ac4:inbound_session_count() end,
		function() return ac4:inbound_session_count('/24') end,
		function() return ac4:inbound_session_count(nil, 'Control') end,
		function() return audit.inbound_session_count('::/0', 'Control') end,
	} do
		assert(expect.fails(errno, f) == 'fake error ' .. errno)
	end
end

-- A listener that is not configured is a failure of the system; a service type, an error of the
-- policy.
fake.answer{ error = ESRCH }
expect.returns({ nil, 'no listener is configured for 198.51.100.1 port 25', ESRCH },
	ac4.inbound_session_count, ac4)
expect.returns({ nil, 'no listener is configured for 2001:db8::1 port 587', ESRCH },
	ac6.inbound_session_count, ac6)
local UNKNOWN = "inbound_session_count: bad argument #2 (service_type) 'smtp': "
	.. 'unknown service type (known: SMTP, Control, mine)'
expect.raises({ UNKNOWN }, ac4.inbound_session_count, ac4, '/24', 'smtp')
expect.raises({ UNKNOWN }, ac4.inbound_session_count, ac4, nil, 'smtp')
expect.raises({ UNKNOWN }, audit.inbound_session_count, '::/0', 'smtp')

expect.returns({ nil, 'no listener is configured for 198.51.100.1 port 25', ESRCH },
	conncount.service, '198.51.100.1:25')

-- The service of a listener.
fake.answer{ error = EPROTO }
assert(expect.fails(EPROTO, conncount.service, '198.51.100.1:25') == 'fake error 71')
fake.answer{}
expect.returns({ 'mine' }, conncount.service, '[2001:db8::1]:587')
assert(fake.asked() == 'service of 2001:db8::1/128 587')

-- Connections in windows of time.
local function windows(asked, f, ...)
	expect.returns({ 12 }, f, ...)
	if fake.asked() ~= asked then
		error(('asked %q, not %q'):format(fake.asked(), asked), 2)
	end
end
fake.answer{ count = 12 }
for asked, options in pairs{
	['windows 0 to 1 of 60,1: service (default) 192.0.2.7/32'] = { endv = 1 },
	['windows 1 to 1 of 60,1: service (default) 192.0.2.7/32'] = { startv = 1, endv = 1 },
	['windows 0 to 0 of 60,1: service (default) 192.0.2.7/32'] = {},
	['windows 0 to 0 of 60,1: service (default) 192.0.2.0/24'] = { cidr = '/24' },
	['windows 0 to 0 of 60,1: service (default) 2001:db8::/64'] = { cidr = '[2001:db8::1]/64' },
	['windows 0 to 0 of 60,1: service Control 192.0.2.7/32'] = { service = 'Control', cluster = false },
	['windows 0 to 0 of 60,1: service inbound_cidr 192.0.2.7/32'] = { cluster = true },
} do
	windows(asked, ac4.connections, ac4, '60,1', options)
	audit.current(ac4)
	windows(asked, audit.connections, '60,1', options)
	audit.current(nil)
end
windows('windows 0 to 1 of 60,1: service (default) 192.0.2.7/32', ac4.connections, ac4, '60,1',
	{ startv = 1 }) -- to 0: either order
windows('windows 1 to 3 of 900,4: service (default) 192.0.2.7/32', ac4.connections, ac4, ' 900, 4 ',
	{ startv = 3, endv = 1 })
windows('windows 0 to 0 of 60,1: service (default) 2001:db8:1:2::/64', ac6.connections, ac6, '60,1',
	'/24,/64')
windows('windows 0 to 0 of 60,1: service (default) 192.0.2.7/32', mapped.connections, mapped, '60,1')
windows('windows 0 to 0 of 60,1: service (default) 192.0.2.7/32', ac4.connections, ac4, '60,1', nil)
windows('windows 0 to 0 of 60,1: service (default) 10.0.0.0/8', audit.connections, '60,1', '10.0.0.0/8')
windows('windows 0 to 0 of 60,1: service SMTP 10.0.0.0/8', audit.connections, '60,1',
	{ cidr = '10.0.0.0/8', service = 'SMTP' })

-- The error of a count is a number.
fake.answer{ count = 12, missed = 3 }
expect.returns({ 12, 3 }, ac4.connections, ac4, '60,1')
expect.returns({ 12, 3 }, audit.connections, '60,1', '::/0')
fake.answer{ count = 12, missed = -1 }
expect.returns({ 12, math.huge }, ac4.connections, ac4, '60,1')
fake.answer{ count = 12, detached = true }
expect.returns({ 12, math.huge }, ac4.connections, ac4, '60,1')

-- Failures and mistakes.
fake.answer{ error = EPROTO }
assert(expect.fails(EPROTO, ac4.connections, ac4, '60,1') == 'fake error 71')
fake.answer{ error = ESRCH }
expect.raises({ "connections: bad argument #2 (service) 'smtp': unknown service type "
	.. '(known: SMTP, Control, mine)' }, ac4.connections, ac4, '60,1', { service = 'smtp' })
fake.answer{ count = 1, error = ENODATA }
expect.raises({ "connections: bad argument #1 (monitor) '300,6': no such window is configured "
	.. "(configured: 60,1 and 900,4; add 'window = 300,6' to the configuration)" },
	audit.connections, '300,6', '::/0')
expect.raises({ "connections: bad argument #1 (monitor) ' 300,\\0096': ", "'window = 300,6'" },
	audit.connections, ' 300,\t6', '::/0')
fake.answer{ error = ENODATA }
expect.raises({ "connections: bad argument #1 (monitor) '60,1'", '(configured: none; ' },
	ac4.connections, ac4, '60,1')
fake.answer{ error = EDOM }
expect.raises({ "connections: bad argument #2 (cidr) '/96': ", '65 to 127' },
	ac6.connections, ac6, '60,1', '/96')

-- A query succeeds again, over the same handle; lua.bats checks that it is closed with the state.
fake.answer{ count = 1 }
expect.returns({ 1 }, ac4.inbound_session_count, ac4)
assert(fake.opened() == 4)
