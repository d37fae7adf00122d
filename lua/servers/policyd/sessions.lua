-- SPDX-License-Identifier: BSD-2-Clause
-- sessions.lua - the sessions of requests, how many others are open, and how many were opened.
local uv = require('luv')
local conncount = require('conncount')
local log = require('policyd.log')

local count = conncount.audit.inbound_session_count

local sessions = {}

local RECENT_MS = 1000 -- how long a staying session is taken to be open, without asking the kernel

local function endpoint(address, port)
	return (address:find(':', 1, true) and '[%s]:%s' or '%s:%s'):format(address, port)
end

-- The session of a request; nil if the request does not name it. `remote` is nil if the client's port
-- is not known, as before Postfix 3.0. `socket` is false or nil if the session is not in this network
-- namespace.
function sessions.of_request(request)
	local address, port = request.client_address, request.client_port
	local server, server_port = request.server_address, request.server_port

	if not (address and server and server_port) or address:find('/', 1, true) then
		return nil
	end
	local whole, family = conncount.network(address)
	local session = {
		address = whole:match('^[^/]*'),
		family = family,
		remote = port and tonumber(port) ~= 0 and endpoint(address, port) or nil,
		server = endpoint(server, server_port),
		since = uv.now(),
	}
	if session.remote then
		session.socket, session.interface = conncount.socket(session.remote, session.server)
	end
	return session
end

-- Whether two requests are for the same session.
function sessions.same(a, b)
	return a.remote and a.remote == b.remote and a.server == b.server and a.socket == b.socket
end

-- The kernel counts a session before a decision on it. If ten arrive at once and the limit is five,
-- each request sees a count of ten. So sessions with a decision are remembered until they are closed:
--   refused   They are counted until the server has closed them, but not held against others.
--   staying   They were let in, or wait to be let in when the count comes down. As long as there are
--             fewer of them than the limit, a session over the limit waits for that.
-- Both are [service .. ' ' .. network] = { [session] = true, ... }, for each network of a limit. A
-- remembered session has `list`, one of the two, and `keys`, its keys in it. `remembered` has all, by
-- their sockets.
local refused, staying, remembered = {}, {}, {}
sessions.refused, sessions.staying = refused, staying

-- The remembered session with the same socket; nil if there is none.
function sessions.recall(session)
	return session.socket and remembered[session.socket] or nil
end

local function forget(session)
	for key in pairs(session.keys or {}) do
		local others = session.list[key]
		others[session] = nil
		if not next(others) then
			session.list[key] = nil
		end
	end
	if session.list then
		remembered[session.socket] = nil
	end
	session.list, session.keys = nil, nil
end

-- Whether a remembered session is closed; if so, forget it. If the kernel cannot be asked, the session
-- is taken to be closed.
local function is_gone(session)
	session.asked = uv.now()
	if conncount.socket(session.remote, session.server, session.interface) == session.socket then
		return false
	end
	forget(session)
	return true
end

-- The remembered sessions, first in, first out; with some that were forgotten.
local memory, first, last = {}, 1, 0

-- Remember a session in a list. Each new session causes a check of two others, so that at most twice
-- as many are remembered as are open.
function sessions.remember(session, list, keys)
	if not session.socket then
		return
	end
	local new = not session.list
	forget(session)
	remembered[session.socket] = session
	session.list, session.keys, session.asked = list, keys, uv.now()
	for key in pairs(keys) do
		list[key] = list[key] or {}
		list[key][session] = true
	end
	if not new then
		return
	end
	for _ = 1, math.min(2, last - first + 1) do
		local other = memory[first]
		memory[first] = nil
		first = first + 1
		if other.list and not is_gone(other) then
			last = last + 1
			memory[last] = other
		end
	end
	last = last + 1
	memory[last] = session
end

-- How many sessions a network has open, without those that were refused.
-- Returns the same as inbound_session_count().
function sessions.count_unrefused(network, service)
	while true do
		local open, why, errno = count(network, service)
		local others = refused[service .. ' ' .. network]
		if not open or not others then
			return open, why, errno
		end
		local gone = false
		for other in pairs(others) do
			if is_gone(other) then
				gone = true -- perhaps after the count
			else
				open = open - 1
			end
		end
		if not gone then
			return open
		end
	end
end

-- How many connections a network has opened in the current window of a limit; 0 if that window is not
-- configured, and the log says so. Returns the same as inbound_session_count().
function sessions.count_opened(network, limit)
	local known, opened, why, errno = pcall(conncount.audit.connections, limit.window,
		{ cidr = network, service = limit.service })

	if known then
		return opened, why, errno
	end
	log.once('these limits have no effect: ' .. opened:gsub('^.-%(monitor%) ', 'window = '))
	return 0
end

-- How many other sessions are staying, by their key.
function sessions.count_staying(session, key)
	local n = 0
	for other in pairs(staying[key] or {}) do
		if other ~= session and (uv.now() - other.asked < RECENT_MS or not is_gone(other)) then
			n = n + 1
		end
	end
	return n
end

return sessions
