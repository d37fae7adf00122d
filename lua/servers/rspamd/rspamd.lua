-- SPDX-License-Identifier: BSD-2-Clause
-- conncount in rspamd: symbols for mail from a client with too many open sessions, or from a network
-- with too many; or with too many connections in a window of time. rspamd.local.lua loads it: see
-- conncount-servers(7), also for its configuration.
--
-- The client is the address that the mail server sends to rspamd. Its sessions are counted on this
-- host, which must be the one that accepts them. Mail from rspamd's local_addrs and from users who are
-- logged in gets no symbol. If the counts cannot be read, no mail gets one, and rspamd's log says why.
local logger = require('rspamd_logger')
local audit = require('conncount').audit

-- ipv4, ipv6: the prefix length of the network; without one, clients of that family get no symbol.
-- window: the limit is of connections that were opened in that window; without it, of open sessions.
local SYMBOLS = {
	CONNCOUNT_ADDRESS = { ipv4 = 32, ipv6 = 128, limit = 10, score = 3 },
	CONNCOUNT_24 = { ipv4 = 24, limit = 20, score = 2 },
	CONNCOUNT_64 = { ipv6 = 64, limit = 20, score = 3 },
}

local options = rspamd_config:get_all_opt('conncount') or {}
local service = options.service or 'SMTP'

local ask = require('conncount.ask')(function(why)
	logger.warnx(rspamd_config, 'conncount: mail is not scored: %s', why)
end)

local function count(network, window)
	if window then
		return audit.connections(window, { cidr = network, service = service })
	end
	return audit.inbound_session_count(network, service)
end

local function register(name, symbol, limit, score)
	local lengths = { [4] = symbol.ipv4, [6] = symbol.ipv6 }

	rspamd_config:register_symbol{
		name = name,
		group = 'conncount',
		score = score,
		description = (symbol.window and 'More than %d connections in a window of time'
			or 'More than %d sessions open'):format(limit),
		callback = function(task)
			local ip = task:get_from_ip()

			if not ip or not ip:is_valid() or ip:is_local() or task:get_user() then
				return false
			end
			local length = lengths[ip:get_version()]
			local network = length and ('%s/%d'):format(ip:to_string(), length)
			local used = network and ask(count, network, symbol.window)
			if not used or used <= limit then
				return false
			end
			return true, 1.0, ('%d from %s'):format(used, network)
		end,
	}
end

for name, symbol in pairs(options.symbols or SYMBOLS) do
	local given = type(symbol) == 'table' and symbol or {}
	local limit, score = tonumber(given.limit), tonumber(given.score) -- a quoted number is a string
	if limit and score then
		register(name, symbol, limit, score)
	else
		logger.errx(rspamd_config, 'conncount: symbol %s: limit or score is missing', name)
	end
end
