"""Made-up times in; every plotted series out, checked by hand-computed values, and what is drawn of it."""

import sys

import numpy as np
import pytest
from made_up_results import CASES, DEFAULT, ROUNDING, made_up

from benchmarks import charts
from benchmarks.line_profile import Line, Profile
from benchmarks.plan import Key
from benchmarks.rows import CALLS, JAX, MODULES, OTHER, OURS, STEP
from benchmarks.workloads import point


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def test_every_plotted_series():
    """The flops are 2·3·50·2·8² = 38400 in 1.4 ms at H = 8, and 153600 in 2.8 ms at H = 16, where the peak is.

    torch_rnn, which has a time at H = 8 alone, is no line.
    """
    findings = made_up()
    times, cases = findings.times, CASES
    assert charts.step_points(times, OTHER, cases) == [(8, pytest.approx(4.05e-3, rel=ROUNDING))]
    peak = 153600 / 2.8e-3
    expected = {
        OURS: [(8, 3.5e-3), (16, 7e-3)],
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
        ["other", "5.00 µs per point"],
        [DEFAULT.name, "2.00 µs per point"],
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
