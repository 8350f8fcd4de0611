"""The simulated kernel reaches every product of the packages."""

import pytest
from cases import random_case
from comparing import bits
from engine_sizes import with_sizes
from other_kernel import simulate

SIZES = {  # of the engine, which multiplies in other places with each
    "as they are": {},
    "groups": {"MAX_GROUPED": 10**9},
    "columns": {"MIN_COLUMNS": 1, "MIN_COLUMN_STEPS": 1, "MIN_COLUMN_BATCH": 1},
}


def parts(rnn, monkeypatch):
    """The bits of every array that is a product, or follows from one: by the run, and the name of the array."""
    one, many = (random_case(1, 6, 3, 20, 20, 20, dtype="float32", E=E) for E in ((), (7,)))
    found = {}
    for of_sizes, sizes in SIZES.items():
        for case in (one, many):
            with monkeypatch.context() as patch:
                with_sizes(patch, sizes)
                run = rnn.train(*case.for_train(rnn), k1=2, k2=3, learning_rate=1e-3, epochs=1, record=True)
                update = next(run)
            for of in (update.activations, update.adjoints, update.gradients):
                arrays = {name: v for name, v in of._asdict().items() if v is not None and name not in ("x", "dy")}
                found |= {(of_sizes, case is one, name): bits(v) for name, v in arrays.items()}
    return found


@pytest.mark.no_perturb
@pytest.mark.with_reference
def test_every_product_is_perturbed(rnn, monkeypatch):
    """Sums alone, db_h and db_y, are not products; all else that a window computes has other bits."""
    before = parts(rnn, monkeypatch)
    end = simulate(1, rnn.__name__ == "torch_rnn")
    try:
        after = parts(rnn, monkeypatch)
    finally:
        end()
    assert parts(rnn, monkeypatch) == before
    assert len(before) >= 6 * 12
    assert [key for key in before if before[key] == after[key]] == []
