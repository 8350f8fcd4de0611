"""Formulas in TeX as MathML."""

import re
from functools import cache

SPACE_AROUND = re.compile(r"^(\\quad|\s)+|(\\quad|\s)+$")
WORD = re.compile(r"\\mathrm\{(\w+)\}|\b(target)(?=_)")  # names of more than one letter, which are no products
FUNCTION = re.compile(  # a name that no parenthesis follows
    r"(<mi>(?:log|exp|tanh|sinh|cosh)</mi>|<mtext>Im</mtext>|<msup><mi>\w+</mi><mn>2</mn></msup>(?=<mi>a))(?=<m(?:i|n|sub|frac|over)>)"
)
PRIME = re.compile(r"<msup>(<m(i|text)>[^<]*</m\2>)<mi>&#x02032;</mi></msup>")
RELATION = re.compile(r"(?<= =) (?=\S)")
SIDE_BY_SIDE = re.compile(r"\s*\\q?quad\s*")
MAX_UNBROKEN = 30  # characters of TeX


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
    element = PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">′</mo></mrow>', element)  # whose sign is raised already
    element = FUNCTION.sub(r'\1<mspace width="0.17em"/>', element)
    return element.replace(' display="inline"', "").replace(' display="block"', ' displaystyle="true"')


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
            before.count(opening) == before.count(closing) for opening, closing in (("{", "}"), ("\\left", "\\right"))
        ):
            result.append(tex[begin : match.start()])
            begin = match.end()
    return [part for part in (*result, tex[begin:]) if part.strip()]
