-- SPDX-License-Identifier: BSD-2-Clause
-- connections.lua - connections, and the protocol on them.
--
-- A connection has
--   stream     libuv's stream
--   received   received text; the requests before the index `at` have their answers
--   partial    `received` has no complete request
--   timer      runs while an answer is delayed, or before the next decision on a session
--   delayed    that answer
--   waiting    that session
--   blocked    the last answer is not written completely, because the client does not read
--   queued     it waits for its turn
--   paused     it is not read, because enough requests wait already
--   ended      the client will send no more
--   refused    its peer has too many connections: it gets one answer, to try again later
--   peer       the client's address, if it is on another host
--   opened     when it was accepted
--   since      when its last request began, or its last answer was sent
--   served     when it had its last turn
--   reads      how often it was read since the last sweep or turn
--   session    the last session with a decision; Postfix uses one connection while a session lasts
--
-- No client can take more than a part of the time, of the memory, or of the connections.
local uv = require('luv')
local decisions = require('policyd.decisions')
local log = require('policyd.log')
local sessions = require('policyd.sessions')

local connections = { MAX = 4096 }

local PAUSE, PAUSE_MAX = 0.005, 0.5 -- seconds before the next decision; each pause is twice the last
local REQUEST_MAX = 16384 -- bytes of a request; Postfix sends up to about 9,000
local SHORT = 4096 -- bytes that are searched at once for the end of a request
local RECEIVED_MAX = 8 << 20 -- bytes received on all connections; if more, each has only its share
local READS_MAX = 50 -- reads of one request, between two sweeps
local FRESH_MS = 8 -- a client without a turn for that long comes first
local TURN_NS = 200000 -- for the others, before the event loop goes on
local TRY_LATER = 'defer_if_permit 4.3.2 too many connections to conncount-policyd'

local open, open_count = {}, 0
local on_close -- called with each closed connection
local received_bytes = 0 -- on all connections
local stopping = false

function connections.close(connection)
	if not open[connection] then
		return
	end
	open[connection] = nil
	open_count = open_count - 1
	received_bytes = received_bytes - #connection.received
	connection.received = '' -- a queue can still refer to the connection
	if connection.timer then
		connection.timer:close()
		connection.timer = nil
	end
	if not connection.stream:is_closing() then
		connection.stream:close()
	end
	on_close(connection)
end

-- Disconnect a client that breaks the protocol, and log why.
function connections.disconnect(connection, why)
	log.once(why)
	connections.close(connection)
end

-- --- turns ---------------------------------------------------------------------------------------
--
-- A connection gets one answer in a turn. First come clients without a recent answer; last, clients
-- that send long texts, or many requests without waiting for the answers.

local function new_queue()
	return { first = 1, last = 0 }
end

local function push(queue, connection)
	queue.last = queue.last + 1
	queue[queue.last] = connection
end

-- Returns nil if the queue is empty.
local function pop(queue)
	local connection = queue[queue.first]
	if connection then
		queue[queue.first] = nil
		queue.first = queue.first + 1
	end
	return connection
end

local fresh, recent, many = new_queue(), new_queue(), new_queue()
local turns = uv.new_idle()
local take_turns

-- The index of the end of the next request, at its empty line; nil if the request is not complete.
local function request_end(connection)
	return connection.received:find('\n\n', connection.at, true)
end

local function set_received(connection, text)
	received_bytes = received_bytes + #text - #connection.received
	connection.received, connection.at = text, 1
end

-- Read more of an incomplete request, unless the client will send no more.
local function await_more(connection)
	connection.partial = true
	if connection.ended then
		return connections.close(connection)
	end
	if connection.at > 1 then
		set_received(connection, connection.received:sub(connection.at))
	end
	if #connection.received > REQUEST_MAX then
		return connections.disconnect(connection, 'disconnected a client that sent too much')
	end
	if connection.paused and connection.reads < READS_MAX then
		connections.read(connection)
	end
end

-- Give a connection a turn if it has something to do. Call this whenever that may have changed. This
-- searches only a short text for the end of a request: the search of a long one takes a turn.
function connections.proceed(connection)
	if not open[connection] or connection.queued or connection.timer or connection.blocked then
		return
	end
	local long = #connection.received - connection.at >= SHORT
	if not long and not request_end(connection) then
		return await_more(connection)
	end
	connection.queued = true
	if long or connection.at > 1 then
		push(many, connection)
	else
		push(uv.now() - connection.served < FRESH_MS and recent or fresh, connection)
	end
	turns:start(take_turns)
end

local function send(connection, action)
	local text = 'action=' .. action .. '\n\n'
	local written, _, name = connection.stream:try_write(text)

	connection.since = uv.now()
	if not written and name ~= 'EAGAIN' then
		connections.close(connection)
	elseif written ~= #text then
		connection.blocked = true
		connection.stream:write(text:sub((written or 0) + 1), function(why)
			connection.blocked = false
			if why then
				connections.close(connection)
			else
				connections.proceed(connection)
			end
		end)
	end
end

-- Do something after a delay. Until then, the connection has no turn.
local function later(connection, delay, action)
	connection.timer = uv.new_timer()
	connection.timer:start(stopping and 0 or math.ceil(delay * 1000), 0, function()
		connection.timer:close()
		connection.timer = nil
		action()
		connections.proceed(connection)
	end)
end

local function send_delayed(connection)
	local action = connection.delayed
	connection.delayed = nil
	send(connection, action)
end

local function judge(connection, session)
	local action, delay, decided = decisions.action_of(session)

	connection.waiting = nil
	if action == decisions.WAIT then
		connection.waiting = session
		session.pause = math.min(2 * (session.pause or PAUSE), PAUSE_MAX)
		return later(connection, session.pause, function()
			judge(connection, session)
		end)
	end
	-- A session that was let in is not refused later, when others have come.
	session.action = decided and action or nil
	connection.session = session
	if delay > 0 then
		connection.delayed = action
		later(connection, delay, function()
			send_delayed(connection)
		end)
	else
		send(connection, action)
	end
end

-- Send the delayed answer, or decide on the waiting session, now.
function connections.hurry(connection)
	connection.timer:close()
	connection.timer = nil
	if connection.waiting then
		decisions.end_wait(connection.waiting)
		judge(connection, connection.waiting)
	else
		send_delayed(connection)
	end
	connections.proceed(connection)
end

-- The value of an attribute of a request; nil if there is none. The request begins with a line feed.
local function attribute(request, name)
	local _, last = request:find('\n' .. name .. '=', 1, true)
	return last and request:sub(last + 1, request:find('\n', last, true) - 1)
end

local function answer(connection, text)
	text = '\n' .. text
	local known, session = pcall(sessions.of_request, {
		client_address = attribute(text, 'client_address'),
		client_port = attribute(text, 'client_port'),
		server_address = attribute(text, 'server_address'),
		server_port = attribute(text, 'server_port'),
	})
	if not known or not session then
		log.once('let in a client whose request lacks client_address, server_address or server_port'
			.. ' (Postfix before 3.2?)', not known and session or nil)
		send(connection, 'DUNNO')
		return
	end
	local recalled, last = sessions.recall(session), connection.session
	if recalled then
		session = recalled
	elseif last and sessions.same(last, session) then
		session = last
	end
	if session.action then
		send(connection, session.action)
	else
		judge(connection, session)
	end
end

local function take_turn(connection)
	local last = request_end(connection)

	connection.queued = false
	if not last then
		return await_more(connection)
	end
	local text = connection.received:sub(connection.at, last)
	connection.at = last + 2
	connection.served = uv.now()
	connection.reads = 0
	connection.partial = false
	if connection.refused then
		send(connection, TRY_LATER)
		return connections.close(connection)
	end
	answer(connection, text)
	connections.proceed(connection)
end

-- Give turns to the connections in a queue, until it is empty or the time is over. Returns whether it
-- is empty.
local function take_turns_of(queue, over)
	repeat
		local connection = pop(queue)
		if not connection then
			return true
		elseif open[connection] then
			take_turn(connection)
		end
	until uv.hrtime() > over
	return false
end

function take_turns()
	local now = uv.hrtime()
	local done = take_turns_of(fresh, math.maxinteger)
	done = take_turns_of(recent, now + TURN_NS) and done
	if take_turns_of(many, uv.hrtime() + TURN_NS // 2) and done then
		turns:stop()
	end
end

-- --- input ---------------------------------------------------------------------------------------

local function on_read(connection, why, text)
	if why then
		return connections.close(connection)
	elseif not text then
		connection.ended = true
		return connections.proceed(connection)
	end
	local waiting = #connection.received - connection.at + 1
	if waiting == 0 then
		connection.since = uv.now()
	end
	set_received(connection, connection.received:sub(connection.at) .. text)
	waiting = waiting + #text
	connection.reads = connection.reads + 1
	connections.proceed(connection)
	if not open[connection] then
		return
	elseif received_bytes > RECEIVED_MAX and waiting > RECEIVED_MAX // connections.MAX
		or waiting > REQUEST_MAX and not connection.queued then
		connections.disconnect(connection, 'disconnected a client that sent too much')
	elseif waiting > REQUEST_MAX or connection.reads >= READS_MAX and connection.partial then
		connection.paused = true
		connection.stream:read_stop()
	end
end

function connections.read(connection)
	connection.paused = false
	connection.stream:read_start(function(why, text)
		on_read(connection, why, text)
	end)
end

-- How many connections are open.
function connections.count()
	return open_count
end

-- A list of the open connections. Closing a connection does not change it.
function connections.list()
	local all = {}
	for connection in pairs(open) do
		table.insert(all, connection)
	end
	return all
end

-- Serve a client. peer: its address, if it is on another host. refused: it has too many connections.
function connections.add(stream, peer, refused)
	local now = uv.now()
	local connection = {
		stream = stream, received = '', at = 1, partial = true, peer = peer, refused = refused,
		opened = now, since = now, served = 0, reads = 0,
	}
	open[connection] = true
	open_count = open_count + 1
	connections.read(connection)
end

-- Set a function to call with each closed connection.
function connections.when_closed(f)
	on_close = f
end

-- Delay no answer from now on.
function connections.stop()
	stopping = true
end

return connections
