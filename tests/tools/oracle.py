# SPDX-License-Identifier: BSD-2-Clause
"""oracle.py - compares conncount's answers with an independent computation.

usage: oracle.py --config FILE --ledger FILE [--queries N] [--seed N] [--expect N]

Run it in the test's network namespace, while nothing opens or closes. It takes the sessions that
should count from the kernel's socket list (ss), compares them with the ledger of sessions.py, and
adds them up by Python's ipaddress. Then, for N random networks of all prefix lengths,
`conncount count` and Lua policies must give the same numbers, and `list` and `status` must agree.
Prints each difference; exit status 1 if there are any.
"""

import argparse
import collections
import ipaddress
import json
import os
import random
import re
import subprocess
import sys

SERVICES = ["SMTP", "ECStream", "Control", "ECmmove2", "ECCluster", "inbound_cidr"]

# Reads `service or -, local, remote, cidr or -` lines, writes a count for each.
LUA = r"""
require("msys.extended.ac")
local audit, conncount = require("msys.audit"), require("conncount")
for line in io.lines() do
    local how, remote, locl, service, cidr = line:match("^(%S+) (%S+) (%S+) (%S+) (%S+)$")
    local given = cidr ~= "-" and cidr or nil
    local count, why
    if how == "audit" then
        count, why = audit.inbound_session_count(given, service)
    else
        local ac = conncount.accept{remote = remote, ["local"] = locl}
        if service == "-" then
            count, why = ac:inbound_session_count(given)
        else
            count, why = ac:inbound_session_count(given, service)
        end
    end
    assert(type(count) == "number", why)
    print(count)
end
"""

Session = collections.namedtuple("Session", "peer local port")


def address(text):
    """An address; an IPv4-mapped one as IPv4."""
    parsed = ipaddress.ip_address(text.strip("[]"))
    return getattr(parsed, "ipv4_mapped", None) or parsed


def run(argv, **options):
    """A command's output; ends the program if it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        sys.exit("oracle: exit status %d: %s" % (done.returncode, " ".join(argv)))
    return done.stdout


class Config:
    """The listeners of a configuration, read without the product's help."""

    def __init__(self, path):
        self.listens = []  # (listener, address or None, port)
        self.service = {}
        section = None
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                line = line.split("#")[0].strip()
                if line.startswith("["):
                    section = line[1:-1]
                    if section != "conncount":
                        self.service[section] = "SMTP"  # the default
                elif line and section != "conncount":
                    key, value = (part.strip() for part in line.split("=", 1))
                    if key == "listen":
                        host, _, port = value.rpartition(":")
                        self.listens.append((section, None if host == "*" else address(host),
                                             int(port)))
                    elif key == "service":
                        self.service[section] = value

    def listener(self, local, port):
        """The listener a local address and port belong to, or None."""
        found = [(host is not None, name) for name, host, number in self.listens
                 if number == port and host in (None, local)]
        return max(found)[1] if found else None

    def of_service(self, service):
        """The listeners of a service."""
        service = "SMTP" if service == "inbound_cidr" else service
        return {name for name, kind in self.service.items() if kind == service}


def kernel_sessions(config):
    """{listener: [Session]} of what is live, from ss: the server's side of connections that
    a process holds or that wait in an accept queue. Of those without an owner, only a queued
    one can be established or half-closed by the peer; the rest are orphans and TIME_WAIT."""
    sessions = {name: [] for name in config.service}
    flat = set()
    for line in run(["ss", "-Htnae"]).splitlines():
        state, _, _, local, peer = line.split()[:5]
        if state == "LISTEN":
            continue
        host, _, port = local.rpartition(":")
        where, what = address(host), int(port)
        name = config.listener(where, what)
        inode = re.search(r" ino:(\d+)", line)
        owned = inode and inode.group(1) != "0"
        if name is None or not (state in ("ESTAB", "CLOSE-WAIT") or
                                owned and state in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING",
                                                    "LAST-ACK")):
            continue
        host, _, port = peer.rpartition(":")
        sessions[name].append(Session(address(host), where, what))
        flat.add("%s %s %s %d" % (address(host), port, where, what))
    return sessions, flat


def spell(rng, network):
    """One of the texts that stand for a network."""
    host, length = network.network_address, network.prefixlen
    bits = network.max_prefixlen
    if length < bits and rng.random() < 0.5:  # host bits are to be dropped
        host += rng.getrandbits(bits - length)
    texts = ["%s/%d" % (host, length)]
    if bits == 32:
        texts += ["%s/%s" % (host, network.netmask), "::ffff:%s/%d" % (host, 96 + length)]
    else:
        texts += ["[%s]/%d" % (host, length), "%s/%d" % (host.exploded.upper(), length)]
    if length == bits:
        texts += [str(host)] if bits == 32 else [str(host), "[%s]" % host]
    return rng.choice(texts)


def queries(rng, count, peers):
    """Random networks: every length of both families, most of them with sessions inside."""
    lengths = [(4, n) for n in range(33)] + [(6, n) for n in range(129)]
    rng.shuffle(lengths)
    for i in range(count):
        version, length = lengths[i] if i < len(lengths) else rng.choice(lengths)
        bits = 32 if version == 4 else 128
        near = [p for p in peers if p.version == version]
        kind = rng.random()
        if near and kind < 0.95:
            base = int(rng.choice(near))
            if length and kind > 0.7:  # a neighbour: the last bits of the prefix differ
                base ^= rng.randrange(1, 4) << (bits - length)
                base &= (1 << bits) - 1
        else:
            base = rng.getrandbits(bits)
        host = address(str(ipaddress.ip_address(base) if version == 4
                           else ipaddress.IPv6Address(base)))
        if host.version == version:  # not one that became IPv4-mapped
            yield ipaddress.ip_network((host, length), strict=False)


def inside(sessions, network):
    """How many sessions' peers are in a network."""
    return sum(s.peer.version == network.version and s.peer in network for s in sessions)


class Comparison:
    """Everything that is held against the product, and what differed."""

    def __init__(self, config, sessions, rng):
        self.config, self.sessions, self.rng = config, sessions, rng
        self.everything = [s for name in sessions for s in sessions[name]]
        self.wrong = 0

    def check(self, want, got, what):
        """Notes a difference."""
        if want != got:
            self.wrong += 1
            print("oracle: %s: expected %s, got %s" % (what, want, got))

    def among(self, listeners):
        """The sessions of some listeners."""
        return [s for name in listeners for s in self.sessions[name]]

    def command(self, networks):
        """`conncount count` for each network, of a random service or listener."""
        for network in networks:
            if self.rng.random() < 0.3:
                name = self.rng.choice(sorted(self.sessions))
                scope, among = ["--listener", name], self.sessions[name]
            else:
                service = self.rng.choice(SERVICES + sorted(set(self.config.service.values())))
                scope = ["--service", service] if service != "SMTP" or self.rng.random() < 0.5 \
                    else []
                among = self.among(self.config.of_service(service))
            argv = ["conncount", "count", *scope, spell(self.rng, network)]
            self.check("%d\n" % inside(among, network), run(argv), " ".join(argv))

    def lua_query(self, network):
        """A query for the Lua script: (its line, the count expected)."""
        service = self.rng.choice(SERVICES + sorted(set(self.config.service.values())))
        smtp = self.among(self.config.of_service("SMTP"))
        among = self.among(self.config.of_service(service))
        if not self.everything or self.rng.random() < 0.5:
            line = "audit - - %s %s" % (service, spell(self.rng, network))
            return line, inside(among, network)
        one = self.rng.choice(self.everything)
        peer = one.peer
        exact = ipaddress.ip_network(peer)
        length = self.rng.randrange(peer.max_prefixlen + 1)
        own = exact if length == 32 else ipaddress.ip_network((peer, length), strict=False)
        other = self.rng.randrange(33 if peer.version == 6 else 129)
        lengths = (length, other) if peer.version == 4 else (other, length)
        # For a session at hand: service or -, the argument, and what it means.
        forms = [("-", "-", exact, self.sessions[self.config.listener(one.local, one.port)]),
                 ("-", "/%d" % length, own, smtp),
                 ("-", spell(self.rng, network), network, smtp),
                 (service, "-", exact, among),
                 (service, "/%d" % length, own, among)]
        if 32 not in lengths:
            forms.append((service, "/%d,/%d" % lengths, own, among))
        kind, cidr, meant, counted = self.rng.choice(forms)
        locl = ("[%s]:%d" if one.local.version == 6 else "%s:%d") % (one.local, one.port)
        return "ac %s %s %s %s" % (peer, locl, kind, cidr), inside(counted, meant)

    def lua(self, networks):
        """The same by Lua, in one process."""
        asked = [self.lua_query(network) for network in networks]
        answers = run([os.environ["LUA"], "-e", LUA], input="".join(line + "\n" for line, _ in asked))
        answers = answers.splitlines()
        self.check(len(asked), len(answers), "number of answers from Lua")
        for (line, want), got in zip(asked, answers):
            self.check(str(want), got, "lua: " + line)

    def lists(self):
        """`conncount list --json` of some lengths."""
        for service in ("SMTP", "Control"):
            for version, option, length in [(4, "-4", 32), (4, "-4", 24), (4, "-4", 19),
                                            (4, "-4", 0), (6, "-6", 128), (6, "-6", 64),
                                            (6, "-6", 50), (6, "-6", 0)]:
                want = collections.Counter(
                    str(ipaddress.ip_network((s.peer, length), strict=False))
                    for s in self.among(self.config.of_service(service))
                    if s.peer.version == version)
                argv = ["conncount", "list", "--json", "--service", service, option, str(length)]
                got = json.loads(run(argv))
                counts = [entry["count"] for entry in got["entries"]]
                self.check(dict(want), {e["cidr"]: e["count"] for e in got["entries"]},
                           " ".join(argv))
                self.check(sorted(counts, reverse=True), counts, "order of " + " ".join(argv))
                self.check(sum(want.values()), got["total"], "total of " + " ".join(argv))
                self.check(True, got["exact"], "exact of " + " ".join(argv))

    def totals(self):
        """`conncount status --json`."""
        status = json.loads(run(["conncount", "status", "--json"]))
        self.check((0, 0), (status["uncounted"], status["lost"]), "uncounted and lost")
        if not self.everything:
            self.check(0, status["nodes"], "nodes")
        got = {listener["name"]: listener for listener in status["listeners"]}
        self.check(sorted(self.sessions), sorted(got), "listeners")
        for name, sessions in self.sessions.items():
            for family, version in (("ipv4", 4), ("ipv6", 6)):
                self.check(sum(s.peer.version == version for s in sessions),
                           got[name][family]["live"], "live of %s, %s" % (name, family))


def main():
    """Runs the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--expect", type=int, help="how many sessions there should be")
    options = parser.parse_args()
    print("oracle: seed %d" % options.seed)

    config = Config(options.config)
    sessions, flat = kernel_sessions(config)
    rng = random.Random(options.seed)
    comparison = Comparison(config, sessions, rng)
    with open(options.ledger, encoding="ascii") as lines:
        ledger = {line.strip() for line in lines if line.strip()}
    for line in sorted(flat ^ ledger):
        comparison.wrong += 1
        print("oracle: only %s has: %s" % ("the kernel" if line in flat else "the ledger", line))
    if options.expect is not None:
        comparison.check(options.expect, len(flat), "number of sessions")

    peers = [s.peer for s in comparison.everything]
    networks = list(queries(rng, options.queries, peers))
    comparison.command(networks)
    comparison.lua(networks)
    comparison.lists()
    comparison.totals()
    print("oracle: %d sessions, %d networks, %d differences"
          % (len(flat), len(networks), comparison.wrong))
    sys.exit(comparison.wrong != 0)


if __name__ == "__main__":
    main()
