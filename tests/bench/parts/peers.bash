# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# peers: the same query to other programs that count. A part of tests/bench/bench.

peer_conntrack() {
	local i
	command -v conntrack >/dev/null || {
		skipped conntrack 'no command conntrack'
		return
	}
	can_nft conntrack || return 0
	nft_on
	live_start 4 "$live"
	for ((i = 0; i < 5; i++)); do
		note peer 'conntrack -L -s NETWORK' "$live" \
			"$(took in_ns conntrack -L -p tcp --dport 25 -s 198.51.100.0/24 2>/dev/null)"
		note peer 'conntrack -C (all, no network)' "$live" "$(took in_ns conntrack -C)"
	done
	live_stop
	nft_off
}

# HAProxy with a stick table of /24s, asked at its admin socket.
peer_haproxy() {
	local dir=$TEST_DIR/haproxy sessions=1000 pid ns=''
	command -v haproxy >/dev/null || {
		skipped haproxy 'no command haproxy'
		return
	}
	mkdir "$dir"
	cat >"$dir/cfg" <<-END
		global
		    stats socket $dir/admin level admin
		defaults
		    mode tcp
		    timeout client 1h
		    timeout server 1h
		    timeout connect 1h
		frontend mx
		    bind 0.0.0.0:2525
		    stick-table type ip size 200k expire 1h store conn_cur
		    tcp-request connection track-sc0 src,ipmask(24)
		    tcp-request inspect-delay 1h
		    tcp-request content accept if WAIT_END
	END
	start_in_ns haproxy -db -q -f "$dir/cfg"
	pid=$STARTED
	wait_until test -S "$dir/admin"
	ns=$(in_ns "$BENCH/daemons" haproxy "$dir/admin" $sessions) || :
	kill "$pid"
	wait "$pid" || :
	if [ -n "$ns" ]; then
		note peer 'HAProxy stick table, admin socket' $sessions "$ns"
	else
		skipped haproxy 'no answer, see above'
	fi
}

# postfix_directory: prints where anvil and its libraries are. Where Postfix is not installed, out of
# its package: to install it would take the place of the mail server that is there.
postfix_directory() {
	local package
	if [ -x /usr/lib/postfix/sbin/anvil ]; then
		echo /usr/lib/postfix
		return
	fi
	package=$("$TOOLS/debian-package" postfix 2>&1) || {
		echo "$package"
		return 1
	}
	dpkg-deb -x "$package" "$TEST_DIR/postfix"
	echo "$TEST_DIR/postfix/usr/lib/postfix"
}

peer_anvil() {
	local dir=$TEST_DIR/anvil postfix ns
	postfix=$(postfix_directory) || {
		skipped anvil "$postfix"
		return
	}
	mkdir -p "$dir/queue/pid"
	cat >"$dir/main.cf" <<-END
		compatibility_level = 3.6
		queue_directory = $dir/queue
		data_directory = $dir/queue
		mail_owner = daemon
		setgid_group = mail
		myhostname = localhost
	END
	ns=$(in_ns env LD_LIBRARY_PATH="$postfix" MAIL_CONFIG="$dir" \
		"$BENCH/daemons" anvil "$postfix/sbin/anvil") || {
		skipped anvil 'it does not run here, see above'
		return
	}
	note peer 'Postfix anvil, one address' 1001 "$ns"
}

measure_peers() {
	echo 'peers: conntrack'
	peer_conntrack
	echo 'peers: HAProxy'
	peer_haproxy
	echo 'peers: Postfix'
	peer_anvil
}
