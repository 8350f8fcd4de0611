"""The command `compare`: right implementations agree, wrong ones are named in the first
line.
"""

from unittest.mock import Mock

import numpy as np
import pytest
from comparing import fewer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from in_process import command, configured
from inline_snapshot import snapshot

import numpy_rnn
from numpy_rnn.app.compare import Side, TraceFile, epoch_losses, report
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import Trainer
from numpy_rnn.conformance.definition import Definition, train
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.judge import Judgement
from numpy_rnn.conformance.runs import PortSource, record
from numpy_rnn.conformance.trace import trace_arrays

SIZES = [
    0.0,
    5e-324,
    1e-300,
    1e-45,
    1e-40,
    1e-30,
    1e-22,
    1e-19,
    1e-8,
    1.0,
]  # squares underflow
PORTS = """
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.port import PackagePort

class right:
    name, dtypes, capabilities = "my RNN", ("float32",), ()
    def window_update(self, p, **given):
        report = PackagePort(numpy_rnn).window_update(p, **given)
        known = {"loss", *p, *("d" + n for n in p)}
        return {n: v for n, v in report.items() if n in known}

class wrong(right):
    def window_update(self, p, learning_rate, **given):
        report = super().window_update(p, learning_rate=learning_rate, **given)
        report |= {"d" + n: 2 * report["d" + n] for n in p}
        rate = np.float32(learning_rate)
        return report | {n: p[n] - rate * report["d" + n] for n in p}

class failing(right):
    def window_update(self, p, **given):
        raise ValueError("no window today")
"""


@pytest.fixture
def compare(capsys, tmp_path, monkeypatch):
    """Runs `compare` in a folder with ports and traces: its status, lines,
    and errors.
    """
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_ports.py").write_text(PORTS)

    def run(words, *more):
        ended = command(
            numpy_rnn, capsys, "compare", *words.split(), *more, "--no-plot"
        )
        return ended.status, ended.out.splitlines(), ended.err

    return run


def recorded(words, of=None):
    """The run of these options by the definition, or one with other equations."""
    configuration = configured(words)
    run = prepare(configuration).run(configuration.run_options())
    return record(run, train(run, of=of or Definition()))


@pytest.mark.needs_torch
def test_packages_agree(compare):
    """Both columns, an ensemble, and a short header."""
    options = "--epochs 2 --k1 3 --k2 7 --seeds 2 --momentum 0.5 --max-norm 0.05"
    status, lines, _ = compare(f"torch_rnn {options}")
    assert status == 0, lines
    assert lines[1].startswith("numpy_rnn and torch_rnn agree: ")
    assert ["tensor", "equation", "numpy_rnn", "torch_rnn"] in [
        line.split() for line in lines
    ]


@pytest.mark.parametrize(
    "options", ["--max-norm 1e300", "--dtype float64 --bias --adagrad"]
)
@example(rows=[1.0, 0.3, -1.0, 0.3, 0.3], size=1.0)
@settings(fewer(12, 4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.3]), min_size=3, max_size=12),
    size=st.sampled_from(SIZES),
)
def test_right_implementation_agrees_on_series_of_any_size(
    compare, rows, size, options
):
    """Also where all losses are exactly 0, or their last digits are those of subnormal
    numbers.
    """
    np.savetxt("s.csv", np.array(rows) * size)
    status, lines, _ = compare(f"numpy_rnn.reference --data s.csv --epochs 3 {options}")
    assert (status, lines[1][:40]) == (0, "numpy_rnn and numpy_rnn.reference agree:")


def test_port_is_shown_alone(compare):
    status, lines, _ = compare("made_ports:right --epochs 2 --k2 3")
    assert status == 0
    assert lines[1].startswith(
        "my RNN agrees with the definition: every update is within "
    )
    assert ["tensor", "equation", "my", "RNN"] in [line.split() for line in lines]


def test_fault_comes_first_and_once(compare):
    status, lines, _ = compare("made_ports:wrong --epochs 2 --k2 3")
    assert status == 1
    assert lines[1].startswith("WRONG dW_xh (B4): ")
    assert "× 2" in lines[1]
    assert lines[2].startswith("  epoch 1, update 1: dW_xh[0, 0] is ")
    assert sum("WRONG" in line for line in lines) == 1
    status, lines, error = compare("made_ports:failing --epochs 1")
    assert (status, error) == (1, "")
    assert lines[-1].startswith(
        "FAILED my RNN raises ValueError: no window today (made_ports.py"
    )


def test_trace_is_judged_with_its_own_options(compare):
    """A wrong one has its mutant; a short one is incomplete; options are refused."""
    mistake = Definition(
        state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])
    )
    right, wrong = (recorded("--k1 3 --k2 5 --epochs 2", of) for of in (None, mistake))
    for name, run in {"right": right, "wrong": wrong, "short": right.first(9)}.items():
        np.savez(f"{name}.npz", **trace_arrays(run))
    assert compare("right.npz")[0] == 0
    status, lines, _ = compare("wrong.npz")
    assert (status, lines[1]) == (1, "WRONG dh (B2): dh_next dropped")
    status, lines, _ = compare("short.npz")
    assert (status, lines[1]) == (1, "WRONG window (T1, T2)")
    assert "epoch 2, update 3: the number of updates is 9, expected 14" in lines[2]
    for words in (
        "right.npz --k1 5",
        "right.npz wrong.npz",
        "made_ports:right --seeds 2",
        "p.py",
    ):
        status, lines, error = compare(words)
        assert (status, lines, error.count("\n")) == (2, [], 1)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_losses_are_those_that_train_prints(reduction):
    """If a trace ends early, those of whole epochs."""
    options = (
        f"--k1 3 --k2 5 --epochs 2 --seeds 2 --dtype float64 --reduction {reduction}"
    )
    trainer = Trainer(numpy_rnn, prepare(configured(options)), configured(options))
    assert len(list(trainer)) == 14
    for found, last in ((recorded(options), 2), (recorded(options).first(13), 1)):
        np.testing.assert_allclose(
            epoch_losses(found), trainer.losses[:last], rtol=1e-9
        )


def test_updates_before_an_overflow_are_judged(compare):
    status, lines, _ = compare(
        "numpy_rnn.reference --nonlinearity relu --learning-rate 1e15"
    )
    assert (status, "; it overflows after" in lines[2]) == (0, True)


def test_report():
    """One side is wrong, the other one is lost and declares its tanh."""
    run, losses = recorded("--epochs 1").run, np.array([4.0, 2.0])
    worst = {"window": 0.0, "h": 0.25, "dW_hh": 0.5, "W_hh": 2.5e8}
    first = Finding(2, 3, "W_hh", None, (0, 1), 0.5, 0.25, 1e-9, 2.5e8, "U1")
    found = Judgement(12, worst, first, {}, {}, (), ())
    lost = found._replace(first=None, worst=worst | {"W_hh": 0.9}, estimated={"h": 3})
    lost = lost._replace(calmed=("W_hh",), unjudged=("dh", "dW_hh"))
    port = Mock(tanh_ulps=9, tanh_absolute_ulps=2)
    port.name = "other"
    sides = (
        Side(
            TraceFile("one", recorded("--epochs 1")),
            found,
            losses,
            run.params,
            hint="2e for e",
        ),
        Side(PortSource(port), lost, 30 ** losses[::-1], run.params),
    )
    assert [line[:80] for line in report(sides, run).splitlines()] == snapshot(
        [
            "WRONG W_hh (U1) of one: 2e for e",
            (
                "  epoch 2, update 3: W_hh[0, 1] is 0.5, expected 0.25; the "
                "difference is 2.5e+08"
            ),
            "  no intermediate values are reported: it may be an earlier stage",
            (
                "NOT JUDGED dW_hh of other: rounding alone changes them too much in "
                "float32; choo"
            ),
            "one: loss 4.000000 in epoch 1, 2.000000 in epoch 2",
            (
                "other: loss 900.000000 in epoch 1, 810000.000000 in epoch 2; it "
                "diverges: choose"
            ),
            "",
            "largest difference / rounding bound of 12 updates",
            "tensor  equation        one       other",
            "window  T1, T2        exact           -",
            "h       F2            0.250     0.250 ~",
            "dW_hh   B5            0.500  not judged",
            "W_hh    U1        2.5e+08 !       0.900",
            (
                "other: rounding alone changes W_hh too much to be judged; checked "
                "in windows wit"
            ),
            "other: not judged, as they are lost to rounding: dh",
            "other declares a tanh error of 9 ulps and 2 ulps of 1: not a strict pass",
        ]
    )
