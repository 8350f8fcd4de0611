"""Made-up times in; every table cell, plotted series and claim out, checked by hand-computed values.

The time of `numpy_rnn` in rounds 1 to 6 is 1, 2, 3, 4, 5 and 6 units: median 3.5, and with six rounds the interval is
from the smallest to the largest value. Other rows take that time multiplied by the RATIOS of their rounds, chosen so
that the median of the paired ratios differs from the ratio of the medians.
"""

import json
import re
from itertools import chain, count
from random import Random

import numpy as np
import pytest

from benchmarks import charts, line_profile
from benchmarks.claims import GROWTHS as T_AND_SIZE
from benchmarks.claims import Claim, at_least, at_most, every, exponent, time_claims
from benchmarks.estimates import (
    Estimate,
    Requested,
    difference,
    estimate,
    geometric_mean,
    is_tie,
    mean_ratio,
    median_interval,
    noise_floor,
    ratio,
    slope,
    times_of,
)
from benchmarks.line_profile import Line, LineTimer, Profile, by_equation, equation_of, own_lines
from benchmarks.load import Load
from benchmarks.machine import Kernel, Machine
from benchmarks.plan import COLD, IMPORT, Choice, Key, plan_groups
from benchmarks.rows import (
    AGAIN,
    CALLS,
    EVERY,
    FORWARD,
    GEMMS,
    GRADIENT,
    JAX,
    MODULES,
    OTHER,
    OURS,
    RUN,
    STEP,
    TUTORIAL,
    C,
    Prepared,
)
from benchmarks.runner import requested_of
from benchmarks.store import FINDINGS
from benchmarks.summary import Findings, from_json, report, to_json
from benchmarks.timing_tables import table, three_digits
from benchmarks.worker import Verdict
from benchmarks.workloads import DEFAULT_EXPERIMENT, point, sliding

ROUNDING = 4 * np.finfo(float).eps  # a few products and quotients of numbers that are exact on paper

DEFAULT = DEFAULT_EXPERIMENT._replace(epochs=5)  # 100 points
SLIDING, NETWORKS = sliding("sliding k2=5", 5, epochs=2), sliding("10 networks", 1, 10, epochs=1)  # 40 and 20 points
SMALL, LARGE = point(8, 2), point(16, 2)
CASES = (DEFAULT, SLIDING, NETWORKS, SMALL, LARGE)
RATIOS = {
    OURS: (1,) * 6,
    AGAIN: (1, 1.1, 0.9, 1, 1.2, 1),  # median 1
    OTHER: (0.9, 1.3, 1.1, 1.2, 1.3, 1.2),  # median 1.2; a tie, as the interval contains 1
    MODULES: (3, 4, 2, 3, 5, 3),  # median 3; the ratio of the medians is 10/3.5
    JAX: (0.5, 0.5, 0.25, 0.5, 0.75, 0.5),  # median 0.5; the ratio of the medians is 1.5/3.5
    CALLS: (0.8,) * 6,
    GEMMS: (0.4,) * 6,
}
BLAS = Kernel("OpenBLAS of NumPy", "1.2", "Haswell kernels", "AVX2", 1, [])
MACHINE = Machine(
    *("a processor", 2, "AVX-512", ["avx"], {"L2": "1024K"}, "performance", "a system", "3", {"numpy": "2"}, "abc"),
    kernels=[BLAS],
    forcing={"OPENBLAS_CORETYPE": "Haswell"},
)
UNITS = {  # seconds per call that make a unit of the tables
    DEFAULT.name: 100 * 1e-6,
    SLIDING.name: 40 * 100e-9,
    NETWORKS.name: 20 * 10 * 1e-9,
    SMALL.name: 1e-3,
    LARGE.name: 2e-3,
}


def timed(unit, row):
    return {n: unit * n * value for n, value in enumerate(RATIOS[row], start=1)}


def made_up():
    """The findings of a run with one and two threads."""
    times = {}
    for case in CASES:
        task = STEP if case in (SMALL, LARGE) else RUN
        for row in RATIOS:
            times[Key(task, row, case.name)] = timed(UNITS[case.name], row)
    del times[Key(RUN, MODULES, NETWORKS.name)]
    for row in (OURS, AGAIN, MODULES):
        times[Key(STEP, row, SMALL.name, 2)] = timed(1e-3 / 2, row)
    times[Key(RUN, OURS, NETWORKS.name, 2)] = timed(UNITS[NETWORKS.name] / 2, OURS)
    for row in (OURS, JAX, MODULES):
        times[Key(COLD, row, DEFAULT.name)] = timed(0.1, row)
    times |= {
        Key(IMPORT, module, "fresh process"): timed(0.01, row) for module, row in ((OURS, OTHER), ("numpy", OURS))
    }
    times[Key(STEP, OTHER, LARGE.name)] = dict.fromkeys(range(1, 6), 1.0)  # a round short: not shown
    verdicts = [
        Verdict(Key(STEP, OURS, SMALL.name).to_text(), "agrees", share=0.25),
        Verdict(Key(STEP, OURS, LARGE.name).to_text(), "agrees", share=0.5),
        Verdict(Key(RUN, OURS, DEFAULT.name).to_text(), "disagrees", "the reason", share=7.0),
        Verdict(Key(RUN, JAX, DEFAULT.name).to_text(), "crashes", "an error"),
        Verdict(Key(RUN, MODULES, NETWORKS.name).to_text(), "skipped", "one network only"),
    ]
    lines = [Line("a.py", 3, "dot()  # (F1)", "F1", 3e-6), Line("b.py", 4, "f()", "", 1e-6)]
    return Findings(
        machine=MACHINE,
        start=Load(2.0, 0.5, 0.1),
        pools=["openblas 1.2 Haswell kernels: 1"],
        command="the command",
        rounds=6,
        times=times,
        compiling={Key(RUN, JAX, DEFAULT.name): 0.31, Key(STEP, JAX, SMALL.name): 12.34},
        requested=Requested(frozenset(times), {case.name: case for case in CASES}),
        verdicts=verdicts,
        crashes=["a piece crashed"],
        claims=[Claim("a claim", True), Claim("another", None), Claim("a third", False)],
        memory=["| memory |", "|---|", "| 1 |"],
        profiles=[Profile(DEFAULT.name, 2e-6, lines)],
        descriptions={OURS: "as it is written"},
        figures={"time.png": "a caption"},
    )


STEP_HEAD = [STEP, "numpy_rnn, ms"]
EXPECTED = {
    "How fast it is, and how far from what the machine can do": [
        ["", "this run"],
        ["CPU", "a processor, 2 cores, AVX-512"],
        ["Caches", "L2 1024K"],
        ["Frequency governor", "performance"],
        ["System", "a system, Python 3"],
        ["Packages", "numpy 2"],
        ["OpenBLAS of NumPy", "1.2, Haswell kernels (AVX2), 1 thread"],
        ["Variables that force kernels", "OPENBLAS_CORETYPE=Haswell"],
        ["Commit", "abc"],
        ["Load at the start", "other processes took 0.25 cores, other virtual machines 0.05 cores"],
        ["Thread pools, as measured", "openblas 1.2 Haswell kernels: 1"],
    ],
    "The default experiment": [
        ["default experiment, 5 epochs", "µs per point", "row / numpy_rnn", "seconds to compile"],
        [GEMMS, "1.40 [0.400, 2.40]", "0.400 [0.400, 0.400]", ""],
        [JAX, "1.50 [0.500, 3.75]", "0.500 [0.250, 0.750]", "0.3"],
        [CALLS, "2.80 [0.800, 4.80]", "0.800 [0.800, 0.800]", ""],
        [AGAIN, "3.35 [1.00, 6.00]", "1.00 [0.900, 1.20]", ""],
        [OURS, "3.50 [1.00, 6.00]", "1.00 [1.00, 1.00]", ""],
        [OTHER, "4.05 [0.900, 7.20]", "1.20 [0.900, 1.30] (a tie)", ""],
        [MODULES, "10.0 [3.00, 25.0]", "3.00 [2.00, 5.00]", ""],
    ],
    "Sliding windows": [
        ["ns per point", "k2=1", "k2=5"],
        [OURS, "3500", "350"],
        [OTHER, "4050", "405"],
        [MODULES, "10000", "1000"],
        [JAX, "1500", "150"],
        [AGAIN, "3350", "335"],
        [CALLS, "2800", "280"],
        [GEMMS, "1400", "140"],
    ],
    "Ensembles, 1 thread": [
        ["ns per point and network", "10 networks"],
        *([row, value] for row, value in ((OURS, "3.50"), (OTHER, "4.05"), (JAX, "1.50"))),
        *([row, value] for row, value in ((AGAIN, "3.35"), (CALLS, "2.80"), (GEMMS, "1.40"))),
    ],
    "Gradient and update, 1 thread": [
        [*STEP_HEAD, *(f"{row} / numpy_rnn" for row in (OTHER, MODULES, JAX, CALLS, GEMMS)), "JAX, s to compile"],
        [SMALL.name, "3.50 [1.00, 6.00]", "1.20 =", "3.00", "0.500", "0.800", "0.400", "12.3"],
        [LARGE.name, "7.00 [2.00, 12.0]", "", "3.00", "0.500", "0.800", "0.400", ""],
    ],
    "Ensembles, 2 threads": [["ns per point and network", "10 networks"], [OURS, "1.75"]],
    "Gradient and update, 2 threads": [
        [*STEP_HEAD, f"{MODULES} / numpy_rnn"],
        [SMALL.name, "1.75 [0.500, 3.00]", "3.00"],
    ],
    "Cold start: the default experiment in a fresh process": [
        [COLD, "ms of the whole process"],
        [JAX, "150 [50.0, 375]"],
        [OURS, "350 [100, 600]"],
        [MODULES, "1000 [300, 2500]"],
    ],
    "Imports": [[IMPORT, "ms in a fresh process"], ["numpy", "35.0 [10.0, 60.0]"], [OURS, "40.5 [9.00, 72.0]"]],
    "Memory": [["memory"], ["1"]],
    "Where the time goes: default experiment": [
        ["line of numpy_rnn", "µs", "share", "code"],
        ["`a.py:3`", "3.00", "75%", "`dot()  # (F1)`"],
        ["`b.py:4`", "1.00", "25%", "`f()`"],
    ],
    "Agreement": [
        ["row", "cases that agree", "largest difference / bound", "cases that do not", "not supported"],
        [JAX, "0", "", "1", ""],
        [OURS, "2", "0.50", "1", ""],
        [MODULES, "0", "", "0", "one network only"],
    ],
}


def tables(text):
    """By title: the rows of each table of a report, as lists of cells."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("|") and not re.fullmatch(r"[|:-]+", line):
            found.setdefault(title, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_every_cell_of_every_table():
    found = tables(report(made_up()))
    assert list(found) == list(EXPECTED)
    for title, lines in EXPECTED.items():
        assert found[title] == lines, title


def test_every_sentence_of_a_report():
    lines = report(made_up()).splitlines()
    for sentence in (
        "Noise floor: numpy_rnn takes 1.00 to 1.00 times as long as itself (95 % of the cases; 1 without noise).",
        "- pass: a claim",
        "- open: another",
        "- FAIL: a third",
        "A point takes 2.00 µs; the sum of its lines, measured one by one, is 4.00 µs. By equation: F1 75%,"
        " no equation 25%.",
        f"- run, numpy_rnn, {DEFAULT.name}, 1 thread disagrees and is not timed: the reason",
        f"- run, JAX, {DEFAULT.name}, 1 thread crashes and is not timed: an error",
        "- a piece crashed",
        "- numpy_rnn: as it is written",
        "![a caption](time.png)",
    ):
        assert sentence in lines, sentence
    assert any(line.startswith("Written by `the command`, 6 rounds.") for line in lines)


def test_results_that_were_measured_with_forced_kernels_say_so():
    """Above the claims and above every table of times; a run that chose its kernels has no such line."""
    sentence = "**Kernels are forced by OPENBLAS_CORETYPE=Haswell.**"
    findings, titles = made_up(), [title for title in EXPECTED if title not in ("Agreement",)][1:-1]
    parts = report(findings).split("\n## ")
    assert [part.split("\n")[0] for part in parts if sentence in part] == ["Claims", *titles]
    own = findings._replace(machine=MACHINE._replace(forcing={}, removed=MACHINE.forcing))
    assert "Kernels are forced" not in report(own)
    (forcing,) = (value for name, value in own.machine.rows() if name == "Variables that force kernels")
    assert forcing == "none; removed by --own-kernels: OPENBLAS_CORETYPE=Haswell"


def test_numbers_are_aligned_to_the_right_and_text_to_the_left():
    assert table(["a | b", "number", "text"], [["x", "1.50 [1, 2] =", "2 cores"], ["yy", "-3%", ""]]) == [
        "| a \\| b |        number | text    |",
        "|--------|--------------:|---------|",
        "| x      | 1.50 [1, 2] = | 2 cores |",
        "| yy     |           -3% |         |",
    ]


def test_a_report_is_made_again_from_its_results():
    findings = made_up()
    runs = {
        key.to_text(): [{"values": [value], "metadata": {"round": n}} for n, value in values.items()]
        for key, values in findings.times.items()
    }
    suite = {"benchmarks": [{"metadata": {"name": name}, "runs": of_name} for name, of_name in runs.items()]}
    suite = json.loads(json.dumps(suite | {FINDINGS: to_json(findings)}))
    assert report(from_json(suite)) == report(findings)


def test_every_plotted_series():
    """The flops are 2·3·50·2·8² = 38400 in 1.4 ms at H = 8, and 153600 in 2.8 ms at H = 16, where the peak is."""
    findings = made_up()
    times, cases = findings.times, CASES
    peak = 153600 / 2.8e-3
    expected = {
        OURS: [(8, 3.5e-3), (16, 7e-3)],
        OTHER: [(8, 4.05e-3)],
        MODULES: [(8, 10e-3), (16, 20e-3)],
        JAX: [(8, 1.5e-3), (16, 3e-3)],
        CALLS: [(8, 2.8e-3), (16, 5.6e-3)],
        charts.PEAK: [(8, 38400 / peak), (16, 2.8e-3)],
    }
    series = charts.time_series(times, cases)
    assert {line.B for line in series} == {2}
    assert [line.row for line in series] == list(expected)
    for line in series:
        np.testing.assert_allclose(line.points, expected[line.row], rtol=ROUNDING)
    shares = charts.share_series(times, cases)
    assert [line[:2] for line in shares] == [(2, OURS), (2, MODULES)]
    np.testing.assert_allclose(shares[0].points, [(8, 0.4), (16, 0.4)], rtol=ROUNDING)
    np.testing.assert_allclose(shares[1].points, [(8, 0.14), (16, 0.14)], rtol=ROUNDING)
    assert charts.ratio_map(times, cases, charts.OTHER_ROWS) == {(2, 8): (JAX, 0.5), (2, 16): (JAX, 0.5)}
    assert charts.ratio_map(times, cases, (MODULES,)) == {(2, 8): (MODULES, 3), (2, 16): (MODULES, 3)}
    bars = charts.start_bars(times)
    assert [row for row, _ in bars] == [JAX, OURS, MODULES]
    np.testing.assert_allclose([value for _, value in bars], [0.15, 0.35, 1], rtol=ROUNDING)


@pytest.mark.needs_matplotlib
def test_the_figures_show_these_series_and_the_kernels(tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    findings = made_up()
    series = charts.time_series(findings.times, CASES)
    (panel,) = charts.draw_lines(series, "seconds", yscale="log").axes
    assert [line.get_xydata().tolist() for line in panel.lines] == [[list(p) for p in s.points] for s in series]
    assert [text.get_text() for text in panel.texts] == [
        row for _, row in sorted((line.points[-1][1], line.row) for line in series)
    ]
    (panel,) = charts.draw_starts(charts.start_bars(findings.times)).axes
    np.testing.assert_allclose([bar.get_width() for bar in panel.patches], [1, 0.35, 0.15], rtol=ROUNDING)
    assert [label.get_text() for label in panel.get_yticklabels()] == [MODULES, OURS, JAX]  # from below
    other = Profile("other", 5e-6, [Line("a.py", 1, "", "F2", 2e-6)])
    (panel,) = charts.draw_operations([*findings.profiles, other]).axes
    bars = [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in panel.patches]
    np.testing.assert_allclose(bars, [(0, 0, 1), (1, 0, 0.75), (1, 0.75, 0.25)], atol=ROUNDING)
    assert [label.get_text().split("\n") for label in panel.get_yticklabels()] == [
        ["other", "5 µs per point"],
        [DEFAULT.name, "2 µs per point"],
    ]
    footers = []
    monkeypatch.setattr("matplotlib.figure.Figure.supxlabel", lambda self, text, **options: footers.append(text))
    assert set(charts.draw(findings, tmp_path)) == {"time.png", "gemms.png", "start.png", "operations.png"}
    assert {file.name for file in tmp_path.iterdir()} == {"time.png", "gemms.png", "start.png", "operations.png"}
    kernels = "OpenBLAS of NumPy: Haswell kernels; forced by OPENBLAS_CORETYPE=Haswell"
    assert footers == [f"a processor; {kernels}"] * 4


@pytest.mark.needs_matplotlib
def test_the_maps_show_the_ratios_at_their_sizes_with_the_fastest_row():
    """Of four cases with B = 2, 4 and H = 8, 16: torch.nn.RNN takes 2, 4, 8 and 1/2 times as long, JAX 3 times."""
    cases = [point(H, B) for H in (8, 16) for B in (2, 4)]
    times = {}
    for case, factor in zip(cases, (2, 4, 8, 0.5)):
        for row, seconds in ((OURS, 1.0), (MODULES, factor), (JAX, 3.0)):
            times[Key(STEP, row, case.name)] = dict.fromkeys(range(1, 7), seconds)
    import matplotlib

    matplotlib.use("Agg")
    left, right, _ = charts.draw_maps(times, cases).axes
    for panel, factors in ((left, [[2, 4], [8, 0.5]]), (right, [[2, 3], [3, 0.5]])):
        assert panel.images[0].get_array().tolist() == np.log2(factors).tolist()
        assert [label.get_text() for label in panel.get_xticklabels()] == ["2", "4"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["8", "16"]
    assert [text.get_text() for text in left.texts] == ["2.00", "4.00", "8.00", "0.50"]
    names = zip(("2.00", "3.00", "3.00", "0.50"), (MODULES, JAX, JAX, MODULES))
    assert [text.get_text() for text in right.texts] == ["\n".join(both) for both in names]
    assert [panel.get_title() for panel in (left, right)] == ["torch.nn.RNN / numpy_rnn", "fastest other / numpy_rnn"]


def test_where_the_faster_row_changes_is_a_border():
    grid = np.array([[-1.0, 1.0], [-1.0, -1.0]])
    assert charts.borders(grid) == [((0.5, -0.5), (0, 1)), ((0.5, 0.5), (1, 0))]


def test_names_at_the_ends_of_lines_do_not_overlap():
    assert charts.spread([0.0, 1.0, 50.0], 10) == [-4.5, 5.5, 50.0]


# -- statistics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18), (100, 40)]
)
def test_median_interval_is_the_one_of_the_tables(n, k):
    """Conover, Practical Nonparametric Statistics: the sign test's 95 % limits are the k-th value from either end."""
    values = list(range(1, n + 1))
    Random(0).shuffle(values)
    assert median_interval(values) == (k, n + 1 - k)


def test_median_interval_of_other_confidences_and_of_too_few_values():
    assert median_interval(range(1, 16), confidence=0.5) == (6, 10)
    assert median_interval(range(1, 4), confidence=0.75) == (1, 3)
    assert estimate([5, 1, 2, 9, 3, 4]) == Estimate(median=3.5, low=1, high=9)
    for n in (1, 2, 5):
        with pytest.raises(ValueError, match=f"^{n} values: expected more for an interval of 95% confidence$"):
            median_interval(range(n))


def test_pairs_are_of_the_same_round():
    """Rounds 1 and 8 have no partner; six are left."""
    a, b = Key(STEP, "a", "x"), Key(STEP, "b", "x")
    times = {a: {n: 2.0 * n for n in range(1, 8)}, b: {n: 1.0 * n for n in reversed(range(2, 9))}}
    assert ratio(times, a, b) == (2, 2, 2)
    assert difference(times, a, b) == (4500, 2000, 7000)
    c = Key(STEP, "c", "x")
    times[c] = {n: 8.0 * n for n in range(1, 9)}
    np.testing.assert_allclose(mean_ratio(times, [(a, b), (c, b)]), (4, 4, 4), rtol=ROUNDING)
    del times[b][3]
    assert ratio(times, a, b) is None
    assert difference(times, a, b) is None


def test_of_a_round_the_median_of_its_values_counts():
    runs = [{"values": [1.0, 9.0, 2.0], "metadata": {"round": 3}}]
    suite = {"benchmarks": [{"metadata": {"name": "step | a | b | 2 threads"}, "runs": runs}]}
    assert times_of(suite) == {Key(STEP, "a", "b", 2): {3: 2.0}}


def test_means_exponents_and_numbers():
    assert geometric_mean([1, 4, 16]) == pytest.approx(4, rel=1e-15)
    points = [(x, 3 * x**1.5) for x in (2.0, 4.0, 8.0)]
    assert slope(points) == pytest.approx(1.5, rel=1e-14)
    assert [three_digits(value) for value in (0.0, 0.01234, 0.99999, 1.2345, 12.345, 123.45, 12345.6, -0.5)] == [
        *("0.00", "0.0123", "1.00", "1.23", "12.3", "123", "12346", "-0.500")
    ]


def test_the_noise_floor_is_of_95_percent_of_the_cases():
    """Of 80 cases, two are outside at either end."""
    times = {}
    for n in range(80):
        times[Key(STEP, OURS, str(n))] = dict.fromkeys(range(6), 1.0)
        times[Key(STEP, AGAIN, str(n))] = dict.fromkeys(range(6), 1 + n / 128)
    assert noise_floor(times, AGAIN, OURS) == (1 + 2 / 128, 1 + 77 / 128)
    assert noise_floor({}, AGAIN, OURS) is None


def test_a_ratio_within_the_noise_is_a_tie():
    assert is_tie(Estimate(1.05, 1.01, 1.08), (0.97, 1.06))
    assert is_tie(Estimate(1.2, 0.99, 1.3), None)
    assert not is_tie(Estimate(1.2, 1.1, 1.3), (0.97, 1.06))


# -- profiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "equations"),
    [
        ("dot(z, W, a)  # (F1)", "F1"),
        ("dot(z_T, da, dW)  # (B4), (B5), (B7)", "B4, B5, B7"),
        ("dot(dy, W_hy_T, dh)  # (B2), from the outputs", "B2"),
        ("f(B2)  # no id", ""),
    ],
)
def test_a_line_of_a_profile_belongs_to_the_equations_of_its_comment(line, equations):
    assert equation_of(line) == equations


def test_the_time_of_the_trace_function_is_subtracted(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("first  # (F2)\nsecond\n")
    timer = LineTimer(str(tmp_path))
    timer.seconds |= {(str(tmp_path / "a.py"), 1): 1.0, (str(tmp_path / "a.py"), 2): 4.0}
    timer.events |= {(str(tmp_path / "a.py"), 1): 4, (str(tmp_path / "a.py"), 2): 4}
    lines = own_lines(timer, 0.125, 2, tmp_path)
    assert lines == [Line("a.py", 2, "second", "", 1.75), Line("a.py", 1, "first  # (F2)", "F2", 0.25)]
    assert by_equation(Profile("a case", 1.0, lines)) == {"F2": 0.25, "no equation": 1.75}
    # Each look at this clock takes 1, and the loop without the trace function 5000: the rest is the trace's.
    ticks = chain((0, 5000), range(10**6, 2 * 10**6))
    monkeypatch.setattr(line_profile, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(line_profile.LineTimer.__init__, "__defaults__", (line_profile.perf_counter,))
    assert line_profile.seconds_per_event() == pytest.approx(1 - 5000 / (2 * line_profile.EMPTY_LINES), rel=1e-3)


def test_a_profile_has_the_time_of_each_line_per_point(tmp_path, monkeypatch):
    """Each look at the clock takes 1, so that a line takes 1 for each time that it runs."""
    (tmp_path / "a.py").write_text(
        "def f():\n    x = 1\n    for i in range(3):\n        x = x + i  # (F1)\n    return x\n"
    )
    space: dict = {}
    exec(compile((tmp_path / "a.py").read_text(), str(tmp_path / "a.py"), "exec"), space)
    ticks = count()
    monkeypatch.setattr(line_profile, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(line_profile.LineTimer.__init__, "__defaults__", (line_profile.perf_counter,))
    monkeypatch.setattr(line_profile, "seconds_per_event", lambda: 0.0)
    profile = line_profile.profile(DEFAULT, lambda case: Prepared(space["f"], dict), tmp_path)
    assert (profile.case, profile.seconds) == (DEFAULT.name, 1 / 100)
    runs = {line.number: round(line.seconds * 100) for line in profile.lines}  # of a call, which makes 100 points
    assert {n: runs[n] for n in (2, 3, 4)} == {2: 1, 3: 4, 4: 3}
    assert [line.equation for line in profile.lines if line.number == 4] == ["F1"]


# -- claims ---------------------------------------------------------------------------------------------------------

WINDOW_SECONDS = {OURS: 1.0, AGAIN: 1.0, MODULES: 3.0, OTHER: 1.5, JAX: 1.1, GEMMS: 0.95, CALLS: 0.95}
RUN_SECONDS = {OURS: 12e-6, AGAIN: 12e-6, TUTORIAL: 200e-6, CALLS: 11e-6, MODULES: 1e-4, EVERY: 2e-5}  # per point
NETWORK_SECONDS = {OURS: 30e-9, AGAIN: 30e-9, JAX: 34e-9}
COLD_SECONDS = {OURS: 0.1, C: 0.2} | dict.fromkeys((TUTORIAL, MODULES, OTHER, JAX, EVERY), 1.0)
IMPORT_SECONDS = {OURS: 0.065, "numpy": 0.05}


def full_times(threads=(1, 2), **changes):
    """Times of the full mode for which every claim holds, multiplied by the changes of "task row threads"."""
    requested = requested_of(plan_groups(Choice(True, threads=threads)))
    times = {}
    for key in requested.keys:
        case = requested.cases.get(key.case)
        if key.task in (FORWARD, GRADIENT, STEP) and key.row in WINDOW_SECONDS:
            value = WINDOW_SECONDS[key.row] * (case.T * case.B * case.H**2 + 1000)  # an overhead
        elif key.task == RUN and case.networks > 1 and key.row in NETWORK_SECONDS:
            value = NETWORK_SECONDS[key.row] * case.points * case.networks / (1.7 if key.threads > 1 else 1)
        elif key.task == RUN and case.networks == 1 and key.row in RUN_SECONDS:
            value = RUN_SECONDS[key.row] * case.points
        elif key.task == COLD:
            value = COLD_SECONDS.get(key.row, 5.0)
        elif key.task == IMPORT:
            value = IMPORT_SECONDS[key.row]
        else:
            continue
        times[key] = dict.fromkeys(range(1, 7), value * changes.get(f"{key.task} {key.row} {key.threads}", 1.0))
    return times, requested


def test_all_claims_hold():
    claims = time_claims(*full_times())
    assert len(claims) == 18
    assert [claim.line() for claim in claims if claim.holds is not True] == []


@pytest.mark.parametrize(
    ("change", "factor", "words"),
    [
        (f"{RUN} {TUTORIAL} 1", 0.95, "15.8 [15.8, 15.8] times as fast as the tutorial loop (target: 16)"),
        (f"{RUN} {CALLS} 1", 0.9, "1.21 [1.21, 1.21] times as long as the bare NumPy calls"),
        (f"{RUN} {JAX} 1", 0.88, "ensembles: numpy_rnn is at least 0.997"),
        (f"{RUN} {OURS} 2", 1.1, "ensembles, 2 threads: numpy_rnn is at least 1.55"),
        (f"{STEP} {MODULES} 1", 0.83, "47 points, 1 thread: numpy_rnn is at least 2.49 [2.49, 2.49] times as fast as"),
        (f"{STEP} {MODULES} 2", 0.29, "47 points, 2 threads: numpy_rnn is at least 0.870"),
        (
            f"{STEP} {JAX} 1",
            0.9,
            "H=256 B=32 T=50 float32 (target: 0.95), geometric mean 0.990 [0.990, 0.990] (target: 1)",
        ),
        (f"{STEP} {GEMMS} 1", 0.96, "at least 0.912 [0.912, 0.912] times as fast as bare GEMMs"),
        (
            f"{STEP} {CALLS} 1",
            1.06,
            "bare calls are a floor: numpy_rnn takes at least 0.993 [0.993, 0.993] times as long",
        ),
        (f"{FORWARD} {OTHER} 1", 0.66, "forward by the public functions: numpy_rnn is at least 0.990"),
        (f"{GRADIENT} {OTHER} 1", 0.66, "gradient by the public functions: numpy_rnn is at least 0.990"),
        (
            f"{COLD} {C} 1",
            0.49,
            "0.980 [0.980, 0.980] times as fast as every other row, at C loop",
        ),
        (f"{IMPORT} {OURS} 1", 1.25, "import numpy_rnn takes 31.2 [31.2, 31.2] ms more than import numpy"),
    ],
)
def test_a_claim_that_does_not_hold_fails(change, factor, words):
    (claim,) = [claim for claim in time_claims(*full_times(**{change: factor})) if claim.holds is False]
    assert words in claim.text
    assert claim.line().startswith("FAIL: ")


@pytest.mark.parametrize(
    ("interval", "least", "most"),
    [((2, 2, 3), True, False), ((1, 1, 2), True, None), ((1, 0, 2), None, None), ((0, 0, 1), None, True)],
)
def test_a_claim_is_open_if_its_interval_contains_the_target(interval, least, most):
    assert (at_least(Estimate(*interval), 1), at_most(Estimate(*interval), 1)) == (least, most)
    assert [every(v) for v in ([True, True], [True, None], [None, False, True])] == [True, None, False]


def test_noise_leaves_a_claim_open():
    times, requested = full_times()
    slow = {
        key: {n: value * (0.9 if key.row == TUTORIAL and n == 3 else 1) for n, value in values.items()}
        for key, values in times.items()
    }
    (claim,) = [claim for claim in time_claims(slow, requested) if claim.holds is not True]
    text = "open: default experiment: numpy_rnn is 16.7 [15.0, 16.7] times as fast as the tutorial loop (target: 16)"
    assert claim.line() == text


def test_a_floor_may_be_slower_by_the_noise():
    times, requested = full_times(**{f"{STEP} {CALLS} 1": 1.06, f"{STEP} {AGAIN} 1": 0.99})
    assert [claim.line() for claim in time_claims(times, requested) if claim.holds is not True] == []


def test_the_case_that_a_claim_names_is_the_worst():
    """The lowest ratio of 47, and the mean of all in every round: 3·300^(-1/47), and 3·600^(-1/47) in the first."""
    times, requested = full_times()
    key = Key(STEP, MODULES, point(32, 8).name)
    times[key] = {n: value / (600 if n == 1 else 300) for n, value in times[key].items()}
    (claim,) = [claim for claim in time_claims(times, requested) if "points, 1 thread" in claim.text]
    assert f"at {point(32, 8).name} (target: 1), geometric mean 2.66 [2.62, 2.66] (target: 2.5)" in claim.text
    assert "is at least 0.0100 [0.00500, 0.0100]" in claim.text
    assert claim.holds is False


@pytest.mark.parametrize("row", [OURS, EVERY, OTHER, MODULES, TUTORIAL, JAX, CALLS])
def test_a_claim_whose_row_was_not_timed_fails(row):
    times, requested = full_times()
    claims = time_claims({key: value for key, value in times.items() if key.row != row}, requested)
    assert any("not timed" in claim.text and claim.holds is False for claim in claims)


def test_growth_that_is_not_linear_fails():
    times, requested = full_times()
    grown = {
        key: {n: value * (requested.cases[key.case].T if key[:2] == (STEP, OURS) else 1) for n, value in values.items()}
        for key, values in times.items()
    }
    assert any("grows as T" in claim.text and claim.holds is False for claim in time_claims(grown, requested))
    cases = requested.both(STEP, OURS, GEMMS)
    by_T, by_size = (exponent(times, OURS, cases, growth) for growth in T_AND_SIZE)
    assert (by_T.median, by_size.median) == pytest.approx((1, 1), abs=1e-2)
    assert exponent(grown, OURS, cases, T_AND_SIZE[0]).median == pytest.approx(2, abs=1e-2)


def test_claims_are_made_only_of_what_the_options_select():
    times, requested = full_times()
    keys = frozenset(key for key in requested.keys if key.row in (OURS, MODULES) and key.task == STEP)
    claims = time_claims(times, Requested(keys, requested.cases))
    assert len(claims) == 3  # on the grid with 1 and 2 threads, and on its large points
    assert all(MODULES in claim.text for claim in claims)
