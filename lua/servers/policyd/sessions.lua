-- SPDX-License-Identifier: BSD-2-Clause
-- The sessions that requests are about, and how many others are open.
local uv = require('luv')
local conncount = require('conncount')

local count = conncount.audit.inbound_session_count

local sessions = {}

local RECENT_MS = 1000 -- how old what is known of a session that is staying may be

local function endpoint(address, port)
	return (address:find(':', 1, true) and '[%s]:%s' or '%s:%s'):format(address, port)
end

-- The session that a request is about; nil where it does not say. `remote` is nil where the
-- client's port is not known, as before Postfix 3.0. `socket` is false or nil where the session is
-- not in our network namespace.
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

function sessions.same(a, b)
	return a.remote and a.remote == b.remote and a.server == b.server and a.socket == b.socket
end

-- A session is counted before anybody judges it. Of ten that arrive at once where five may, each
-- would see ten. So those that were judged are remembered until they are gone:
--   refused   which still count until the server has closed them, but are not held against others
--   staying   which were let in, or are to be as soon as the count has come down: as long as there
--             are fewer of them than may be, one that is over the limit waits for that
-- Both are [service .. ' ' .. network] = { [session] = true, ... }, for each network of a limit. A
-- session that is in one has it as `list`, and its places there as `keys`. All are in `remembered`,
-- by their sockets.
local refused, staying, remembered = {}, {}, {}
sessions.refused, sessions.staying = refused, staying

-- The session that is remembered by the same socket; nil: none is.
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

-- Whether a session that is remembered is gone; if so, it is forgotten. One that the kernel cannot
-- be asked about is taken to be gone.
local function is_gone(session)
	session.asked = uv.now()
	if conncount.socket(session.remote, session.server, session.interface) == session.socket then
		return false
	end
	forget(session)
	return true
end

-- The same, first in, first out.
local memory, first, last = {}, 1, 0

-- Remember a session in a list. For each new one, two others are looked at: so no more than twice as
-- many are remembered as are there.
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
-- Returns what inbound_session_count() does.
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
				gone = true -- perhaps since it was counted
			else
				open = open - 1
			end
		end
		if not gone then
			return open
		end
	end
end

-- How many others are staying in a network.
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
