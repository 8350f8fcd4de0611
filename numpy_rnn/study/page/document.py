"""DERIVATION.md as a part of the page: its sections as HTML, with MathML, links, and a block for every equation.

The document is the only source of its text. An image is replaced by the figure of the same name, drawn from the run; a
paragraph in emphasis after it, the document's caption, is left out.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

DOCUMENT = Path(__file__).parents[2] / "DERIVATION.md"
SECTION = re.compile(r"^##+ (\d+(?:\.\d+)?)\.? (.*)\n((?:(?!^##).*\n?)*)", re.MULTILINE)
NOT_ON_THE_PAGE = ("6", "7", "8", "9")  # but equations of section 6
DEFINITION = re.compile(r"\*\*\(([A-Z]\d+)\)\*\* ")
REFERENCE = re.compile(r"^- (.*?), \[\"(.*?)\"\]\((https:.*?)\),", re.MULTILINE)
FIGURE = re.compile(r"figures/(\w+)\.svg")
ID = re.compile(r"\(([A-Z]\d+)\)")
SECTIONS_NAMED = re.compile(
    r"(?<!\d\d\d\d, )\b([Ss]ections?) (\d(?:\.\d)?)(?: (to|and) (\d(?:\.\d)?))?(?![\d.]*\d)"
)
UNSPACED = re.compile(
    r"(<math>(?:(?!<math>).)*?</math>)([,.;:)?]+)"
)  # no line begins with the sign
EMPTY_LIST = re.compile(r"<ul>\s*</ul>\s*")
WORDS = re.compile(r"\w+")
TAG = re.compile(r"<[^>]*>|&[^;]*;")

SPACE_AROUND = re.compile(r"^(\\quad|\s)+|(\\quad|\s)+$")
WORD = re.compile(
    r"\\mathrm\{(\w+)\}|\b(target)(?=_)"
)  # names of more than one letter, which are no products
FUNCTION = re.compile(  # a name that no parenthesis follows
    r"(<mi>(?:log|exp|tanh|sinh|cosh)</mi>|<mtext>Im</mtext>|<msup><mi>\w+</mi><mn>2</mn></msup>(?=<mi>a))(?=<m(?:i|n|sub|frac|over)>)"
)
PRIME = re.compile(r"<msup>(<m(i|text)>[^<]*</m\2>)<mi>&#x02032;</mi></msup>")
RELATION = re.compile(r"(?<= =) (?=\S)")
SIDE_BY_SIDE = re.compile(r"\s*\\q?quad\s*")
MAX_UNBROKEN = 30  # characters of TeX


Insert = Callable[[str], str]


class Section(NamedTuple):
    """A numbered section of the document, without the sections in it."""

    number: str
    title: str
    text: str


@cache
def sections() -> dict[str, Section]:
    """The sections of the document, by number."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return {match[1]: Section(*match.groups()) for match in SECTION.finditer(text)}


def anchor(heading: str) -> str:
    """The id of a heading, made of its words."""
    return "-".join(WORDS.findall(TAG.sub(" ", heading).lower()))


def chapter(number: str, equation: Insert, figure: Insert) -> str:
    """One section with its heading as HTML. equation: the block for an id; figure: the figure of a name.

    Raises ValueError on a section that is not there, and on a formula that cannot be written.
    """
    if number not in sections():
        raise ValueError(
            f"DERIVATION.md has no section {number}: expected one of {', '.join(sections())}"
        )
    section = sections()[number]
    return f"<h3>{number} {inline(section.title)}</h3>\n{as_html(section.text, equation, figure)}"


def as_html(text: str, equation: Insert, figure: Insert) -> str:
    """Markdown as HTML."""
    tokens = list(_arranged(_parsed(text), equation, figure))
    html = _markdown().renderer.render(tokens, _markdown().options, {})
    return EMPTY_LIST.sub("", _together(html))


def inline(text: str) -> str:
    """Running text in Markdown as HTML, without a paragraph."""
    (token,) = _markdown().parseInline(text)
    return _inline(_merged(token.children or []))


def equation(name: str) -> str:
    """A definition as HTML: its id, which leads to its check, its words, and its formulas as MathML.

    Raises ValueError on an id that DERIVATION.md does not define.
    """
    if name not in definitions():
        raise ValueError(
            f"({name}) is no equation of DERIVATION.md: expected one of {', '.join(definitions())}"
        )
    text = _inline(definitions()[name]).strip()
    return f'<span class="equation"><b><a href="#equation-{name}">({name})</a></b> {text}</span>'


def law(name: str) -> str:
    """An equation of the lesson: its id, which leads to the evidence, and its first formula, or its words."""
    tokens = definitions()[name]
    first = next((breakable(token.content) for token in tokens if token.type == "math_inline"), "")
    text = _inline(tokens).strip() if name == "T3" else first
    link = f'<a href="#equation-{name}" aria-label="evidence of ({name})">({name})</a>'
    return f'<div class="law">{link}<span>{text}</span></div>'


@cache
def definitions() -> dict[str, list[Token]]:
    """The words and formulas of every definition `- **(B2)** $...$ words` of the document, in its order."""
    inlines = (
        token for token in _parsed(DOCUMENT.read_text(encoding="utf-8")) if token.type == "inline"
    )
    matches = ((DEFINITION.match(token.content), token) for token in inlines)
    return {match[1]: (token.children or [])[4:] for match, token in matches if match}


def reference(author: str) -> str:
    """The address of the one reference of DERIVATION.md whose first author this is; raises ValueError otherwise."""
    listed = REFERENCE.findall(DOCUMENT.read_text(encoding="utf-8"))
    found = [address for authors, _, address in listed if authors.startswith(author)]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} references of DERIVATION.md begin with {author!r}: expected one"
        )
    return found[0]


# -- formulas in TeX as MathML ----------------------------------------------------------------------------------------


@cache
def formula(tex: str, large: bool = False) -> str:
    """A formula as an inline MathML element; a large one has its limits above and below its sums.

    Raises ValueError where latex2mathml does not know a command.
    """
    from latex2mathml.converter import convert

    text = WORD.sub(lambda match: rf"\text{{{match[1] or match[2]}}}", tex)
    element = convert(text, display="block" if large else "inline")
    unknown = re.search(r"\\\w+", element)
    if unknown:
        raise ValueError(f"{tex!r} cannot be written in MathML: {unknown[0]} is unknown")
    element = element.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    element = PRIME.sub(
        r'<mrow>\1<mo lspace="0" rspace="0">′</mo></mrow>', element
    )  # whose sign is raised already
    element = FUNCTION.sub(r'\1<mspace width="0.17em"/>', element)
    return element.replace(' display="inline"', "").replace(
        ' display="block"', ' displaystyle="true"'
    )


def breakable(tex: str) -> str:
    """A formula in the line; a long one is several elements, so that a line may end after a relation."""
    tex = SPACE_AROUND.sub("", tex)
    return " ".join(map(formula, parts_of(tex, RELATION) if len(tex) > MAX_UNBROKEN else [tex]))


def displayed(tex: str) -> str:
    """A formula on a line of its own, which may end after a relation; formulas side by side stay whole if they fit."""
    parts = (
        " ".join(formula(piece, large=True) for piece in parts_of(part, RELATION))
        for part in parts_of(" ".join(tex.split()), SIDE_BY_SIDE)
    )
    return " ".join(f'<span class="part">{part}</span>' for part in parts)


def parts_of(tex: str, separator: re.Pattern[str]) -> list[str]:
    """A formula cut at the separators that are in no braces and in no parentheses that grow."""
    result, begin = [], 0
    for match in separator.finditer(tex):
        before = tex[: match.start()]
        if all(
            before.count(opening) == before.count(closing)
            for opening, closing in (("{", "}"), ("\\left", "\\right"))
        ):
            result.append(tex[begin : match.start()])
            begin = match.end()
    return [part for part in (*result, tex[begin:]) if part.strip()]


# -- Markdown ---------------------------------------------------------------------------------------------------------


class PageRenderer(RendererHTML):
    """Renders what the page shows otherwise than HTML does by default. The names are those of the tokens."""

    def text(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """Words, in which equations and sections are links."""
        return _references(escape(tokens[i].content, quote=False))

    def math_inline(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """A formula in the line."""
        return breakable(tokens[i].content)

    def math_block(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """A formula on a line of its own."""
        return f'<div class="display">{displayed(tokens[i].content)}</div>\n'

    def fence(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """A program, or a drawing in characters, which has no language."""
        text, label = tokens[i].content.rstrip(), "program" if tokens[i].info else "drawing"
        return (
            f'<pre class="wide {label}" tabindex="0" role="region"'
            f' aria-label="{label}: {escape(text.splitlines()[0].strip())}">'
            f"<code>{escape(text, quote=False)}</code></pre>\n"
        )

    def link_open(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """A link; one to another file of the project is none on the page, and has lost its address."""
        return f'<a href="{escape(str(tokens[i].attrs["href"]))}">' if tokens[i].attrs else ""

    def link_close(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """The end of a link."""
        opening = next(token for token in reversed(tokens[:i]) if token.type == "link_open")
        return "</a>" if opening.attrs else ""

    def table_open(self, *_: Any) -> str:
        """A table; in print and on narrow screens as wide as the column."""
        return '<table class="text">\n'

    def th_open(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """A head, unless it is empty."""
        return '<th scope="col">' if tokens[i + 1].content else "<td>"

    def th_close(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        """The end of a head."""
        return "</th>" if tokens[i - 1].content else "</td>"


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", renderer_cls=PageRenderer).enable("table")
    rules = {name: markdown.renderer.rules[name] for name in ("math_inline", "math_block")}  # type: ignore[attr-defined]
    dollarmath_plugin(markdown)
    markdown.renderer.rules.update(rules)  # type: ignore[attr-defined]
    return markdown


def _parsed(text: str) -> list[Token]:
    tokens = _markdown().parse(text)
    for token in tokens:
        token.children = token.children and _merged(token.children)
    return tokens


def _merged(children: Sequence[Token]) -> list[Token]:
    """Lines of text as one, so that a reference may be broken; links to files of the project without their address."""
    result: list[Token] = []
    for child in children:
        if child.type == "softbreak":
            child = Token("text", "", 0, content=" ")
        if child.type == "link_open" and not str(child.attrs["href"]).startswith("https:"):
            child.attrs = {}
        if result and child.type == result[-1].type == "text":
            result[-1].content += child.content
        else:
            result.append(child)
    return result


def _arranged(tokens: Sequence[Token], equation: Insert, figure: Insert) -> Iterator[Token]:
    """The tokens with blocks for definitions, which end the list that they are in, and for images."""
    skipped = end = 0
    for i, token in enumerate(tokens):
        content = tokens[i + 1].content if token.type == "paragraph_open" else ""
        image = FIGURE.search(content) if content.startswith("![") else None
        item = DEFINITION.match(tokens[i + 2].content) if token.type == "list_item_open" else None
        if i < skipped:
            continue
        if item:
            skipped = (
                next(j for j in range(i, len(tokens)) if tokens[j].type == "list_item_close") + 1
            )
            yield _html(f"</ul>\n{equation(item[1])}\n<ul>\n")
        elif image:
            skipped = end = i + 3
            yield _html(figure(image[1]))
        elif i == end and content.startswith("*") and content.endswith("*"):
            skipped = i + 3
        else:
            yield token


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=text)


def _inline(children: Sequence[Token]) -> str:
    markdown = _markdown()
    return _together(
        markdown.renderer.render(
            [Token("inline", "", 0, children=list(children))], markdown.options, {}
        )
    )


def _together(html: str) -> str:
    return UNSPACED.sub(r'<span class="together">\1\2</span>', html)


def _references(text: str) -> str:
    def section(match):
        word, first, way, last = match.groups()
        return f"{_section(f'{word} {first}', first)}{f' {way} {_section(last, last)}' if last else ''}"

    return ID.sub(r'<a href="#equation-\1">(\1)</a>', SECTIONS_NAMED.sub(section, text))


def _section(words: str, number: str) -> str:
    listed = sections()
    target = (
        f"{number}.1" if f"{number}.1" in listed else number
    )  # a section of sections begins with the first
    if target not in listed or target in NOT_ON_THE_PAGE:
        return words
    return f'<a href="#{anchor(f"{target} {listed[target].title}")}">{words}</a>'
