-- SPDX-License-Identifier: BSD-2-Clause
-- conncount.ask: queries inside a server, where no mistake and no failure may stop a client.
--   local ask = require('conncount.ask')(log)
--   count = ask(f, ...)
-- ask() calls f(...), which must return the same as inbound_session_count(). Returns the count; nil if
-- f failed or raised an error. Then it calls log(why, errno), once a minute for the same reason; errno
-- is nil if f raised an error.
local MINUTE = 60

return function(log)
	local said = {} -- [reason] = when it was last logged

	local function result_of(called, count, why, errno)
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
		return result_of(pcall(f, ...))
	end
end
