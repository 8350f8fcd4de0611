"""The simulated kernel reaches every product of the packages."""

import pytest
from cases import Kind, Sizes, random_run, train
from comparing import bits
from other_kernel import simulate


def parts(rnn):
    """The bits of every array that is a product, or follows from one: by the run, and the name of the array."""
    found = {}
    for E, H in (((), 20), ((7,), 20), ((7,), 70), ((), 150)):
        run = random_run(1, Sizes(6, 3, 20, H, 20, E), Kind("float32"))
        update = next(train(rnn, run, learning_rate=1e-3, record=True))
        arrays = (
            update.activations._asdict() | update.adjoints._asdict() | update.gradients._asdict()
        )
        products = {
            name: v for name, v in arrays.items() if v is not None and name not in ("x", "dy")
        }
        found |= {(E, H, name): bits(v) for name, v in products.items()}
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
    assert len(before) >= 4 * 12
    assert [key for key in before if before[key] == after[key]] == []
