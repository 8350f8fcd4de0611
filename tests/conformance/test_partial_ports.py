"""Ports that implement less than a window and its step, or two hidden biases; public RNNs, most of which are such.

Each is given what it has, and its numbers are checked, in windows and in runs.
"""

import pkgutil

import numpy as np
import pytest
from port_cases import FEW, LEVELS, RIGHT
from public_rnns.adapter import NO_SGD, OF_CLASSES
from step_port import sgd_step
from window_port import PIECES

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance import properties
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.case import TWO_BIASES, TwoBiases, one_bias
from numpy_rnn.conformance.ports.port import load_python_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, GIVEN_DY, OF_SGD
from numpy_rnn.conformance.properties import BoundExceeded, WorstRatios, check_port_global, check_port_local
from numpy_rnn.conformance.recipes import random_recipe, restricted
from numpy_rnn.conformance.traces.drive import trace_of_port
from numpy_rnn.conformance.traces.judge import judge


class Partial:
    """A layer written by hand, with tanh. It refuses to be asked for what it lacks."""

    dtypes, tanh_ulps, back = ("float32", "float64"), None, "T"
    phi = staticmethod(np.tanh)

    def __init__(self, *lacks, has=("intermediates",)):
        self.name, self.lacks, self.capabilities = "a layer", ("relu", "mean", *lacks), has

    def window_update(self, p, x, h_0, target=None, dy=None, learning_rate=None, **options):
        assert (dy is None) == (GIVEN_DY not in self.capabilities) == (target is not None)
        assert (learning_rate is None) == ("step" in self.lacks)
        assert ("reduction" in options) == (dy is None)
        assert "h_0" not in self.lacks or not h_0.any()
        assert "sgd_options" in self.capabilities or "velocity" not in options
        assert "h_0" not in p
        assert "bias" not in self.lacks or "b_h" not in p
        assert ("b_hh" in p) == ("b_h" in p and TWO_BIASES in self.capabilities)
        for option in set(OF_SGD) & set(self.lacks):
            assert options.get(option) in (None, 0, False)
        a, h = [], [h_0]
        for x_t in x:
            a.append(x_t @ p["W_xh"] + p.get("b_h", 0) + h[-1] @ p["W_hh"] + p.get("b_hh", 0))
            h.append(self.phi(a[-1]))
        a, h = np.stack(a), np.stack(h)
        y = h[1:] @ p["W_hy"] + p.get("b_y", 0)
        report = {"a": a, "h": h[1:], "y": y}
        if dy is None:
            K = len(target)
            assert "older steps" not in self.lacks or len(x) == K
            dy = np.concatenate((0 * y[: len(x) - K], y[len(x) - K :] - target))
            report |= {"dy": dy, "loss": (dy * dy).sum() / 2}
        dh, da = np.zeros_like(a), np.zeros_like(a)
        W_back = p["W_hh"].T if self.back == "T" else p["W_hh"]
        for t in reversed(range(len(x))):
            dh[t] = dy[t] @ p["W_hy"].T + (da[t + 1] @ W_back if t + 1 < len(x) else 0)
            da[t] = dh[t] * (1 - h[t + 1] ** 2)
        report |= {"dh": dh, "da": da}
        pairs = {"W_xh": (x, da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
        gradients = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        sums = {"b_h": da.sum((0, 1)), "b_hh": da.sum((0, 1)), "b_y": dy.sum((0, 1))}
        gradients |= {name: sums[name] for name in sums if name in p}
        report |= {"d" + name: gradient for name, gradient in gradients.items()}
        if learning_rate is None:
            return report
        assert not {"momentum", "velocity"} & set(options) or options["momentum"] == 0
        decay, factor = options.get("weight_decay", 0), 1
        if options.get("max_norm"):
            norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
            factor = min(1, options["max_norm"] / (norm + x.dtype.type(1e-6)))
        rate, decay, factor = (x.dtype.type(number) for number in (learning_rate, decay, factor))
        return report | {name: p[name] - rate * (factor * g + decay * p[name]) for name, g in gradients.items()}


class Untransposed(Partial):
    back = ""


PORTS = {
    "dy": ((), (GIVEN_DY,)),
    "dy and intermediates": ((), (GIVEN_DY, "intermediates")),
    "no step": (("step",), ()),
    "dy, no step, zero h_0": (("step", "h_0", "bias"), (GIVEN_DY,)),
    "zero h_0": (("h_0",), ("intermediates",)),
    "no older steps": (("older steps",), ("intermediates",)),
    "weight decay": (("momentum", "max_norm"), ("sgd_options",)),
    "max_norm": (("momentum", "weight_decay"), ("sgd_options", "intermediates")),
    "two biases": ((), (TWO_BIASES,)),
    "two biases and intermediates": ((), (TWO_BIASES, "intermediates")),
}


@pytest.mark.parametrize("number", range(len(PORTS)), ids=PORTS)
def test_partial_port_is_given_what_it_has_and_passes_unless_it_is_wrong(number):
    """In both dtypes by turns, and wrong at all levels by turns: what a port is given does not depend on these."""
    lacks, has = list(PORTS.values())[number]
    dtype = Partial.dtypes[number % 2]
    levels = LEVELS[1 - ("intermediates" in has) :]
    worst = WorstRatios()
    for check in levels:
        check(Partial(*lacks, has=has), dtype, FEW, worst=worst)
    names = set(worst.worst["L2"][dtype])
    assert ("loss" in names) == (GIVEN_DY not in has)
    assert ("W_hh" in names) == ("step" not in lacks)
    assert {"dW_xh", "dW_hh", "dW_hy"} <= names
    with pytest.raises(BoundExceeded):
        levels[number % len(levels)](Untransposed(*lacks, has=has), dtype, FEW)


PLAIN_LOSS = ("sum", "squared_error", False)
RESTRICTED = {  # what a port lacks, what it has, and what then is so in every recipe
    "no mean of a given dy": ((), (GIVEN_DY,), lambda r: (r.reduction, r.loss, r.weights) == PLAIN_LOSS),
    "older steps": (("older steps",), (), lambda r: r.K == r.T),
    "many losses and batch": (("many losses", "batch"), (), lambda r: (r.K, r.B) == (1, 1)),
    "step": (("step",), (), lambda r: r.sgd == SgdOptions() and not r.has_step),
    "h_0": (("h_0",), (), lambda r: r.no_h_0 and not r.case().h_0.any()),
    "momentum": (("momentum",), (), lambda r: not (r.momentum or r.dampening or r.nesterov)),
    "squared_error": (("squared_error", "distributions"), (), lambda r: r.loss == "cross_entropy" and r.classes),
    "large outputs": (("large outputs", "vector_inputs"), (), lambda r: r.logits == 1 and r.class_inputs),
}


@pytest.mark.parametrize(("lacks", "has", "holds"), RESTRICTED.values(), ids=RESTRICTED)
def test_a_recipe_is_restricted_to_what_a_port_has(lacks, has, holds):
    generator = np.random.default_rng(0)
    made = [random_recipe(generator, has=CAPABILITIES) for _ in range(60)]
    assert not all(map(holds, made))
    assert all(holds(restricted(recipe, lacks, has)) for recipe in made)


def test_run_of_partial_port_is_judged():
    """numpy_rnn computes the loss and the step that the port does not have."""
    configuration = Configuration(k1=5, k2=5, epochs=1, hidden_size=4, dtype="float64")
    experiment = prepare(configuration)
    for port, right in ((Partial("step", has=(GIVEN_DY,)), True), (Untransposed("step", has=(GIVEN_DY,)), False)):
        judgement = judge(trace_of_port(port, experiment, configuration))
        assert judgement.passed == right
        assert {"loss", "dW_hh", "W_hh"} <= set(judgement.worst)
    generator = np.random.default_rng(0)
    target = generator.integers(0, 3, experiment.target.shape[:2])
    params = experiment.params._replace(W_hy=generator.normal(size=(4, 3)))
    of_classes = experiment._replace(target=target, params=params, weights=generator.uniform(0, 2, target.shape))
    cross_entropy = configuration.changed(loss="cross_entropy", reduction="mean")
    for port, right in ((Partial(has=(GIVEN_DY,)), True), (Untransposed(has=(GIVEN_DY,)), False)):
        port.lacks = ("relu",)  # the port has no reduction
        assert judge(trace_of_port(port, of_classes, cross_entropy)).passed == right
    for lacking, changes in {
        "h_0": {},
        "older steps": {"k2": 7},
        "momentum": {"momentum": 0.5},
        "dampening": {"momentum": 0.5, "dampening": 0.5},
        "nesterov": {"momentum": 0.5, "nesterov": True},
        "weight_decay": {"weight_decay": 0.1},
        "max_norm": {"max_norm": 1.0},
    }.items():
        with pytest.raises(InputError, match=f"a layer lacks '{lacking}': choose a run without it"):
            trace_of_port(Partial(lacking, has=("sgd_options",)), experiment, configuration.changed(**changes))


class FromExponential(Partial):
    """tanh as (1 − e)/(1 + e), whose absolute error is small and whose relative error is not, where |a| is small."""

    def __init__(self, absolute_ulps, error=0.0, has=("intermediates",)):
        super().__init__(has=has)
        self.tanh_absolute_ulps, self.error = absolute_ulps, error

    def phi(self, a):
        e = np.exp(-2 * np.abs(a))
        return np.sign(a) * ((1 - e) / (1 + e)) + a.dtype.type(self.error)


def test_absolute_error_of_tanh_can_be_declared():
    """Then it is allowed, and a larger one is not."""
    for check in LEVELS:
        check(FromExponential(4.0), "float32", FEW)
    check_port_global(FromExponential(4.0, has=()), "float64", FEW)
    for port in (FromExponential(None), FromExponential(4.0, error=100 * np.finfo("float32").eps)):
        with pytest.raises(BoundExceeded, match="h \\(F2\\)"):
            check_port_local(port, "float32", FEW)


# -- two hidden biases -----------------------------------------------------------------------------------------------


class WrongBias(Partial):
    """A second bias that is not added, has no gradient or is not trained."""

    def __init__(self, mistake):
        super().__init__(has=("intermediates", TWO_BIASES))
        self.mistake = mistake

    def window_update(self, p, x, h_0, **options):
        if "b_hh" not in p:
            return super().window_update(p, x, h_0, **options)
        given = p | {"b_hh": 0 * p["b_hh"]} if self.mistake == "added" else p
        report = super().window_update(given, x, h_0, **options)
        wrong = {"gradient": {"db_hh": 0 * report["db_hh"]}, "trained": {"b_hh": p["b_hh"]}}
        return report | wrong.get(self.mistake, {})


@pytest.mark.parametrize(("mistake", "tensor"), [("added", "a"), ("gradient", "db_hh"), ("trained", "b_hh")])
def test_mistake_in_the_second_bias_is_found(mistake, tensor):
    for check in LEVELS:
        with pytest.raises(BoundExceeded, match=None if check is check_port_global else tensor):
            check(WrongBias(mistake), "float64", FEW)


def test_each_bias_has_its_own_step():
    """With clipping, weight decay and momentum: that of one bias, if the norm includes both gradients."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        recipe = random_recipe(generator, "float64", ("sgd_options",))._replace(bias=True, two_biases=True)
        case = recipe.case()
        assert isinstance(case.params, TwoBiases)
        options = {"learning_rate": 0.0, "nonlinearity": case.nonlinearity, "reduction": case.reduction}
        right = RIGHT.window_update(one_bias(case.params)._asdict(), case.x, case.target, case.h_0, **options)
        gradients = {name: right["d" + name] for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y")}
        gradients["b_hh"] = gradients["b_h"]
        report = {"loss": right["loss"], **{"d" + name: gradient for name, gradient in gradients.items()}}
        ratios = check_global(case, report | sgd_step(PIECES, case, gradients))
        assert {"db_hh", "b_hh"} <= ratios.keys()
        assert all(ratio.max() <= 1 for ratio in ratios.values())


def test_run_starts_with_a_second_bias_of_zero():
    configuration = Configuration(k1=5, k2=5, epochs=2, hidden_size=4, dtype="float64", bias=True)
    experiment = prepare(configuration)
    experiment = experiment._replace(params=experiment.params._replace(b_h=np.ones(4)))
    trace = trace_of_port(Partial(has=("intermediates", TWO_BIASES)), experiment, configuration)
    assert not trace["initial_b_hh"].any()
    assert judge(trace).passed
    assert not judge(trace | {"b_hh": trace["b_hh"] + 1e-9}).passed


# -- public RNNs that people wrote by hand, each with its own loss and network ----------------------------------------

GRADIENTS = ("given_dy", "input_gradients")
UNTRANSPOSED = "W_hh used without its transpose, or W_hh and W_hh in dh_0 used without transposes"
# A port, what is changed in it, where it is refused at its lowest level unless it is right, and the hint.
VERDICTS: list[tuple[str, dict[str, object], str, str]] = [
    ("language_models:MinCharRnn", {}, "", ""),
    ("layers:Cs231n", {}, "", ""),
    ("with_torch:HipsRnn", {}, "loss (L1, L2)", "output read from h_{t-1}, and its gradient"),
    ("with_torch:HipsRnn", {"early": False}, "", ""),
    ("with_torch:D2l", {}, "W_xh (U2, U3, U1)", "clipping without 10⁻⁶"),
    ("with_torch:D2l", {"lacks": ("relu", "sum", "older steps", "max_norm", *NO_SGD, *OF_CLASSES)}, "", ""),
    ("language_models:Vzhou842", {}, "dW_xh (B4)", UNTRANSPOSED),
    ("language_models:Vzhou842", {"transpose": True}, "", ""),
    ("language_models:DeepLearningFromScratch2", {}, "", ""),
    ("other_languages:FasterRnnlm", {}, "", ""),
    ("other_languages:FasterRnnlm", {"divides": True}, "dW_xh (B4)", ""),
    ("other_languages:Darknet", {}, "h (F2)", ""),  # another cell
    ("other_languages:RnnRust", {}, "", ""),
    ("layers:NumpyMl", {}, "", ""),
    ("layers:Roelants", {}, "", ""),
    ("with_torch:WordLanguageModel", {}, "", ""),  # with one layer; two are checked layer by layer
    ("layers:MlFromScratch", {}, "", ""),  # a band of 5 + 1 steps
    ("layers:MlFromScratch", {"truncation": "band:5"}, "dW_xh (B4)", "truncation band:6"),
    ("layers:MlFromScratch", {"capabilities": GRADIENTS}, "dx (B10)", "dx from its own step only"),
    ("language_models:DennyBritz", {}, "", ""),  # a band of 4 + 1 steps
    ("language_models:DennyBritz", {"truncation": ""}, "dW_xh (B4)", "truncation band:5"),
    ("language_models:Gy910210", {}, "loss (L1, L2)", "mean of the losses, gradient of their sum"),
    ("language_models:Gy910210", {"of_sum": True}, "", ""),
    ("other_languages:DeepLearning4J", {}, "dW_hh (B5)", ""),
    ("other_languages:DeepLearning4J", {"with_first": True}, "", ""),  # the backward pass over 3 steps only
    ("layers:Iamtrask", {}, "", ""),
    ("layers:Iamtrask", {"copied": True}, "dW_hh (B5)", "h_t for h_{t-1} in dW_hh"),
    ("layers:Coursera", {}, "", ""),
    ("layers:Coursera", {"copied": True}, "dh_0 (B9)", "h_0 for h_{t-1} at every step"),
    ("other_languages:BrainJs", {}, "loss (L1, L2)", "logarithm to base 2, but its gradient not"),
    ("other_languages:BrainJs", {"in_bits": False}, "", ""),
]
ROWS = [
    pytest.param(*row, id=",".join((row[0], *row[1])), marks=[pytest.mark.needs_torch] * ("torch" in row[0]))
    for row in VERDICTS
]


@pytest.mark.parametrize(("name", "changes", "refused_at", "hint"), ROWS)
def test_verdict_on_public_rnn(name, changes, refused_at, hint, monkeypatch):
    monkeypatch.setattr(properties, "runs_for", lambda windows: 3)
    assert load_python_port(f"public_rnns.{name}").dtypes  # what it states of itself is consistent
    port = pkgutil.resolve_name(f"public_rnns.{name}")(**changes)
    checks = LEVELS["intermediates" not in port.capabilities :]
    if not refused_at:
        for check in checks:
            check(port, port.dtypes[-1], FEW)
        return
    with pytest.raises(BoundExceeded) as error:
        checks[0](port, port.dtypes[-1], FEW)
    message = str(error.value).partition("; the largest error")[0]
    assert f": {refused_at} at [" in message
    assert message.partition("; looks like: ")[2] == hint
