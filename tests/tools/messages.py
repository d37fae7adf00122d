# SPDX-License-Identifier: BSD-2-Clause
"""messages.py - checks that the messages quoted in a manual page are in the source.

usage: messages.py PAGE SOURCE...

PAGE quotes a message by `.It Li TEXT Ar NAME Li TEXT ...`, in which NAME stands for what the
source inserts there. Prints how many messages it quotes. If some are in no string of a SOURCE,
prints these on stderr and exits with 1.
"""

import re
import sys

STRING = r'"(?:[^"\\]|\\.)*"'
INSERTED = "\0"


def joined(text):
    """Without the blanks around what is inserted, which mdoc cannot tell."""
    return re.sub(rf"\s*{INSERTED}+\s*", INSERTED, text)


def source_strings(path):
    """The strings of a C source, each with those that adjoin it and macros between them."""
    with open(path, encoding="utf-8") as source:
        text = source.read()
    text = re.sub(r'%"\s*PRI\w+\s*"', INSERTED, text)
    for match in re.finditer(rf"{STRING}(?:\s+(?:\w+\s+)?{STRING})*", text):
        parts = re.split(rf"({STRING})", match.group())
        # Between two strings: blanks, or a macro.
        whole = "".join(part[1:-1] if part.startswith('"') else INSERTED if part.strip() else ""
                        for part in parts)
        yield joined(re.sub(r"%[-.*0-9]*[lz]*[a-z]", INSERTED, whole))


def quoted_messages(path):
    with open(path, encoding="utf-8") as page:
        for line in page:
            if not re.match(r"\.It (Li|Ar) ", line):
                continue
            text, macro = "", None
            for word in line.replace(r"\&", "").split()[1:]:
                if word == "Ns":
                    continue
                if word in ("Li", "Ar"):
                    macro = word
                elif macro == "Li":
                    text += word + " "
                else:
                    text += INSERTED
            yield joined(text.strip())


def main():
    page, sources = sys.argv[1], sys.argv[2:]
    strings = [string for source in sources for string in source_strings(source)]
    messages = list(quoted_messages(page))
    missing = [message for message in messages if not any(message in string for string in strings)]
    print(len(messages))
    for message in missing:
        print(f"{page}: not in the source: {message.replace(INSERTED, ' ... ')}", file=sys.stderr)
    sys.exit(1 if missing else 0)


main()
