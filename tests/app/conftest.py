"""Every test of the application runs in an empty folder."""

import pytest


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder):
    """Change into the folder of the test."""
