"""The report: a snapshot of made-up times, and estimates by hand-computed values."""

import runpy
import sys

import pyperf
import pytest
from children import ROOT
from inline_snapshot import snapshot

from benchmarks.estimates import Estimate, times_of
from benchmarks.report import main, report, shortened, summary, table, three_digits
from benchmarks.tasks import CALLS, CHARACTERS, EVERY, IMPORT, JAX, MODULES, OURS, RUN, STEP, TUTORIAL, Key
from benchmarks.workloads import CHARACTER_MODELS, DEFAULT_EXPERIMENT, ENSEMBLES, SLIDING, point

MACHINE = {
    "cpu_model_name": "a processor",
    "cpu_count": 2,
    "platform": "a system",
    "python_version": "3.11",
    "packages": "numpy 2",
    "threads": 1,
    "commit": "abc",
    "hostname": "secret",
}
LIGHT, HEAVY = point(64, 8).name, point(256, 32).name
SECONDS = {
    Key(RUN, DEFAULT_EXPERIMENT.name, OURS): 0.03,
    Key(RUN, DEFAULT_EXPERIMENT.name, EVERY): 0.06,
    Key(RUN, DEFAULT_EXPERIMENT.name, TUTORIAL): 0.9,
    Key(RUN, DEFAULT_EXPERIMENT.name, JAX): 0.0012,
    Key(RUN, DEFAULT_EXPERIMENT.name, CALLS): 0.025,
    Key(RUN, SLIDING[0].name, OURS): 0.012,
    Key(RUN, ENSEMBLES[2].name, OURS): 0.024,
    Key(CHARACTERS, CHARACTER_MODELS[0].name, OURS): 0.03,
    Key(STEP, LIGHT, OURS): 2e-4,
    Key(STEP, LIGHT, MODULES): 2e-3,
    Key(STEP, HEAVY, OURS): 8e-3,
    Key(STEP, HEAVY, MODULES): 6e-3,
    Key(IMPORT, DEFAULT_EXPERIMENT.name, "numpy"): 0.07,
    Key(IMPORT, DEFAULT_EXPERIMENT.name, OURS): 0.1,
}


def suite(factors=(0.9, 1.0, 1.25)):
    """A process for each factor; the values of a process have a median of that."""
    benchmarks = []
    for key, seconds in SECONDS.items():
        metadata = {**MACHINE, "name": key.to_text(), "kernels": "openblas Haswell", "unit": "second", "loops": 1}
        if key.row == JAX:
            metadata |= {"compile_seconds": 0.5, "kernels": "openblas Haswell, XLA"}
        runs = [
            pyperf.Run(
                [seconds * factor * of_value for of_value in (0.5, 1.0, 3.0)],
                metadata=metadata | {"load_avg_1min": factor},
                collect_metadata=False,
            )
            for factor in factors
        ]
        benchmarks.append(pyperf.Benchmark(runs))
    return pyperf.BenchmarkSuite(benchmarks)


def test_report():
    text = report(suite(), {"time.png": "a caption"})
    assert text[text.index("- CPU") : text.index("## The rows")] == snapshot("""\
- CPU: a processor, 2 cores
- System: a system, Python 3.11
- Packages: numpy 2
- Kernels: openblas Haswell; openblas Haswell, XLA
- Threads: 1
- Load average of 1 minute: 0.90 to 1.25
- Processes of a benchmark: 3
- Commit: abc

A time is the median of several processes, with the fastest and the slowest process in brackets: an interval that
contains the true median with more than 95 % confidence if there are six. Ratios are those of medians, with an
interval that follows from those of the two times. A row is timed on a case only if half of the digits of its results,
at least, are those of the reference in float64. `bare calls` are the fewest NumPy calls that the equations need, and
`bare GEMMs` the matrix products alone, each in the fastest of all layouts: a lower bound on the time of training that
consists of them.

## The default experiment

| default experiment      |        µs per update |         row / numpy_rnn | seconds to compile |
|-------------------------|---------------------:|------------------------:|-------------------:|
| JAX                     | 0.200 [0.180, 0.250] | 0.0400 [0.0313, 0.0512] |                0.5 |
| bare calls              |    4.17 [3.75, 5.21] |     0.833 [0.651, 1.07] |                    |
| numpy_rnn               |    5.00 [4.50, 6.25] |                         |                    |
| numpy_rnn, every update |    10.0 [9.00, 12.5] |       2.00 [1.56, 2.56] |                    |
| tutorial loop           |       150 [135, 188] |       30.0 [23.4, 38.4] |                    |

## Sliding windows

| ns per update           | default experiment | sliding k2=5 |
|-------------------------|-------------------:|-------------:|
| numpy_rnn               |               5000 |        10000 |
| numpy_rnn, every update |              10000 |              |
| tutorial loop           |             150000 |              |
| JAX                     |                200 |              |
| bare calls              |               4167 |              |

## Ensembles

| ns per update and network | 1000 networks |
|---------------------------|--------------:|
| numpy_rnn                 |          40.0 |

## Character models

The model of min-char-rnn: H = 100, 65 characters, chunks of 25 steps with carried state, two biases, cross-entropy, gradients clipped by value at 5, Adagrad with rate 0.1. The text is random: each character is followed by one of 4.

| character model, float64 |  µs per update | row / numpy_rnn | seconds to compile |
|--------------------------|---------------:|-----------------|--------------------|
| numpy_rnn                | 300 [270, 375] |                 |                    |

## Gradient and update

| step                    |        numpy_rnn, ms | torch.nn.RNN / numpy_rnn |
|-------------------------|---------------------:|-------------------------:|
| H=64 B=8 T=50 float32   | 0.200 [0.180, 0.250] |                     10.0 |
| H=256 B=32 T=50 float32 |    8.00 [7.20, 10.0] |                    0.750 |

## Imports

| import    | ms of the process |
|-----------|------------------:|
| numpy     | 70.0 [63.0, 87.5] |
| numpy_rnn |   100 [90.0, 125] |

## Figures

![a caption](time.png)

""")  # noqa: E501


def test_documented_command_prints_the_report(tmp_path, capsys, monkeypatch):
    """`python -m benchmarks.report FILE`."""
    suite().dump(str(tmp_path / "times.json"))
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "times.json")])
    monkeypatch.delitem(sys.modules, "benchmarks.report")
    runpy.run_module("benchmarks.report", run_name="__main__")
    assert capsys.readouterr().out == report(suite())


def test_report_of_a_file(tmp_path, capsys):
    """The written report is the printed one with figures, and what is kept of the times gives the same report."""
    suite().dump(str(tmp_path / "times.json"))
    main([str(tmp_path / "times.json")])
    printed = capsys.readouterr().out
    main([str(tmp_path / "times.json"), "--output", str(tmp_path)])
    kept = pyperf.BenchmarkSuite.load(str(tmp_path / "results.json"))
    assert printed == report(suite()) == report(shortened(suite())) == report(kept)
    assert len((tmp_path / "results.json").read_text().splitlines()) > len(kept)
    assert "secret" not in (tmp_path / "results.json").read_text()
    assert (tmp_path / "README.md").read_text().startswith(printed.partition("## The rows")[0].rstrip())


def test_invalid_file_is_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "foreign.json").write_text("{}")
    for name in ("missing.json", "foreign.json"):
        with pytest.raises(SystemExit, match="2"):
            main([str(tmp_path / name)])
        assert capsys.readouterr().err.splitlines()[-1].startswith("python -m benchmarks.report: error: cannot read")


@pytest.mark.needs_matplotlib
def test_published_report_is_that_of_the_published_times():
    from benchmarks.charts import CAPTIONS

    folder = ROOT / "benchmarks"
    published = pyperf.BenchmarkSuite.load(str(folder / "results.json"))
    assert (folder / "README.md").read_text(encoding="utf-8") == report(published, CAPTIONS)
    assert summary(times_of(published)) in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.needs_matplotlib
def test_figures_show_the_times(tmp_path):
    from benchmarks import charts

    times = times_of(suite())
    assert [*charts.draw(times, tmp_path)] == ["ratios.png"] == [file.name for file in tmp_path.iterdir()]
    texts = [text.get_text() for panel in charts.draw_ratios(times).axes for text in panel.texts]
    assert texts == ["10.00", "0.75"]
    lines = {Key(STEP, point(H, 8).name, OURS): Estimate(H, H, H) for H in (6, 64)}
    (line,) = [line for panel in charts.draw_times(lines).axes for line in panel.lines]
    assert line.get_xydata().tolist() == [[6, 6], [64, 64]]
    assert charts.draw({}, tmp_path) == {}


# -- estimates -------------------------------------------------------------------------------------------------------


def test_times_are_medians_of_processes():
    assert times_of(suite((2.0, 1.0, 4.0)))[Key(STEP, HEAVY, OURS)] == Estimate(0.016, 0.008, 0.032)


def test_interval_of_a_ratio_follows_from_both():
    """MOVER: distances add like the sides of a right triangle, for a ratio those of the logarithms."""
    assert Estimate(10, 7, 13).minus(Estimate(4, 0, 8)) == (6, 1, 11)
    a, b = Estimate(8, 1, 64), Estimate(2, 2, 2)
    assert a.over(b) == pytest.approx((4, 0.5, 32))
    assert b.over(a) == pytest.approx((1 / 4, 1 / 32, 2))
    assert Estimate(2**4, 2.0, 2**7).over(Estimate(2**4, 1, 2**8)) == pytest.approx((1, 2**-5, 2**5))
    assert Estimate(1, 2, 3).times(2) == (2, 4, 6)


def test_numbers_have_three_digits():
    numbers = {0.0: "0.00", 0.01234: "0.0123", 0.99999: "1.00", 12.345: "12.3", 12345.6: "12346", -0.5: "-0.500"}
    assert {value: three_digits(value) for value in numbers} == numbers
    assert table(["name"], []) == []
