# SPDX-License-Identifier: BSD-2-Clause
"""smtp.py - an SMTP client that holds sessions with a real server.

usage: smtp.py SOCKET

Takes orders from tests/tools/tell at a unix socket: one command as words.

  open N SRC DST:PORT   open N sessions from SRC, and print the code of each greeting, or
                        `closed`. Those greeted with 2xx stay open
  crowd N DST:PORT SRC...  the same for each SRC, all at the same time; a line for each
  mail SRC              send a mail in each session of SRC; print the codes at its end
  close SRC             QUIT all sessions of SRC, and wait until the server has closed them
  quit                  end everything
"""

import concurrent.futures
import os
import socket
import sys

TIMEOUT = 20  # seconds for any single thing to happen
MAIL = ("EHLO client.example", "MAIL FROM:<from@client.example>", "RCPT TO:<root@localhost>",
        "DATA", "Subject: test\r\n\r\ntest\r\n.")


class Session:
    """One connection; `code` is the last reply's, or `closed`."""

    def __init__(self, src, dst):
        host, _, port = dst.rpartition(":")
        host = host.strip("[]")
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.settimeout(TIMEOUT)
        self.sock.bind((src, 0))
        try:
            self.sock.connect((host, int(port)))
        except ConnectionError:
            pass  # the reply says it
        self.lines = self.sock.makefile("rb")
        self.reply()

    def reply(self):
        """Reads a reply to its last line."""
        line = b"   -"
        while line[3:4] == b"-":
            try:
                line = self.lines.readline()
            except ConnectionError:
                line = b""
        self.code = line[:3].decode() or "closed"

    def say(self, text):
        """Sends a command, or a mail."""
        self.sock.sendall(text.encode() + b"\r\n")
        self.reply()

    def close(self):
        """Closes this end."""
        self.lines.close()
        self.sock.close()


SESSIONS = {}  # by SRC


def do_open(number, src, dst):
    """open N SRC DST:PORT"""
    codes = []
    for _ in range(int(number)):
        session = Session(src, dst)
        codes.append(session.code)
        if session.code.startswith("2"):
            SESSIONS.setdefault(src, []).append(session)
        else:
            session.close()
    return " ".join(codes)


def do_crowd(number, dst, *sources):
    """crowd N DST:PORT SRC..."""
    with concurrent.futures.ThreadPoolExecutor(len(sources)) as crowd:
        return "\n".join(crowd.map(lambda src: do_open(number, src, dst), sources))


def do_mail(src):
    """mail SRC"""
    for session in SESSIONS[src]:
        for text in MAIL:
            session.say(text)
    return " ".join(session.code for session in SESSIONS[src])


def do_close(src):
    """close SRC"""
    for session in SESSIONS.pop(src):
        session.say("QUIT")
        while session.code != "closed":
            session.reply()
        session.close()
    return ""


def run(path):
    """Serves orders at a unix socket until one is to quit."""
    control = socket.socket(socket.AF_UNIX)
    control.bind(path + ".new")
    control.listen()
    os.rename(path + ".new", path)  # there once it can be connected to
    while True:
        peer, _ = control.accept()
        with peer, peer.makefile("rw", encoding="utf-8") as lines:
            verb, *words = lines.read().split("\0")[:-1]
            if verb == "quit":
                lines.write("+")
                return
            try:
                lines.write("+%s\n" % globals()["do_" + verb](*words))
            except Exception as why:  # whatever it is, the test is to see it
                lines.write("-smtp.py: %s %s: %r\n" % (verb, " ".join(words), why))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run(sys.argv[1])
