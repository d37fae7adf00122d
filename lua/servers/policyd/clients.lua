-- SPDX-License-Identifier: BSD-2-Clause
-- Clients: which of them are accepted, for how long, and how many.
local uv = require('luv')
local connections = require('policyd.connections')
local log = require('policyd.log')

local clients = {}

local CONNECTIONS_MIN = 4 -- with fewer it does not start
local RESERVED = 16 -- file descriptors for conncount's maps, and for what is opened briefly
local PEER_PART = 4 -- a host may have the 4th part of the connections; this one, all
local SWEEP_MS = 1000
local REQUEST_MS = 10000 -- for a request to come, once it has begun
local IDLE_MS = 330000 -- between two requests: Postfix closes after 300 s
local WRITE_MS = 5000 -- for a client to read its answer
local STOP_MS = 500 -- for all of them, when this ends
local QUIET_MS = 1000 -- a connection that is longer without a request makes room for another
local BUSY_MS = 10000 -- and so does one that is open longer
local FULL_MS = 600000 -- between two messages that there was no room

local connections_max = connections.MAX
local peers = {} -- how many connections each address of another host has

-- Listeners with a connection that waits, for room or for the next round of the event loop. libuv
-- accepts no other until that one is taken.
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

-- What is wrong with a connection that has no turn and no delay: a message, or true if it is only
-- to be closed. `crowded`: others wait for room.
local function overdue(connection, now, crowded)
	local quiet = now - connection.since

	if crowded and (quiet >= QUIET_MS or now - connection.opened >= BUSY_MS) then
		return true
	elseif connection.blocked then
		return quiet >= WRITE_MS and 'a client that does not read its answer was disconnected'
	elseif #connection.received >= connection.at then
		return quiet >= REQUEST_MS and 'a client that does not send all of a request was disconnected'
	end
	return quiet >= (connection.served > 0 and IDLE_MS or REQUEST_MS)
end

local sweeper = uv.new_timer()

-- Once in a second: close what is overdue, and go on with what is held up.
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

-- The address of a client on another host; nil: it is on this one.
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
			log.once('too many connections, which are deferred', peer)
		end
	end
	if connections.count() == 0 then
		sweeper:start(SWEEP_MS, SWEEP_MS, sweep)
	end
	connections.add(stream, peer, refused)
end

-- One connection is accepted in each round of the event loop. libuv goes on as long as there are any,
-- so that clients that connect again and again would hold up the answers to others.
local rounds = uv.new_prepare()
local accepted = false -- one, in this round

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
		log.line(('all %d connections are in use: clients wait, and quiet connections are closed')
			:format(connections_max) .. ' (raise LimitNOFILE= if there are fewer than clients)')
	end
end

-- Accept from listeners that have a connection waiting, if there is room now.
function accept_waiting()
	for listener, new_stream in pairs(held) do
		if connections.count() < connections_max then
			held[listener] = nil
			accept(listener, new_stream)
		end
	end
end

-- How many connections there may be, by the limit of file descriptors.
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

-- Take no more connections, and answer at once what is delayed. Those that are open are closed when all
-- is sent, or when that takes too long.
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
