-- SPDX-License-Identifier: BSD-2-Clause
-- msys.audit: counts that are not a session's own.
--   audit.inbound_session_count(cidr, service_type)
--   audit.current(ac)
-- which lua/conncount.c describes. Momentum's policies call them by the global name msys.audit.
local audit = require('conncount').audit

msys = msys or {}
msys.audit = audit
return audit
