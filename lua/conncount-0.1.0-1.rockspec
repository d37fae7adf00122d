-- SPDX-License-Identifier: BSD-2-Clause
-- The Lua modules for LuaRocks, from a checkout: luarocks make lua/conncount-*.rockspec
local release = '0.1.0'

rockspec_format = '3.0'
package = 'conncount'
version = release .. '-1'
source = {
	url = '.', -- no archive is published
}
description = {
	summary = 'How many inbound TCP sessions a client, or its network, has open right now',
	detailed = [[
		Asks what conncount has the kernel count, which has to be installed and loaded
		on this machine. With msys.extended.ac and msys.audit, for policies written for
		Momentum.
	]],
	license = 'BSD-2-Clause',
}
supported_platforms = { 'linux' }
dependencies = { 'lua >= 5.1, ~= 5.2' }
external_dependencies = {
	BPF = { header = 'bpf/bpf.h', library = 'bpf' },
}
build = {
	type = 'builtin',
	modules = {
		conncount = {
			sources = {
				'lua/accept_construct.c',
				'lua/arguments.c',
				'lua/conncount.c',
				'lua/opened_connections.c',
				'lua/socket_lookup.c',
				'user/lib/cgroup_mount.c',
				'user/lib/cidr.c',
				'user/lib/client.c',
				'user/lib/clock.c',
				'user/lib/list.c',
				'user/lib/mapping.c',
				'user/lib/maps.c',
				'user/lib/mountinfo.c',
				'user/lib/nodes.c',
				'user/lib/query.c',
				'user/lib/recent.c',
				'user/lib/scope.c',
				'user/lib/state.c',
				'user/lib/view.c',
				'user/lib/walk.c',
				'user/lib/window_text.c',
			},
			defines = { '_GNU_SOURCE', 'CONNCOUNT_VERSION="' .. release .. '"' },
			incdirs = { 'bpf', 'user/lib', '$(BPF_INCDIR)' },
			libdirs = { '$(BPF_LIBDIR)' },
			libraries = { 'bpf', 'pthread' },
		},
		['conncount.ask'] = 'lua/conncount/ask.lua',
		['msys.audit'] = 'lua/msys/audit.lua',
		['msys.extended.ac'] = 'lua/msys/extended/ac.lua',
	},
}
