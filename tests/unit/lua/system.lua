-- SPDX-License-Identifier: BSD-2-Clause
-- What a policy gets with nothing loaded: nil and a message that it can log. lua.bats sets
-- CONNCOUNT_DIR to a directory that does not exist.
local expect = require('expect')
local conncount = require('conncount')
require('msys.extended.ac')
local audit = require('msys.audit')

local ENOENT = 2
local dir = assert(os.getenv('CONNCOUNT_DIR'))
local ac = conncount.accept{ remote = '192.0.2.7', ['local'] = '198.51.100.1:25' }

for _ = 1, 3 do
	local message = expect.fails(ENOENT, ac.inbound_session_count, ac)
	assert(message:find(dir, 1, true), message)
	assert(not message:find('\n'), message)
	assert(expect.fails(ENOENT, ac.inbound_session_count, ac, '/24') == message)
	assert(expect.fails(ENOENT, audit.inbound_session_count, '::/0', 'SMTP') == message)
end
