-- SPDX-License-Identifier: BSD-2-Clause
-- msys.lua: the parts of Momentum's Lua interface that this server has: msys.core,
-- msys.registerModule(), msys.expandMacro(), the validation context, and esmtp_capability_add() and
-- esmtp_capability_remove() of accept constructs. The counts are conncount's.
local conncount = require('conncount')
local audit = require('msys.audit') -- makes the global msys

local core = {
	VALIDATE_CONT = 0, -- continue with the next module of this phase
	VALIDATE_DONE = 1, -- no other module in this phase
	VCTX_CONN = 0,     -- context variables that last as long as the session
	VCTX_MESS = 1,     -- or as long as the message
}

-- The phases, and which of (msg, str) their hooks get before (accept, vctx).
local hooks = {
	validate_connect = {},
	validate_ehlo = { 'str' },
	validate_mailfrom = { 'str' },
	validate_rcptto = { 'msg', 'str' },
	validate_data = { 'msg' },
	validate_data_spool = { 'msg' },
}

local modules = {}     -- as registered: { name, functions }
local current          -- the session of the running phase
local sessions = setmetatable({}, { __mode = 'k' }) -- [accept construct] = session

local function warn(...)
	io.stderr:write('server: policy: ', string.format(...), '\n')
end

-- Make a text safe for a reply: a line break would begin another reply.
local function printable(text)
	return (tostring(text):gsub('%c', ' '))
end

-- --- the validation context ----------------------------------------------------------------

local vctx_methods = {}

-- vctx:set_code(code, text): refuse the client's request. A code below 400 refuses nothing.
function vctx_methods:set_code(code, text)
	code = tonumber(code)
	if not code or code < 200 or code > 599 then
		error('set_code: bad argument #1 (code): not an SMTP reply code', 2)
	end
	self.code, self.text = math.floor(code), text or ''
end

-- vctx:disconnect(code, text): refuse, and end the session.
function vctx_methods:disconnect(code, text)
	self:set_code(code or 421, text or '4.7.0 closing connection')
	self.gone = true
end

-- vctx:tarpit(seconds): delay the reply.
function vctx_methods:tarpit(seconds)
	self.hold = self.hold + math.max(0, math.ceil(tonumber(seconds) or 0))
end

function vctx_methods:get(scope, key)
	return self[scope][key]
end

function vctx_methods:set(scope, key, value)
	self[scope][key] = value
end

-- msys.expandMacro(text): expands %{vctx_conn:NAME}, %{vctx_mess:NAME}, and %{spfv1:i}, the client's
-- address. Other macros expand to nothing.
local function expand(macro)
	local scope, name = macro:match('^(.-):(.*)$')
	local value

	if scope == 'vctx_conn' then
		value = current.vctx[core.VCTX_CONN][name]
	elseif scope == 'vctx_mess' then
		value = current.vctx[core.VCTX_MESS][name]
	elseif macro == 'spfv1:i' then
		value = tostring(current.accept):match(': (%S+) to')
	end
	return value == nil and '' or tostring(value)
end

-- --- what policies call --------------------------------------------------------------------

msys.core = core

function msys.expandMacro(text)
	return (text:gsub('%%{([^}]*)}', expand))
end

-- msys.registerModule(name, functions): the functions have the names of phases, or init and deinit.
-- In a phase, self is the module's own table for this session.
function msys.registerModule(name, functions)
	local usable

	for key, value in pairs(functions) do
		if hooks[key] or key == 'init' or key == 'deinit' then
			usable = true
		elseif type(value) == 'function' and tostring(key):find('^validate_') then
			error(('module %s: this server does not call %s'):format(name, key), 2)
		end
	end
	if not usable then
		error(('no usable methods found for module %s in registerModule call'):format(name), 2)
	end
	modules[#modules + 1] = { name = name, functions = functions }
end

-- Modules that policies require: they are complete here already.
for _, name in ipairs{ 'msys.core', 'msys.extended.vctx', 'msys.extended.message' } do
	package.preload[name] = function() return core end
end

-- Methods of accept constructs that conncount does not have.
function conncount.methods:esmtp_capability_add(name)
	local capabilities = sessions[self].capabilities

	capabilities[#capabilities + 1] = printable(name)
end

function conncount.methods:esmtp_capability_remove(name)
	local capabilities = sessions[self].capabilities

	for i = #capabilities, 1, -1 do
		if capabilities[i] == name then
			table.remove(capabilities, i)
		end
	end
end

-- --- what the server calls -----------------------------------------------------------------

local server = {}

function server.init()
	for _, module in ipairs(modules) do
		if module.functions.init and module.functions:init() ~= true then
			error(('module %s: init() did not return true'):format(module.name), 0)
		end
	end
end

function server.deinit()
	for _, module in ipairs(modules) do
		if module.functions.deinit and module.functions:deinit() ~= true then
			warn('module %s: deinit() did not return true', module.name)
		end
	end
end

-- Begin a session with an accept construct.
function server.begin(accept)
	local session = {
		accept = accept,
		vctx = setmetatable({ [core.VCTX_CONN] = {}, [core.VCTX_MESS] = {} },
			{ __index = vctx_methods }),
		capabilities = { 'PIPELINING', '8BITMIME' },
		selves = {},
	}

	for i, module in ipairs(modules) do
		session.selves[i] = setmetatable({}, { __index = module.functions })
	end
	sessions[accept] = session
	return session
end

-- Call one module's hook. Returns whether to call the next module's.
local function call(session, i, hook, argument)
	local name = modules[i].name
	local arguments, n = {}, 0
	local ok, result

	for _, kind in ipairs(hooks[hook]) do
		n = n + 1
		arguments[n] = kind == 'msg' and session.message or argument
	end
	arguments[n + 1], arguments[n + 2] = session.accept, session.vctx
	ok, result = xpcall(modules[i].functions[hook], debug.traceback, session.selves[i],
		table.unpack(arguments, 1, n + 2))
	if not ok then
		warn('%s: %s: %s', name, hook, result)
	elseif result ~= core.VALIDATE_CONT and result ~= core.VALIDATE_DONE then
		warn('%s: %s: returned neither VALIDATE_CONT nor VALIDATE_DONE', name, hook)
	end
	return result ~= core.VALIDATE_DONE
end

-- Run one phase. Returns the code and text of a refusal (0: continue), whether to disconnect, and how
-- many seconds to wait first. If EHLO continues, the text has its capabilities, one per line.
function server.run(session, hook, argument)
	local vctx = session.vctx

	vctx.code, vctx.text, vctx.gone, vctx.hold = 0, '', false, 0
	if hook == 'validate_ehlo' then
		vctx[core.VCTX_CONN].ehlo_string = argument
	elseif hook == 'validate_mailfrom' then
		vctx[core.VCTX_MESS], session.message = {}, {}
	end
	current = session
	audit.current(session.accept) -- the session of which msys.audit takes the client's address
	for i in ipairs(modules) do
		if modules[i].functions[hook] and not call(session, i, hook, argument) then
			break
		end
	end
	audit.current(nil)
	current = nil
	if vctx.code >= 400 or vctx.gone then
		return vctx.code, printable(vctx.text), vctx.gone, vctx.hold
	end
	return 0, hook == 'validate_ehlo' and table.concat(session.capabilities, '\n') or '', false,
		vctx.hold
end

return server
