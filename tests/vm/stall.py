# SPDX-License-Identifier: BSD-2-Clause
"""stall.py - stops one virtual CPU of a QEMU for a moment, again and again.

usage: stall.py PID CPUS SHORTEST LONGEST

PID is QEMU's and CPUS the number of its virtual CPUs. A stall takes SHORTEST to LONGEST
seconds; most are of the last CPU, the others of any. Runs until SIGTERM; then it detaches, and
prints how many stalls there were.

To the guest it is as if the host had given the CPU to another process. It uses ptrace(2), not a
cgroup's freezer: not every host can freeze single threads, and a tracer that dies, in whatever
way, leaves nothing stopped.
"""

import contextlib
import ctypes
import errno
import os
import random
import signal
import sys
import time

PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 7, 17, 0x4206, 0x4207
WALL = 0x40000000  # __WALL: threads, too
OBSERVE = 0.5  # seconds of load that tell virtual CPUs from other threads
RUN = 0.1, 0.3  # seconds between stalls, in which the waiting CPUs make progress
LAST = 0.7  # this share of the stalls is always the last CPU's

libc = ctypes.CDLL(None, use_errno=True)


class Stop(Exception):
    """SIGTERM."""


def ptrace(request, tid, data=0):
    """Makes the system call. Raises OSError."""
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(tid), None, ctypes.c_void_p(data)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def threads(pid):
    """(thread id, its name, its processor time so far) of each thread."""
    found = []
    for tid in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open("/proc/%d/task/%s/stat" % (pid, tid), encoding="utf-8",
                      errors="replace") as file:
                head, _, rest = file.read().rpartition(")")
            fields = rest.split()
            found.append((int(tid), head.partition("(")[2], int(fields[11]) + int(fields[12])))
    return found


def virtual_cpus(pid, number):
    """The ids of the threads that are virtual CPUs.

    QEMU names them only if it is asked to. Where it was not, they are the threads that are
    busy, since the guest is; the first thread never is one.
    """
    before = {tid: spent for tid, _, spent in threads(pid)}
    time.sleep(OBSERVE)
    now = [each for each in threads(pid) if each[0] != pid]
    named = [tid for tid, name, _ in now if name.startswith("CPU ")]
    if len(named) == number:
        return sorted(named)
    now.sort(key=lambda each: before.get(each[0], each[2]) - each[2])
    return sorted(tid for tid, _, _ in now[:number])


def stall(tid, seconds):
    """Stops a thread for so long."""
    ptrace(PTRACE_SEIZE, tid)
    try:
        ptrace(PTRACE_INTERRUPT, tid)
        # A signal also stops the thread, and must be passed on: QEMU kicks its threads by signals.
        while True:
            _, status = os.waitpid(tid, WALL)
            if not os.WIFSTOPPED(status):
                raise ChildProcessError(errno.ESRCH, "it has ended")
            if status >> 16:
                break
            ptrace(PTRACE_CONT, tid, os.WSTOPSIG(status))
        time.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            ptrace(PTRACE_DETACH, tid)


def main(argv):
    """Runs the command line."""
    if len(argv) != 5:
        sys.exit(__doc__)
    pid, number, shortest, longest = int(argv[1]), int(argv[2]), float(argv[3]), float(argv[4])

    def stop(*_):
        raise Stop

    stalls, stalled = 0, 0.0
    signal.signal(signal.SIGTERM, stop)
    try:
        cpus = virtual_cpus(pid, number)
        while True:
            seconds = random.uniform(shortest, longest)
            stall(cpus[-1] if random.random() < LAST else random.choice(cpus), seconds)
            stalls += 1
            stalled += seconds
            time.sleep(random.uniform(*RUN))
    except Stop:
        pass
    except (FileNotFoundError, ProcessLookupError, ChildProcessError):
        print("stall.py: the machine has gone", file=sys.stderr)
    print("stalls=%d stalled=%.1f" % (stalls, stalled))


if __name__ == "__main__":
    main(sys.argv)
