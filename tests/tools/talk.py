# SPDX-License-Identifier: BSD-2-Clause
"""talk.py - an SMTP client with many sessions. Its standard input has a command a line:

  open NAME SOURCE ADDR:PORT   open a session from SOURCE; print the greeting
  say NAME TEXT                send TEXT; print the server's reply
  gone NAME                    wait until the server has closed it
  close NAME                   close it, and wait until the server has too

Prints each line of a reply as `NAME LINE`. Sessions stay open until the end.
"""

import ipaddress
import socket
import sys

TIMEOUT = 20  # seconds for any single thing to happen


class Session:
    def __init__(self, name, source, target):
        host, _, port = target.rpartition(":")
        self.name = name
        family = socket.AF_INET6 if ipaddress.ip_address(source).version == 6 else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.bind((source, 0))
        self.sock.connect((host.strip("[]"), int(port)))
        self.stream = self.sock.makefile("rb")

    def show_reply(self):
        while True:
            line = self.stream.readline().decode().rstrip("\r\n")
            print(self.name, line)
            if line[3:4] != "-":
                break

    def say(self, text):
        self.sock.sendall(text.encode() + b"\r\n")
        self.show_reply()

    def gone(self):
        rest = self.stream.read()
        if rest:
            sys.exit(f"talk.py: {self.name}: not gone: {rest!r}")
        self.close()

    def close(self):
        self.stream.close()
        self.sock.close()


def main():
    sessions = {}
    for line in sys.stdin:
        verb, name, *rest = line.strip().split(" ", 2)
        if verb == "open":
            sessions[name] = Session(name, *rest[0].split())
            sessions[name].show_reply()
        elif verb == "say":
            sessions[name].say(rest[0])
        elif verb == "gone":
            sessions.pop(name).gone()
        elif verb == "close":
            sessions[name].sock.shutdown(socket.SHUT_WR)
            sessions.pop(name).gone()
        else:
            sys.exit(f"talk.py: {verb}: unknown")


main()
