# SPDX-License-Identifier: BSD-2-Clause
"""orders.py - executes the commands sent by tests/tools/tell."""

import os
import resource
import socket

held = []  # sockets: that at which orders come in, and that of the one being carried out


def serve(path, obey):
    """Serves orders at a unix socket.

    obey(order) returns the answer, which is `+` and what the order prints or `-` and what went
    wrong; and whether it was the last one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control = socket.socket(socket.AF_UNIX)
    control.bind(path + ".new")
    control.listen()
    os.rename(path + ".new", path)  # there once it can be connected to
    ended = False
    while not ended:
        with control.accept()[0] as peer:
            held[:] = control, peer
            order = bytearray()
            while data := peer.recv(65536):
                order += data
            answer, ended = obey(order.decode())
            peer.sendall(answer.encode())


def forget():
    """In a process forked meanwhile, for whose end the sender of the order waits."""
    for sock in held:
        sock.close()
    held.clear()
