"""The equations one by one, each followed by its check on real numbers."""

from html import escape

from numpy_rnn.study.page.formulas import NOT_STUDIED, definitions, equation
from numpy_rnn.study.page.fragments import number

DIGITS = ".17g"  # enough to tell any two numbers of double precision apart
COLUMNS = {"difference": "largest difference", "ulps": "in ulps", "bounds": "in E", "compared": "of how many"}
FORMATS = {"compared": ""}
SHORT = ".2g"


def checked_equations(checks) -> str:
    """All equations of DERIVATION.md, each with what was compared, one element of it, and the largest differences.

    checks: by id, as `checks.measure` finds them. Raises ValueError where an equation has no check. Needs matplotlib.
    """
    names = [name for name in definitions() if name not in NOT_STUDIED]
    missing = [name for name in names if name not in checks]
    if missing:
        raise ValueError(f"not checked: {', '.join(missing)}")
    return "\n".join(_checked(name, checks[name]) for name in names)


def _checked(name, check):
    """One equation; its table has a row for every way of knowing the number: an element of it, what it differs by."""
    example = check.get("example") or {"element": "", "values": []}
    values = {value["by"]: value["value"] for value in example["values"]}
    differences = {found["witness"]: found for found in check["checks"]}
    rows = "\n".join(_row(by, values.get(by), differences.get(by)) for by in dict.fromkeys([*values, *differences]))
    heads = "".join(f'<th scope="col">{head}</th>' for head in COLUMNS.values())
    return (
        f'<div class="checked" id="equation-{name}">\n<p>{equation(name)}</p>\n'
        f'<div class="wide" role="region" tabindex="0" aria-label="check of ({name})"><table>\n'
        f"<caption>{escape(check['what'])}</caption>\n"
        f'<thead><tr><td></td><th scope="col"><code>{escape(example["element"])}</code></th>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div></div>\n"
    )


def _row(by, value, difference):
    shown = "" if value is None else number(value, DIGITS)
    cells = [
        shown,
        *("" if difference is None else number(difference[key], FORMATS.get(key, SHORT)) for key in COLUMNS),
    ]
    return (
        f'<tr><th scope="row">{escape(by)}</th>'
        + "".join(f'<td class="number">{cell}</td>' for cell in cells)
        + "</tr>"
    )
