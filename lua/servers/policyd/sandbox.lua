-- SPDX-License-Identifier: BSD-2-Clause
-- sandbox.lua - runs a policy file with few functions, and with limits on time and memory.
--
-- No client gets an answer while a policy runs, and a policy can contain a mistake. So it has no
-- access to files and processes, and it always ends. A debug hook checks its time and memory. Hooks
-- do not run in C functions and finalizers: the arguments of C functions are limited, and finalizers
-- are refused.
local sandbox = {}

local SECONDS_MAX = 1 -- of processor time
local MEMORY_MAX = 32768 -- KiB
local HOOK_STEPS = 10 -- Lua instructions between two checks: every fourth can double a string
local CLOCK_LOOKS = 16 -- checks between two readings of the clock, which cost more
local NESTED_MAX = 100 -- protected calls within each other
local MATCH_MAX = 1e8 -- steps to match a pattern: about half a second
local TEXT_MAX = 1 << 20 -- bytes of a result of string.rep()
local ELEMENTS_MAX = 1000000 -- of a table that a function of `table` gets

local function copy(from, names)
	local to = {}
	for name in string.gmatch(names, '%S+') do
		to[name] = from[name]
	end
	return to
end

-- Raise an error if matching may take too long. A pattern with k repetitions can match in about as
-- many ways as one can choose k + 1 places in the text.
local function check_match(text, pattern)
	if type(text) ~= 'string' or type(pattern) ~= 'string' then
		return -- a number is short; the function itself refuses other types
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

-- The length of an argument of string.rep(); 0 for a value that it refuses. Calls no metamethod.
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

-- Make the environment of a policy. Returns it, and a table `watch`: `watch.start` makes a coroutine
-- of a function, with the hook that checks limits; `watch.why` says which limit it exceeded.
function sandbox.environment(path)
	local watch, start, memory = {}, os.clock(), collectgarbage('count')
	local environment = copy(_G, '_VERSION assert error ipairs next pairs print rawequal rawget'
		.. ' rawlen rawset select tonumber tostring type')

	-- Where the policy is now, as FILE:LINE.
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
			end_with('takes too long: is there an endless loop?')
		end
	end

	local looks = 0
	local function look()
		if not watch.why and collectgarbage('count') - memory > MEMORY_MAX then
			collectgarbage()
			if collectgarbage('count') - memory > MEMORY_MAX then
				end_with('uses too much memory')
			end
		end
		looks = looks + 1
		if watch.why or looks % CLOCK_LOOKS == 0 then
			look_at_clock()
		end
	end

	-- pcall() and the like, which cannot catch the end of the time limit. If calls are nested too
	-- deeply, the hook has no room to run; leave() has.
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

	-- What a call has returned; or its error, which gets the position in the policy if it has none.
	local function relay(good, ...)
		local why = ...
		if good then
			return ...
		elseif type(why) == 'string' and not why:find('^[^\n]-:%d+: ') then
			error(why, 2)
		end
		error(why, 0)
	end

	local function limited(f, check)
		return function(...)
			check(...)
			look_at_clock()
			return relay(pcall(f, ...))
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
			error('setmetatable: a policy cannot have finalizers', 2)
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

-- Call a function of the policy, with `strings` as the methods of strings. Returns nil, or an error
-- message, which names the file.
function sandbox.run(path, watch, f, strings)
	local metatable = debug.getmetatable('')
	local all_strings = metatable.__index
	local thread = watch.start(f)

	metatable.__index = strings
	local good, why = coroutine.resume(thread)
	if good and coroutine.status(thread) == 'suspended' then
		good, why = false, path .. ': yields outside a coroutine'
	elseif not good and type(why) ~= 'string' then
		local told, text = coroutine.resume(watch.start(tostring), why)
		why = path .. ': ' .. (told and text or 'the error value is a ' .. type(why))
	end
	metatable.__index = all_strings
	return watch.why or not good and why or nil
end

return sandbox
