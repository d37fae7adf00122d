# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Runs in the Debian that ../containers.bats installs, with podman and the image. The commands are
# those of conncount-containers(7), and the server is a container that holds sessions with itself.

# Nothing of conncount is installed here.
export CONNCOUNT_BUILD=/nonexistent

load ../../lib/common
load ../../lib/servers

COUNTS=/sys/fs/bpf/conncount
LOADS=(--rm --network=host --pid=host --cgroupns=host --cap-drop=all
	--cap-add='SYS_ADMIN,NET_ADMIN,SYS_PTRACE,CHOWN'
	-v "$COUNTS:/run/conncount" -v /etc/conncount.conf:/etc/conncount.conf:ro)
READS=(--rm --network=none --cap-drop=all -v "$COUNTS:/run/conncount:ro")

# The image is in the root that is shared with the host; what is written stays in memory.
setup_file() {
	mkdir -p /run/storage "$COUNTS"
	mount -t tmpfs none /run/storage
	cat >/etc/containers/storage.conf <<-END
		[storage]
		driver = "overlay"
		runroot = "/run/containers"
		graphroot = "/run/storage"
		[storage.options]
		additionalimagestores = ["/var/lib/containers/storage"]
	END
	ip link set lo up
	# shellcheck disable=SC2016
	server mx --network=none
}

# server NAME OPTION...: starts a container with 7 sessions of 127.0.0.1 and 5 of 127.1.2.3.
server() {
	# shellcheck disable=SC2016
	podman run -d --name="$1" "${@:2}" localhost/base perl -MIO::Socket::INET -e '
		my $listener = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => 25, Listen => 20) or die;
		my @open;
		for my $client (("127.0.0.1") x 7, ("127.1.2.3") x 5) {
			push @open, IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 25,
				LocalAddr => $client) or die;
			push @open, $listener->accept or die;
		}
		open my $up, ">", "/up";
		sleep 10000' >/dev/null 3>&- 4>&-
	wait_until -t 60 podman exec "$1" test -e /up
}

setup() {
	example conncount-containers.7 COUNTING 2 >/etc/conncount.conf
}

teardown() {
	podman rm -f -t 0 exporter >/dev/null
	podman run "${LOADS[@]}" conncount unload
}

# manual EXAMPLE: runs an example of the manual page, with \e of mdoc(7).
manual() {
	expect 0 bash -ec "${1//\\e/\\}"
}

# counts N [NETWORK]
counts() {
	expect 0 podman run "${READS[@]}" --cap-add=BPF --user=65534:10125 conncount count "${@:2}"
	expect_eq "$1" "$output" "sessions ${2:-}"
}

# served [COMMAND...]: the metrics have the 12 sessions; COMMAND runs what asks for them elsewhere.
served() {
	# shellcheck disable=SC2016
	"$@" bash -c 'exec 3<>/dev/tcp/127.0.0.1/10125 && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && cat <&3' |
		grep -E '^conncount_sessions\{.*"mx".* 12'
}

@test "the commands of the manual count a server in another container, and read in a third" {
	manual "$(example conncount-containers.7 COUNTING 1)"
	expect_match 'counting started: 1 listener, cgroup /machine.slice' "$output"
	expect_eq '' "$errors" stderr
	manual "$(example conncount-containers.7 READING 1)"
	expect_eq 12 "$output" sessions
	counts 5 127.1.2.0/24
	counts 7 127.0.0.0/16
	server second --network=none
	counts 24
	podman rm -f -t 0 second
	counts 12
	expect 0 podman run "${LOADS[@]}" conncount verify
	expect_match '^0 differences' "$output"
}

@test "a sidecar serves the sessions as metrics" {
	manual "$(example conncount-containers.7 COUNTING 1)"
	manual "$(example conncount-containers.7 READING 2)"
	wait_until -t 60 served podman exec mx
	expect 0 podman logs exporter
	expect_eq 'conncount: serving http://127.0.0.1:10125/metrics' "$errors" 'log of the exporter'
}

@test "a reader is told of its system call filter, and one without the group of the group" {
	manual "$(example conncount-containers.7 COUNTING 1)"
	expect 1 podman run "${READS[@]}" --user=65534:10125 conncount count
	expect_match '/run/conncount: bpf\(2\) is not permitted \(the system call filter' "$errors"
	expect 1 podman run "${READS[@]}" --cap-add=BPF --user=65534:65534 conncount count
	expect_match "/run/conncount: permission denied .* group 'conncount'" "$errors"
}

@test "for the host's network namespace, load needs four capabilities, and neither CAP_SYS_ADMIN nor process ids" {
	printf '%s\n' '[mx]' 'listen = *:25' >/etc/conncount.conf
	expect 0 podman run --rm --network=host --cgroupns=host --cap-drop=all --cap-add=BPF,PERFMON,NET_ADMIN,CHOWN \
		"${LOADS[@]:6}" conncount load
	expect_match '1 other network namespace has sessions on these listeners' "$errors"
	counts 0
	server host --network=host
	counts 12
	podman rm -f -t 0 host
	counts 0
}

@test "without the host's process ids, load fails if it cannot list sessions" {
	expect 1 podman run "${LOADS[@]/#--pid=host/--pid=private}" conncount load
	expect_match 'network namespace [0-9]+: its sockets cannot be listed: no process visible from here' "$errors"
	expect 1 podman run "${READS[@]}" --cap-add=BPF conncount count
	expect_match 'not loaded' "$errors"
}

@test "without the host's cgroups, load says which part it counts, or does not find the cgroup" {
	local private=("${LOADS[@]/#--cgroupns=host/--cgroupns=private}")
	expect 1 podman run "${private[@]}" conncount load
	expect_match 'cgroup /machine.slice: No such file or directory' "$errors"
	expect_match 'note: /sys/fs/cgroup shows only a part .*--cgroupns=host' "$errors"
	expect 0 podman run "${private[@]}" conncount load --cgroup /
	expect_match 'note: /sys/fs/cgroup shows only a part .* servers outside of it are not counted' "$errors"
	counts 0
	expect 0 podman run "${private[@]}" -v /sys/fs/cgroup:/host/cgroup:ro conncount load
	counts 12
}

@test "without a volume for the counts, load fails, for they would end with it" {
	local bare=("${LOADS[@]:0:6}" -v /etc/conncount.conf:/etc/conncount.conf:ro)
	expect 1 podman run "${bare[@]}" --security-opt=apparmor=unconfined conncount load
	expect_match '/run/conncount: counting would end with this command' "$errors"
	expect 1 podman run "${bare[@]}" conncount load
	expect_match 'cannot mount a bpffs: Permission denied \(a security module' "$errors"
}

@test "under AppArmor's profile, load fails for a namespace of an unconfined process, and says what permits it" {
	[ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ] || skip 'no AppArmor'
	# shellcheck disable=SC2016
	unshare --net perl -MIO::Socket::INET -e '
		system "ip", "link", "set", "lo", "up";
		my $listener = IO::Socket::INET->new(LocalPort => 25, Listen => 5) or die;
		my $client = IO::Socket::INET->new("127.0.0.1:25") or die;
		my $session = $listener->accept or die;
		open my $up, ">", "/run/up";
		sleep 10000' 3>&- &
	local server=$!
	wait_until -t 60 test -e /run/up
	expect 1 podman run "${LOADS[@]}" conncount load --cgroup /
	expect_match 'no permission to enter it through process [0-9]+ .*AppArmor' "$errors"
	expect 0 podman run "${LOADS[@]}" --security-opt=apparmor=unconfined conncount load --cgroup /
	counts 13
	kill "$server"
	wait "$server" || :
}

@test "podman's generator accepts the units; they load at the start, and restarts lose nothing" {
	mkdir -p /etc/containers/systemd
	cp "$ROOT"/user/dist/container/*.container /etc/containers/systemd/
	expect 0 /usr/libexec/podman/quadlet --dryrun
	expect_eq '' "$(grep -v 'Loading source unit file' <<<"$errors")" 'what the generator says'
	systemctl daemon-reload
	systemctl start conncount-exporter
	counts 12
	wait_until -t 60 served
	echo '[smtps]
listen = *:465' >>/etc/conncount.conf
	systemctl restart conncount
	expect_match 'counting goes on' "$(journalctl -o cat -u conncount)"
	counts 12
	systemctl stop conncount-exporter conncount
	counts 12
	rm -r /etc/containers/systemd
	systemctl daemon-reload
}
