# SPDX-License-Identifier: BSD-2-Clause
"""sessions.py - holds TCP sessions, and moves them step by step.

nursery.py starts it. It takes orders from tests/tools/tell: one command as words, or commands as
text, one a line, whose words have no blanks; the first that fails ends the order. It answers a
command when the kernel has done it: an opened session is accepted, a reset has reached the
server's socket. Each server and the client are processes of their own, so that each can be
killed.

  listen ADDR:PORT [SERVER]   listen, in the server process of that name (default: server).
                              ADDR is * (both families), an IPv4 address or [an IPv6 one]
  unlisten ADDR:PORT          close that listener, which ends the sessions in its queue
  open N SRC DST:PORT         open and accept N sessions from SRC; `SRC+` is SRC, SRC+1, ...
  queue N SRC DST:PORT        the same, but leave them in the accept queue
  accept [SELECTOR]           accept sessions that are queued
  plan FILE                   open a session for each line `SRC DST:PORT` of FILE
  close SIDE [SELECTOR]       SIDE is client, server or both: close(2)
  shut SIDE [SELECTOR]        SIDE is client or server: shutdown(2) of its sending half
  reset SIDE [SELECTOR]       SIDE is client or server: close with a RST
  share [SERVER]              let a second process hold all of a server's sockets too
  unshare [SERVER]            end that process
  kill NAME                   SIGKILL a server, or `client`
  exec ID WORD...             run a command beside the server, with that accepted session as
                              file descriptor 3; print what it prints, fail if it fails
  ledger                      print each session that should count, `PEER PORT LOCAL PORT`
  live                        print how many sessions should count
  quit                        end everything

open, queue and plan print the ids of the new sessions, FIRST-LAST. A SELECTOR picks among
the sessions that the command can apply to: all (the default), ID, FIRST-LAST, even, odd (by
id), from=CIDR, to=ADDR:PORT (the address that the client called). A command that no session
matches is an error.
"""

import marshal
import os
import signal
import socket
import struct
import subprocess
import time
import traceback

import orders

IP_BIND_ADDRESS_NO_PORT = 24
ESTABLISHED, FIN_WAIT2, CLOSED, CLOSE_WAIT = 1, 5, 7, 8  # as tcp_info and /proc/net/tcp say
TIMEOUT = 20  # seconds for any single thing to happen
BACKLOG = 4096


class Refused(Exception):
    """A command that cannot be done; its text is the answer."""


def family(host):
    """That of an address as text."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address(text):
    """A number, of an address as text."""
    try:
        return int.from_bytes(socket.inet_pton(family(text), text), "big")
    except OSError as error:
        raise Refused(text + ": not an address") from error


def endpoint(text):
    """ADDR:PORT or [ADDR6]:PORT -> (address as text, port). The address of `*` is None."""
    host, _, port = text.rpartition(":")
    if host == "*":
        return None, int(port)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (":" in bare) != (bare != host):
        raise Refused(text + ": not ADDR:PORT or [ADDR6]:PORT")
    return plus(bare, 0), int(port)


def plus(text, step):
    """The address so many steps further, as the kernel writes it."""
    size = 16 if ":" in text else 4
    return socket.inet_ntop(family(text), (address(text) + step).to_bytes(size, "big"))


def new_socket(host):
    """A TCP socket of the family of an address; of both for None."""
    sock = socket.socket(family(host or "::"), socket.SOCK_STREAM)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host is not None)
    return sock


def tcp_state(sock):
    """The kernel's state of a connection."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def plain(host):
    """A socket's address, an IPv4-mapped one as IPv4."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def poll(check, what):
    """Waits until check() is true; refuses after TIMEOUT."""
    end = time.monotonic() + TIMEOUT
    while not check():
        if time.monotonic() > end:
            raise Refused("timed out: " + what)
        time.sleep(0.001)


def kernel_states():
    """The host's TCP sockets: {(local, port, peer, port): state}."""
    states = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path, encoding="ascii") as lines:
            next(lines)
            for line in lines:
                fields = line.split()
                key = []
                for text in fields[1:3]:
                    digits, port = text.split(":")
                    # The file has each word of an address as a number.
                    words = struct.unpack(">%dI" % (len(digits) // 8), bytes.fromhex(digits))
                    raw = struct.pack("=%dI" % len(words), *words)
                    host = socket.inet_ntop(
                        socket.AF_INET6 if len(words) > 1 else socket.AF_INET, raw)
                    key += [plain(host), int(port, 16)]
                states[tuple(key)] = int(fields[3], 16)
    return states


def say(file, what):
    """To whom has forked us, or is our fork."""
    data = marshal.dumps(what)
    file.write(struct.pack("=I", len(data)) + data)
    file.flush()


def heard(file):
    """What they say. Raises EOFError."""
    size = file.read(4)
    if not size:
        raise EOFError
    return marshal.loads(file.read(struct.unpack("=I", size)[0]))


class Worker:
    """A process that holds one side's sockets. The parent calls its do_* by name."""

    def __init__(self, others):
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            orders.forget()
            ours.close()
            for other in others:
                other.close()
            self.serve(theirs)
        theirs.close()
        self.pipe = ours
        self.words = ours.makefile("rwb")

    def call(self, verb, *args):
        """In the parent: have it done, and return the result."""
        try:
            say(self.words, (verb, args))
            good, result = heard(self.words)
        except (EOFError, OSError) as error:
            raise Refused("the process that was to %s is gone" % verb) from error
        if not good:
            raise Refused(result)
        return result

    def serve(self, pipe):
        """In the child: do what is called, until the parent goes."""
        self.socks = {}
        self.listeners = {}
        self.holder = None
        words = pipe.makefile("rwb")
        while True:
            try:
                verb, args = heard(words)
            except EOFError:
                break
            try:
                answer = True, getattr(self, "do_" + verb)(*args)
            except Refused as why:
                answer = False, str(why)
            except Exception:  # the parent's user wants to see it
                answer = False, traceback.format_exc()
            say(words, answer)
        if self.holder:
            self.do_unshare()
        os._exit(0)

    def kill(self):
        """In the parent: SIGKILL, and wait until it is gone with all it held."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.close()

    def close(self):
        """In the parent, or in another worker: forget it."""
        self.words.close()
        self.pipe.close()

    def end(self):
        """In the parent: end it in an orderly way."""
        self.close()
        if os.waitpid(self.pid, 0)[1] != 0:
            raise Refused("a worker failed")

    # What both sides can do, in the child.

    def do_finish(self, how, ids):
        """close, shut or reset each session."""
        for number in ids:
            sock = self.socks[number]
            if how == "shut":
                sock.shutdown(socket.SHUT_WR)
                continue
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            del self.socks[number]

    def do_await(self, ids, state):
        """Waits until each connection is in a state."""
        for number in ids:
            sock = self.socks[number]
            poll(lambda: tcp_state(sock) == state,
                 "session %d to be in state %d" % (number, state))

    # The client.

    def do_connect(self, wanted):
        """Connects [[id, source, destination, port], ...]; returns [[id, source port], ...]."""
        opened = []
        for number, src, dst, port in wanted:
            sock = new_socket(src)
            sock.settimeout(TIMEOUT)
            sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            try:
                sock.bind((src, 0))
                sock.connect((dst, port))
            except OSError as error:
                raise Refused("connect from %s to %s port %d: %s" % (src, dst, port, error)) \
                    from error
            self.socks[number] = sock
            opened.append([number, sock.getsockname()[1]])
        return opened

    # A server.

    def do_listen(self, text):
        """Starts to listen."""
        host, port = endpoint(text)
        sock = new_socket(host)
        # REUSEADDR for ports in TIME_WAIT, REUSEPORT for *:25 beside 192.0.2.1:25.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind((host or "::", port))
            sock.listen(BACKLOG)
        except OSError as error:
            raise Refused("listen %s: %s" % (text, error)) from error
        sock.settimeout(TIMEOUT)
        self.listeners[text] = sock

    def do_unlisten(self, text):
        """Closes a listener."""
        self.listeners.pop(text).close()

    def do_accept(self, text, wanted):
        """Accepts from a listener until it has [[id, peer, port], ...], and only those."""
        missing = {(peer, port): number for number, peer, port in wanted}
        while missing:
            try:
                sock, address = self.listeners[text].accept()
            except OSError as error:
                raise Refused("accept from %s: %s, missing %s" % (text, error, list(missing))) \
                    from error
            who = (plain(address[0]), address[1])
            if who not in missing:
                raise Refused("accept from %s: unexpected peer %s" % (text, who))
            self.socks[missing.pop(who)] = sock

    def do_exec(self, number, argv):
        """Runs a command with a session as descriptor 3; returns [status, output]."""
        def place():
            os.dup2(self.socks[number].fileno(), 3)  # dup2 leaves it inheritable
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL, preexec_fn=place, close_fds=False,
                              timeout=TIMEOUT, check=False)
        return [done.returncode, done.stdout]

    def do_share(self):
        """Forks a process that holds every socket too, until do_unshare."""
        ready, told = os.pipe()
        self.holder = os.fork()
        if self.holder == 0:
            os.write(told, b"x")
            while True:
                signal.pause()
        os.read(ready, 1)
        os.close(ready)
        os.close(told)

    def do_unshare(self):
        """Ends the process that do_share started."""
        os.kill(self.holder, signal.SIGKILL)
        os.waitpid(self.holder, 0)
        self.holder = None


class Session:
    """What the ledger knows of one session."""

    # `client` and `server` are the state of each side's socket: open, shut, closed or lost
    # (closed by force: the process was killed, or the connection reset). `queued`: not
    # accepted yet. `live`: it should count.

    def __init__(self, number, src, dst, port, listener):
        self.id, self.src, self.dst, self.port = number, src, dst, port
        self.listener = listener
        self.sport = 0
        self.queued = True
        self.live = True
        self.client = "open"
        self.server = "open"


class Ledger:
    """The commands, and what they have led to."""

    def __init__(self):
        self.servers = {}    # name -> Worker
        self.client = None
        self.listeners = {}  # text -> server's name
        self.sessions = {}   # id -> Session
        self.next = 1

    # Finding things.

    def workers(self):
        """All processes there are."""
        return list(self.servers.values()) + ([self.client] if self.client else [])

    def server_of(self, session):
        """The process that holds, or will accept, the server's side."""
        return self.servers[session.server_name]

    def listener_for(self, dst, port):
        """The listener that a connection to dst:port reaches."""
        six = ":" in dst
        names = ["[%s]:%d" % (dst, port) if six else "%s:%d" % (dst, port),
                 "[::]:%d" % port if six else "0.0.0.0:%d" % port, "*:%d" % port]
        for name in names:
            if name in self.listeners:
                return name
        raise Refused("nothing listens for %s port %d" % (dst, port))

    def select(self, selector, able):
        """The sessions a selector names, of those for which able(session)."""
        if selector == "all":
            test = lambda s: True
        elif selector in ("even", "odd"):
            test = lambda s: s.id % 2 == (selector == "odd")
        elif selector.startswith("from="):
            network, _, length = selector[5:].partition("/")
            shift = 0 if not length else (128 if ":" in network else 32) - int(length)
            test = lambda s: (family(s.src) == family(network) and
                              address(s.src) >> shift == address(network) >> shift)
        elif selector.startswith("to="):
            where = endpoint(selector[3:])
            test = lambda s: (s.dst, s.port) == where
        else:
            first, _, last = selector.partition("-")
            test = lambda s: int(first) <= s.id <= int(last or first)
        found = [s for s in self.sessions.values() if test(s) and able(s)]
        if not found:
            raise Refused("no session to do this to: " + selector)
        return found

    # Opening.

    def do_listen(self, text, name="server"):
        """listen ADDR:PORT [SERVER]"""
        host, port = endpoint(text)
        text = "*:%d" % port if host is None else \
            "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)
        if text in self.listeners:
            raise Refused("listens already: " + text)
        if name == "client":
            raise Refused("client is no name for a server")
        if name not in self.servers:
            self.servers[name] = Worker(self.workers())
        self.servers[name].call("listen", text)
        self.listeners[text] = name

    def do_unlisten(self, text):
        """unlisten ADDR:PORT"""
        if text not in self.listeners:
            raise Refused("no listener " + text)
        self.servers[self.listeners.pop(text)].call("unlisten", text)
        for session in self.sessions.values():
            if session.listener == text and session.queued:
                session.queued = session.live = False
                session.server = "lost"

    def connect(self, pairs):
        """Connects [(source, destination, port), ...]; returns the new sessions, queued."""
        if not self.client:
            self.client = Worker(self.workers())
        new = []
        for src, dst, port in pairs:
            session = Session(self.next, src, dst, port, self.listener_for(dst, port))
            session.server_name = self.listeners[session.listener]
            self.next += 1
            new.append(session)
        ports = self.client.call("connect", [[s.id, s.src, s.dst, s.port] for s in new])
        for session, (number, sport) in zip(new, ports):
            assert session.id == number
            session.sport = sport
            self.sessions[session.id] = session
        return new

    def accept(self, sessions):
        """Accepts sessions that are queued."""
        for listener in {s.listener: None for s in sessions}:
            wanted = [s for s in sessions if s.listener == listener]
            rest = {s.id for s in self.sessions.values() if s.queued and s.listener == listener}
            if rest != {s.id for s in wanted}:
                raise Refused("other sessions are queued at %s: accept those, too" % listener)
            self.servers[self.listeners[listener]].call(
                "accept", listener, [[s.id, s.src, s.sport] for s in wanted])
            for session in wanted:
                session.queued = False

    @staticmethod
    def sources(count, src, dst):
        """The pairs that `N SRC DST:PORT` stands for."""
        step = 1 if src.endswith("+") else 0
        first = src.rstrip("+")
        host, port = endpoint(dst)
        return [(plus(first, i * step), host, port) for i in range(int(count))]

    @staticmethod
    def ids(sessions):
        """FIRST-LAST."""
        return "%d-%d" % (sessions[0].id, sessions[-1].id)

    def open_all(self, pairs):
        """Connects and accepts, in portions no accept queue overflows at."""
        new = []
        for start in range(0, len(pairs), BACKLOG // 4):
            some = self.connect(pairs[start:start + BACKLOG // 4])
            self.accept(some)
            new += some
        return self.ids(new)

    def do_open(self, count, src, dst):
        """open N SRC DST:PORT"""
        return self.open_all(self.sources(count, src, dst))

    def do_queue(self, count, src, dst):
        """queue N SRC DST:PORT"""
        new = self.connect(self.sources(count, src, dst))
        # connect(2) returns a moment before the server's side is established.
        keys = [(s.dst, s.port, s.src, s.sport) for s in new]

        def queued():
            states = kernel_states()
            return all(states.get(key) == ESTABLISHED for key in keys)
        poll(queued, "sessions to be established")
        return self.ids(new)

    def do_plan(self, path):
        """plan FILE"""
        with open(path, encoding="ascii") as lines:
            pairs = [(line.split()[0], *endpoint(line.split()[1])) for line in lines]
        return self.open_all(pairs)

    def do_accept(self, selector="all"):
        """accept [SELECTOR]"""
        self.accept(self.select(selector, lambda s: s.queued))

    # Ending.

    def settle(self, sessions, state):
        """Waits until the server's side of sessions is in a state, or gone if queued."""
        for server in self.servers.values():
            mine = [s.id for s in sessions if not s.queued and self.server_of(s) is server]
            if mine:
                server.call("await", mine, state)
        waiting = [(s.dst, s.port, s.src, s.sport) for s in sessions if s.queued]

        def settled():
            states = kernel_states()
            return all(states.get(key, CLOSED) == state for key in waiting)
        if waiting:
            poll(settled, "queued sessions to be in state %d" % state)

    def client_went(self, sessions, how):
        """The client's side has closed, shut or reset: wait until the server's side knows."""
        held = [s for s in sessions if s.server in ("open", "shut") and s.live]
        for session in sessions:
            session.client = {"close": "closed", "shut": "shut", "reset": "lost"}[how]
        for end, state in ((False, CLOSE_WAIT), (True, CLOSED)):
            # A FIN after the server's own FIN ends the connection as a RST does.
            some = [s for s in held if (how == "reset" or s.server == "shut") == end]
            self.settle(some, state)
            for session in some:
                session.live = session.live and not end

    def finish(self, how, side, selector):
        """close, shut or reset one side."""
        allowed = ("open",) if how == "shut" else ("open", "shut")
        if side == "client":
            chosen = self.select(selector, lambda s: s.client in allowed)
            self.client.call("finish", how, [s.id for s in chosen])
            self.client_went(chosen, how)
        elif side == "server":
            chosen = self.select(selector, lambda s: not s.queued and s.server in allowed)
            for server in self.servers.values():
                mine = [s for s in chosen if self.server_of(s) is server]
                if not mine:
                    continue
                server.call("finish", how, [s.id for s in mine])
                connected = [s for s in mine if s.live]
                if how == "shut":
                    # Its FIN answers the client's (then nothing is left), or awaits it.
                    for gone in (False, True):
                        some = [s for s in connected if (s.client != "open") == gone]
                        self.settle(some, CLOSED if gone else FIN_WAIT2)
                        for session in some:
                            session.live = not gone
                for session in mine:
                    session.server = {"close": "closed", "shut": "shut", "reset": "lost"}[how]
                    if how != "shut" and not getattr(server, "shared", False):
                        session.live = False
                    elif how == "close":
                        session.server = "shared"
        else:
            raise Refused("%s: not client or server" % side)

    def do_close(self, side, selector="all"):
        """close SIDE [SELECTOR]"""
        if side == "both":
            self.finish("close", "client", selector)
            side = "server"
        self.finish("close", side, selector)

    def do_shut(self, side, selector="all"):
        """shut SIDE [SELECTOR]"""
        self.finish("shut", side, selector)

    def do_reset(self, side, selector="all"):
        """reset SIDE [SELECTOR]"""
        self.finish("reset", side, selector)

    def do_share(self, name="server"):
        """share [SERVER]"""
        self.servers[name].call("share")
        self.servers[name].shared = True

    def do_unshare(self, name="server"):
        """unshare [SERVER]"""
        self.servers[name].call("unshare")
        self.servers[name].shared = False
        for session in self.sessions.values():
            if session.server == "shared" and session.server_name == name:
                session.server, session.live = "closed", False

    def do_kill(self, name):
        """kill NAME"""
        if name == "client":
            if not self.client:
                raise Refused("there is no client")
            self.client.kill()
            self.client = None
            self.client_went([s for s in self.sessions.values()
                              if s.client in ("open", "shut")], "close")
            return
        if name not in self.servers:
            raise Refused("no server " + name)
        self.servers.pop(name).kill()
        self.listeners = {text: who for text, who in self.listeners.items() if who != name}
        for session in self.sessions.values():
            if session.server_name == name and session.server in ("open", "shut"):
                session.server, session.queued, session.live = "lost", False, False

    # Asking.

    def do_exec(self, number, *argv):
        """exec ID WORD..."""
        session = self.select(number, lambda s: not s.queued and s.server in ("open", "shut"))[0]
        status, output = self.server_of(session).call("exec", session.id, argv)
        if status:
            raise Refused("%sexit status %d" % (output, status))
        return output.rstrip("\n")

    def do_ledger(self):
        """ledger"""
        return "\n".join("%s %d %s %d" % (s.src, s.sport, s.dst, s.port)
                         for s in self.sessions.values() if s.live)

    def do_live(self):
        """live"""
        return str(sum(s.live for s in self.sessions.values()))

    def quit(self):
        """Ends every process."""
        for worker in self.workers():
            worker.end()

    def run(self, words):
        """Runs one command; returns its output. Raises Refused."""
        method = getattr(self, "do_" + words[0], None) if words else None
        if not method:
            raise Refused("no such command")
        try:
            return method(*words[1:]) or ""
        except (TypeError, ValueError, KeyError) as error:
            raise Refused(traceback.format_exc()) from error


def obey(ledger, order):
    """Runs the commands of an order; returns the answer to tell, and whether it was to quit."""
    if "\0" in order:
        commands = [order.split("\0")[:-1]]
    else:
        commands = [line.split() for line in order.splitlines() if line.strip()]
    printed = ""
    for command in commands:
        try:
            if command == ["quit"]:
                ledger.quit()
                return "+" + printed, True
            text = ledger.run(command)
        except Refused as why:
            return "-%ssessions.py: %s: %s\n" % (printed, " ".join(command), why), False
        printed += text + "\n" if text else ""
    return "+" + printed, False


def run(path):
    """Serves orders at a unix socket until one is to quit."""
    ledger = Ledger()
    orders.serve(path, lambda order: obey(ledger, order))
