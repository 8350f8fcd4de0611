"""One way to write numbers and symbols in the words of the page, whoever wrote them.

1.3e-04 and 1.3·10⁻⁴ become 1.3·10<sup>−4</sup>; -0.39 gets a minus sign; W_hh, h_{t-1}, k1 and k₁ get an index below.
Code, formulas, drawings and what the reader types stay as they are.
"""

import re

AS_IT_IS = re.compile(
    r"<(code|pre|script|style|math|svg|select|textarea|output)\b.*?</\1>"  # with what is in them
    r"|<[A-Za-z/!](?:[^<>\"']|\"[^\"]*\"|'[^']*')*>",  # a tag with its attributes
    re.DOTALL,
)
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "−0123456789")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
POWER = re.compile(r"(?<=\d)e([-+])0*(\d+)\b")
POWER_OF_TEN = re.compile(r"(?<=·10)([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
NEGATIVE = re.compile(r"(?<![\w.)\]–-])-(?=\d)")
INDEX = re.compile(r"(?<![\w.])(dW|db|d?[WbhayxℓθesgJM])_(\{[^{}]*\}|[a-z]{1,2}|\d)(?![\w(])")
SUBSCRIPT = re.compile(r"(?<=\w)([₀₁₂₃₄₅₆₇₈₉]+)")
K = re.compile(r"(?<![\w.])k([12])(?!\w)")
RAISED = re.compile(r"\bρ\^(\w+)")


def typeset(html: str) -> str:
    """The same HTML; its text is changed, and neither its elements nor their attributes."""
    result, end = [], 0
    for match in AS_IT_IS.finditer(html):
        result += [words(html[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*result, words(html[end:])])


def words(text: str) -> str:
    """Running text without tags as HTML."""
    text = POWER.sub(lambda match: f"·10<sup>{'−' if match[1] == '-' else ''}{match[2]}</sup>", text)
    text = POWER_OF_TEN.sub(lambda match: f"<sup>{match[1].translate(SUPERSCRIPTS)}</sup>", text)
    text = NEGATIVE.sub("−", text)
    text = INDEX.sub(lambda match: f"{match[1]}<sub>{match[2].strip('{}').replace('-', '−')}</sub>", text)
    text = SUBSCRIPT.sub(lambda match: f"<sub>{match[1].translate(SUBSCRIPTS)}</sub>", text)
    return RAISED.sub(r"ρ<sup>\1</sup>", K.sub(r"k<sub>\1</sub>", text))
