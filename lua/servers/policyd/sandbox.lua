-- SPDX-License-Identifier: BSD-2-Clause
-- What a policy may use.
--
-- A policy is Lua that somebody wrote, perhaps with a mistake: while it runs, no client is
-- answered. So it has neither files nor processes, and it ends. A hook looks at the time and the
-- memory that it takes. No hook runs inside a function of C, nor in a finalizer: the first are
-- limited by their arguments, the second refused.
local sandbox = {}

local SECONDS_MAX = 1 -- of processor time
local MEMORY_MAX = 32768 -- KiB
local HOOK_STEPS = 10 -- instructions of Lua between two looks: a text may be doubled by each fourth
local CLOCK_LOOKS = 16 -- looks between two at the clock, which costs more
local NESTED_MAX = 100 -- protected calls within one another
local MATCH_MAX = 1e8 -- steps of matching a pattern: about half a second
local TEXT_MAX = 1 << 20 -- bytes that string.rep() makes
local ELEMENTS_MAX = 1000000 -- of a table for a function of `table`

local function copy(from, names)
	local to = {}
	for name in string.gmatch(names, '%S+') do
		to[name] = from[name]
	end
	return to
end

-- Raise an error if matching may take too long. With k repetitions in the pattern there are
-- about as many ways to try as to choose k + 1 places in the text.
local function check_match(text, pattern)
	if type(text) ~= 'string' or type(pattern) ~= 'string' then
		return -- a number is short; all else is an error
	end
	local plain = string.gsub(pattern, '%%[^bf%d]', '')
	local _, repeats = string.gsub(plain, '[*+%-]', '')
	local _, scans = string.gsub(plain, '%%', '')
	local _, optional = string.gsub(plain, '%?', '')
	local steps = 2.0 ^ optional
	for i = 1, repeats + scans + 1 do
		steps = steps * (#text + i) / i
	end
	if steps > MATCH_MAX or #text * #pattern > MATCH_MAX then
		error(('takes too long: a pattern with %d repetitions, a text of %d characters')
			:format(repeats + scans, #text), 3)
	end
end

-- The length of a text as string.rep() accepts it; 0 for a value that it refuses. Calls no metamethod.
local function text_length(value)
	return (type(value) == 'string' or type(value) == 'number') and #tostring(value) or 0
end

local function check_rep(text, n, separator)
	local length = text_length(text) + text_length(separator)
	if (tonumber(n) or 0) * length > TEXT_MAX then
		error(('takes too long: a text of more than %d bytes'):format(TEXT_MAX), 3)
	end
end

local function check_elements(list)
	if type(list) == 'table' and (debug.getmetatable(list) or rawlen(list) > ELEMENTS_MAX) then
		error(('takes too long: a table with a metatable, or of more than %d elements')
			:format(ELEMENTS_MAX), 3)
	end
end

-- The environment of a policy. `watch.why` is set when it took too long; `watch.start` makes a
-- coroutine of a function, which `watch.hook` then looks after.
function sandbox.environment(path)
	local watch, start, memory = {}, os.clock(), collectgarbage('count')
	local environment = copy(_G, '_VERSION assert error ipairs next pairs print rawequal rawget'
		.. ' rawlen rawset select tonumber tostring type')

	-- Where the policy is.
	local function place()
		local level, info = 4, debug.getinfo(4, 'Sl')
		while info and info.source ~= '@' .. path do
			level = level + 1
			info = debug.getinfo(level, 'Sl')
		end
		return info and ('%s:%d: '):format(info.short_src, info.currentline) or path .. ': '
	end

	local function end_with(why)
		watch.why = watch.why or place() .. why
		error(watch.why, 0)
	end

	local function look_at_clock()
		if watch.why or os.clock() - start > SECONDS_MAX then
			end_with('takes too long: is there a loop without an end?')
		end
	end

	local looks = 0
	local function look()
		if not watch.why and collectgarbage('count') - memory > MEMORY_MAX then
			collectgarbage()
			if collectgarbage('count') - memory > MEMORY_MAX then
				end_with('takes too much memory')
			end
		end
		looks = looks + 1
		if watch.why or looks % CLOCK_LOOKS == 0 then
			look_at_clock()
		end
	end

	-- A protected call of a function, of which nothing protects from the end of the time. The hook
	-- has no room to run where calls are nested too deeply; this has.
	local depth = 0
	local function leave(...)
		depth = depth - 1
		look_at_clock()
		return ...
	end
	local function protected(call, ...)
		if depth == NESTED_MAX then
			error('protected calls are nested too deeply', 3)
		end
		depth = depth + 1
		return leave(call(...))
	end

	local function limited(f, check)
		return function(...)
			check(...)
			look_at_clock()
			return f(...)
		end
	end

	function environment.pcall(...)
		return protected(pcall, ...)
	end

	function environment.xpcall(f, handler, ...)
		return protected(xpcall, f, function(...)
			look_at_clock()
			return handler(...)
		end, ...)
	end

	function environment.load(text, name, _, env)
		if type(text) ~= 'string' then
			error('load: a string expected', 2)
		end
		return load(text, name, 't', env or environment)
	end

	function environment.setmetatable(object, metatable)
		if type(metatable) == 'table' and rawget(metatable, '__gc') ~= nil then
			error('setmetatable: a policy has no finalizers', 2)
		end
		return setmetatable(object, metatable)
	end

	function watch.start(f)
		local thread = coroutine.create(f)
		debug.sethook(thread, look, '', HOOK_STEPS)
		return thread
	end

	local function results(good, ...)
		if not good then
			error(..., 0)
		end
		return ...
	end

	environment.coroutine = copy(coroutine, 'isyieldable running status yield')
	environment.coroutine.create = watch.start
	function environment.coroutine.resume(...)
		return protected(coroutine.resume, ...)
	end
	function environment.coroutine.wrap(f)
		local thread = watch.start(f)
		return function(...)
			return results(protected(coroutine.resume, thread, ...))
		end
	end

	environment.string = copy(string, 'byte char format len lower reverse sub upper')
	for _, name in ipairs{ 'find', 'gmatch', 'gsub', 'match' } do
		environment.string[name] = limited(string[name], check_match)
	end
	environment.string.rep = limited(string.rep, check_rep)
	environment.table = copy(table, 'pack')
	for _, name in ipairs{ 'concat', 'insert', 'remove', 'sort', 'unpack' } do
		environment.table[name] = limited(table[name], check_elements)
	end
	environment.math = {}
	for name, value in pairs(math) do
		environment.math[name] = value
	end
	environment.os = copy(os, 'clock date difftime getenv time')
	environment._G = environment
	return environment, watch
end

-- Call a function of the policy's. Returns nil, or what went wrong: it names the file.
function sandbox.run(path, watch, f, strings)
	local metatable = debug.getmetatable('')
	local all_strings = metatable.__index
	local thread = watch.start(f)

	metatable.__index = strings
	local good, why = coroutine.resume(thread)
	if good and coroutine.status(thread) == 'suspended' then
		good, why = false, path .. ': yields outside of a coroutine'
	elseif not good and type(why) ~= 'string' then
		local told, text = coroutine.resume(watch.start(tostring), why)
		why = path .. ': ' .. (told and text or 'an error that is a ' .. type(why))
	end
	metatable.__index = all_strings
	return watch.why or not good and why or nil
end

return sandbox
