# SPDX-License-Identifier: BSD-2-Clause
"""nursery.py - starts sessions.py and actor.py, by a fork.

usage: nursery.py SOCKET

Most tests need one of them, and on an emulated machine an interpreter takes a second to start.
Takes orders from tests/tools/tell until killed, or until its parent ends:

  start TOOL SOCKET CGROUP NETNS OUT NAME=VALUE...
             start TOOL.py, to take orders at SOCKET, in a cgroup (a directory) and a network
             namespace (a file), with these variables in its environment, and its output in the
             file OUT; print the process id
  wait PID   wait until it has ended, and fail if it failed
"""

import ctypes
import gc
import os
import signal
import sys
import traceback

# Without the directories of site-packages (-S), and not by python's own -B, which -I ignores.
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import actor
import orders
import sessions

TOOLS = {"actor": actor, "sessions": sessions}
PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def enter(cgroup, netns, out):
    """To where the tool is to be."""
    fd = os.open(out, os.O_WRONLY | os.O_APPEND)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    with open(cgroup + "/cgroup.procs", "w", encoding="ascii") as procs:
        procs.write(str(os.getpid()))
    fd = os.open(netns, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter " + netns)
    os.close(fd)


def start(tool, path, cgroup, netns, out, *variables):
    """start TOOL SOCKET CGROUP NETNS OUT NAME=VALUE..."""
    pid = os.fork()
    if pid:
        return "+%d" % pid
    status = 1
    try:
        orders.forget()
        enter(cgroup, netns, out)
        os.environ.update(variable.split("=", 1) for variable in variables)
        TOOLS[tool].run(path)
        status = 0
    except Exception:  # shown where the test fails
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(pid):
    """wait PID"""
    status = os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1])
    return "-exit status %d\n" % status if status else "+"


def obey(order):
    """Carries it out."""
    name, *words = order.split("\0")[:-1]
    return {"start": start, "wait": wait}[name](*words), False


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.freeze()  # what is there already stays shared
    orders.serve(sys.argv[1], obey)
