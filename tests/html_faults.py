"""Faults of a page: of its elements, names, links, and what it would load."""

import re
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}  # elements without an end tag; those of SVG end themselves


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
    """The faults of a page, as short texts."""
    reader = Reader(text)
    result = list(reader.faults)
    ids = Counter(attributes["id"] for _, attributes in reader.elements if "id" in attributes)
    result += [f"{name} is the id of {count} elements" for name, count in ids.items() if count > 1]
    labelled = {attributes.get("for") for tag, attributes in reader.elements if tag == "label"}
    for tag, attributes in reader.elements:
        if tag == "img" and not attributes.get("alt"):
            result.append("an image has no alternative text")
        if tag == "svg" and not attributes.get("aria-label"):
            result.append("a drawing has no alternative text")
        if tag == "input" and attributes.get("id") not in labelled:
            result.append(f"the input {attributes.get('id')} has no label")
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            followed = ("https:",) if (tag, name) == ("a", "href") else ()  # by the reader, not by the page
            if not (attributes.get(name) or "#").startswith(("#", "data:", *followed)):
                result.append(f"<{tag}> leads to {attributes[name]}")
        leads = [(name, one) for name in ("for", "aria-labelledby", "aria-describedby")
                 for one in attributes.get(name, "").split()]  # fmt: skip
        result += [f"{name}={one} leads nowhere" for name, one in leads if one not in ids]
        if (attributes.get("href") or "").startswith("#") and attributes["href"][1:] not in ids:
            result.append(f"{attributes['href']} leads nowhere")
    result += [f"the style loads {what}" for what in re.findall(r"@import\b.*|\burl\((?!#|%23)[^)]*\)", text)]
    scripts = " ".join(re.findall(r"<script.*?</script>", text, re.DOTALL))
    return result + [
        f"the script loads by {what}" for what in re.findall(r"\bfetch\(|XMLHttpRequest|\bimport\b", scripts)
    ]
