-- SPDX-License-Identifier: BSD-2-Clause
-- conncount.ask returns the count; or nil, and logs each reason once a minute, at most 20 reasons.
local expect = require('expect')

local now = 1000
os.time = function()
	return now
end

local said = {}
local ask = require('conncount.ask')(function(why, errno)
	table.insert(said, why .. ' ' .. tostring(errno))
end)

local function told()
	local text = table.concat(said, '; ')
	said = {}
	return text
end

local function fails(why, errno)
	return nil, why, errno
end

local ONE_NIL = { n = 1 }

expect.returns({ 3 }, ask, math.max, 2, 3)
expect.returns({ 0 }, ask, function() return 0, 'not exact' end)
expect.returns({ '' }, told)

expect.returns(ONE_NIL, ask, fails, 'not loaded', 2)
expect.returns(ONE_NIL, ask, fails, 'not loaded', 2)
expect.returns(ONE_NIL, ask, fails, 'not permitted', 13)
expect.returns({ 'not loaded 2; not permitted 13' }, told)

-- An error with a text, and one without.
expect.returns(ONE_NIL, ask, error, 'bad argument', 0)
expect.returns({ 'bad argument nil' }, told)
expect.returns(ONE_NIL, ask, error, {})
expect.returns({ 1 }, function() return #said end)
told()

now = now + 59
ask(fails, 'not loaded', 2)
expect.returns({ '' }, told)
now = now + 1
ask(fails, 'not loaded', 2)
ask(fails, 'not loaded', 2)
expect.returns({ 'not loaded 2' }, told)

-- Reasons that quote the client: 20 within a minute, with the one above.
for i = 1, 100 do
	ask(fails, 'no network: ' .. i)
end
expect.returns({ 19 }, function() return #said end)
told()
now = now + 59
ask(fails, 'no network: 101')
expect.returns({ '' }, told)
now = now + 1
ask(fails, 'no network: 102')
expect.returns({ 'no network: 102 nil' }, told)

-- None is kept for longer than it matters.
collectgarbage()
local before = collectgarbage('count')
for i = 1, 10000 do
	now = now + 3
	ask(fails, ('no network: %d'):format(i))
end
said = {}
collectgarbage()
expect.returns({ true }, function() return collectgarbage('count') - before < 100 end)

-- A clock that is set back does not silence it.
now = now - 3600
ask(fails, 'not loaded', 2)
expect.returns({ 'not loaded 2' }, told)
ask(fails, 'not loaded', 2)
expect.returns({ '' }, told)
