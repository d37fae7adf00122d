-- SPDX-License-Identifier: BSD-2-Clause
-- limits.lua: a policy as one writes it for Momentum. It permits 5 sessions from one address, and 20
-- from one network: an IPv4 client's /24 or an IPv6 client's /64.
require('msys.core')
require('msys.extended.ac')
require('msys.extended.vctx')

local limits = { ['/32'] = 5, ['/24,/64'] = 20 }

local mod = {}

function mod:validate_connect(accept, vctx)
	for network, limit in pairs(limits) do
		local open, why = accept:inbound_session_count(network)

		if not open then
			print('cannot count, so the client is let in: ' .. why)
			break
		elseif open > limit then
			vctx:disconnect(421, '4.7.0 too many sessions from your network')
			return msys.core.VALIDATE_DONE
		end
	end
	return msys.core.VALIDATE_CONT
end

msys.registerModule('limits', mod)
