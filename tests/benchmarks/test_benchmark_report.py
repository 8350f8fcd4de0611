"""The report: a snapshot of made-up times, and estimates by hand-computed values."""

import runpy
import sys

import pyperf
import pytest
from children import ROOT
from inline_snapshot import snapshot

from benchmarks.estimates import Estimate, times_of
from benchmarks.report import main, report, shortened, summary, table, three_digits, with_summary
from benchmarks.tasks import (
    CALLS,
    CHARACTERS,
    EVERY,
    IMPORT,
    JAX,
    MODULES,
    OURS,
    RUN,
    STEP,
    TUTORIAL,
    Key,
)
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


def suite(factors=(0.95, 1.0, 1.06)):
    """A process for each factor; the values of a process have a median of that."""
    benchmarks = []
    for key, seconds in SECONDS.items():
        metadata = {
            **MACHINE,
            "name": key.to_text(),
            "kernels": "openblas Haswell",
            "unit": "second",
            "loops": 1,
        }
        if key.row == JAX:
            metadata |= {"compile_seconds": 0.5, "kernels": "openblas Haswell, XLA"}
        runs = [
            pyperf.Run(
                [seconds * factor * of_value for of_value in (0.5, 1.0, 3.0)],
                metadata=metadata
                | {"load_avg_1min": factor, "load_of_others": 0.31 if key.row == JAX else 0.3},
                collect_metadata=False,
            )
            for factor in factors
        ]
        benchmarks.append(pyperf.Benchmark(runs))
    return pyperf.BenchmarkSuite(benchmarks)


def test_report():
    text = report(suite())
    assert text[text.index("- CPU") : text.index("## The rows")] == snapshot("""\
- CPU: a processor, 2 cores
- System: a system, Python 3.11
- Packages: numpy 2
- Kernels: openblas Haswell; openblas Haswell, XLA
- Threads: 1
- Load average of 1 minute: 0.95 to 1.06
- Processes of a benchmark: 3
- Commit: abc
- Disturbed times: 1 of 14

A time is the median of several processes, with the fastest and the slowest process in brackets: an interval that
contains the true median with more than 95 % confidence if there are six. Ratios are those of medians, with an
interval that follows from those of the two times. A row is timed on a case only if half of the digits of its results,
at least, are those of the reference in float64. `bare calls` are the fewest NumPy calls that the equations need, and
`bare GEMMs` the matrix products alone, each in the fastest of all layouts: a lower bound on the time of training that
consists of them. `bare calls` compute all losses. They leave out checks, the setup of memory, and the copies that an
Update holds, which a program for one case could leave out too; and the copies of transposed weights and of inputs into
place, which it could not. `forward` of numpy_rnn returns new arrays, whose memory the system clears in every call if
they are large; with glibc, MALLOC_TRIM_THRESHOLD_=100000000 and MALLOC_MMAP_THRESHOLD_=33554432 in the environment of
a process keep it.
A question mark is at times that were disturbed: other programs used more than 0.3 CPUs, or the interval is wider
than ±10 %.

## The default experiment

| default experiment      |         µs per update |          row / numpy_rnn | seconds to compile |
|-------------------------|----------------------:|-------------------------:|-------------------:|
| JAX                     | 0.200? [0.190, 0.212] | 0.0400? [0.0370, 0.0432] |                0.5 |
| bare calls              |     4.17 [3.96, 4.42] |     0.833 [0.771, 0.901] |                    |
| numpy_rnn               |     5.00 [4.75, 5.30] |                          |                    |
| numpy_rnn, every update |     10.0 [9.50, 10.6] |        2.00 [1.85, 2.16] |                    |
| tutorial loop           |        150 [142, 159] |        30.0 [27.8, 32.4] |                    |

## Sliding windows

| ns per update           | default experiment | sliding k2=5 |
|-------------------------|-------------------:|-------------:|
| numpy_rnn               |               5000 |        10000 |
| numpy_rnn, every update |              10000 |              |
| tutorial loop           |             150000 |              |
| JAX                     |               200? |              |
| bare calls              |               4167 |              |

## Ensembles

| ns per update and network | 1000 networks |
|---------------------------|--------------:|
| numpy_rnn                 |          40.0 |

## Character models

The model of min-char-rnn: H = 100, 65 characters, chunks of 25 steps with carried state, two biases, cross-entropy, gradients clipped by value at 5, Adagrad with rate 0.1. The text is random: each character is followed by one of 4.

| character model, float64 |  µs per update | row / numpy_rnn | seconds to compile |
|--------------------------|---------------:|-----------------|--------------------|
| numpy_rnn                | 300 [285, 318] |                 |                    |

## Gradient and update

| step                    |        numpy_rnn, ms | torch.nn.RNN / numpy_rnn |
|-------------------------|---------------------:|-------------------------:|
| H=64 B=8 T=50 float32   | 0.200 [0.190, 0.212] |                     10.0 |
| H=256 B=32 T=50 float32 |    8.00 [7.60, 8.48] |                    0.750 |

## Imports

| import    | ms of the process |
|-----------|------------------:|
| numpy     | 70.0 [66.5, 74.2] |
| numpy_rnn |   100 [95.0, 106] |

""")


def test_documented_command_prints_the_report(tmp_path, capsys, monkeypatch):
    """`python -m benchmarks.report FILE`."""
    suite().dump(str(tmp_path / "times.json"))
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "times.json")])
    monkeypatch.delitem(sys.modules, "benchmarks.report")
    runpy.run_module("benchmarks.report", run_name="__main__")
    assert capsys.readouterr().out == report(suite())


def test_report_of_a_file(tmp_path, capsys):
    """The written report is the printed one, and what is kept of the times gives the same report."""
    suite().dump(str(tmp_path / "times.json"))
    main([str(tmp_path / "times.json")])
    printed = capsys.readouterr().out
    main([str(tmp_path / "times.json"), "--output", str(tmp_path)])
    kept = pyperf.BenchmarkSuite.load(str(tmp_path / "results.json"))
    assert printed == report(suite()) == report(shortened(suite())) == report(kept)
    assert len((tmp_path / "results.json").read_text().splitlines()) > len(kept)
    assert "secret" not in (tmp_path / "results.json").read_text()
    assert (tmp_path / "README.md").read_text() == printed


def test_invalid_file_is_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "foreign.json").write_text("{}")
    for name in ("missing.json", "foreign.json"):
        with pytest.raises(SystemExit, match="2"):
            main([str(tmp_path / name)])
        assert (
            capsys.readouterr()
            .err.splitlines()[-1]
            .startswith("python -m benchmarks.report: error: cannot read")
        )


def test_published_report_is_that_of_the_published_times():
    folder = ROOT / "benchmarks"
    published = pyperf.BenchmarkSuite.load(str(folder / "results.json"))
    assert (folder / "README.md").read_text(encoding="utf-8") == report(published)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert summary(times_of(published)) in readme
    assert with_summary(readme.replace("| numpy_rnn, µs |", "| old |"), published) == readme


# -- estimates -------------------------------------------------------------------------------------------------------


def test_times_are_medians_of_processes():
    assert times_of(suite((2.0, 1.0, 4.0)))[Key(STEP, HEAVY, OURS)] == Estimate(
        0.016, 0.008, 0.032, True
    )


@pytest.mark.parametrize(
    ("factors", "wide"), [((0.91, 1, 1.09), False), ((0.89, 1, 1), True), ((1, 1, 1.11), True)]
)
def test_wide_interval_or_load_is_a_disturbance(factors, wide):
    for key, time in times_of(suite(factors)).items():
        assert time.is_disturbed == (wide or key.row == JAX), key


def test_interval_of_a_ratio_follows_from_both():
    """MOVER: distances add like the sides of a right triangle, for a ratio those of the logarithms."""
    a, b = Estimate(8, 1, 64), Estimate(2, 2, 2)
    assert a.over(b) == (4, *map(pytest.approx, (0.5, 32)), False)
    assert b.over(a) == (1 / 4, *map(pytest.approx, (1 / 32, 2)), False)
    assert Estimate(2**4, 2.0, 2**7).over(Estimate(2**4, 1, 2**8)) == (
        1,
        *map(pytest.approx, (2**-5, 2**5)),
        False,
    )
    assert Estimate(1, 2, 3).times(2) == (2, 4, 6, False)


def test_numbers_have_three_digits():
    numbers = {
        0.0: "0.00",
        0.01234: "0.0123",
        0.99999: "1.00",
        12.345: "12.3",
        12345.6: "12346",
        -0.5: "-0.500",
    }
    assert {value: three_digits(value) for value in numbers} == numbers
    assert table(["name"], []) == []
