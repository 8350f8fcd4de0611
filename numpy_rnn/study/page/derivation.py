"""DERIVATION.md as a part of the page: its sections as HTML, with MathML, links, and a block for every equation.

The document is the only source of its text. What it uses of Markdown is read here: headings, paragraphs, lists, tables,
code, images, links, `code`, **bold**, *emphasis*, $formulas$ and $$displayed formulas$$. An image is replaced by the
figure of the same name, drawn from the run; a paragraph in emphasis after it, the document's caption, is left out.
"""

import re
from collections.abc import Callable
from functools import cache
from html import escape
from typing import NamedTuple

from numpy_rnn.study.page.formulas import DEFINITION, DOCUMENT, breakable, displayed

SECTION = re.compile(r"^##+ (\d+(?:\.\d+)?)\.? (.*)\n((?:(?!^##).*\n?)*)", re.MULTILINE)
NOT_ON_THE_PAGE = ("9",)  # the places of the code, which are with the equations there
IMAGE = re.compile(r"!\[.*\]\(figures/(\w+)\.svg\)")
FENCE = re.compile(r"```(\w*)\n(.*?)\n```", re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
ID = re.compile(r"\(([A-Z]\d+)\)")
SECTIONS_NAMED = re.compile(r"(?<!\d\d\d\d, )\b([Ss]ections?) (\d(?:\.\d)?)(?: (to|and) (\d(?:\.\d)?))?(?![\d.]*\d)")
INLINE = re.compile(r"(`[^`]*`|\$[^$]*\$)")
PAIRS = ((re.compile(r"\*\*(.+?)\*\*"), "strong"), (re.compile(r"(?<![\w*])\*(?! )(.+?)(?<! )\*(?![\w*])"), "em"))
UNSPACED = re.compile(r"(<math>(?:(?!<math>).)*?</math>)([,.;:)?]+)")  # no line begins with the sign
ESCAPED = re.compile(r"\\([*_$`\\])")
WORDS = re.compile(r"\w+")
TAG = re.compile(r"<[^>]*>|&[^;]*;")


class Section(NamedTuple):
    """A numbered section of the document, without the sections in it."""

    number: str
    title: str
    text: str


@cache
def sections(document: str | None = None) -> dict[str, Section]:
    """The sections of a document, by number; without one, of DERIVATION.md."""
    text = DOCUMENT.read_text(encoding="utf-8") if document is None else document
    return {match[1]: Section(*match.groups()) for match in SECTION.finditer(text)}


def anchor(heading: str) -> str:
    """The id of a heading, made of its words."""
    return "-".join(WORDS.findall(TAG.sub(" ", heading).lower()))


def chapter(number: str, equation: Callable[[str], str], figure: Callable[[str], str]) -> str:
    """One section with its heading as HTML. equation: of the block for an id; figure: of a name.

    Raises ValueError on a section that is not there, and on a formula that cannot be written.
    """
    if number not in sections():
        raise ValueError(f"DERIVATION.md has no section {number}: expected one of {', '.join(sections())}")
    return f"<h3>{_title(sections()[number])}</h3>\n{as_html(sections()[number].text, equation, figure)}"


def _title(section):
    return f"{section.number} {inline(section.title)}"


def as_html(text: str, equation: Callable[[str], str], figure: Callable[[str], str]) -> str:
    """Blocks of Markdown as HTML."""
    kept: list[str] = []

    def keep(match):
        kept.append(_code(match[1], match[2]))
        return f"\n\n\0{len(kept) - 1}\n\n"

    result, after_image = [], False
    for block in re.split(r"\n\s*\n", FENCE.sub(keep, text).strip()):
        image = IMAGE.fullmatch(block)
        is_caption = after_image and re.fullmatch(r"\*[^*].*[^*]\*", block, re.DOTALL)
        after_image = bool(image)
        if image:
            result.append(figure(image[1]))
        elif block.startswith("\0"):
            result.append(kept[int(block[1:])])
        elif block and not is_caption:
            result.append(_block(block, equation))
    return "\n".join(result) + "\n"


def _block(block, equation):
    if block.startswith("$$"):
        return f'<div class="display">{displayed(_tex(block.strip("$")))}</div>'
    if block.startswith("|"):
        return _table(block)
    if block.startswith("- "):
        return _list(block, equation)
    return f"<p>{inline(block)}</p>"


def _tex(text):
    return " ".join(text.split())


def _list(block, equation):
    """Items of words, or definitions of equations, each of which is a block of its own."""
    result: list[str] = []
    items: list[str] = []
    for item in re.split(r"^- ", block, flags=re.MULTILINE)[1:]:
        definition = DEFINITION.match(f"- {item}")
        if definition:
            result += [*_items(items), equation(definition[1])]
            items = []
        else:
            items.append(f"<li>{inline(item)}</li>")
    return "\n".join([*result, *_items(items)])


def _items(items):
    return ["<ul>", *items, "</ul>"] if items else []


def _table(block):
    """A table; in print and on narrow screens as wide as the column."""
    head, _, *rows = (_cells(line) for line in block.splitlines())
    heads = "".join(f'<th scope="col">{inline(cell)}</th>' if cell else "<td></td>" for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="text">\n<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table>'


def _cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _code(language, text):
    label = "program" if language else "drawing"
    return (
        f'<pre class="wide {label}" tabindex="0" role="region"'
        f' aria-label="{label}: {escape(text.splitlines()[0].strip())}">'
        f"<code>{escape(text, quote=False)}</code></pre>"
    )


def inline(text: str) -> str:
    """Running text as HTML: code, formulas, emphasis, links, and references to equations and sections as links."""
    parts = []
    for i, part in enumerate(INLINE.split(" ".join(text.split()))):
        if i % 2 == 0:
            parts.append(_words(part))
        elif part[0] == "`":
            parts.append(f"<code>{escape(part[1:-1], quote=False)}</code>")
        else:
            parts.append(breakable(part[1:-1]))
    return _emphasis(UNSPACED.sub(r'<span class="together">\1\2</span>', "".join(parts)))


def _words(text):
    """Links are set aside first, so that nothing in their addresses is taken for a reference."""
    links: list[str] = []

    def keep(match):
        words, address = _references(escape(match[1], quote=False)), match[2]
        links.append(f'<a href="{escape(address)}">{words}</a>' if address.startswith("https:") else words)
        return f"\0{len(links) - 1}\0"

    result = _references(escape(LINK.sub(keep, text), quote=False))
    return re.sub(r"\0(\d+)\0", lambda match: links[int(match[1])], ESCAPED.sub(r"\1", result))


def _references(text):
    def section(match):
        word, first, way, last = match.groups()
        return f"{_section(f'{word} {first}', first)}{f' {way} {_section(last, last)}' if last else ''}"

    return ID.sub(r'<a href="#equation-\1">(\1)</a>', SECTIONS_NAMED.sub(section, text))


def _section(words, number):
    listed = sections()
    target = f"{number}.1" if f"{number}.1" in listed else number  # a section of sections begins with the first
    if target not in listed or target in NOT_ON_THE_PAGE:
        return words
    return f'<a href="#{anchor(f"{target} {listed[target].title}")}">{words}</a>'


def _emphasis(text):
    for pattern, tag in PAIRS:
        text = pattern.sub(rf"<{tag}>\1</{tag}>", text)
    return text
