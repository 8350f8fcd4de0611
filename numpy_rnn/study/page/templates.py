"""The page's templates: HTML with placeholders that Jinja fills, so that every number comes from the findings.

    {{ components.steps }}, {{ training.epochs | number("d") }}    a value of the findings, as `number` writes it
    {% if ... %}, {% for ... in ... %}                            as in any Jinja template
    {{ figure("heat_map") }}, {{ table("reach") }}, {{ equation("B2") }}    what the page inserts

An unknown name is an error, never an empty string.

`typeset` writes numbers and symbols in one way, whoever wrote them: 1.3e-04 and 1.3·10⁻⁴ become 1.3·10<sup>−4</sup>;
-0.39 gets a minus sign; W_hh, h_{t-1}, k1 and k₁ get an index below. Code, formulas, drawings and what the reader types
stay as they are.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from html import escape
from math import isfinite
from typing import Any

from numpy_rnn.common.errors import InputError
from numpy_rnn.study.figures.style import scientific
from numpy_rnn.study.findings import Band

PAGE_PACKAGES = ("jinja2", "latex2mathml", "markdown_it", "mdit_py_plugins")
EXPONENT = re.compile(r"e([+-])0*(\d+)$")
MINUS = {"-": "−", "+": ""}

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
INDEX = re.compile(
    r"(?<![\w.])(target|dW|db|d?[WbhayxℓθesgJMp])_(\{[^{}]*\}|[a-z]{1,2}|\d+)(?![A-Za-z0-9_(])"
)
SUBSCRIPT = re.compile(r"(?<=\w)([₀₁₂₃₄₅₆₇₈₉]+)")
K = re.compile(r"(?<![\w.])k([12])(?!\w)")
RAISED = re.compile(r"\bρ\^(\w+)")


def check_page_packages() -> None:
    """Raise InputError where a package that makes the page cannot be imported."""
    for package in PAGE_PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(
                f"{package} cannot be imported ({error}): install {' and '.join(PAGE_PACKAGES)}; the study makes its"
                " page with them"
            ) from None


def fill(text: str, findings: Mapping[str, Any], inserts: Mapping[str, Any]) -> str:
    """The template with its placeholders filled.

    findings: the values by name. inserts: finished HTML, and functions that return it.
    Raises ValueError, with the line, on a name that is unknown, a format that does not fit and a wrong template.
    """
    import jinja2
    from markupsafe import Markup

    def as_html(insert: str | Callable[..., str]):
        return (
            Markup(insert)
            if isinstance(insert, str)
            else lambda *arguments, **named: Markup(insert(*arguments, **named))
        )

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(number(value)),
    )
    environment.filters["number"] = lambda value, form="": Markup(number(value, form))
    environment.filters.update(scientific=scientific, fixed=fixed, band=band_text, loss=loss_text)
    names = {name: as_html(insert) for name, insert in inserts.items()}
    try:
        return environment.from_string(text).render({**findings, **names})
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    except (jinja2.UndefinedError, TypeError) as error:
        raise ValueError(str(error)) from error


def number(value: Any, form: str = "") -> str:
    """A value as HTML, in a format of `format()`, with powers of ten as one writes them by hand.

    None and numbers that are not finite are a dash.
    """
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "–"
    if isinstance(value, list):
        return ", ".join(number(v, form) for v in value)
    text = escape(format(value, form), quote=False)
    return (
        EXPONENT.sub(lambda m: f"·10<sup>{MINUS[m[1]]}{m[2]}</sup>", text)
        if isinstance(value, float)
        else text
    )


def fixed(value: float, form: str) -> str:
    """The number in this format; a dash where it is not defined."""
    return format(float(value), form) if isfinite(value) else "–"


def band_text(band: Band, form: str, at: int | None = None) -> str:
    """Median (10th, 90th percentile) of a number, or of one of several."""
    median, low, high = (
        fixed(float(part if at is None else part[at]), form)
        for part in (band.median, band.low, band.high)
    )
    return f"{median} ({low}, {high})"


def loss_text(value: float) -> str:
    """A loss or a ratio of losses; "diverged" where it is not finite."""
    return f"{value:.2g}" if isfinite(value) else "diverged"


# -- numbers and symbols in words ------------------------------------------------------------------------------------


def typeset(html: str) -> str:
    """The same HTML; its text is changed, and neither its elements nor their attributes."""
    result, end = [], 0
    for match in AS_IT_IS.finditer(html):
        result += [words(html[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*result, words(html[end:])])


def words(text: str) -> str:
    """Running text without tags as HTML."""
    text = POWER.sub(lambda match: f"·10<sup>{MINUS[match[1]]}{match[2]}</sup>", text)
    text = POWER_OF_TEN.sub(lambda match: f"<sup>{match[1].translate(SUPERSCRIPTS)}</sup>", text)
    text = NEGATIVE.sub("−", text)
    text = INDEX.sub(
        lambda match: f"{match[1]}<sub>{match[2].strip('{}').replace('-', '−')}</sub>", text
    )
    text = SUBSCRIPT.sub(lambda match: f"<sub>{match[1].translate(SUBSCRIPTS)}</sub>", text)
    return RAISED.sub(r"ρ<sup>\1</sup>", K.sub(r"k<sub>\1</sub>", text))
