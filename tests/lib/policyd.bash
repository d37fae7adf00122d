# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# policyd.bash - conncount-policyd in a test's own place. Load servers.bash before it.

# policyd_start [OPTION...]: starts conncount-policyd with the policy $TEST_DIR/policy.lua, as an
# ordinary user of the group nogroup, which may read the counts. It logs to $TEST_DIR/policyd.log.
# Sets $POLICYD to its process id. Returns when it listens.
policyd_start() {
	[ -d "$TEST_DIR/policyd" ] || policyd_copy
	policyd_run policyd.log -c "$TEST_DIR/policy.lua" "$@"
	POLICYD=$STARTED
	wait_until policyd_listens "$POLICYD"
}

# policyd_copy: copies the program and what it loads, since users may be unable to read the tree,
# into a directory in which it may create its sockets.
policyd_copy() {
	mkdir "$TEST_DIR/policyd"
	cp "$ROOT"/lua/servers/policyd/{conncount-policyd,*.lua} "$BUILD/lua/5.4/conncount.so" "$TEST_DIR/policyd/"
	chmod 0777 "$TEST_DIR/policyd"
}

# policyd_patient: copies it, too, and has the copy wait until the test's end, and not for 4 seconds, for a count
# to come down. A test whose sessions make it come down must not fail because that took long.
policyd_patient() {
	local file=$TEST_DIR/policyd/decisions.lua
	policyd_copy
	sed -i 's/^local WAIT_MS = 4000 /local WAIT_MS = 3600000 /' "$file"
	grep -q '^local WAIT_MS = 3600000 ' "$file" || fail 'decisions.lua: no line to change'
}

# policyd_run LOG OPTION...: starts it, with at most $NOFILE open files, if that is set.
policyd_run() {
	local log=$TEST_DIR/$1
	shift
	server_start "$log" prlimit ${NOFILE:+"--nofile=$NOFILE"} env --default-signal=PIPE setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
		--bounding-set=-all --no-new-privs env "LUA_CPATH=$TEST_DIR/policyd/?.so;;" \
		"$TEST_DIR/policyd/conncount-policyd" "$@"
}

# flood_start ADDRESS N KIND...: starts tests/tools/flood.py as an ordinary user, and sets $STARTED
# to its process id. Returns when its clients have begun.
FLOODS=0
flood_start() {
	local log=$TEST_DIR/flood.$((++FLOODS))
	cp "$TOOLS/flood.py" "$TEST_DIR/policyd/"
	start_in_ns setpriv --reuid=65533 --regid=65533 --clear-groups prlimit --nofile=20000 \
		python3 -I -S "$TEST_DIR/policyd/flood.py" "$@" >"$log" 2>&1
	SERVERS+=("$STARTED")
	wait_until grep -q ready "$log"
}

# policyd_listens PID: the process has a listening socket.
policyd_listens() {
	nsenter --net="$TEST_DIR/net" -- ss -Hlntxp | grep -q "pid=$1,"
}

# policy: replaces the policy file with stdin, atomically.
policy() {
	cat >"$TEST_DIR/policy.new"
	mv "$TEST_DIR/policy.new" "$TEST_DIR/policy.lua"
}

# logged N TEXT: conncount-policyd has logged exactly N lines with TEXT.
logged() {
	local n
	n=$(grep -cF -- "$2" "$TEST_DIR/policyd.log") || :
	[ "$n" = "$1" ] || fail "$n lines with '$2', not $1:" "$(<"$TEST_DIR/policyd.log")"
}

# request CLIENT SERVER [PORT [CLIENTPORT]]: prints a request as Postfix 3.7 sends it.
request() {
	printf '%s\n' request=smtpd_access_policy protocol_state=CONNECT protocol_name=SMTP \
		"client_address=$1" client_name=unknown ${4+"client_port=$4"} \
		reverse_client_name=unknown "server_address=$2" "server_port=${3:-25}" helo_name= \
		sender= recipient= recipient_count=0 queue_id= instance=4d2.6742f1a0.8c3f1.0 size=0 \
		etrn_domain= stress= sasl_method= sasl_username= sasl_sender= ccert_subject= \
		ccert_issuer= ccert_fingerprint= ccert_pubkey_fingerprint= encryption_protocol= \
		encryption_cipher= encryption_keysize=0 policy_context= ''
}
