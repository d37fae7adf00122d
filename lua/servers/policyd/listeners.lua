-- SPDX-License-Identifier: BSD-2-Clause
-- listeners.lua - the sockets on which the service listens.
local uv = require('luv')
local conncount = require('conncount')
local clients = require('policyd.clients')
local log = require('policyd.log')

local listeners = {}

local BACKLOG = 1024
local UNIX_PATH_MAX = 107 -- bytes of the path of a unix socket

local function new_pipe()
	return uv.new_pipe(false)
end

local handles = {}

local function listen(name, listener, new_stream)
	local good, why = listener:listen(BACKLOG, function(failure)
		if failure then
			log.line(name, 'cannot accept a connection', failure)
		else
			clients.on_connection(listener, new_stream)
		end
	end)
	if not good then
		log.die(1, name, 'cannot listen', why)
	end
	table.insert(handles, listener)
end

-- Whether a program listens at a unix socket.
local function answers(path)
	local probe, result = new_pipe(), nil

	probe:connect(path, function(why)
		result = not why
		probe:close()
	end)
	while result == nil do
		uv.run('once')
	end
	return result
end

local function listen_unix(path)
	local listener = new_pipe()
	local stat = uv.fs_stat(path)

	if #path > UNIX_PATH_MAX then -- libuv would cut it
		log.die(2, ("--listen '%s': longer than %d bytes, the limit for a unix socket")
			:format(path, UNIX_PATH_MAX))
	end

	-- A program that crashed left its socket.
	if stat and stat.type == 'socket' and not answers(path) then
		uv.fs_unlink(path)
	end
	local good, why = listener:bind(path)
	if not good then
		log.die(1, path, 'cannot listen', why)
	end
	listener:chmod('rw') -- so that mail servers' users can connect
	listen(path, listener, new_pipe)
end

local function listen_tcp(text)
	local listener = uv.new_tcp()
	local parsed, session = pcall(conncount.accept, { remote = '::', ['local'] = text })

	if not parsed then
		log.die(2, session:gsub('^accept: bad field .local.', '--listen', 1)
			.. ' (--listen takes the path of a unix socket, or ADDRESS:PORT)')
	end
	local host, port = tostring(session):match(' to %[?(.-)%]?:(%d+)$')
	local good, why = listener:bind(host, math.tointeger(port))
	if not good then
		log.die(1, text, 'cannot listen', why)
	end
	listen(text, listener, uv.new_tcp)
end

-- Listen on the sockets that a service manager passed. Returns false if there are none.
function listeners.listen_inherited()
	local FIRST = 3 -- SD_LISTEN_FDS_START
	local n = tonumber(os.getenv('LISTEN_FDS') or '')

	if not n or tonumber(os.getenv('LISTEN_PID') or '') ~= uv.os_getpid() then
		return false
	end
	for fd = FIRST, FIRST + n - 1 do
		local new_stream = ({ tcp = uv.new_tcp, pipe = new_pipe })[uv.guess_handle(fd)]
		local name = ('file descriptor %d'):format(fd)
		if not new_stream then
			log.die(1, name, 'not a stream socket')
		end
		local listener = new_stream()
		local good, why = listener:open(fd)
		if not good then
			log.die(1, name, 'cannot listen', why)
		end
		listen(name, listener, new_stream)
	end
	return n > 0
end

-- Listen on the path of a unix socket, or on ADDRESS:PORT.
function listeners.listen(address)
	if address:find('/', 1, true) then
		listen_unix(address)
	else
		listen_tcp(address)
	end
end

function listeners.close()
	for _, handle in ipairs(handles) do
		handle:close()
	end
end

return listeners
