"""Gradients that are pasted into the lesson are judged, and their mistakes named."""

import re

import numpy as np
import pytest

from numpy_rnn import Parameters
from tests.helpers.lesson import code_of, gradient_of_parts, printed

pytestmark = pytest.mark.slow

TERMS = 3 * 2 * 5  # of the mean of T B O squared errors


def gradients_of(tiny, dtype):
    """Return the gradients of the tiny network by name, computed in a precision."""
    x, target, start = (v.astype(dtype) for v in (tiny.x, tiny.target, tiny.h_0))
    rounded = Parameters(*(theta.astype(dtype) for theta in tiny.params))
    sums = gradient_of_parts(rounded, x, target, start, [slice(0, 3)])
    return {name: total / np.asarray(TERMS, dtype) for name, total in sums.items()}


def reported(gradients):
    """Return what the page's own `report` prints."""
    report = code_of("paste-report").rpartition("\nreport")[0]
    arguments = {f"d{name}": gradient for name, gradient in gradients.items()}
    return printed(f"{report}\nreport(**arguments)", arguments=arguments)


@pytest.mark.needs_torch
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_reports_are_judged_by_their_format(dtype, tiny, compute):
    import torch

    gradients = gradients_of(tiny, dtype)
    tensors = {name: torch.tensor(v) for name, v in gradients.items()}
    factor = np.asarray(1 + 16 * np.finfo(dtype).eps, dtype)
    off = {"W_hh": gradients["W_hh"] * factor}
    texts = [reported(arrays) for arrays in (gradients, tensors, off)]
    of_arrays, of_tensors, of_wrong = compute("pastes", texts)
    right = [f"d{name}: right, to the precision of {dtype}." for name in gradients]
    assert of_arrays == of_tensors == right
    assert of_wrong[0].startswith("dW_hh: wrong, the largest difference is")


def as_scalars(gradient):
    return [[np.float64(v) for v in row] for row in np.atleast_2d(gradient)]


PRINTS = {
    "an array": lambda name, v: f"d{name} = {v!r}",
    "a shape": lambda name, v: f"# d{name} torch.Size({[*v.shape]})\n{v}",
    "lists": lambda name, v: f"d{name} = {v.tolist()}",
    "NumPy's scalars": lambda name, v: f"d{name} = {as_scalars(v)}",
}


def test_printed_gradients_are_judged_by_their_digits(tiny, compute):
    exact = gradients_of(tiny, "float64")
    rounded = gradients_of(tiny, "float32")
    cases = [(form, exact, "right, to the ") for form in PRINTS.values()]
    cases.append((PRINTS["an array"], rounded, "right, to the precision of float32"))
    cases.append((PRINTS["lists"], rounded, "right if it is computed in float32"))
    texts = []
    for form, gradients, _ in cases:
        texts.append("\n".join(form(name, v) for name, v in gradients.items()))
    for (*_, words), messages in zip(cases, compute("pastes", texts), strict=True):
        assert len(messages) == 5
        assert all(words in message for message in messages)


def test_wrong_digits_are_seen(tiny, compute):
    """A difference of two units of a last digit is seen, or of 13 % of an element."""
    W_hh, texts = gradients_of(tiny, "float64")["W_hh"], []
    for decimals in (3, 4, 5, 6):
        off = W_hh.round(decimals)
        off[1, 2] += 2 * 10.0**-decimals
        with np.printoptions(precision=decimals, floatmode="fixed", suppress=True):
            texts.append(f"dW_hh {off!r}")
    off = W_hh.copy()
    off.flat[abs(off).argmin()] *= 1.13
    texts += [f"dW_hh = {off.round(4)!r}", reported({"W_hh": off})]
    for first, *_ in compute("pastes", texts):
        assert re.match("dW_hh: wrong, the largest difference", first)


UNREADABLE = """\
dW_hh
     [,1] [,2]
[1,] 0.1 0.2
[2,] 0.3 0.4
---
[1] 0.1 0.2 0.3 0.4
---
dW_hh[0] = 0.1 0.2
---
dW_hh
[0.1 0.2]
[0.3 0.4]
---
dW_hh =

   0.1234   -0.2345
   0.3   0.4
---
dW_hh = [[0.1, 0.2 ... 0.3]]
---
dW_hh = [0.1 0.2; 0.3 0.4]
---
1.0e-03 *
 0.1 0.2
---
{"name": "b_h\"
---
[[0.1, 0.2]]
---
dW_hh = [[0.1, 0.2]]
---
dW_hh"""


def test_texts_without_whole_arrays_are_not_read(compute):
    for messages in compute("pastes", UNREADABLE.split("\n---\n")):
        assert len(messages) == 1
        assert messages[0].startswith("Not read: ")


def test_causes_of_wrong_gradients_are_named(tiny, compute):
    W_hh = gradients_of(tiny, "float32")["W_hh"]
    cases = {
        reported({"W_hh": W_hh.T}): "it is transposed; of PyTorch's, report the .T",
        reported({"b_h": np.zeros(4)}): "all numbers are 0: print .grad",
        f"db_h = {np.zeros(4)}": "all numbers are 0: print .grad",
    }
    for messages, words in zip(compute("pastes", [*cases]), cases.values()):
        assert words in messages[-1]
