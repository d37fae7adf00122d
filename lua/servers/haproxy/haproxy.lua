-- SPDX-License-Identifier: BSD-2-Clause
-- conncount in HAProxy: loaded by `lua-load` or `lua-load-per-thread`; conncount-servers(7) has how.
--
--   lua.conncount                      the sessions that the client's address has open on the
--                                      listener it connected to
--   lua.conncount(LEN4,LEN6[,SERVICE]) those of its network of that length, LEN4 for an IPv4 client
--                                      and LEN6 for an IPv6 one, on the service (SMTP)
--   tcp-request content lua.conncount LEN4 LEN6 SERVICE
--                                      the same, put into the variable txn.conncount
--   tcp-request content use-service lua.conncount-refuse
--                                      answers with an SMTP 421, and closes
--
-- The first two are samples of type integer, but HAProxy takes what comes from Lua for text unless
-- told: `-m int gt 20`. The client is the one that HAProxy's own listener accepted, the session
-- counted itself. Where it cannot be counted there is no sample, and a condition on it is false:
-- the client is let through, and HAProxy's log says why.
local conncount = require('conncount')

local REFUSAL = '421 4.7.0 Too many sessions from your network, try again later\r\n'

-- What to do, where the library cannot know that it is HAProxy that asks.
local REMEDY = {
	[1] = '; in haproxy.cfg, `group` is to name that group',
	[2] = '; once it is loaded, a HAProxy that has a chroot is to be reloaded',
}
REMEDY[13] = REMEDY[1]

local ask = require('conncount.ask')(function(why, errno)
	core.Warning('conncount: clients are let through uncounted: ' .. why .. (REMEDY[errno] or ''))
end)

local function address(ip, port)
	return (ip:find(':', 1, true) and '[%s]:%d' or '%s:%d'):format(ip, port)
end

local function sessions_of(txn, len4, len6, service)
	local ac = conncount.accept{
		remote = txn.f:src(),
		['local'] = address(txn.f:dst(), txn.f:dst_port()),
	}
	local network = len4 and ('/%s,/%s'):format(len4, len6 or '')

	return conncount.inbound_session_count(ac, network, service)
end

core.register_fetches('conncount', function(txn, ...)
	return ask(sessions_of, txn, ...)
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

-- The first question opens the counts. HAProxy is still root now and sees the whole file system;
-- once it runs it may have neither.
ask(conncount.audit.inbound_session_count, '0.0.0.0/0', 'SMTP')
