"""The page of the lesson, built of its source: formulas, tables and the program.

`python -m numpy_rnn.study.lesson_page` writes lesson/lesson.html.
"""

import json
from html import escape
from pathlib import Path

from numpy_rnn.study.document import fill, table, with_formulas
from numpy_rnn.study.reach import RESULTS

LESSON = Path(__file__).parent / "lesson"
SOURCE = Path(__file__).parent / "source" / "lesson.html"

Shares = dict[str, list[float]]  # that learn, for each seed, by the way of training
Rows = dict[str, Shares]  # by lag


def build() -> str:
    """Return the page as HTML."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    values = {"program": escape(read(LESSON / "program.py"), quote=False)}
    for number, deviation in enumerate(("0.1", "0.5"), start=1):
        values[f"reaches_{number}"] = reach_table(results[deviation], deviation)
        values[f"trained_{number}"] = trained_table(results[deviation], deviation)
    values["chunks"] = chunk_table(results["chunks"])
    return fill(with_formulas(read(SOURCE)), values)


def read(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


def cell(shares: list[float]) -> str:
    """Return the least and the largest share of the seeds, in percent."""
    low, high = f"{min(shares):.0%}"[:-1], f"{max(shares):.0%}"[:-1]
    mean = sum(shares) / len(shares)
    words = low if low == high else f"{low}–{high}"
    kind = ' class="most"' if mean > 0.6 else ""
    return f'<span style="--share:{mean:.2f}"{kind}>{words}</span>'


# In headings of columns, where screen readers do not read MathML.
D = "<i>d</i>"
W_XH, W_HH, W_HY = (f"<i>W</i><sub>{name}</sub>" for name in ("xh", "hh", "hy"))


def reach_table(rows: Rows, deviation: str) -> str:
    """Return the table of matrices with a reach of their own."""
    names = [f"both {D}", f"{W_HH} {D} + 1", f"{W_XH} {D} + 1"]
    names += [f"{W_XH} {D} + 1, {W_HH} 1", f"both {D} + 1"]
    result = [[D, *names]]
    for lag, shares in rows.items():
        k, n = lag, int(lag) + 1
        ways = [f"{k}, {k}", f"{k}, {n}", f"{n}, {k}", f"{n}, 1", f"{n}, {n}"]
        result.append([lag, *(cell(shares[way]) for way in ways)])
    caption = (
        f"by the reach of each matrix, {D} where none is named; {W_XH} begins with "
    )
    return table(caption + deviation, result, "learned")


def trained_table(rows: Rows, deviation: str) -> str:
    """Return the table of the matrices that are trained, with k2 = d."""
    result = [[D, f"{W_HY} alone", f"{W_HH} too", f"{W_XH} too", "all three"]]
    for k, shares in rows.items():
        ways = ["0, 0", f"0, {k}", f"{k}, 0", f"{k}, {k}"]
        result.append([k, *(cell(shares[way]) for way in ways)])
    caption = f"by the matrices that are trained; {W_XH} begins with {deviation}"
    return table(caption, result, "learned")


def chunk_table(rows: Rows) -> str:
    """Return the table of chunks: as many updates, and as much data."""
    head = [D]
    for words in ("800 updates", "800 steps"):
        head += [f"<i>k</i> = {name}, {words}" for name in (D, f"{D} + 1", f"2{D}")]
    result = [head]
    for lag, shares in rows.items():
        lengths = [int(lag), int(lag) + 1, 2 * int(lag)]
        cells = [cell(shares[f"800, {k}"]) for k in lengths]
        cells += [cell(shares[f"{800 // k}, {k}"]) for k in lengths]
        result.append([lag, *cells])
    caption = "chunks, with as many updates and with as much data as the windows above"
    return table(caption, result, "learned")


if __name__ == "__main__":
    (LESSON / "lesson.html").write_text(build(), encoding="utf-8")
