"""The page of the lesson, its code and scripts, and the numbers of numpy_rnn."""

import contextlib
import io
import re
from html import unescape
from pathlib import Path

import numpy as np

import numpy_rnn
from numpy_rnn.backward import compute_adjoints, compute_gradients
from numpy_rnn.common.records import Objective
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import present
from numpy_rnn.elman import compute_activations

LESSON = Path(numpy_rnn.__file__).parent / "study" / "lesson"
PAGE = (LESSON / "lesson.html").read_text(encoding="utf-8")
SCRIPTS = [LESSON / name for name in re.findall(r'src="(.*?)">', PAGE)]
CHECKS = Path(__file__).parents[1] / "study" / "lesson_checks.js"


def code_of(identifier):
    """Return the code on the page with this id."""
    return unescape(re.search(rf'id="{identifier}">(.*?)</code>', PAGE, re.DOTALL)[1])


def printed(code, **names):
    """Run a program as a user does, and return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        exec(code, {"__name__": "__main__", **names})
    return text.getvalue()


def assert_near(found, expected, rtol=1e-11):
    """Fail unless the largest difference is rtol of the largest number.

    A script and NumPy add up some hundred terms in another order.
    """
    scale = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol, rtol * scale)


def gradient_of_parts(params, x, target, h_0, parts):
    """Return the gradient of ½Σ(y − target)² that goes back within each part alone.

    parts: slices of steps.
    """
    h = compute_activations(params, x, h_0, "tanh").h
    gradients = []
    for part in parts:
        activations = compute_activations(params, x[part], h[part.start], "tanh")
        adjoints = compute_adjoints(params, activations, target[part], Objective())
        gradients.append(compute_gradients(params, activations, adjoints))
    return present(tree_map(lambda *terms: sum(terms), *gradients))
