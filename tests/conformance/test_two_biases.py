"""Two trained hidden biases, as torch.nn.RNN has them: in windows, runs, traces and over the protocol."""

import numpy as np
import pytest
from hypothesis import Phase, settings
from step_port import sgd_step
from test_partial_ports import Partial
from window_port import PIECES

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.case import TWO_BIASES, TwoBiases, one_bias
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)
from numpy_rnn.conformance.recipes import random_recipe
from numpy_rnn.conformance.traces.drive import trace_of_port
from numpy_rnn.conformance.traces.judge import judge

FEW = settings(profile("default"), max_examples=15, derandomize=True, phases=[Phase.generate])
CHECKS = (check_port_local, check_port_global, check_port_lockstep)


class Both(Partial):
    """The layer of `Partial` with two biases. mistake: what it does not do to the second."""

    def __init__(self, mistake="", has=("intermediates", TWO_BIASES)):
        super().__init__(has=has)
        self.mistake = mistake

    def window_update(self, p, x, h_0, **options):
        assert ("b_hh" in p) == ("b_h" in p)
        if "b_h" not in p:
            return super().window_update(p, x, h_0, **options)
        b_hh = p.pop("b_hh")
        report = super().window_update(p | {"b_h": p["b_h"] + b_hh * (self.mistake != "added")}, x, h_0, **options)
        step = p["b_h"].dtype.type(options["learning_rate"]) * report["db_h"]
        moved = {"b_h": p["b_h"] - step, "b_hh": b_hh - step * (self.mistake != "trained")}
        return report | moved | {"db_hh": report["db_h"] * (self.mistake != "gradient")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_port_with_two_biases_is_right(dtype):
    for check in CHECKS:
        check(Both(), dtype, FEW)
    check_port_global(Both(has=(TWO_BIASES,)), dtype, FEW)


@pytest.mark.parametrize(("mistake", "tensor"), [("added", "a (F1)"), ("gradient", "db_hh (B7)"), ("trained", "b_hh")])
def test_mistake_in_the_second_bias_is_found(mistake, tensor):
    for check in CHECKS:
        with pytest.raises(BoundExceeded, match=None if check is check_port_global else tensor.partition(" ")[0]):
            check(Both(mistake), "float64", FEW)


def test_each_bias_has_its_own_step():
    """With clipping, weight decay and momentum: that of one bias, if the norm includes both gradients."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        recipe = random_recipe(generator, "float64", ("sgd_options",))._replace(bias=True, two_biases=True)
        case = recipe.case()
        assert isinstance(case.params, TwoBiases)
        right = PackagePort(numpy_rnn).window_update(
            one_bias(case.params)._asdict(), case.x, case.target, case.h_0,
            learning_rate=0.0, nonlinearity=case.nonlinearity, reduction=case.reduction,
        )  # fmt: skip
        gradients = {name: right["d" + name] for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y")}
        gradients["b_hh"] = gradients["b_h"]
        report = {"loss": right["loss"], **{"d" + name: gradient for name, gradient in gradients.items()}}
        ratios = check_global(case, report | sgd_step(PIECES, case, gradients))
        assert {"db_hh", "b_hh"} <= ratios.keys()
        assert all(ratio.max() <= 1 for ratio in ratios.values())


def test_run_starts_with_a_second_bias_of_zero():
    configuration = Configuration(k1=5, k2=5, epochs=2, hidden_size=4, dtype="float64", bias=True)
    trace = trace_of_port(Both(), prepare(configuration), configuration)
    assert not trace["initial_b_hh"].any()
    assert judge(trace).passed
    assert not judge(trace | {"b_hh": trace["b_hh"] + 1e-9}).passed
