-- SPDX-License-Identifier: BSD-2-Clause
-- msys.audit: counts without an accept construct.
--   audit.inbound_session_count(cidr, service_type)
--   audit.connections(monitor [, options])
--   audit.current(ac)
-- lua/conncount.c and lua/opened_connections.c describe them. Momentum's policies call them by the global
-- name msys.audit.
local audit = require('conncount').audit

msys = msys or {}
msys.audit = audit
return audit
