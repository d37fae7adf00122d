-- SPDX-License-Identifier: BSD-2-Clause
-- The policy that embed.c runs, once for every kind of session. embed.c sets the globals
--   ac         the session, handed over by conncount_lua_push_accept()
--   kind       'ipv4', 'ipv6', or 'mapped': an IPv4 client on a dual-stack listener
--   fd         the session's socket
--   others     sockets that are not sessions: a table from a name to { fd, errno }
local expect = require('expect')
local conncount = require('conncount')

-- The file descriptor gives the same session as the one handed over.
local same = assert(conncount.accept(fd))
assert(tostring(same) == tostring(ac), tostring(same))
local shown = tostring(ac)
if kind == 'ipv6' then
	assert(shown:match('^conncount.accept: ::1 to %[::1%]:%d+$'), shown)
else
	assert(shown:match('^conncount.accept: 127.0.0.1 to 127.0.0.1:%d+$'), shown)
end
assert(getmetatable(ac) == 'conncount.accept')

for name, other in pairs(others) do
	local message = expect.fails(other.errno, conncount.accept, other.fd)
	assert(message:find('file descriptor ' .. other.fd, 1, true), name .. ': ' .. message)
end

-- It is an accept construct like any other.
assert(ac.inbound_session_count == nil)
require('msys.extended.ac')
local audit = require('msys.audit')
expect.fails(2, ac.inbound_session_count, ac)
expect.fails(2, ac.inbound_session_count, ac, '/24,/64', 'SMTP')
audit.current(ac)
expect.fails(2, audit.inbound_session_count, '/24', 'SMTP')
if kind == 'ipv6' then
	expect.fails(2, ac.inbound_session_count, ac, '/64')
else
	expect.raises({ 'inbound_session_count: bad argument #1 (cidr)' }, ac.inbound_session_count,
		ac, '/64')
end
