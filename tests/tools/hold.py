# SPDX-License-Identifier: BSD-2-Clause
"""hold.py - a server and its clients in one process: holds sessions until it is killed.

usage: hold.py PORT N FILE   open N sessions from 127.0.0.1 to that port, and accept them; create
                             FILE when they are open

Uses only what a minimal Python has.
"""

import socket
import sys
import time

port, n, ready = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
listener = socket.create_server(("127.0.0.1", port))
held = []
for _ in range(n):
    held.append(socket.create_connection(("127.0.0.1", port)))
    held.append(listener.accept()[0])
with open(ready, "w", encoding="ascii"):
    pass
while True:
    time.sleep(3600)
