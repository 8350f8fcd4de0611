"""The numbers in numpy_rnn/study/README.md, computed anew."""

import re

import documents
import numpy as np
import pytest

from numpy_rnn.figures import cosine_bias

TEXT = (documents.TOP / "numpy_rnn" / "study" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_cosines_in_the_document_are_those_of_32_seeds():
    cosines = {kind: of["cosine"][:, 4] for kind, of in cosine_bias.measure()["end"].items()}  # k = 5
    for kind, start in (("sliding", "a sliding window of 5 steps has"), ("chunks", "chunks of 5 steps have")):
        numbers = start.replace(" ", r"\s") + r".*?(\d\.\d\d).*?(\d\.\d\d) to\s(\d\.\d\d)"
        median, low, high = re.search(numbers, TEXT, re.S).groups()
        found = np.percentile(cosines[kind], (10, 50, 90))
        np.testing.assert_allclose([float(low), float(median), float(high)], found, rtol=0, atol=0.01)
    of_seed_0, others = re.search(r"is −(\d\.\d\d), and with the other (\d+)\sseeds it is positive", TEXT).groups()
    np.testing.assert_allclose(-float(of_seed_0), cosines["chunks"][0], rtol=0, atol=0.01)
    assert (cosines["chunks"][1:] > 0).sum() == int(others) == len(cosines["chunks"]) - 1


@pytest.mark.needs_matplotlib
def test_the_same_numbers_make_the_same_drawing(tmp_path):
    for name in ("one.svg", "other.svg"):
        cosine_bias.draw(tmp_path / name, seeds=2)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
