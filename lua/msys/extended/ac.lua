-- SPDX-License-Identifier: BSD-2-Clause
-- msys.extended.ac: gives accept constructs the method
--   ac:inbound_session_count([cidr [, service_type]])
-- lua/conncount.c describes it.
local conncount = require('conncount')

conncount.methods.inbound_session_count = conncount.inbound_session_count
