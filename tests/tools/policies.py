# SPDX-License-Identifier: BSD-2-Clause
"""policies.py - random policy files for conncount-policyd.

usage: policies.py DIR N SEED

Writes DIR/0 to DIR/N-1: calls of limit and allow with fields and values that are right, nearly
right or of another type, in Lua that is whole or cut, doubled and mixed. The same SEED makes the
same files.
"""

import random
import sys

FIELDS = ["v4", "v6", "sessions", "connections", "window", "service", "action", "message", "delay",
          "V4", "[1]", "['v 4']", "x"]
VALUES = [
    "0", "1", "5", "24", "32", "33", "64", "128", "129", "-1", "1.5", "1e3", "1e308 * 10", "0/0", "2^63",
    "math.maxinteger", "math.mininteger", "'5'", "'SMTP'", "''", "'defer'", "'reject'", "'tarpit'",
    "'{open} of {limit} in {network}'", "'{x}'", "'{'", "'a\\0b'", "'a\\27[2Jb'", "'\\255\\254'",
    "('x'):rep(500)", "('x'):rep(100000)", "nil", "true", "false", "{}", "{ 1, 2 }", "print",
    "function() end", "coroutine.create(print)", "setmetatable({}, { __index = error })",
    "setmetatable({}, { __tostring = function() return {} end })", "10.0.0.0/8",
    "'60,1'", "'10.0.0.0/8'", "'2001:db8::/32'", "'::ffff:10.0.0.0/104'", "'10.0.0.0/33'", "'fe80::1%lo'",
    "'localhost'", "'mx.example.org'", "'/24'", "' 10.1.2.3'", "'10.1.2.3\\n'", "_G", "...", "limit", "allow",
]
TOKENS = FIELDS + VALUES + [
    "limit", "allow", "(", ")", "{", "}", "[", "]", "[[", "]]", "--", "--[[", "=", ",", ";", ".", "..", ":",
    "if", "then", "end", "for", "in", "do", "while", "repeat", "until", "return", "goto a", "::a::", "local",
    "function", "pcall", "error", "load", "table.insert", "string.rep", "\n", "\t", "\0", "\r", "'", '"', "\\",
    "\xef\xbb\xbf", "#!", "#", "~", "//", "<const>", "<close>", "é",
]


def call(rng):
    """A call of limit or allow."""
    if rng.random() < 0.3:
        return "allow{ %s }" % ", ".join(rng.choices(VALUES, k=rng.randrange(4)))
    fields = {"v4": "32", "sessions": "5"} if rng.random() < 0.7 else {}
    for _ in range(rng.randrange(4)):
        fields[rng.choice(FIELDS)] = rng.choice(VALUES)
    return "limit{ %s }" % ", ".join("%s = %s" % field for field in fields.items())


def policy(rng):
    """A file's text."""
    lines = [call(rng) for _ in range(rng.randrange(1, 5))]
    if rng.random() < 0.4:
        return "\n".join(lines) + "\n"
    words = " \n".join(lines).split(" ")
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(words))
        words[at:at + rng.randrange(3)] = rng.choices(TOKENS, k=rng.randrange(3))
        words = words or [""]
    return " ".join(words)


def main():
    """Writes them."""
    folder, n, rng = sys.argv[1], int(sys.argv[2]), random.Random(sys.argv[3])
    for i in range(n):
        with open("%s/%d" % (folder, i), "w", encoding="utf-8", newline="") as file:
            file.write(policy(rng))


main()
