-- SPDX-License-Identifier: BSD-2-Clause
-- decisions.lua - decides on a session by the policy.
local uv = require('luv')
local conncount = require('conncount')
local log = require('policyd.log')
local sessions = require('policyd.sessions')

local decisions = {}

local WAIT_MS = 4000 -- how long to wait for a count to come down; Exim waits 5 s
local ESRCH = 3

local policy

-- Use a policy, which policy_file.read() returned, from now on.
function decisions.follow(new)
	policy = new
end

local function is_allowed(allow, session)
	for length, networks in pairs(allow[session.family]) do
		if networks[conncount.network(session.address .. '/' .. length)] then
			return true
		end
	end
	return false
end

local function fill_in(reply, network, open, limit)
	return (reply:gsub('{(.-)}', { network = network, open = open, limit = limit }))
end

-- How much of a limit is used up: the sessions that a network has open, or the connections that it has
-- opened. A session that is judged again after waiting keeps its count of connections: later ones are
-- not held against it. Returns the same as inbound_session_count().
local function used(session, network, limit)
	if not limit.window then
		return sessions.count_unrefused(network, limit.service)
	end
	local why, errno
	session.opened = session.opened or {}
	if not session.opened[limit] then
		session.opened[limit], why, errno = sessions.count_opened(network, limit)
	end
	return session.opened[limit], why, errno
end

-- The action of a session on which to decide again later.
local WAIT = {}
decisions.WAIT = WAIT

-- Decide on a session. Returns the action for Postfix, and by how many seconds to delay it; or WAIT;
-- or nil, message, errno if the counts cannot be read. A refusal takes precedence over a delay, and
-- a longer delay over a shorter one.
local function decide(session)
	local service, why, errno = conncount.service(session.server)
	local limits = policy.limits[service]
	local networks, keys = {}, {} -- of each limit; of the session in those of sessions
	local delay, wait = 0, false

	if not service then
		return nil, why, errno
	elseif not limits or is_allowed(policy.allow, session) then
		return 'DUNNO', 0
	end
	for i, limit in ipairs(limits) do
		local length = limit['v' .. session.family]
		if length then
			networks[i] = conncount.network(session.address .. '/' .. length)
			if limit.sessions then
				keys[limit.service .. ' ' .. networks[i]] = true
			end
		end
	end
	for i, limit in ipairs(limits) do
		local network, open = networks[i], 0
		if network then
			open, why, errno = used(session, network, limit)
		end
		if not open then
			return nil, why, errno
		elseif open <= limit.most then
			-- within this limit
		elseif not limit.reply then
			delay = math.max(delay, limit.delay)
		elseif limit.sessions and session.socket and uv.now() - session.since < WAIT_MS
			and sessions.count_staying(session, limit.service .. ' ' .. network) < limit.sessions then
			wait = true
		else
			sessions.remember(session, sessions.refused, keys)
			return fill_in(limit.reply, network, open, limit.most), 0
		end
	end
	sessions.remember(session, sessions.staying, keys)
	if wait then
		return WAIT
	end
	return 'DUNNO', delay
end

local unavailable = false -- the counts cannot be read, and the log says so

-- decide(), but DUNNO if that fails. The third result is whether to keep the action for the session.
function decisions.action_of(session)
	local good, action, delay_or_why, errno = pcall(decide, session)

	if not good then
		log.once('cannot decide on a request', action)
	elseif action then
		if unavailable then
			unavailable = false
			log.line('sessions are counted again')
		end
		return action, delay_or_why, true
	elseif errno == ESRCH then
		log.once(delay_or_why)
	elseif not unavailable then
		unavailable = true
		log.line('every client is let in until sessions are counted again', delay_or_why)
	end
	return 'DUNNO', 0, false
end

-- Let a session wait no longer: the next decision is final.
function decisions.end_wait(session)
	session.since = -WAIT_MS
end

return decisions
