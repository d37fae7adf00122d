-- SPDX-License-Identifier: BSD-2-Clause
-- The log, on the standard error output.
local uv = require('luv')

local log = {}

local LINE_MAX = 1000 -- bytes
local SAID_MAX = 1000 -- messages that are remembered, not to be logged again
local LINES_MAX, LINES_MS = 20, 60000 -- lines that clients can cause, in so much time

function log.line(...)
	local line = string.gsub(table.concat({ ... }, ': '), '%c', '?')
	io.stderr:write('conncount-policyd: ', string.sub(line, 1, LINE_MAX), '\n')
end

-- The end of the program: bad usage or bad input, or a failure.
function log.die(status, ...)
	log.line(...)
	os.exit(status, true)
end

-- What was logged, not to be logged for each request. A reload begins anew.
local said, said_count = {}, 0
local lines = { since = -LINES_MS, logged = 0, suppressed = 0 }

-- Begin a new interval when the last one is over.
function log.renew()
	if uv.now() - lines.since < LINES_MS then
		return
	end
	if lines.suppressed > 0 then
		log.line(('%d messages about requests were suppressed'):format(lines.suppressed))
	end
	lines.since, lines.logged, lines.suppressed = uv.now(), 0, 0
end

-- Log what a client causes: each message once, and no more than LINES_MAX in LINES_MS.
function log.once(what, ...)
	if said[what] then
		return
	elseif said_count == SAID_MAX then
		said, said_count = {}, 0
	end
	said[what] = true
	said_count = said_count + 1
	log.renew()
	if lines.logged < LINES_MAX then
		lines.logged = lines.logged + 1
		log.line(what, ...)
	else
		lines.suppressed = lines.suppressed + 1
	end
end

-- Forget what was logged, so that it is logged again.
function log.reset()
	said, said_count = {}, 0
end

-- Whether messages were suppressed that renew() will tell of.
function log.suppresses()
	return lines.suppressed > 0
end

return log
