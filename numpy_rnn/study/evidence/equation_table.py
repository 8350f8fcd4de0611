"""The tables of the evidence page: every equation, and the verdict on it."""

import re
from pathlib import Path

import numpy as np

from numpy_rnn.study.document import mathml, table
from numpy_rnn.study.evidence.evaluated_equations import OVERLAPPING, SECTIONS
from numpy_rnn.study.evidence.witnesses import (
    AGREES,
    BY_AUTOGRAD,
    BY_COMPLEX_STEP,
    WRONG,
    CheckedEquation,
)

DERIVATION = Path(__file__).parents[2] / "DERIVATION.md"
DEFINED = re.compile(r"^- \*\*\(([A-Z]\d+)\)\*\*(?: \$(.*?)\$)?", re.MULTILINE)
SPACES = re.compile(r"^(\\quad|\s)+|,?(\\quad|\s)+$")


def formulas() -> dict[str, str]:
    """Return the TeX of every equation that DERIVATION.md defines, by its id."""
    definitions = DEFINED.findall(DERIVATION.read_text(encoding="utf-8"))
    return {equation: SPACES.sub("", tex) for equation, tex in definitions}


def verdict_on(checked: list[CheckedEquation]) -> str:
    """Return the verdict on all equations in one line, with the first wrong one."""
    wrong = [equation for equation in checked if equation.verdict == WRONG]
    if wrong:
        first, *others = wrong
        verdict = f"WRONG: ({first.id}), {first.element} in {first.run_name}"
        if others:
            ids = ", ".join(f"({equation.id})" for equation in others)
            verdict += f"; wrong as well: {ids}"
        return verdict
    right = sum(equation.verdict == AGREES for equation in checked)
    return f"{right} of {len(checked)} equations agree within rounding"


def equation_tables(checked: list[CheckedEquation]) -> str:
    """Return a table for each section."""
    sections: dict[str, list[list[str]]] = {}
    by_id = {equation.id: equation for equation in checked}
    for equation_id, tex in formulas().items():
        rows = sections.setdefault(SECTIONS[equation_id[0]], [])
        formula = mathml(tex) if tex else "in words in DERIVATION.md"
        rows.append(equation_row(by_id[equation_id], formula))
    head = ["id", "equation", "a number of this run", "error, in bounds"]
    head += ["complex step", "autograd", "verdict"]
    blocks = []
    for name, rows in sections.items():
        blocks.append(table(name, [head, *rows], "equations"))
    return "\n".join(blocks)


def equation_row(equation: CheckedEquation, description: str) -> list[str]:
    """Return the cells of an equation as HTML."""
    kind = "wrong" if equation.verdict == WRONG else ""
    number = f"{equation.value:.6g}".replace("-", "−")
    if equation.run_name != OVERLAPPING:
        number += f" ({equation.run_name})"
    differences = []
    for witness in (BY_COMPLEX_STEP, BY_AUTOGRAD):
        difference = equation.differences.get(witness)
        differences.append("" if difference is None else scale(difference))
    return [
        f"({equation.id})",
        description,
        f"<code>{equation.element}</code> = {number}",
        scale(equation.ratio),
        *differences,
        f'<span class="{kind}">{equation.verdict}</span>',
    ]


def scale(value: float) -> str:
    """Return a difference as HTML, such as 3·10⁻¹⁵, with one digit."""
    if value == 0:
        return "0"
    if not np.isfinite(value):
        return "not finite"
    if value >= 0.01:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}·10<sup>{int(exponent)}</sup>".replace("-", "−")
