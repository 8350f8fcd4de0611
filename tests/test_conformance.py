"""Both backends held to the equivalence suite, and against each other; and the cases are such that a fault shows."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import numpy_rnn
from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.experiment import prepare
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, truncation_signal
from numpy_rnn.conformance.cases import DTYPES, random_recipe, random_run
from numpy_rnn.conformance.comparison.comparing import compare, package_source
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.faults import PortFault
from numpy_rnn.conformance.properties import Exceeded, Tally, hold_global, hold_local, hold_lockstep
from numpy_rnn.conformance.strategies import PROFILES, profile, recipes

PROFILE = settings(profile("default"), derandomize=settings().derandomize, max_examples=settings().max_examples)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hold", [hold_local, hold_global, hold_lockstep], ids=["L1", "L2", "L3"])
def test_backend_is_within_its_bounds(rnn, hold, dtype):
    tally = Tally()
    hold(PackagePort(rnn), dtype, PROFILE, tally=tally)
    (level,) = tally.worst
    assert len(tally.worst[level][dtype]) >= 17
    assert all(entry["ratio"] <= 1 for entry in tally.worst[level][dtype].values())


@pytest.mark.needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_backends_are_within_twice_the_bound_of_each_other(dtype):
    ports = [PackagePort(importlib.import_module(name)) for name in ("numpy_rnn", "torch_rnn")]

    @PROFILE
    @given(recipes(dtype))
    def holds(recipe):
        case = recipe.case()
        arrays = case.params._asdict(), case.x, case.target, case.h_0
        one, other = (port.window_update(*arrays, learning_rate=case.learning_rate, **case.options) for port in ports)
        for name, ratio in check_global(case, one, other=other, bounds=global_bounds(case)).items():
            assert (ratio <= 1).all(), f"{recipe}: {name} {ratio.max()}"

    holds()


def test_most_cases_show_the_truncated_part():
    """Of the windows with several steps, the recurrent part of dW_hh stands 10 bounds out in nine of ten at least."""
    generator = np.random.default_rng(2)
    made = (random_recipe(generator) for _ in range(400))
    signals = [truncation_signal(recipe.case()) for recipe in made if recipe.T > 1]
    assert np.mean(np.array(signals) > 1) > 0.9


def test_cases_are_of_every_kind():
    generator = np.random.default_rng(2)
    made = [random_recipe(generator) for _ in range(400)]
    for name, kinds in (
        ("dtype", 2),
        ("nonlinearity", 2),
        ("reduction", 2),
        ("bias", 2),
        ("zeros", 2),
        ("T", 8),
        ("B", 8),
    ):
        assert len({getattr(recipe, name) for recipe in made}) == kinds
    assert np.mean([len(set(recipe[:5])) == 5 for recipe in made]) > 0.4  # T, B, D, H and O all different
    assert any(recipe.H == recipe.O for recipe in made)
    assert any(recipe.K < recipe.T for recipe in made)
    schedules = [random_run(generator)[1] for _ in range(100)]
    assert {(c.k1 == 1, c.k1 == c.k2) for c in schedules} == {(a, b) for a in (True, False) for b in (True, False)}


def test_recipes_make_the_same_case_again():
    recipe = random_recipe(np.random.default_rng(4))
    one, other = recipe.case(), recipe.case()
    for a, b in zip((*one.params, *one[1:4]), (*other.params, *other[1:4])):
        assert (a is None and b is None) or np.array_equal(a, b)


def test_what_a_port_lacks_is_not_asked():
    @PROFILE
    @given(recipes("float64", ("relu", "mean", "bias")))
    def holds(recipe):
        assert (recipe.nonlinearity, recipe.reduction, recipe.bias) == ("tanh", "sum", False)

    holds()
    for seed in range(30):
        experiment, configuration = random_run(np.random.default_rng(seed), lacks=("tanh", "sum", "bias"))
        assert (configuration.nonlinearity, configuration.reduction) == ("relu", "mean")
        assert experiment.params.b_h is None


def test_profiles():
    assert list(PROFILES) == ["default", "ci", "long"]
    assert profile("ci").derandomize
    assert not profile("default").derandomize
    assert profile("long").max_examples > 10 * profile("default").max_examples
    with pytest.raises(KeyError):
        profile("short")


class Broken(PackagePort):
    """numpy_rnn with its report changed on the way."""

    def __init__(self, change):
        super().__init__(numpy_rnn)
        self.change = change

    def window_update(self, *arrays, **options):
        report = super().window_update(*arrays, **options)
        self.change(report)
        return report


def scaled(name):
    def change(report):
        report[name] = report[name] * report[name].dtype.type(1.01) + report[name].dtype.type(1e-3)

    return change


@pytest.mark.parametrize("hold", [hold_local, hold_global, hold_lockstep], ids=["L1", "L2", "L3"])
@pytest.mark.parametrize("name", ["loss", "dW_xh", "dW_hh", "dW_hy", "W_hh"])
def test_a_report_that_is_one_percent_off_is_seen_at_every_level(hold, name):
    with pytest.raises(Exceeded, match=name):
        hold(Broken(scaled(name)), "float32", PROFILE)


@pytest.mark.parametrize("hold", [hold_local, hold_global, hold_lockstep], ids=["L1", "L2", "L3"])
def test_a_report_without_a_name_is_seen_at_every_level(hold):
    with pytest.raises(PortFault, match="dW_hy is missing"):
        hold(Broken(lambda report: report.pop("dW_hy")), "float32", PROFILE)


# -- a fault planted in a copy of torch_rnn ---------------------------------------------------------------------------

TORCH_FAULTS = {
    "a": ("elman", "states[-1] @ W_hh", "states[-1] @ W_hh.mT"),
    "h": ("elman", "tanh=torch.tanh", "tanh=torch.sin"),
    "y": ("elman", "y = h[1:] @ W_hy", "y = h[:-1] @ W_hy"),
    "loss": ("loss", "0.5 * (error * error)", "0.25 * (error * error)"),
    "dW_xh": ("bptt", "autograd.grad(loss, present, torch.ones_like(loss)", "autograd.grad(loss, present, 1.5 * loss"),
    "W_xh": ("sgd", "theta - learning_rate", "theta - 0.99 * learning_rate"),
    "entering": ("train", "entering = states[start - first]", "entering = h_0"),
    "window": ("train", "windows(len(x), k1, k2), start=1", "windows(len(x), k1, k2 + 1), start=1"),
    "dh": ("bptt", "torch.stack(flow[: len(h)])", "2 * torch.stack(flow[: len(h)])"),
}


@pytest.mark.needs_torch
@pytest.mark.parametrize("tensor", TORCH_FAULTS)
def test_a_fault_in_a_copy_of_torch_rnn_is_named(tensor, tmp_path, monkeypatch):
    import torch_rnn

    module, right, wrong = TORCH_FAULTS[tensor]
    name = f"torch_copy_{tensor}"
    (tmp_path / name).mkdir()
    for file in Path(torch_rnn.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8").replace("torch_rnn", name)
        if file.stem == module:
            assert text.count(right) == 1
            text = text.replace(right, wrong)
        (tmp_path / name / file.name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    configuration = Configuration(epochs=2, k1=2, k2=3, dtype="float64")
    found = compare(
        package_source(numpy_rnn), package_source(importlib.import_module(name)), prepare(configuration), configuration
    )
    assert found.sides[0].judgement.passed
    assert found.sides[1].judgement.first.tensor == tensor
    for loaded in [loaded for loaded in sys.modules if loaded.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
