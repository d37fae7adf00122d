-- SPDX-License-Identifier: BSD-2-Clause
-- log.lua - the log, on standard error.
local uv = require('luv')

local log = {}

local LINE_MAX = 1000 -- bytes
local SAID_MAX = 1000 -- messages to remember, so that they are not repeated
local LINES_MAX, LINES_MS = 20, 60000 -- how many lines clients can cause, in how much time

-- Write a line: the arguments, joined by ': '.
function log.line(...)
	local line = string.gsub(table.concat({ ... }, ': '), '%c', '?')
	io.stderr:write('conncount-policyd: ', string.sub(line, 1, LINE_MAX), '\n')
end

-- Log why, and exit with a status: 2 for bad usage or bad input, 1 for a failure.
function log.die(status, ...)
	log.line(...)
	os.exit(status, true)
end

-- The messages that log.once() has logged. A reload forgets them.
local said, said_count = {}, 0
local lines = { since = -LINES_MS, logged = 0, suppressed = 0 }

-- Begin a new interval if the last one is over.
function log.renew()
	if uv.now() - lines.since < LINES_MS then
		return
	end
	if lines.suppressed > 0 then
		log.line(('%d messages about requests were suppressed'):format(lines.suppressed))
	end
	lines.since, lines.logged, lines.suppressed = uv.now(), 0, 0
end

-- Log a message that a client causes: each one once, and at most LINES_MAX in LINES_MS.
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

-- Forget the messages, so that they are logged again.
function log.reset()
	said, said_count = {}, 0
end

-- Whether renew() still has suppressed messages to report.
function log.suppresses()
	return lines.suppressed > 0
end

return log
