-- SPDX-License-Identifier: BSD-2-Clause
-- Example of /etc/conncount-policy.lua, described in conncount-policyd(8).

-- No limit is for these: this host, and a relay of our own, 192.0.2.1. Its sessions count for the
-- limit on a /24 below, which would refuse its neighbours: so all of its /24 is allowed.
allow{ '127.0.0.0/8', '::1', '192.0.2.0/24' }

-- Behind NAT64 all IPv4 clients are in one /64, and would be limited together: see NAT64 in the manual.
--allow{ '64:ff9b::/96' }

-- A client may have 5 sessions open. An IPv6 client owns a whole /64.
limit{ v4 = 32, v6 = 64, sessions = 5 }

-- Its neighbourhood may have 20, and is told so.
limit{ v4 = 24, v6 = 48, sessions = 20, message = '{open} sessions from {network}, {limit} may be' }

-- Who submits mail is slowed down.
limit{ service = 'submission', v4 = 32, v6 = 64, sessions = 10, action = 'tarpit', delay = 5 }
