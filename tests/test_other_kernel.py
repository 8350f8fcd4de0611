"""The simulated kernel reaches every product of the packages."""

import sys
from pathlib import Path

import pytest
from children import run

SCRIPT = """
import sys
import numpy as np
from cases import random_case
from comparing import bits
from other_kernel import simulate
import numpy_rnn
from numpy_rnn import engine, reference
from numpy_rnn.engine import layout

case = random_case(1, 6, 3, 20, 20, 20)
many = random_case(1, 6, 3, 20, 20, 20, E=(7,))
options = dict(k1=2, k2=3, learning_rate=1e-3, epochs=1, record=True)
RUNS = dict(
    engine=lambda: engine.train(*case.for_train(engine), **options),
    group=lambda: engine.train(*many.for_train(engine), **options),
    plain=lambda: reference.train(*case.for_train(reference), **options),
)
if sys.argv[1] == "torch":
    import torch_rnn
    RUNS["torch"] = lambda: torch_rnn.train(*case.for_train(torch_rnn), **options)

def found():
    layout.MAX_GROUPED = 10**9
    first = {name: next(run()) for name, run in RUNS.items()}
    layout.MIN_COLUMNS = layout.MIN_COLUMN_STEPS = layout.MIN_COLUMN_BATCH = 1
    first["columns"] = next(RUNS["engine"]())
    layout.MIN_COLUMNS = 256
    parts = {}
    for name, update in first.items():
        for of in (update.activations, update.adjoints, update.gradients):
            parts |= {(name, f): v for f, v in zip(of._fields, of) if v is not None and f not in ("x", "dy")}
    return {key: bits(value) for key, value in parts.items()}

before, again = found(), found()
assert before == again
simulate(1, sys.argv[1] == "torch")
after = found()
print(sorted(key for key in before if before[key] == after[key]))
print(len(before))
"""


@pytest.mark.slow
@pytest.mark.no_perturb
@pytest.mark.parametrize("torch", ["none", pytest.param("torch", marks=pytest.mark.needs_torch)])
def test_every_product_is_perturbed(torch):
    """Sums alone, db_h and db_y, are not products; all else that a window computes has other bits."""
    folder = str(Path(__file__).parent)
    ended = run([sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{SCRIPT}", torch])
    assert ended.returncode == 0, ended.stderr
    same, count = ended.stdout.splitlines()[-2:]
    assert int(count) >= 4 * 12
    assert same == "[]"
