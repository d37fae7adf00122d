-- SPDX-License-Identifier: BSD-2-Clause
-- msys.extended.ac: gives accept constructs the methods
--   ac:inbound_session_count([cidr [, service_type]])
--   ac:connections(monitor [, options])
-- lua/conncount.c and lua/opened_connections.c describe them.
local conncount = require('conncount')

conncount.methods.inbound_session_count = conncount.inbound_session_count
conncount.methods.connections = conncount.connections
