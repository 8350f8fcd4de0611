"""Traces: the errors in their format, and training loops by hand that record one.

The loops are TBPTT and the truncations of public code, right and wrong; each is judged.
"""

import json

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.__main__ import main
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.trace import BY_STEP
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.mutants.hints import hints
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_recipe, random_run
from numpy_rnn.conformance.traces.drive import is_bounded, trace_of
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.trace_format import read_trace, start_of, trace_errors
from numpy_rnn.conformance.traces.trace_writer import Trace
from numpy_rnn.conformance.truncations import (
    gradients_of,
    trace_with_truncation,
    truncated_window,
    truncation_of,
    with_truncation,
)
from numpy_rnn.elman import NONLINEARITIES, unroll


def errors(right, **changes):
    """The errors in a trace with these arrays; None: without them."""
    return trace_errors({name: array for name, array in (right | changes).items() if array is not None})


def changed(array, index, value):
    """The array with another element."""
    other = np.array(array)
    other[index] = value
    return other


PLAIN_RUN = Configuration(k1=2, k2=5, epochs=2, bias=True, dtype="float64", hidden_size=4)
FULL_RUN = PLAIN_RUN.changed(momentum=0.9, nesterov=True, weight_decay=0.01, learn_initial_state=True)
PLAIN, FULL = (trace_of(numpy_rnn, prepare(run), run) for run in (PLAIN_RUN, FULL_RUN))
NOT_ARRAYS = (np.array(1.0), np.array("text"), np.array(["a", "b"]), np.zeros((0, 1, 1)))
FAULTS = [
    *((PLAIN, {name: None}, f"{name} is missing") for name in ("x", "a", "dW_hh", "dh_0")),
    *((FULL, {name: None}, f"{name} is missing") for name in ("vW_xh", "vb_h", "vh_0", "h_0", "dh_0", "initial_h_0")),
    (PLAIN, {"configuration": np.bytes_(b"no")}, "configuration is not JSON text"),
    (PLAIN, {"configuration": np.bytes_(b"[" * 100_000)}, "configuration is not JSON text"),
    (PLAIN, {"configuration": np.bytes_(b'["k1"]')}, "configuration is not a JSON object: expected"),
    (PLAIN, {"configuration": np.bytes_(b"{}")}, "configuration has no k1"),
    *(
        (PLAIN, {name: array}, f"{name} has shape {array.shape}: expected ")
        for name in ("initial_W_xh", "initial_W_hh", "initial_W_hy", "x", "target", "initial_h_0")
        for array in NOT_ARRAYS
    ),
    *(
        (PLAIN, {name: changed(PLAIN[name], 1, value)}, f"{name}[1] is {value}: expected 1 to 20, one per update")
        for name in ("epoch", "number")
        for value in (-1, 0, 21)
    ),
    (PLAIN, {"h": PLAIN["h"][:-1]}, "h has shape ("),
    (FULL, {"h_0": FULL["h_0"][:-1]}, "h_0 has shape (19, 1, 4): expected (20, 1, 4)"),
    (PLAIN, {"y": PLAIN["y"].astype("f")}, "y is float32: expected float32 or float64, the same everywhere"),
    (PLAIN, {"da": changed(PLAIN["da"], (4, 0, 1), np.nan)}, "da[4, 0, 1] is nan: expected a finite number"),
    (FULL, {"vh_0": FULL["vh_0"] * np.nan}, "vh_0[0, 0, 0] is nan: expected a finite number"),
    (PLAIN, {"epoch": PLAIN["epoch"].astype(float)}, "epoch is float64 of shape (20,): expected (N,) integers"),
    (PLAIN, {"start": PLAIN["start"] + 50}, "a window has no steps, or reaches beyond the series"),
    (PLAIN, {"loss_start": PLAIN["stop"]}, "a window has no step with a loss"),
    (PLAIN, {"target": PLAIN["target"][:-1]}, "x (20, 1, 1) and target (19, 1, 1) do not fit"),
    (PLAIN, {"x": PLAIN["x"][:, 0, 0]}, "x has shape (20,): expected two axes or more"),
    *(
        (PLAIN, {"weights": weights}, f"weights has shape {weights.shape}: expected (20, 1), numbers of 0 or more")
        for weights in (np.full((20, 1), -1.0), np.ones((19, 1)))
    ),
    (PLAIN, {"vW_xh": PLAIN["dW_xh"]}, "vW_xh is present, but the configuration excludes it"),
    *(
        (
            PLAIN,
            {"x": changed(np.zeros((20, 1), int), 3, index)},
            "x holds a class below 0 or above 0: expected classes",
        )
        for index in (-1, 1)
    ),
]
NO_RUN = "the configuration is not one of a run: "
SETTINGS = [
    ({"learn_initial_state": False}, "h_0 is present, but the configuration excludes it"),
    ({"momentum": 0.0, "nesterov": False}, "vW_xh is present, but the configuration excludes it"),
    ({"momentum": -1.0}, NO_RUN + "momentum is -1.0: expected a finite number"),
    ({"max_norm": "1"}, NO_RUN + "max_norm is '1': expected a number"),
    ({"k1": 2.0}, NO_RUN + "k1 is 2.0: expected a whole number, 1000000000 at most"),
    ({"epochs": 10**30}, NO_RUN + "epochs is 10000"),
    ({"nonlinearity": []}, NO_RUN + "nonlinearity is []: expected a text"),
    ({"nesterov": {}}, NO_RUN + "nesterov is {}: expected true or false"),
    ({"learning_rate": [["a"]]}, NO_RUN + "the learning rates are not numbers"),
    ({"k2": 1}, NO_RUN + "k2 is 1 and k1 is 2: expected k2 ≥ k1"),
    ({"nonlinearity": "gelu"}, NO_RUN + "nonlinearity is 'gelu'"),
    ({"learning_rate": [0.1, 0.2]}, NO_RUN + "learning rates of shape (2,) do not"),
    *(({"learning_rate": rate}, f"{NO_RUN}the learning rate is {rate}") for rate in (np.nan, np.inf, -0.1)),
    *(
        ({"truncation": name}, f"{NO_RUN}unknown truncation '{name}': expected band:k, back:k or stale")
        for name in ("band:0", "back:", "band:x", "stale:2", "chunks")
    ),
]
KNOWN = json.loads(FULL["configuration"].tobytes())
FAULTS += [(FULL, {"configuration": np.bytes_(json.dumps(KNOWN | changes))}, message) for changes, message in SETTINGS]
BLACK_BOX = dict.fromkeys(BY_STEP)
STALE = with_truncation(FULL, truncation_of("stale"))
FAULTS.append((STALE, BLACK_BOX, "truncation 'stale' needs the states of every window: expected a, h, y, dy, dh, da"))


@pytest.mark.parametrize(("right", "changes", "message"), FAULTS, ids=[message[:60] for *_, message in FAULTS])
def test_an_error_is_named(right, changes, message):
    first, *_ = errors(right, **changes)
    assert first.startswith(message)


def test_what_is_not_required_may_be_missing():
    for right in (PLAIN, FULL):
        assert errors(right) == errors(right, dx=None) == errors(right, **BLACK_BOX) == []
    assert errors(PLAIN, dx=None, dh_0=None) == []


# -- loops by hand ---------------------------------------------------------------------------------------------------

T, B, D, H, O, RATE = 12, 2, 3, 4, 3, 0.05
SCHEDULES = {"": (3, 3), "stale": (2, 5)}
PHI = {"tanh": np.tanh, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}
SLOPE = {"tanh": lambda h: 1 - h * h, "sigmoid": lambda h: h * (1 - h)}


def loop(path, truncation="", dtype="float64", phi="tanh", mistake="", classes=False, resets=True, intermediates=True):
    """A run of two epochs as a trace, by TBPTT or "stale". mistake: what is wrong in it.

    resets: the second epoch starts from zero, and not from the last state.
    """
    k1, k2 = SCHEDULES[truncation]
    normal = np.random.default_rng(0).normal
    x, target = normal(size=(T, B, D)).astype(dtype), normal(size=(T, B, O)).astype(dtype)
    options = {"k1": k1, "k2": k2, "learning_rate": RATE, "epochs": 2, "nonlinearity": phi}
    series = (x, target)
    if classes:
        series = x.argmax(-1), target.argmax(-1)
        x, target = (np.eye(3, dtype=dtype)[array] for array in series)
        options["loss"] = "cross_entropy"
    sizes = {"W_xh": (D, H), "W_hh": (H, H), "W_hy": (H, O)}
    p = {name: normal(size=size).astype(dtype) for name, size in sizes.items()}
    zero = np.zeros((B, H), dtype)
    trace = Trace(p, *series, zero, truncation=truncation, resets=resets, **options)
    kept = {T - 1: (zero, zero)}  # a and h of every step
    for epoch in (1, 2):
        kept[-1] = (zero, zero) if resets or mistake == "the state is forgotten" else kept[T - 1]
        for new in range(0, T - k1 * (mistake == "the last window is left out"), k1):
            stop = min(new + k1, T)
            start = max(0, stop - k2)
            again = start if truncation != "stale" or mistake == "computes older states again" else new
            for t in range(again, stop):
                a_t = x[t] @ p["W_xh"] + kept[t - 1][1] @ p["W_hh"]
                kept[t] = a_t, PHI[phi](a_t)
            a, h = (np.stack([kept[t][i] for t in range(start, stop)]) for i in (0, 1))
            before = np.stack([kept[t - 1][1] for t in range(start, stop)])
            y, slope, K = h @ p["W_hy"], SLOPE[phi](h), stop - new
            dy, dh, da = map(np.zeros_like, (y, h, h))
            dy[-K:] = y[-K:] - target[new:stop]
            loss = (dy * dy).sum() / 2
            if classes:
                e = np.exp(y[-K:] - y[-K:].max(-1, keepdims=True))
                softmax = e / e.sum(-1, keepdims=True)
                dy[-K:], loss = softmax - target[new:stop], -np.log((softmax * target[new:stop]).sum(-1)).sum()
            for t in reversed(range(len(dy))):
                dh[t] = dy[t] @ p["W_hy"].T + (da[t + 1] @ p["W_hh"].T if t + 1 < len(dy) else 0)
                da[t] = dh[t] * slope[t]
            lost = int(mistake == "the first step left out of dW_hh")
            pairs = {"W_xh": (x[start:stop], da), "W_hh": (before[lost:], da[lost:]), "W_hy": (h, dy)}
            scale = 0.5 if mistake == "half the gradient" else 1
            d = {name: scale * np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
            for name, theta in p.items():
                theta -= theta.dtype.type(RATE) * d[name]  # in place
            report = {"a": a, "h": h, "y": y, "dy": dy, "dh": dh, "da": da} if intermediates else {}
            report |= {"loss": np.asarray(loss, dtype)} | {"d" + name: gradient for name, gradient in d.items()}
            trace.update(epoch, (start, new, stop), before[0], **report, **p)
    trace.save(str(path))
    return read_trace(str(path))


@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("intermediates", [True, False])
def test_right_loop_is_judged_right(tmp_path, resets, intermediates):
    judgement = judge(loop(tmp_path / "run.npz", "", resets=resets, intermediates=intermediates))
    assert judgement.passed, judgement.first
    assert judgement.updates == 2 * T / 3


def loop_of_the_package(truncation, name):
    """A run under one truncation that says that it is under the other. Public RNNs have such loops by hand."""
    run = PLAIN_RUN.changed(k1=6, k2=6)
    return with_truncation(trace_with_truncation(prepare(run), run, truncation_of(truncation)), truncation_of(name))


@pytest.mark.parametrize(("truncation", "options"), [
    ("band:3", {}),
    ("back:2", {}),
    ("stale", {"dtype": "float32"}),
    ("stale", {"phi": "sigmoid", "classes": True}),  # Mikolov's rnnlm, with one class of words and bptt − 1 = 5
])  # fmt: skip
def test_loop_is_right_under_its_name_and_wrong_under_another(tmp_path, truncation, options):
    by_hand = truncation == "stale"
    trace = loop(tmp_path / "run.npz", "stale", **options) if by_hand else loop_of_the_package(truncation, truncation)
    for by_oracle in (False, True):
        judgement = judge(trace, by_oracle=by_oracle)
        assert judgement.passed, judgement.first
    plain = with_truncation(trace, None)
    first = judge(plain).first
    assert first is not None
    assert first.tensor == ("a" if by_hand else "dh")
    assert hints(plain, first, *start_of(plain), reference) == [f"truncation {truncation}"]


@pytest.mark.parametrize(("truncation", "mistake", "place", "looks_like"), [
    ("", "half the gradient", ("dW_xh", "B4", 1, 1), []),
    ("", "the first step left out of dW_hh", ("dW_hh", "B5", 1, 2), ["initial state left out of dW_hh"]),
    ("", "the state is forgotten", ("initial", "T3", 1, 1 + T // 3), []),  # of one epoch that goes on
    ("", "the last window is left out", ("window", "T1, T2", 1, T // 3), []),
    ("stale", "computes older states again", ("a", "F1, R3", 1, 2), ["TBPTT(k1, k2)"]),
    ("band:3", "band:1", ("dh", "R1", 1, 1), ["truncation band:1"]),
    ("back:3", "back:4", ("dh", "R2", 1, 1), ["truncation back:4"]),
])  # fmt: skip
def test_wrong_loop_is_named_at_its_first_fault(tmp_path, truncation, mistake, place, looks_like):
    if ":" in truncation:
        trace = loop_of_the_package(mistake, truncation)
    else:
        trace = loop(tmp_path / "run.npz", truncation, mistake=mistake, resets=mistake != "the state is forgotten")
    first = judge(trace).first
    assert (first.tensor, first.equation, first.epoch, first.number) == place
    assert hints(trace, first, *start_of(trace), reference) == looks_like


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_and_runs_of_the_plain_loop_are_within_the_bounds(dtype):
    """Over random sizes, losses, nonlinearities and steps, with the intermediate values and without."""
    generator = np.random.default_rng(1)
    has = [name for name in CAPABILITIES if name not in ("learned_h_0", "class_inputs")]
    for _ in range(12):
        truncation = f"{generator.choice(['band', 'back'])}:{generator.integers(1, 8)}"
        recipe = random_recipe(generator, dtype, has)._replace(truncation=truncation, has_step=False)
        case = recipe.case()
        activations = unroll(case.params, case.x, case.h_0, NONLINEARITIES[case.nonlinearity])
        loss, flow = truncated_window(case, activations)
        report = {"loss": loss, "a": activations.a, "h": activations.h[1:], "y": activations.y, **flow._asdict()}
        report |= gradients_of(case)
        for ratios in (check_local(case, report), check_global(case, report)):
            assert all(ratio.max(initial=0) <= 1 for ratio in ratios.values()), recipe
        if case.truncation.first_step(len(case.x)):  # dh of a step that is not reached is 0 exactly, (R2)
            assert np.isinf(check_local(case, report | {"dh": flow.dh + 0.5})["dh"][0]).all()
        run = random_run(generator, dtype, 8, has=has)
        if is_bounded(*run):
            name = str(generator.choice(["band:2", "back:1", "stale"]))
            for by_oracle in (False, True):
                judgement = judge(trace_with_truncation(*run, truncation_of(name)), by_oracle=by_oracle)
                assert judgement.passed, (name, judgement.first)


def test_compare_takes_the_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    loop("run.npz", "stale")
    assert main(["compare", "run.npz", "--no-plot"]) == 0
    printed = capsys.readouterr().out
    assert "numpy_rnn and run.npz agree" in printed
    assert "\ntruncation: stale\n" in printed
    assert "drift" not in printed  # the references of the drift are runs of TBPTT(k1, k2)
    assert main(["compare", "run.npz", "--truncation", "band:2", "--no-plot"]) == 1
    assert "looks like: truncation stale" in capsys.readouterr().out
    for other, name, message in (
        ("run.npz", "band", "unknown truncation 'band': expected band:k, back:k or stale"),
        ("numpy_rnn.reference", "band:2", "numpy_rnn.reference trains by TBPTT(k1, k2): expected a port or a trace"),
    ):
        assert main(["compare", other, "--truncation", name]) == 2
        assert message in capsys.readouterr().err


def test_what_cannot_be_recorded_is_one_line():
    arrays = {"W_xh": np.ones((1, 2)), "W_hh": np.ones((2, 2)), "W_hy": np.ones((2, 1))}
    series = np.ones((4, 1, 1)), np.ones((4, 1, 1)), np.zeros((1, 2))
    settings = {"k1": 2, "k2": 2, "learning_rate": 0.1, "epochs": 1}
    for change, message in (
        ({"k2": 1}, "k2 is 1 and k1 is 2: expected k2 ≥ k1"),
        ({"resets": False, "k2": 4}, "expected k2 = k1, and T a multiple of k1"),
        ({"resets": False, "k1": 3, "k2": 3}, "expected k2 = k1, and T a multiple of k1"),
    ):
        with pytest.raises(InputError, match=message):
            Trace(arrays, *series, **settings | change)
    with pytest.raises(InputError, match="a parameter is called 'W': expected W_xh, W_hh, W_hy"):
        Trace({"W": np.ones(1)}, *series, **settings)
    trace = Trace(arrays, *series, **settings)
    for values, message in (
        ({"dW": 0}, "'dW' is not a name of a trace: expected loss, a, h"),
        ({"a": 0}, "h is missing: expected all of a, h, y, dy, dh, da, or none of them"),
    ):
        with pytest.raises(InputError, match=message):
            trace.update(1, (0, 0, 2), series[2], **values)
    with pytest.raises(InputError, match="no update is recorded"):
        trace.save("run.npz")
