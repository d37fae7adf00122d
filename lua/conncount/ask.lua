-- SPDX-License-Identifier: BSD-2-Clause
-- conncount.ask: queries inside a server, where no mistake and no failure may stop a client.
--   local ask = require('conncount.ask')(log)
--   count = ask(f, ...)
-- ask() calls f(...), which must return the same as inbound_session_count(). Returns the count; nil if
-- f failed or raised an error. Then it calls log(why, errno), once a minute for the same reason, and
-- for at most REASONS_MAX reasons a minute; errno is nil if f raised an error.
local MINUTE = 60
local REASONS_MAX = 20 -- a reason can quote the client, and then each client has its own

return function(log)
	local said = {} -- [reason] = when it was logged, within the last minute

	-- Whether to log a reason.
	local function is_due(why, now)
		local reasons = 0
		for reason, at in pairs(said) do
			if now < at or now - at >= MINUTE then -- or the clock was set back
				said[reason] = nil
			else
				reasons = reasons + 1
			end
		end
		return not said[why] and reasons < REASONS_MAX
	end

	local function result_of(called, count, why, errno)
		if called and count then
			return count
		elseif not called then
			why, errno = tostring(count), nil
		end
		local now = os.time()
		if is_due(why, now) then
			said[why] = now
			log(why, errno)
		end
		return nil
	end

	return function(f, ...)
		return result_of(pcall(f, ...))
	end
end
