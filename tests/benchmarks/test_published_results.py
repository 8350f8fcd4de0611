"""The published numbers, in benchmarks/README.md and README.md, are those of benchmarks/results.json."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.estimates import frequency, ratio, seconds, times_of
from benchmarks.plan import Key
from benchmarks.rows import CHARACTERS, OURS, RUN
from benchmarks.store import FINDINGS
from benchmarks.summary import from_json, report
from benchmarks.timing_tables import show, three_digits
from benchmarks.workloads import Case

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "benchmarks/README.md").read_text()
README = (ROOT / "README.md").read_text()
SUITE = json.loads((ROOT / "benchmarks/results.json").read_text())
OTHER_TITLES = ("Memory", "Agreement", "Where the time goes")  # tables that hold no times of the rows


def table_lines(text):
    """(title, head, cells) of every line of every table that is not its head."""
    lines, title, head = [], "", None
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        if not line.startswith("|"):
            head = None
        elif not re.fullmatch(r"[|:-]+", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if head is None:
                head = cells
            else:
                lines.append((title, head, cells))
    return lines


@pytest.fixture(scope="module")
def printed():
    """By row and by case: everything that a table can print of its times."""
    times, texts = times_of(SUITE), defaultdict(set)
    cases = {b["metadata"]["name"]: b["metadata"].get("case") for b in SUITE["benchmarks"]}
    for key in times:
        text = cases[key.to_text()]
        case = Case.from_text(text) if text else None
        factors = [1e3]
        if case and key.task in (RUN, CHARACTERS):
            factors = [1e6 / case.points, 1e9 / case.points / case.networks]
        estimates = [seconds(times, key, factor) for factor in factors]
        estimates += [frequency(times, key, case.points)] if case else []
        estimates.append(ratio(times, key, Key(key.task, OURS, key.case, key.threads)))
        for estimate in filter(None, estimates):
            texts[key.row] |= {show(estimate), three_digits(estimate.median)}
            texts[key.case] |= {show(estimate), three_digits(estimate.median)}
    return texts


def test_every_time_in_the_tables_is_one_of_the_results(printed):
    """All of the page, if the results hold everything that it shows."""
    if FINDINGS in SUITE:
        assert report(from_json(SUITE)) == PAGE
    checked = 0
    for title, head, (name, *cells) in table_lines(PAGE):
        if name not in printed or title.startswith(OTHER_TITLES):
            continue
        for column, cell in zip(head[1:], cells):
            number = cell.removesuffix(" (a tie)").removesuffix("=").strip()
            if number and "compile" not in column:
                assert number in printed[name], (title, name, column)
                checked += 1
    assert checked > 100


def test_the_excerpts_of_the_readme_are_parts_of_the_page():
    """Rows, with all or some of their columns, and claims."""
    names = {Key.from_text(benchmark["metadata"]["name"]).row for benchmark in SUITE["benchmarks"]}
    page = [cells for _, _, cells in table_lines(PAGE)]
    rows = [cells for _, _, cells in table_lines(README) if cells[0] in names and re.search(r"\d", "".join(cells[1:]))]
    for cells in rows:
        assert any(whole[0] == cells[0] and {*cells} <= {*whole} for whole in page), cells
    claims = [line for line in README.splitlines() if re.match(r"- (pass|open|FAIL): ", line)]
    assert {*claims} <= {*PAGE.splitlines()}
    assert rows
