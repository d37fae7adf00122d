-- SPDX-License-Identifier: BSD-2-Clause
-- conncount in HAProxy. `lua-load` or `lua-load-per-thread` loads it: see conncount-servers(7).
--
--   lua.conncount                      the sessions that the client's address has open on the
--                                      listener that it connected to
--   lua.conncount(LEN4,LEN6[,SERVICE]) those of its network of that prefix length, LEN4 for an IPv4
--                                      client and LEN6 for an IPv6 client, on the service (SMTP)
--   tcp-request content lua.conncount LEN4 LEN6 SERVICE
--                                      the same, stored in the variable txn.conncount
--   lua.conncount_connections(SECONDS,WINDOWS)
--                                      the connections that the client's address has opened to SMTP
--                                      in the current window; conncount.conf has the same `window`
--   lua.conncount_connections(SECONDS,WINDOWS,LEN4,LEN6[,SERVICE])
--                                      those of its network to the service
--   tcp-request content use-service lua.conncount-refuse
--                                      answers with an SMTP 421, and closes
--
-- The samples are integers, but HAProxy treats samples from Lua as text: use `-m int gt 20`. The
-- client is the peer of HAProxy's own listener; the count includes its own session. If the counts
-- cannot be read, there is no sample, and a condition on it is false: HAProxy lets the client through,
-- and its log says why.
local conncount = require('conncount')

local REFUSAL = '421 4.7.0 Too many sessions from your network, try again later\r\n'

-- What to do. The library, which does not know HAProxy, cannot say it.
local REMEDY = {
	[1] = '; name that group with `group` in haproxy.cfg',
	[2] = '; after loading it, reload HAProxy if it has a chroot',
}
REMEDY[13] = REMEDY[1]

local ask = require('conncount.ask')(function(why, errno)
	core.Warning('conncount: clients are let through unchecked: ' .. why .. (REMEDY[errno] or ''))
end)

local function address(ip, port)
	return (ip:find(':', 1, true) and '[%s]:%d' or '%s:%d'):format(ip, port)
end

local function accept_of(txn)
	return conncount.accept{
		remote = txn.f:src(),
		['local'] = address(txn.f:dst(), txn.f:dst_port()),
	}
end

-- nil without lengths: exactly the client's address
local function network_of(len4, len6)
	return len4 and ('/%s,/%s'):format(len4, len6 or '')
end

local function sessions_of(txn, len4, len6, service)
	return conncount.inbound_session_count(accept_of(txn), network_of(len4, len6), service)
end

local function connections_of(txn, seconds, windows, len4, len6, service)
	return conncount.connections(accept_of(txn), ('%s,%s'):format(seconds or '', windows or ''),
		{ cidr = network_of(len4, len6), service = service })
end

core.register_fetches('conncount', function(txn, ...)
	return ask(sessions_of, txn, ...)
end)

core.register_fetches('conncount_connections', function(txn, ...)
	return ask(connections_of, txn, ...)
end)

core.register_action('conncount', { 'tcp-req' }, function(txn, ...)
	local count = ask(sessions_of, txn, ...)

	if count then
		txn:set_var('txn.conncount', count)
	else
		txn:unset_var('txn.conncount')
	end
end, 3)

core.register_service('conncount-refuse', 'tcp', function(applet)
	applet:send(REFUSAL)
end)

-- The first query opens the counts. HAProxy still is root here and sees the whole file system; later
-- it may not.
ask(conncount.audit.inbound_session_count, '0.0.0.0/0', 'SMTP')
