"""The verdict of the suite on public RNNs that people wrote by hand, each with its own loss and network."""

import importlib
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, settings
from public_rnns.adapter import NO_SGD, OF_CLASSES

from numpy_rnn.conformance import properties
from numpy_rnn.conformance.ports.port import load_python_port
from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)

FEW = settings(profile("ci"), max_examples=10, phases=[Phase.generate])


class Row(NamedTuple):
    """A port, what is changed in it, and the verdict: right, or the tensor where it is refused, and the hint."""

    port: str
    changes: dict[str, Any]
    refused_at: str = ""  # of the lowest level that can be checked
    hint: str = ""
    torch: bool = False


GRADIENTS = ("given_dy", "input_gradients")
UNTRANSPOSED = "W_hh used without its transpose, or W_hh and W_hh in dh_0 used without transposes"
VERDICTS = (
    Row("min_char_rnn:MinCharRnn", {}),
    Row("cs231n:Cs231n", {}),
    Row("hips_rnn:HipsRnn", {}, "loss (L1, L2)", "output read from h_{t-1}, and its gradient", torch=True),
    Row("hips_rnn:HipsRnn", {"early": False}, torch=True),
    Row("d2l:D2l", {}, "W_xh (U2, U3, U1)", "clipping without 10⁻⁶", torch=True),
    Row("d2l:D2l", {"lacks": ("relu", "sum", "older steps", "max_norm", *NO_SGD, *OF_CLASSES)}, torch=True),
    Row("vzhou842:Vzhou842", {}, "dW_xh (B4)", UNTRANSPOSED),
    Row("vzhou842:Vzhou842", {"transpose": True}),
    Row("deep_learning_from_scratch_2:DeepLearningFromScratch2", {}),
    Row("faster_rnnlm:FasterRnnlm", {}),
    Row("faster_rnnlm:FasterRnnlm", {"divides": True}, "dW_xh (B4)"),
    Row("darknet:Darknet", {}, "h (F2)"),  # another cell
    Row("rnn_rust:RnnRust", {}),
    Row("numpy_ml:NumpyMl", {}),
    Row("roelants:Roelants", {}),
    Row("word_language_model:WordLanguageModel", {}, torch=True),  # with one layer; two are checked layer by layer
    Row("ml_from_scratch:MlFromScratch", {}),  # a band of 5 + 1 steps
    Row("ml_from_scratch:MlFromScratch", {"truncation": "band:5"}, "dW_xh (B4)", "truncation band:6"),
    Row("ml_from_scratch:MlFromScratch", {"capabilities": GRADIENTS}, "dx (B10)", "dx from its own step only"),
    Row("dennybritz:DennyBritz", {}),  # a band of 4 + 1 steps
    Row("dennybritz:DennyBritz", {"truncation": ""}, "dW_xh (B4)", "truncation band:5"),
    Row("gy910210:Gy910210", {}, "loss (L1, L2)", "mean of the losses, gradient of their sum"),
    Row("gy910210:Gy910210", {"of_sum": True}),
    Row("deeplearning4j:DeepLearning4J", {}, "dW_hh (B5)"),
    Row("deeplearning4j:DeepLearning4J", {"with_first": True}),  # the backward pass over 3 steps only
    Row("iamtrask:Iamtrask", {}),
    Row("iamtrask:Iamtrask", {"copied": True}, "dW_hh (B5)", "h_t for h_{t-1} in dW_hh"),
    Row("coursera:Coursera", {}),
    Row("coursera:Coursera", {"copied": True}, "dh_0 (B9)", "h_0 for h_{t-1} at every step"),
    Row("brain_js:BrainJs", {}, "loss (L1, L2)", "logarithm to base 2, but its gradient not"),
    Row("brain_js:BrainJs", {"in_bits": False}),
)


def parameter(row):
    name = ",".join((row.port.partition(":")[0], *row.changes))
    return pytest.param(row, id=name, marks=[pytest.mark.needs_torch] if row.torch else [])


@pytest.mark.parametrize("row", [parameter(row) for row in VERDICTS])
def test_verdict_on_public_rnn(row, monkeypatch):
    monkeypatch.setattr(properties, "runs_for", lambda windows: 3)
    assert load_python_port(f"public_rnns.{row.port}").dtypes  # what it states of itself is consistent
    module, _, name = row.port.partition(":")
    port = getattr(importlib.import_module(f"public_rnns.{module}"), name)(**row.changes)
    checks = (check_port_local, check_port_global, check_port_lockstep)["intermediates" not in port.capabilities :]
    if not row.refused_at:
        for check in checks:
            check(port, port.dtypes[-1], FEW)
        return
    with pytest.raises(BoundExceeded) as error:
        checks[0](port, port.dtypes[-1], FEW)
    message = str(error.value).partition("; the largest error")[0]
    assert f": {row.refused_at} at [" in message
    assert message.partition("; looks like: ")[2] == row.hint
