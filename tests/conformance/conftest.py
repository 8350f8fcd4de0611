"""Checks that take less: no search for hints, and few runs."""

import pytest

from numpy_rnn.conformance import properties


@pytest.fixture
def no_hints(monkeypatch):
    """A violation is enough."""
    for name in ("hints_for_port", "hints_for_run"):
        monkeypatch.setattr(properties, name, lambda *_: [])


@pytest.fixture
def quick(no_hints, monkeypatch):
    """Three runs; Keras computes with torch."""
    monkeypatch.setattr(properties, "run_count", lambda windows: 3)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
