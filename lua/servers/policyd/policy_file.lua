-- SPDX-License-Identifier: BSD-2-Clause
-- policy_file.lua - reads the policy file, which calls allow{} and limit{}.
--
-- A policy is a table:
--   allow[family][length][network] = true; a family is 4 or 6, a network as conncount.network()
--                     writes it
--   limits[service] = list of limits, in the order of the file; each has the fields of limit{},
--                     `most` (its sessions or connections), and `reply` or `delay`, depending on its
--                     action. Those of inbound_cidr, the cluster's sessions, are limits of SMTP.
local conncount = require('conncount')
local log = require('policyd.log')
local sandbox = require('policyd.sandbox')
local sessions = require('policyd.sessions')

local policy_file = {}

local DELAY_MAX = 90 -- seconds: Postfix waits for 100
local MESSAGE_MAX = 400 -- bytes: a reply line of SMTP has 512
local CLUSTER = 'inbound_cidr' -- the service that is SMTP on all hosts of the cluster

-- The reply code of each action. Postfix closes the session after 421 and 521.
local CODES = { defer = '421 4.7.0', reject = '521 5.7.0' }

-- Checks of a field's value. Each returns nil, or what is wrong.

local function whole_number(least, most)
	return function(value)
		if math.type(value) ~= 'integer' or value < least or value > most then
			return ('not a whole number from %d to %d'):format(least, most)
		end
	end
end

local function service_name(value)
	if type(value) ~= 'string' or value == '' then
		return 'not a service name'
	end
end

local function action_name(value)
	if value ~= 'tarpit' and not CODES[value] then
		return "not 'defer', 'reject' or 'tarpit'"
	end
end

local function seconds(value)
	if type(value) ~= 'number' or not (value > 0 and value <= DELAY_MAX) then
		return ('not a number of seconds up to %d'):format(DELAY_MAX)
	end
end

local function window_text(value)
	if type(value) ~= 'string' or not string.find(value, '^[ \t]*%d+[ \t]*,[ \t]*%d+[ \t]*$') then
		return "not 'SECONDS,WINDOWS', such as '60,1'"
	end
end

local PLACEHOLDERS = { network = true, open = true, limit = true }

local function reply_text(value)
	if type(value) ~= 'string' or not string.find(value, '^[\x20-\x7e]+$') then
		return 'not a line of ASCII'
	elseif #value > MESSAGE_MAX then
		return ('longer than %d characters'):format(MESSAGE_MAX)
	end
	for name in string.gmatch(value, '{(.-)}') do
		if not PLACEHOLDERS[name] then
			return ('unknown placeholder {%s} (known: {network}, {open}, {limit})'):format(name)
		end
	end
end

local FIELDS = {
	service = service_name,
	v4 = whole_number(0, 32),
	v6 = whole_number(0, 128),
	sessions = whole_number(0, math.maxinteger),
	connections = whole_number(0, math.maxinteger),
	window = window_text,
	action = action_name,
	message = reply_text,
	delay = seconds,
}
local DEFAULT_DELAY = 5

-- A value as an error message shows it. Calls no metamethod, which could return anything, or fail.
local function shown(value)
	if type(value) == 'string' then
		return ("'%s'"):format((string.gsub(value, '%c', '?')))
	elseif type(value) == 'number' or type(value) == 'boolean' then
		return tostring(value)
	end
	return 'a ' .. type(value)
end

-- What is wrong with the fields of a limit together; nil if nothing is.
local function conflict(limit)
	if not limit.sessions and not limit.connections then
		return limit.window and 'connections is missing: how many may be opened in the window'
			or 'sessions is missing: how many sessions may be open'
	elseif limit.sessions and (limit.connections or limit.window) then
		return ("sessions with %s: a limit has either sessions, or connections and window")
			:format(limit.connections and 'connections' or 'window')
	elseif limit.connections and not limit.window then
		return "window is missing: in which window to count connections, such as '60,1'"
	elseif limit.window and limit.service == CLUSTER then
		return ("window with the service '%s': windows have only this host's connections; use 'SMTP'")
			:format(CLUSTER)
	elseif limit.window and limit.v6 and limit.v6 > 64 and limit.v6 < 128 then
		return ('v6 = %d with window: not a whole number from 0 to 64, or 128'):format(limit.v6)
	elseif not limit.v4 and not limit.v6 then
		return 'v4 and v6 are missing: the prefix length of the network to count'
	elseif limit.action == 'tarpit' and limit.message then
		return "a message with the action 'tarpit', which sends none"
	elseif limit.action ~= 'tarpit' and limit.delay then
		return ("a delay with the action '%s': only 'tarpit' has one"):format(limit.action)
	end
end

-- Make a limit from the argument of limit{}. Returns it; or nil, and what is wrong.
local function limit_of(fields)
	if type(fields) ~= 'table' then
		return nil, 'a table expected: limit{ v4 = 32, v6 = 64, sessions = 10 }'
	end
	local limit, why = { service = 'SMTP', action = 'defer' }, nil
	for name, value in pairs(fields) do
		if not FIELDS[name] then
			return nil, ('unknown field %s (known: service, v4, v6, sessions, connections, window, action,'
				.. ' message, delay)'):format(shown(name))
		end
		why = FIELDS[name](value)
		if why then
			return nil, ('%s = %s: %s'):format(name, shown(value), why)
		end
		limit[name] = value
	end
	why = conflict(limit)
	if why then
		return nil, why
	end
	limit.most = limit.sessions or limit.connections
	if limit.action == 'tarpit' then
		limit.delay = limit.delay or DEFAULT_DELAY
	else
		limit.reply = CODES[limit.action] .. ' ' .. (limit.message
			or 'too many ' .. (limit.sessions and 'sessions' or 'connections') .. ' from {network}')
	end
	return limit
end

local function allow_network(allow, text)
	local network, family, length = conncount.network(text)
	allow[family][length] = allow[family][length] or {}
	allow[family][length][network] = true
end

-- Only the first n entries of allow{} are used. Returns what is wrong with the others; nil if there are
-- none.
local function ignored(list, n)
	for key in pairs(list) do
		if math.type(key) ~= 'integer' or key < 1 then
			return ("unknown field %s (list networks without names: allow{ '192.0.2.0/24' })")
				:format(shown(key))
		elseif key > n then
			return ('entry %d is nil, and entry %d would be ignored (remove entry %d, or check its name)')
				:format(n + 1, key, n + 1)
		end
	end
end

-- Read a policy. Returns it, and how many limits and allowed networks it has; or nil, and a message
-- that names file and line.
function policy_file.read(path)
	local policy = { allow = { [4] = {}, [6] = {} }, limits = {} }
	local limits, networks = 0, 0
	local environment, watch = sandbox.environment(path)

	function environment.allow(list)
		if type(list) ~= 'table' then
			error("allow: a table expected: allow{ '192.0.2.0/24' }", 2)
		end
		local listed = 0
		for i, text in ipairs(list) do
			local good, why = pcall(allow_network, policy.allow, text)
			if not good then
				error('allow: ' .. string.gsub(why, '^.-%(cidr%):? ?', ''), 2)
			end
			listed = i
		end
		local why = ignored(list, listed)
		if why then
			error('allow: ' .. why, 2)
		end
		networks = networks + listed
	end

	function environment.limit(fields)
		local limit, why = limit_of(fields)
		if not limit then
			error('limit: ' .. why, 2)
		end
		-- The cluster's limits are about the sessions that all its hosts share.
		local service = limit.service == CLUSTER and 'SMTP' or limit.service
		local of_service = policy.limits[service] or {}
		policy.limits[service] = of_service
		table.insert(of_service, limit)
		limits = limits + 1
	end

	local chunk, why = loadfile(path, 't', environment)
	if not chunk then
		return nil, why
	end
	why = sandbox.run(path, watch, chunk, environment.string)
	if why then
		return nil, why
	end
	return policy, limits, networks
end

-- Log the limits that have no effect, because their service is unknown, or their window is not
-- configured. A later `conncount load` can make it known.
function policy_file.report_ineffective(path, policy)
	for service, limits in pairs(policy.limits) do
		local known, why = pcall(conncount.audit.inbound_session_count, '0.0.0.0/0', service)
		if not known then
			log.line(path, 'these limits have no effect', (why:gsub('^.-%(service_type%) ', '')))
		end
		for _, limit in ipairs(known and limits or {}) do
			if limit.window then
				sessions.count_opened('0.0.0.0/0', limit)
			end
		end
	end
end

return policy_file
