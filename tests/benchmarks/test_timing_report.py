"""The report of a run: every number of its text and its figures, from made-up times, and the published report.

The time of `numpy_rnn` in rounds 1 to 6 is 1, 2, 3, 4, 5 and 6 units: median 3.5, and with six rounds the interval is
from the smallest to the largest value. Other rows take that time multiplied by the RATIOS of their rounds, chosen so
that the median of the paired ratios differs from the ratio of the medians. So the numbers of the text in
made_up_report.txt and those below are computed by hand.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import charts, runner
from benchmarks.claims import Claim
from benchmarks.estimates import Requested
from benchmarks.line_profile import Line, Profile
from benchmarks.load import Load
from benchmarks.machine import Kernel, Machine
from benchmarks.plan import COLD, IMPORT, Key
from benchmarks.rows import AGAIN, CALLS, CHARACTERS, GEMMS, JAX, MODULES, OTHER, OURS, RUN, STEP
from benchmarks.store import FINDINGS
from benchmarks.summary import Findings, from_json, report, to_json
from benchmarks.worker import Verdict
from benchmarks.workloads import DEFAULT_EXPERIMENT, character_model, point, sliding

PUBLISHED = Path(command.__file__).parent
TEXT = Path(__file__).with_name("made_up_report.txt").read_text()
ROUNDING = 4 * np.finfo(float).eps  # a few products and quotients of numbers that are exact on paper

DEFAULT = DEFAULT_EXPERIMENT._replace(epochs=5)  # 100 points
SLIDING, NETWORKS = sliding("sliding k2=5", 5, epochs=2), sliding("10 networks", 1, 10, epochs=1)  # 40 and 20 points
MODEL = character_model("character model, float64", updates=2)
SMALL, LARGE = point(8, 2), point(16, 2)
CASES = {  # with their task, and the seconds per call that make a unit of the tables
    DEFAULT: (RUN, 100 * 1e-6),
    SLIDING: (RUN, 40 * 100e-9),
    NETWORKS: (RUN, 20 * 10 * 1e-9),
    MODEL: (CHARACTERS, 2 * 100e-6),
    SMALL: (STEP, 1e-3),
    LARGE: (STEP, 2e-3),
}
RATIOS = {
    OURS: (1,) * 6,
    AGAIN: (1, 1.1, 0.9, 1, 1.2, 1),  # median 1
    OTHER: (0.9, 1.3, 1.1, 1.2, 1.3, 1.2),  # median 1.2; a tie, as the interval contains 1
    MODULES: (3, 4, 2, 3, 5, 3),  # median 3; the ratio of the medians is 10/3.5
    JAX: (0.5, 0.5, 0.25, 0.5, 0.75, 0.5),  # median 0.5; the ratio of the medians is 1.5/3.5
    CALLS: (0.8,) * 6,
    GEMMS: (0.4,) * 6,
}
MACHINE = Machine(
    *("a processor", 2, "AVX-512", ["avx"], {"L2": "1024K"}, "performance", "a system", "3", {"numpy": "2"}, "abc"),
    kernels=[Kernel("OpenBLAS of NumPy", "1.2", "Haswell kernels", "AVX2", 1, [])],
    forcing={"OPENBLAS_CORETYPE": "Haswell"},
)


def timed(unit, row):
    return {n: unit * n * value for n, value in enumerate(RATIOS[row], start=1)}


def made_up():
    """The findings of a run with one and two threads."""
    times = {
        Key(task, row, case.name): timed(unit, row)
        for case, (task, unit) in CASES.items()
        for row in ((OURS, AGAIN, MODULES, JAX) if case == MODEL else RATIOS)
    }
    del times[Key(RUN, MODULES, NETWORKS.name)]
    times |= {Key(STEP, row, SMALL.name, 2): timed(1e-3 / 2, row) for row in (OURS, AGAIN, MODULES)}
    times[Key(RUN, OURS, NETWORKS.name, 2)] = timed(20 * 10 * 1e-9 / 2, OURS)
    times |= {Key(COLD, row, DEFAULT.name): timed(0.1, row) for row in (OURS, JAX, MODULES)}
    imports = {OURS: OTHER, "numpy": OURS}
    times |= {Key(IMPORT, module, "fresh process"): timed(0.01, row) for module, row in imports.items()}
    times[Key(STEP, OTHER, LARGE.name)] = dict.fromkeys(range(1, 6), 1.0)  # a round short: not shown
    compiled = {Key(RUN, JAX, DEFAULT.name): 0.31, Key(CHARACTERS, JAX, MODEL.name): 1.26}
    return Findings(
        machine=MACHINE,
        start=Load(2.0, 0.5, 0.1),
        pools=["openblas 1.2 Haswell kernels: 1"],
        command="the command",
        rounds=6,
        times=times,
        compiling=compiled | {Key(STEP, JAX, SMALL.name): 12.34},
        requested=Requested(frozenset(times), {case.name: case for case in CASES}),
        verdicts=[
            Verdict(Key(STEP, OURS, SMALL.name).to_text(), "agrees", share=0.25),
            Verdict(Key(STEP, OURS, LARGE.name).to_text(), "agrees", share=0.5),
            Verdict(Key(RUN, OURS, DEFAULT.name).to_text(), "disagrees", "the reason", share=7.0),
            Verdict(Key(RUN, JAX, DEFAULT.name).to_text(), "crashes", "an error"),
            Verdict(Key(RUN, MODULES, NETWORKS.name).to_text(), "skipped", "one network only"),
        ],
        crashes=["a piece crashed"],
        claims=[Claim("a claim", True), Claim("another", None), Claim("a third", False)],
        memory=["| memory |", "|---|", "| 1 |"],
        profiles=[
            Profile(
                DEFAULT.name, 2e-6, [Line("a.py", 3, "dot()  # (F1)", "F1", 3e-6), Line("b.py", 4, "a | b", "", 1e-6)]
            )
        ],
        descriptions={OURS: "as it is written"},
        figures={"time.png": "a caption"},
    )


# -- text ------------------------------------------------------------------------------------------------------------


def test_every_line_of_a_report():
    """Also of one that is made again from the results of a run."""
    findings = made_up()
    assert report(findings) == TEXT
    runs = {
        key.to_text(): [{"values": [value], "metadata": {"round": n}} for n, value in values.items()]
        for key, values in findings.times.items()
    }
    suite = {"benchmarks": [{"metadata": {"name": name}, "runs": of_name} for name, of_name in runs.items()]}
    assert report(from_json(json.loads(json.dumps(suite | {FINDINGS: to_json(findings)})))) == TEXT


def test_results_that_were_measured_with_forced_kernels_say_so():
    """Above the claims and above every table of times. A run that chose its own kernels says what it removed."""
    sentence, forced = "**Kernels are forced by OPENBLAS_CORETYPE=Haswell.**\n\n", "OPENBLAS_CORETYPE=Haswell"
    text = report(made_up()._replace(machine=MACHINE._replace(forcing={}, removed=MACHINE.forcing)))
    removed = f"none; removed by --own-kernels: {forced}"
    assert TEXT.count(sentence) == 11
    assert text.count(removed) == 1
    assert text.replace(removed, forced.ljust(len(removed))) == TEXT.replace(sentence, "")


def test_the_published_report_is_made_again_from_its_results():
    suite = json.loads((PUBLISHED / "results.json").read_text())
    assert report(from_json(suite)) == (PUBLISHED / "README.md").read_text()


@pytest.mark.parametrize(
    ("holds", "crashes", "status"),
    [([True, None], [], 0), ([True, False], [], 1), ([True], ["a process crashed"], 1)],
    ids=["open", "failed", "crashed"],
)
def test_the_exit_status_is_1_for_failures_and_0_for_open_claims(holds, crashes, status, monkeypatch, capsys):
    claims = [Claim("a claim", verdict) for verdict in holds]
    findings = made_up()._replace(verdicts=[], crashes=crashes, claims=claims)
    monkeypatch.setattr(runner, "measure_all", lambda options, store, machine: (findings, {}))
    assert command.benchmark(command.parse_options([]), None, MACHINE) == status
    assert capsys.readouterr().out == report(findings)


# -- figures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def _no_window():
    import matplotlib

    matplotlib.use("Agg")
    yield
    sys.modules["matplotlib.pyplot"].close("all")


def test_every_plotted_series():
    """The flops are 2·3·50·2·8² = 38400 in 1.4 ms at H = 8, and 153600 in 2.8 ms at H = 16, where the peak is.

    torch_rnn, which has a time at H = 8 alone, is no line.
    """
    times, cases, near = made_up().times, [*CASES], {"rel": ROUNDING}
    assert charts.step_points(times, OTHER, cases) == [(8, pytest.approx(4.05e-3, **near))]
    expected = {
        OURS: (3.5e-3, 7e-3),
        MODULES: (10e-3, 20e-3),
        JAX: (1.5e-3, 3e-3),
        CALLS: (2.8e-3, 5.6e-3),
        charts.PEAK: (38400 / (153600 / 2.8e-3), 2.8e-3),
    }
    shares = {OURS: (0.4, 0.4), MODULES: (0.14, 0.14)}
    for series, values in ((charts.time_series(times, cases), expected), (charts.share_series(times, cases), shares)):
        assert [line[:2] for line in series] == [(2, row) for row in values]
        for line in series:
            np.testing.assert_allclose(line.points, [*zip((8, 16), values[line.row])], rtol=ROUNDING)
    assert charts.ratio_map(times, cases, charts.OTHER_ROWS) == {(2, 8): (JAX, 0.5), (2, 16): (JAX, 0.5)}
    assert charts.ratio_map(times, cases, (MODULES,)) == {(2, 8): (MODULES, 3), (2, 16): (MODULES, 3)}
    bars = [(JAX, 0.15), (OURS, 0.35), (MODULES, 1)]
    assert charts.start_bars(times) == [(row, pytest.approx(seconds, **near)) for row, seconds in bars]


@pytest.mark.needs_matplotlib
@pytest.mark.usefixtures("_no_window")
def test_the_figures_show_these_series_and_the_kernels(tmp_path, monkeypatch):
    findings = made_up()
    series = charts.time_series(findings.times, [*CASES])
    (panel,) = charts.draw_lines(series, "seconds", yscale="log").axes
    assert [line.get_xydata().tolist() for line in panel.lines] == [[list(p) for p in s.points] for s in series]
    names = [row for _, row in sorted((line.points[-1][1], line.row) for line in series)]
    assert [text.get_text() for text in panel.texts] == names
    (panel,) = charts.draw_starts(charts.start_bars(findings.times)).axes
    np.testing.assert_allclose([bar.get_width() for bar in panel.patches], [1, 0.35, 0.15], rtol=ROUNDING)
    assert [label.get_text() for label in panel.get_yticklabels()] == [MODULES, OURS, JAX]  # from below
    other = Profile("other", 5e-6, [Line("a.py", 1, "", "F2", 2e-6)])
    (panel,) = charts.draw_operations([*findings.profiles, other]).axes
    bars = [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in panel.patches]
    np.testing.assert_allclose(bars, [(0, 0, 1), (1, 0, 0.75), (1, 0.75, 0.25)], atol=ROUNDING)
    labels = ["other\n5.00 µs per point", f"{DEFAULT.name}\n2.00 µs per point"]
    assert [label.get_text() for label in panel.get_yticklabels()] == labels
    footers, files = [], {"time.png", "gemms.png", "start.png", "operations.png"}
    monkeypatch.setattr("matplotlib.figure.Figure.supxlabel", lambda self, text, **options: footers.append(text))
    assert charts.draw(findings, tmp_path).keys() == {file.name for file in tmp_path.iterdir()} == files
    kernels = "OpenBLAS of NumPy: Haswell kernels; forced by OPENBLAS_CORETYPE=Haswell"
    assert footers == [f"a processor; {kernels}"] * 4
    assert charts.spread([0.0, 1.0, 50.0], 10) == [-4.5, 5.5, 50.0]  # so that the names of lines do not overlap


@pytest.mark.needs_matplotlib
@pytest.mark.usefixtures("_no_window")
def test_the_maps_show_the_ratios_at_their_sizes_with_the_fastest_row_and_where_that_changes():
    """Of four cases with B = 2, 4 and H = 8, 16: torch.nn.RNN takes 2, 4, 8 and 1/2 times as long, JAX 3 times."""
    cases = [point(H, B) for H in (8, 16) for B in (2, 4)]
    times = {}
    for case, factor in zip(cases, (2, 4, 8, 0.5)):
        for row, seconds in ((OURS, 1.0), (MODULES, factor), (JAX, 3.0)):
            times[Key(STEP, row, case.name)] = dict.fromkeys(range(1, 7), seconds)
    left, right, _ = charts.draw_maps(times, cases).axes
    names = zip(("2.00", "3.00", "3.00", "0.50"), (MODULES, JAX, JAX, MODULES))
    for panel, factors, texts, title in (
        (left, [[2, 4], [8, 0.5]], ["2.00", "4.00", "8.00", "0.50"], "torch.nn.RNN / numpy_rnn"),
        (right, [[2, 3], [3, 0.5]], ["\n".join(both) for both in names], "fastest other / numpy_rnn"),
    ):
        assert panel.images[0].get_array().tolist() == np.log2(factors).tolist()
        assert [label.get_text() for label in panel.get_xticklabels()] == ["2", "4"]
        assert [text.get_text() for text in panel.texts] == texts
        assert panel.get_title() == title
        border = [[[0.5, 0.5], [1.5, 0.5]], [[0.5, 0.5], [0.5, 1.5]]]  # below and to the left of the last cell
        assert sorted(line.get_xydata().tolist() for line in panel.lines) == sorted(border)
    assert [label.get_text() for label in left.get_yticklabels()] == ["8", "16"]
