-- SPDX-License-Identifier: BSD-2-Clause
-- msys.audit: counts that are not a session's own.
--   audit.inbound_session_count(cidr, service_type)
--   audit.current(ac)
-- which lua/conncount.c describes.
return require('conncount').audit
