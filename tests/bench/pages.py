#!/usr/bin/python3 -IS
# SPDX-License-Identifier: BSD-2-Clause
"""pages - asks the exporter what so many open pages ask.

usage: pages BASE PAGES same|different SECONDS

Each page asks what user/page/page.js asks, in this order, and again 2 seconds after the last answer, with the
entity tags of the answers it has. `same`: all have the view that the page begins with. `different`: each has
other lengths of networks.

Prints how many rounds there were, the bytes of the answers of the largest one, how many answers were new (not
304), and the highest age of one in seconds.
"""

import http.client
import sys
import threading
import time

POLL_S = 2


class Page:
    def __init__(self, host, v4, v6):
        networks = "/api/networks?service=SMTP&v4=%d&v6=%d&limit=100" % (v4, v6)
        self.host = host
        self.paths = ["/api/status", networks, "/api/history?step=1&limit=300",
                      "/api/networks?service=SMTP&within=0.0.0.0%2F0&limit=256&v4=8"]
        self.tags = {}
        self.rounds = self.bytes = self.new = self.age = 0

    def ask(self, path):
        """The bytes of an answer."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("GET", path, headers={"If-None-Match": self.tags[path]} if path in self.tags else {})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 304):
            sys.exit("%s: %d: %s" % (path, answer.status, body))
        self.tags[path] = answer.headers["ETag"]
        self.age = max(self.age, int(answer.headers["Age"]))
        self.new += answer.status == 200
        connection.close()
        return len(body)

    def run(self, end):
        while time.monotonic() < end:
            self.bytes = max(self.bytes, sum(self.ask(path) for path in self.paths))
            self.rounds += 1
            time.sleep(max(0, min(POLL_S, end - time.monotonic())))


def main():
    base, n, which, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    views = [(13 + i % 20, 45 + i % 20) if which == "different" else (24, 64) for i in range(n)]
    pages = [Page(base, *view) for view in views]
    threads = [threading.Thread(target=page.run, args=(time.monotonic() + seconds,)) for page in pages]
    for thread in threads:
        thread.start()
        time.sleep(POLL_S / n)
    for thread in threads:
        thread.join()
    print(sum(page.rounds for page in pages), max(page.bytes for page in pages),
          sum(page.new for page in pages), max(page.age for page in pages))


main()
