"""The verdict of the suite on public RNNs that people wrote by hand, each with its own loss and network."""

import pkgutil

import pytest
from port_cases import FEW, LEVELS
from public_rnns.adapter import NO_SGD, OF_CLASSES

from numpy_rnn.conformance import properties
from numpy_rnn.conformance.ports.port import load_python_port
from numpy_rnn.conformance.properties import BoundExceeded

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
