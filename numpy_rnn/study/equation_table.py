"""The tables of the evidence page: every equation, and the verdict on it."""

import re
from pathlib import Path

import numpy as np

from numpy_rnn.study.document import mathml, table
from numpy_rnn.study.evaluated_equations import EVALUATED
from numpy_rnn.study.witnesses import (
    AGREES,
    BY_AUTOGRAD,
    BY_COMPLEX_STEP,
    WRONG,
    Checked,
)

DERIVATION_TEXT = Path(__file__).parents[1] / "DERIVATION.md"
DEFINED = re.compile(r"^- \*\*\(([A-Z]\d+)\)\*\*(?: \$(.*?)\$)?", re.MULTILINE)
SPACES = re.compile(r"^(\\quad|\s)+|,?(\\quad|\s)+$")


def formulas() -> dict[str, str]:
    """Return the TeX of every equation that DERIVATION.md defines, by its id."""
    found = DEFINED.findall(DERIVATION_TEXT.read_text(encoding="utf-8"))
    return {equation: SPACES.sub("", tex) for equation, tex in found}


def verdict_on(checked: list[Checked]) -> str:
    """Return the verdict on all equations in one line, with the first wrong one."""
    wrong = [one for one in checked if one.verdict == WRONG]
    if wrong:
        first = wrong[0]
        others = ", ".join(f"({one.id})" for one in wrong[1:])
        also = f"; wrong as well: {others}" if others else ""
        return f"WRONG: ({first.id}), {first.element} in {first.where}{also}"
    right = sum(one.verdict == AGREES for one in checked)
    return f"{right} of {len(checked)} equations agree within rounding"


def equation_tables(checked: list[Checked]) -> str:
    """Return a table for each section."""
    sections: dict[str, list[list[str]]] = {}
    by_id = {one.id: one for one in checked}
    for equation, tex in formulas().items():
        evaluated = EVALUATED[equation]
        section = sections.setdefault(evaluated.section, [])
        what = evaluated.what or mathml(tex)
        section.append(equation_row(by_id[equation], what))
    head = ["id", "equation", "a number of this run", "error, in bounds"]
    head += ["complex step", "autograd", "verdict"]
    blocks = []
    for name, rows in sections.items():
        blocks.append(table(name, [head, *rows], "equations"))
    return "\n".join(blocks)


def equation_row(one: Checked, what: str) -> list[str]:
    """Return the cells of an equation as HTML."""
    kind = "wrong" if one.verdict == WRONG else ""
    number = f"{one.value:.6g}".replace("-", "−")
    differences = []
    for witness in (BY_COMPLEX_STEP, BY_AUTOGRAD):
        found = one.differences.get(witness)
        differences.append("" if found is None else scale(found))
    return [
        f"({one.id})",
        what,
        f"<code>{one.element}</code> = {number}",
        scale(one.ratio),
        *differences,
        f'<span class="{kind}">{one.verdict}</span>',
    ]


def scale(value: float) -> str:
    """Return a difference as HTML, such as 3·10⁻¹⁵, with one digit."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else "not finite"
    if value >= 0.01:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}·10<sup>{int(exponent)}</sup>".replace("-", "−")
