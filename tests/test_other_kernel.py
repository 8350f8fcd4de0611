"""The simulated kernel reaches every product of the packages."""

import pytest
from cases import random_case
from comparing import bits
from engine_sizes import with_sizes
from other_kernel import simulate

# Sizes of the engine, which multiplies in other places with each.
SIZES: tuple[dict[str, int], ...] = (
    {},
    {"MAX_GROUPED": 10**9},
    {"MIN_COLUMNS": 1, "MIN_COLUMN_STEPS": 1, "MIN_COLUMN_BATCH": 1},
)


def parts(rnn):
    """The bits of every array that is a product, or follows from one: by the run, and the name of the array."""
    found = {}
    for number, sizes in enumerate(SIZES):
        for E in ((), (7,)):
            case = random_case(1, 6, 3, 20, 20, 20, dtype="float32", E=E)
            with pytest.MonkeyPatch.context() as patch:
                with_sizes(patch, sizes)
                run = rnn.train(*case.for_train(rnn), k1=2, k2=3, learning_rate=1e-3, epochs=1, record=True)
                update = next(run)
            arrays = update.activations._asdict() | update.adjoints._asdict() | update.gradients._asdict()
            of_products = {name: v for name, v in arrays.items() if v is not None and name not in ("x", "dy")}
            found |= {(number, E, name): bits(v) for name, v in of_products.items()}
    return found


@pytest.mark.no_perturb
@pytest.mark.with_reference
def test_every_product_is_perturbed(rnn):
    """Sums alone, db_h and db_y, are not products; all else that a window computes has other bits."""
    before = parts(rnn)
    end = simulate(1, rnn.__name__ == "torch_rnn")
    try:
        after = parts(rnn)
    finally:
        end()
    assert parts(rnn) == before
    assert len(before) >= 6 * 12
    assert [key for key in before if before[key] == after[key]] == []
