# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The alerting rules and the dashboard, checked with Prometheus's own promtool.

load ../lib/common

RULES=$ROOT/user/dist/monitoring/conncount.rules.yml
DASHBOARD=$ROOT/user/dist/monitoring/conncount.dashboard.json

# expressions: prints those of the dashboard, one a line, with Grafana's variables filled in.
expressions() {
	python3 -I - "$DASHBOARD" <<-'END'
		import json, sys
		panels = json.load(open(sys.argv[1]))["panels"]
		for panel in panels:
		    for target in panel["targets"]:
		        print(target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m"))
	END
}

# families: prints the metric families in the source, without the suffixes of counters and infos.
families() {
	grep -ohE '"conncount_[a-z_]+"' "$ROOT/user/metrics/metrics.c" | tr -d '"' | sort
}

# metrics: prints the names that `conncount metrics` may print.
metrics() {
	families | sed 'p; s/$/_total/; p; s/_total$/_info/'
}

@test "promtool accepts the rules" {
	requires promtool
	expect 0 promtool check rules "$RULES"
	expect_match '13 rules found' "$output"
}

@test "each alert fires when it should, and not before" {
	requires promtool
	ln -s "$RULES" "$BATS_TEST_TMPDIR/rules.yml"
	cat >"$BATS_TEST_TMPDIR/test.yml" <<-'END'
		rule_files: [rules.yml]
		evaluation_interval: 1m
		tests:
		  - interval: 1m
		    input_series:
		      - {series: 'conncount_up{instance="down"}', values: '1x4 0x20'}
		      - {series: 'conncount_up{instance="good"}', values: '1x24'}
		      - {series: 'conncount_exact{instance="good"}', values: '1x24'}
		      - {series: 'conncount_exact{instance="lossy"}', values: '0x24'}
		      - {series: 'conncount_exact{instance="gone"}', values: '0x24'}
		      - {series: 'conncount_detached{instance="good"}', values: '0x24'}
		      - {series: 'conncount_detached{instance="lossy"}', values: '0x24'}
		      - {series: 'conncount_detached{instance="gone"}', values: '1x24'}
		      - {series: 'conncount_prefixes{instance="good"}', values: '800x24'}
		      - {series: 'conncount_prefixes{instance="full"}', values: '801x24'}
		      - {series: 'conncount_prefixes_max{instance="good"}', values: '1000x24'}
		      - {series: 'conncount_prefixes_max{instance="full"}', values: '1000x24'}
		      - {series: 'conncount_listening_sockets_outside{listener="a"}', values: '0x24'}
		      - {series: 'conncount_listening_sockets_outside{listener="d"}', values: '1x24'}
		      - {series: 'conncount_windows_evicted_total{instance="good"}', values: '9x24'}
		      - {series: 'conncount_windows_evicted_total{instance="small"}', values: '0+1x24'}
		      - {series: 'conncount_limit_in_force{listener="a",limit="/24,/64 over 9 log"}', values: '1x24'}
		      - {series: 'conncount_limit_in_force{listener="g",limit="/24,/64 over 9 log"}', values: '0x24'}
		      - {series: 'conncount_limit_refused_total{listener="a",limit="/24,/64 over 9 reset"}', values: '7x24'}
		      - {series: 'conncount_limit_refused_total{listener="g",limit="/24,/64 over 9 reset"}', values: '0x4 1+1x20'}
		      - {series: 'conncount_limit_would_refuse_total{listener="a",limit="/24,/64 over 9 log"}', values: '0+1x24'}
		      - {series: 'conncount_namespaces_without_syn_gate{instance="good"}', values: '0x24'}
		      - {series: 'conncount_namespaces_without_syn_gate{instance="late"}', values: '2x24'}
		      - {series: 'conncount_cluster_exact{instance="good"}', values: '1x24'}
		      - {series: 'conncount_cluster_exact{instance="cut"}', values: '0x24'}
		      - {series: 'conncount_cluster_node_ok{instance="good",node="mx1"}', values: '1x24'}
		      - {series: 'conncount_cluster_node_ok{instance="good",node="mx2"}', values: '0x24'}
		      - series: 'conncount_sessions_proxied_total{listener="e",origin="header"}'
		        values: '0+9x24'
		      - series: 'conncount_sessions_proxied_total{listener="e",origin="proxy"}'
		        values: '0+9x24'
		      - series: 'conncount_sessions_proxied_total{listener="e",origin="unread"}'
		        values: '0+9x24'
		      - series: 'conncount_sessions_proxied_total{listener="e",origin="absent"}'
		        values: '5x24'
		      - series: 'conncount_sessions_proxied_total{listener="f",origin="absent"}'
		        values: '0+1x24'
		      - series: 'conncount_accept_queue_connections{listener="a",socket="*:25"}'
		        values: '64x24'
		      - series: 'conncount_accept_queue_limit{listener="a",socket="*:25"}'
		        values: '128x24'
		      - series: 'conncount_accept_queue_connections{listener="b",socket="*:25"}'
		        values: '65x24'
		      - series: 'conncount_accept_queue_limit{listener="b",socket="*:25"}'
		        values: '128x24'
		      - series: 'conncount_accept_queue_connections{listener="c",socket="*:25"}'
		        values: '1x24'
		      - series: 'conncount_accept_queue_limit{listener="c",socket="*:25"}'
		        values: '0x24'
		    promql_expr_test:
		      - expr: count by (alertname, instance, listener, node) (ALERTS{alertstate="firing"})
		        eval_time: 4m
		        exp_samples:
		          - {labels: '{alertname="ConncountDetached",instance="gone"}', value: 1}
		          - {labels: '{alertname="ConncountClusterNotExact",instance="cut"}', value: 1}
		          - {labels: '{alertname="ConncountAcceptQueueFilling",listener="b"}', value: 1}
		      - expr: count by (alertname, instance, listener, node) (ALERTS{alertstate="firing"})
		        eval_time: 9m
		        exp_samples:
		          - {labels: '{alertname="ConncountClusterNotExact",instance="cut"}', value: 1}
		          - {labels: '{alertname="ConncountClusterNodeMissing",instance="good",node="mx2"}', value: 1}
		          - {labels: '{alertname="ConncountNotExact",instance="lossy"}', value: 1}
		          - {labels: '{alertname="ConncountDetached",instance="gone"}', value: 1}
		          - {labels: '{alertname="ConncountAcceptQueueFilling",listener="b"}', value: 1}
		          - {labels: '{alertname="ConncountLimitRefuses",listener="g"}', value: 1}
		          - {labels: '{alertname="ConncountLimitNotInForce",listener="g"}', value: 1}
		      - expr: count by (alertname, instance, listener, node) (ALERTS{alertstate="firing"})
		        eval_time: 20m
		        exp_samples:
		          - {labels: '{alertname="ConncountClusterNotExact",instance="cut"}', value: 1}
		          - {labels: '{alertname="ConncountClusterNodeMissing",instance="good",node="mx2"}', value: 1}
		          - {labels: '{alertname="ConncountNotLoaded",instance="down"}', value: 1}
		          - {labels: '{alertname="ConncountNotExact",instance="lossy"}', value: 1}
		          - {labels: '{alertname="ConncountDetached",instance="gone"}', value: 1}
		          - {labels: '{alertname="ConncountListensOutside",listener="d"}', value: 1}
		          - {labels: '{alertname="ConncountUnidentified",listener="f"}', value: 1}
		          - {labels: '{alertname="ConncountTableFilling",instance="full"}', value: 1}
		          - {labels: '{alertname="ConncountWindowsEvict",instance="small"}', value: 1}
		          - {labels: '{alertname="ConncountAcceptQueueFilling",listener="b"}', value: 1}
		          - {labels: '{alertname="ConncountLimitRefuses",listener="g"}', value: 1}
		          - {labels: '{alertname="ConncountLimitNotInForce",listener="g"}', value: 1}
		          - {labels: '{alertname="ConncountNamespaceWithoutSynGate",instance="late"}', value: 1}
	END
	expect 0 promtool test rules "$BATS_TEST_TMPDIR/test.yml"
}

@test "promtool accepts every expression of the dashboard" {
	requires promtool
	{
		printf 'groups:\n  - name: dashboard\n    rules:\n'
		expressions | sed "s/.*/      - {record: 'x:y', expr: '&'}/" |
			awk '{ sub("x:y", "x:y" NR); print }'
	} >"$BATS_TEST_TMPDIR/dashboard.yml"
	[ "$(expressions | wc -l)" -gt 10 ] || fail 'expressions not found'
	expect 0 promtool check rules "$BATS_TEST_TMPDIR/dashboard.yml"
	expect_match "$(expressions | wc -l) rules found" "$output"
}

# check_types FILE: checks a dashboard with the types that Grafana publishes of dashboards, and of the options of
# the kinds of panels that ours has. They have enumerations where JSON has strings and numbers.
check_types() {
	{
		cat <<-'END'
			import type {Dashboard, Panel} from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
			import type * as gauge from '@grafana/schema/dist/types/raw/composable/gauge/panelcfg/x/types.gen';
			import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
			import type * as timeseries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
			type Plain<T> = T extends string ? `${T}` : T extends object ? {[K in keyof T]: Plain<T[K]>} : T;
			type Some<T> = T extends (infer E)[] ? Some<E>[] : T extends object ? {[K in keyof T]?: Some<T[K]>} : T;
			type Of<Type, Options, Custom = never> = Omit<Plain<Panel>, 'type' | 'options' | 'fieldConfig'> & {
				type: Type;
				options?: Some<Plain<Options>>;
				fieldConfig: Plain<NonNullable<Panel['fieldConfig']>> & {defaults: {custom?: Some<Plain<Custom>>}};
			};
			type Panels = Of<'gauge', gauge.Options> | Of<'stat', stat.Options> |
				Of<'timeseries', timeseries.Options, timeseries.FieldConfig>;
			export const dashboard: Omit<Plain<Dashboard>, 'panels'> & {panels: Panels[]} =
		END
		cat "$1"
	} >"$BATS_TEST_TMPDIR/dashboard.ts"
	cat >"$BATS_TEST_TMPDIR/tsconfig.json" <<-END
		{"compilerOptions": {"strict": true, "noEmit": true, "skipLibCheck": true, "types": [], "target": "es2022",
			"module": "esnext", "moduleResolution": "bundler", "paths": {
				"@grafana/schema": ["$(grafana_types)/dist/types/index.d.ts"],
				"@grafana/schema/*": ["$(grafana_types)/*"]}},
			"files": ["dashboard.ts"]}
	END
	node "$(typescript)/bin/tsc" -p "$BATS_TEST_TMPDIR"
}

@test "the dashboard has the types that Grafana publishes" {
	requires node grafana-types
	expect 0 check_types "$DASHBOARD"
	# Whether they are checked at all: an unknown member, and options of a panel.
	sed '0,/"title"/s//"titel"/' "$DASHBOARD" >"$BATS_TEST_TMPDIR/wrong.json"
	expect 2 check_types "$BATS_TEST_TMPDIR/wrong.json"
	expect_match "'\"titel\"' does not exist" "$output"
	sed '0,/"graphMode": "[a-z]*"/s//"graphMode": "lines"/' "$DASHBOARD" >"$BATS_TEST_TMPDIR/wrong.json"
	expect 2 check_types "$BATS_TEST_TMPDIR/wrong.json"
	expect_match '"lines"' "$output"
}

@test "the rules and the dashboard name only metrics that exist" {
	local name
	for name in $({
		grep '^ *\(expr:\)\?[^:]*conncount_' "$RULES"
		expressions
	} | grep -oE 'conncount_[a-z_]+' | sort -u); do
		metrics | grep -qxF "$name" || fail "there is no metric $name"
	done
	# The dashboard shows every metric but these.
	while read -r name; do
		[[ $name =~ ^conncount_(build|seeding|detached|program_runs|accept_queue_limit|accept_queue_others|listening_sockets)$ ]] ||
			expressions | grep -qE "$name(_total)?[{ ]" || fail "$name is on no panel"
	done < <(families)
}

@test "conncount-metrics(7) describes every metric, and no other" {
	local described
	described=$(grep '^\.It Ic ' "$ROOT/user/dist/man/conncount-metrics.7" |
		grep -oE 'conncount_[a-z_]+' | sed 's/_total$//; s/_info$//' | sort)
	[ "$(families | wc -l)" -gt 10 ] || fail 'metrics not found in the source'
	expect_eq "$(families)" "$described" 'metrics'
}
