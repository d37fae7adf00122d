# SPDX-License-Identifier: BSD-2-Clause
"""hideout.py - holds sessions in a network namespace that is hard to enter, until killed.

usage: hideout.py WAY FILE PORT

Opens two sessions from 10.5.1.1 to PORT, in a network namespace of their own. WAY is what still
leads into it:

  mount    a mount of it, in a mount namespace of its own; no process, no socket
  handle   an open handle; the sockets are in transit, in a socket that nothing reads
  flight   nothing: the sockets are in transit, in a socket that nothing reads
  inside   a thread that is not its process's first; the sockets are in transit
  thread   a thread that has a file descriptor table of its own, and has left the namespace
  leader   a thread of a process whose first thread has ended

FILE is created when all of this is done.
"""

import array
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading

CLONE_FILES, CLONE_NEWNS, CLONE_NEWNET = 0x400, 0x20000, 0x40000000
SYS_EXIT = {"x86_64": 60, "aarch64": 93}
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

WAYS = ("mount", "handle", "flight", "inside", "thread", "leader")

libc = ctypes.CDLL(None, use_errno=True)
held = []


def must(result):
    """Of a libc call."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sessions(port):
    """All sockets of two sessions, in a new network namespace that this thread is in then."""
    must(libc.unshare(CLONE_NEWNET))
    subprocess.run(["ip", "-batch", "-"], check=True, text=True,
                   input="link set lo up\nroute replace local 0.0.0.0/0 dev lo\n")
    with open("/proc/sys/net/ipv4/ip_nonlocal_bind", "w", encoding="ascii") as file:
        file.write("1")
    server = socket.create_server(("192.0.2.1", port))
    found = [server]
    for _ in range(2):
        found.append(socket.create_connection(("192.0.2.1", port), source_address=("10.5.1.1", 0)))
        found.append(server.accept()[0])
    return found


def send_away(sockets):
    """Close them all, once they are in the queue of another socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fds = array.array("i", [sock.fileno() for sock in sockets])
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    held.extend([ours, theirs])
    for sock in sockets:
        sock.close()


def in_thread(way, port, there):
    """Sessions that only this thread leads to."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    must(libc.unshare(CLONE_FILES))
    if way == "inside":
        send_away(sessions(port))
    else:
        held.extend(sessions(port))
        must(libc.setns(home, CLONE_NEWNET))
    os.close(home)
    there()
    while True:
        signal.pause()


def hide(way, port, there):
    """Does it, and calls @there then."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    if way in ("inside", "thread", "leader"):
        thread = threading.Thread(target=in_thread, args=(way, port, there))
        thread.start()
        if way == "leader":
            libc.syscall(SYS_EXIT[os.uname().machine], 0)  # of this thread alone
        return
    found = sessions(port)
    if way == "mount":
        must(libc.unshare(CLONE_NEWNS))
        must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        must(libc.mount(b"/proc/self/ns/net", b"/etc/hostname", None, MS_BIND, None))
    elif way == "handle":
        held.append(os.open("/proc/self/ns/net", os.O_RDONLY))
    must(libc.setns(home, CLONE_NEWNET))
    os.close(home)
    send_away(found)
    there()


def main(argv):
    """Runs the command line."""
    if len(argv) != 4 or argv[1] not in WAYS:
        sys.exit(__doc__)

    def there():
        with open(argv[2], "x", encoding="ascii"):
            pass

    hide(argv[1], int(argv[3]), there)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv)
