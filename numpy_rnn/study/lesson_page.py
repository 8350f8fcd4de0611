"""The page of the lesson, built of its source: formulas, tables and the program.

`python -m numpy_rnn.study.lesson_page` writes lesson/lesson.html.
"""

import json
from html import escape
from pathlib import Path

from numpy_rnn.study.document import fill, table, with_formulas
from numpy_rnn.study.folder import LESSON_FOLDER, LESSON_PAGE
from numpy_rnn.study.reach import REACH_RESULTS

LESSON_SOURCE = Path(__file__).parent / "source" / "lesson.html"
DOCTYPE = "<!DOCTYPE html>\n"
MADE_FROM = (
    "<!-- Built of numpy_rnn/study/source/lesson.html, which is the file to edit, by"
    " python -m numpy_rnn.study.lesson_page -->\n"
)

Shares = dict[str, list[float]]  # that learn, for each seed, by the way of training
Rows = dict[str, Shares]  # by lag

# In headings of columns, where screen readers do not read MathML.
D_HTML = "<i>d</i>"
W_XH_HTML, W_HH_HTML, W_HY_HTML = (
    f"<i>W</i><sub>{name}</sub>" for name in ("xh", "hh", "hy")
)

# The columns of the tables, and their ways of training.
REACHES = {
    f"both {D_HTML}": "{d}, {d}",
    f"{W_HH_HTML} {D_HTML} + 1": "{d}, {d_plus_1}",
    f"{W_XH_HTML} {D_HTML} + 1": "{d_plus_1}, {d}",
    f"{W_XH_HTML} {D_HTML} + 1, {W_HH_HTML} 1": "{d_plus_1}, 1",
    f"both {D_HTML} + 1": "{d_plus_1}, {d_plus_1}",
}
TRAINED = {
    f"{W_HY_HTML} alone": "0, 0",
    f"{W_HH_HTML} too": "0, {d}",
    f"{W_XH_HTML} too": "{d}, 0",
    "all three": "{d}, {d}",
}
CHUNKS = {
    f"<i>k</i> = {D_HTML}, 800 updates": "updates, {d}",
    f"<i>k</i> = {D_HTML} + 1, 800 updates": "updates, {d_plus_1}",
    f"<i>k</i> = 2{D_HTML}, 800 updates": "updates, {twice_d}",
    f"<i>k</i> = {D_HTML}, 800 steps": "steps, {d}",
    f"<i>k</i> = {D_HTML} + 1, 800 steps": "steps, {d_plus_1}",
    f"<i>k</i> = 2{D_HTML}, 800 steps": "steps, {twice_d}",
}


def build() -> str:
    """Return the page as HTML."""
    results = json.loads(REACH_RESULTS.read_text(encoding="utf-8"))
    program = (LESSON_FOLDER / "repeat_input.py").read_text(encoding="utf-8")
    values = {"program": escape(program, quote=False)}
    for number, deviation in enumerate(("0.1", "0.5"), start=1):
        rows = results[deviation]
        begins = f"; {W_XH_HTML} begins with {deviation}"
        caption = f"by the reach of each matrix, {D_HTML} where none is named"
        values[f"reaches_{number}"] = learned(caption + begins, REACHES, rows)
        caption = "by the matrices that are trained"
        values[f"trained_{number}"] = learned(caption + begins, TRAINED, rows)
    caption = "chunks, with as many updates and with as much data as the windows above"
    values["chunks"] = learned(caption, CHUNKS, results["chunks"])
    source = LESSON_SOURCE.read_text(encoding="utf-8")
    page = fill(with_formulas(source), values)
    return page.replace(DOCTYPE, DOCTYPE + MADE_FROM, 1)


def share_cell(shares: list[float]) -> str:
    """Return the least and the largest share of the seeds, in percent."""
    low, high = f"{min(shares):.0%}"[:-1], f"{max(shares):.0%}"[:-1]
    mean = sum(shares) / len(shares)
    words = low if low == high else f"{low}–{high}"
    kind = ' class="most"' if mean > 0.6 else ""
    return f'<span style="--share:{mean:.2f}"{kind}>{words}</span>'


def learned(caption: str, columns: dict[str, str], rows: Rows) -> str:
    """Return a table of the networks that learn, by lag and way of training."""
    result = [[D_HTML, *columns]]
    for lag, shares in rows.items():
        d = int(lag)
        ways = [
            way.format(d=d, d_plus_1=d + 1, twice_d=2 * d) for way in columns.values()
        ]
        result.append([lag, *(share_cell(shares[way]) for way in ways)])
    return table(caption, result, "learned")


if __name__ == "__main__":
    LESSON_PAGE.write_text(build(), encoding="utf-8")
