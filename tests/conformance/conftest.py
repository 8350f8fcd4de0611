"""A seed that differs in every run."""

import pytest

from tests.helpers.windows import SEED


@pytest.fixture(autouse=True)
def _printed_seed():
    """Print SEED, which pytest shows where a test fails."""
    print(f"SEED = {SEED}")
