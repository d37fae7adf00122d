-- SPDX-License-Identifier: BSD-2-Clause
-- expect: assertions for the Lua suites. The first that fails ends the script.
local expect = {}
local unpack = table.unpack or unpack

-- Lua 5.1 has one kind of number.
local kind = math.type or type
local INTEGER = kind(1)

local function pack(...)
	return { n = select('#', ...), ... }
end

local function show(...)
	local shown = pack(...)
	for i = 1, shown.n do
		local value = shown[i]
		shown[i] = type(value) == 'string' and ('%q'):format(value) or tostring(value)
	end
	return table.concat(shown, ', ')
end

-- f(...) raises a message that starts with the first text, behind the position that Lua puts there,
-- and contains all the others.
function expect.raises(texts, f, ...)
	local result = pack(pcall(f, ...))
	if result[1] then
		error(('(%s) raised nothing, returned %s'):format(show(...),
			show(unpack(result, 2, result.n))), 2)
	end
	for i, text in ipairs(texts) do
		local message = tostring(result[2])
		local at = message:find(text, 1, true)
		local start = at == 1 or at and message:sub(1, at - 1):find('^[^:]+:%d+: $')
		if not at or (i == 1 and not start) then
			error(('(%s) raised %q; %q is missing'):format(show(...), result[2], text), 2)
		end
	end
end

-- f(...) returns exactly the given values, packed in a table with its n.
function expect.returns(expected, f, ...)
	local result = pack(f(...))
	local same = result.n == (expected.n or #expected)
	for i = 1, result.n do
		same = same and rawequal(result[i], expected[i])
			and kind(result[i]) == kind(expected[i])
	end
	if not same then
		error(('(%s) returned %s, not %s'):format(show(...),
			show(unpack(result, 1, result.n)),
			show(unpack(expected, 1, expected.n))), 2)
	end
end

-- f(...) returns nil, a message that is not empty, and this errno.
function expect.fails(errno, f, ...)
	local result = pack(f(...))
	if result.n ~= 3 or result[1] ~= nil or type(result[2]) ~= 'string' or result[2] == ''
		or kind(result[3]) ~= INTEGER or result[3] ~= errno then
		error(('(%s) returned %s, not nil, message, %d'):format(show(...),
			show(unpack(result, 1, result.n)), errno), 2)
	end
	return result[2]
end

return expect
