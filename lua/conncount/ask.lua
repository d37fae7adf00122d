-- SPDX-License-Identifier: BSD-2-Clause
-- conncount.ask: to count inside a server, where no mistake and no failure may stop a client.
--   local ask = require('conncount.ask')(log)
--   count = ask(f, ...)
-- calls f(...), which is to return what an inbound_session_count() does. Returns the count; nil
-- where there is none, be it a failure or an error that f raised. log(why, errno) is told why,
-- once a minute for the same reason; errno is nil where an error was raised.
local MINUTE = 60

return function(log)
	local said = {} -- reason: when it was last told

	local function settle(called, count, why, errno)
		if called and count then
			return count
		elseif not called then
			why, errno = tostring(count), nil
		end
		local now = os.time()
		if now - (said[why] or -MINUTE) >= MINUTE then
			said[why] = now
			log(why, errno)
		end
		return nil
	end

	return function(f, ...)
		return settle(pcall(f, ...))
	end
end
