-- SPDX-License-Identifier: BSD-2-Clause
-- clients.lua - accepts clients, limits how many there are, and for how long.
local uv = require('luv')
local connections = require('policyd.connections')
local log = require('policyd.log')

local clients = {}

local CONNECTIONS_MIN = 4 -- the program does not start with fewer
local RESERVED = 16 -- file descriptors for conncount's maps, and for files that are open briefly
local PEER_PART = 4 -- another host can have a quarter of the connections; this host, all
local SWEEP_MS = 1000
local REQUEST_MS = 10000 -- for a client to send a request completely
local IDLE_MS = 330000 -- between two requests; Postfix closes after 300 s
local WRITE_MS = 5000 -- for a client to read its answer
local STOP_MS = 500 -- for all clients, when the program ends
local QUIET_MS = 1000 -- a connection without a request for longer makes room for another
local BUSY_MS = 10000 -- and so does one that is open for longer
local FULL_MS = 600000 -- between two messages that all connections are in use

local connections_max = connections.MAX
local peers = {} -- [address of another host] = its number of connections

-- Listeners with a connection that waits for room, or for the next round of the event loop. Until it is
-- accepted, libuv accepts no other.
local held, full_logged = {}, -FULL_MS
local accept_waiting

connections.when_closed(function(connection)
	if connection.peer then
		local n = peers[connection.peer] - 1
		peers[connection.peer] = n > 0 and n or nil
	end
	if connections.count() == connections_max - 1 then
		accept_waiting()
	end
end)

-- Why to close a connection that has no turn and no delay: a message, or true to close it silently;
-- false to keep it. crowded: other clients wait for room.
local function overdue(connection, now, crowded)
	local quiet = now - connection.since

	if crowded and (quiet >= QUIET_MS or now - connection.opened >= BUSY_MS) then
		return true
	elseif connection.blocked then
		return quiet >= WRITE_MS and 'disconnected a client that did not read its answer'
	elseif #connection.received >= connection.at then
		return quiet >= REQUEST_MS and 'disconnected a client that sent only part of a request'
	end
	return quiet >= (connection.served > 0 and IDLE_MS or REQUEST_MS)
end

local sweeper = uv.new_timer()

-- Once a second: close connections that are overdue, and continue those that are held up.
local function sweep()
	local now, crowded = uv.now(), next(held) and connections.count() == connections_max

	log.renew()
	for _, connection in ipairs(connections.list()) do
		connection.reads = 0
		if connection.timer then
			if connection.delayed and crowded then
				connections.hurry(connection)
			end
		elseif not connection.queued then
			local why = overdue(connection, now, crowded)
			if why == true then
				connections.close(connection)
			elseif why then
				connections.disconnect(connection, why)
			else
				connections.proceed(connection)
			end
		end
	end
	if connections.count() == 0 and not log.suppresses() then
		sweeper:stop()
	end
end

-- The address of a client on another host; nil for a client on this host.
local function remote_peer(stream, new_stream)
	local name = new_stream == uv.new_tcp and stream:getpeername()
	local address = name and name.ip:gsub('^::ffff:', '')
	return address and address ~= '::1' and not address:find('^127%.') and address or nil
end

local function accept(listener, new_stream)
	local stream, refused = new_stream(), nil

	if not listener:accept(stream) then
		return stream:close()
	end
	if new_stream == uv.new_tcp then
		stream:nodelay(true)
	end
	local peer = remote_peer(stream, new_stream)
	if peer then
		peers[peer] = (peers[peer] or 0) + 1
		if peers[peer] > connections_max // PEER_PART then
			refused = true
			log.once('requests are deferred: too many connections from one host', peer)
		end
	end
	if connections.count() == 0 then
		sweeper:start(SWEEP_MS, SWEEP_MS, sweep)
	end
	connections.add(stream, peer, refused)
end

-- Each round of the event loop accepts one connection. libuv alone would accept as long as there are
-- any, and clients that connect again and again would hold up the answers to others.
local rounds = uv.new_prepare()
local accepted = false -- whether this round has accepted one

local function next_round()
	rounds:stop()
	accepted = false
	accept_waiting()
end

function clients.on_connection(listener, new_stream)
	local room = connections.count() < connections_max

	rounds:start(next_round)
	if room and not accepted then
		accepted = true
		return accept(listener, new_stream)
	end
	held[listener] = new_stream
	if not room and uv.now() - full_logged >= FULL_MS then
		full_logged = uv.now()
		log.line(('all %d connections are in use: new clients wait, and idle connections are closed')
			:format(connections_max) .. ' (raise LimitNOFILE= if that is too few for your clients)')
	end
end

-- Accept the connections that wait, if there is room now.
function accept_waiting()
	for listener, new_stream in pairs(held) do
		if connections.count() < connections_max then
			held[listener] = nil
			accept(listener, new_stream)
		end
	end
end

-- Find out how many connections the limit on file descriptors permits.
function clients.count_descriptors()
	local limits = io.open('/proc/self/limits')
	local most = limits and tonumber(limits:read('a'):match('Max open files%s+(%d+)')) or 1024
	local open = 0

	if limits then
		limits:close()
	end
	local directory = uv.fs_scandir('/proc/self/fd')
	while directory and uv.fs_scandir_next(directory) do
		open = open + 1
	end
	connections_max = math.min(connections.MAX, most - open - RESERVED)
	if connections_max < CONNECTIONS_MIN then
		log.die(1, ('a limit of %d open files is too low (LimitNOFILE=, or ulimit -n): %d are needed')
			:format(most, open + RESERVED + CONNECTIONS_MIN))
	end
end

-- Accept no more connections, and send delayed answers now. Each connection is closed when its answers
-- are sent; after STOP_MS, all are.
function clients.stop()
	local all, deadline = connections.list(), uv.new_timer()

	held = {}
	sweeper:close()
	connections.stop()
	for _, connection in ipairs(all) do
		connection.ended = true
		if connection.timer then
			connections.hurry(connection)
		else
			connections.proceed(connection)
		end
	end
	deadline:start(STOP_MS, 0, function()
		for _, connection in ipairs(all) do
			connections.close(connection)
		end
		deadline:close()
	end)
	deadline:unref()
end

return clients
