-- SPDX-License-Identifier: BSD-2-Clause
-- At most 20 sessions from one network: an IPv4 client's /24, an IPv6 client's /64.
require('msys.extended.ac')

return function(ac)
	local open, why = ac:inbound_session_count('/24,/64')

	if not open then
		return '220 welcome (cannot count: ' .. why .. ')'
	elseif open > 20 then
		return '421 4.7.0 too many sessions from your network: ' .. open
	end
	return '220 welcome'
end
