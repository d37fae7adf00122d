-- SPDX-License-Identifier: BSD-2-Clause
-- Example of /etc/conncount-policy.lua; see conncount-policyd(8).

-- No limit applies to this host, and to our relay 192.0.2.1. The relay's sessions are counted for its
-- /24, so the limit on a /24 below would refuse its neighbours. So allow all of its /24.
allow{ '127.0.0.0/8', '::1', '192.0.2.0/24' }

-- Behind NAT64, all IPv4 clients are in one /64, with one limit for all: see NAT64 in the manual.
--allow{ '64:ff9b::/96' }

-- A client may have 5 sessions open. An IPv6 client has a whole /64.
limit{ v4 = 32, v6 = 64, sessions = 5 }

-- Its neighbourhood may have 20. The reply says so.
limit{ v4 = 24, v6 = 48, sessions = 20,
       message = '{open} sessions from {network}; the limit is {limit}' }

-- With `window = 60,1` in conncount.conf: a neighbourhood may open 100 connections a minute.
--limit{ v4 = 24, v6 = 48, connections = 100, window = '60,1' }

-- A client with more than 10 sessions for submission has to wait.
limit{ service = 'submission', v4 = 32, v6 = 64, sessions = 10, action = 'tarpit', delay = 5 }
