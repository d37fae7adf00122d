# SPDX-License-Identifier: BSD-2-Clause
"""examples.py - extracts the examples of a document.

usage: examples.py DOCUMENT DIRECTORY

Writes each example into a file of its own in DIRECTORY, 01, 02, ... in the order of the document,
and prints a line for each: its section, a tab, and its number within that section. In Markdown
(*.md) an example is a fenced or an indented block; in a manual page it is a display (.Bd, or
consecutive lines of .Dl) outside the SYNOPSIS.
"""

import collections
import pathlib
import sys


def markdown(lines):
    """Blocks between lines of ```, and runs of lines indented by four spaces."""
    section, fenced, block, before = "", False, [], ""
    for line in lines:
        if line.startswith("```"):
            if fenced:
                yield section, block
            fenced, block = not fenced, []
        elif fenced:
            block.append(line)
        elif line.startswith("    ") and (block or not before.strip()):
            block.append(line[4:])
        elif block:
            yield section, block
            block = []
        if line.startswith("#") and not fenced:
            section = line.lstrip("# ")
        before = line
    if fenced:
        sys.exit("examples.py: a block is not closed")
    if block:
        yield section, block


def plain(text):
    """mdoc(7)'s text as it is shown."""
    for escape, shown in ((r"\(aq", "'"), (r"\-", "-"), (r"\&", ""), (r"\e", "\\")):
        text = text.replace(escape, shown)
    return text


def mdoc(lines):
    """Displays, and runs of lines that are displays of one line."""
    section, block, displayed = "", [], False
    for line in lines:
        if line.startswith(".Bd"):
            displayed, block = True, []
        elif line.startswith(".Ed"):
            if section != "SYNOPSIS":
                yield section, block
            displayed, block = False, []
        elif displayed:
            block.append(plain(line))
        elif line.startswith(".Dl "):
            block.append(plain(line[4:]))
        elif block:
            yield section, block
            block = []
        if line.startswith(".Sh "):
            section = line[4:]
    if displayed:
        sys.exit("examples.py: a display is not closed")
    if block:
        yield section, block


def main():
    document, directory = sys.argv[1:]
    lines = pathlib.Path(document).read_text(encoding="utf-8").splitlines()
    of_section = collections.Counter()
    examples = markdown(lines) if document.endswith(".md") else mdoc(lines)
    for number, (section, block) in enumerate(examples, 1):
        text = "\n".join(block).rstrip() + "\n"
        pathlib.Path(directory, f"{number:02}").write_text(text, encoding="utf-8")
        of_section[section] += 1
        print(section, of_section[section], sep="\t")


main()
