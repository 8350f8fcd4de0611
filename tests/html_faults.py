"""Faults of a page: of its elements, names, links, and what it would load."""

import re
from collections import Counter
from html.parser import HTMLParser

VOID = {
    "meta",
    "link",
    "img",
    "input",
    "br",
    "hr",
}  # elements without an end tag; those of SVG end themselves
LOADS = (
    r"@import\b.*|\burl\((?!#|%23|data:font/)[^)]*\)|<script(?:(?!</script>).)*?"
    r"(?:\bfetch\(|XMLHttpRequest|\bimport\b)"
)


class Reader(HTMLParser):
    """The elements and the text of a page; open elements are matched with their ends."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.elements, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        self.text += data


def faults(text):
    """The faults of a page, as short texts. Names of images and inputs are axe's to check, in a browser."""
    reader = Reader(text)
    ids = Counter(attributes["id"] for _, attributes in reader.elements if "id" in attributes)
    result = reader.faults + [
        f"{name} is the id of {count} elements" for name, count in ids.items() if count > 1
    ]
    for tag, attributes in reader.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            followed = (
                ("https:",) if (tag, name) == ("a", "href") else ()
            )  # by the reader, not by the page
            if not (attributes.get(name) or "#").startswith(("#", "data:", *followed)):
                result.append(f"<{tag}> leads to {attributes[name]}")
        leads = [
            one
            for name in ("for", "aria-labelledby", "aria-describedby")
            for one in attributes.get(name, "").split()
        ]
        leads += re.findall("^#(.*)", attributes.get("href") or "")
        result += [f"{one}, of <{tag}>, leads nowhere" for one in leads if one not in ids]
    return result + [f"the page loads {what[-60:]}" for what in re.findall(LOADS, text, re.DOTALL)]
