"""The numbers in numpy_rnn/study/README.md, computed anew."""

import re

import documents
import numpy as np
import pytest

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.study.components.matrix import cost, flat
from numpy_rnn.study.components.measures import components_of
from numpy_rnn.study.setting import setting_of

TEXT = (documents.TOP / "numpy_rnn" / "study" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_cosines_in_the_document_are_those_of_32_seeds():
    """One network after the other, each trained on its own; the study trains them together."""
    cosines = []
    for seed in range(32):
        configuration = Configuration(seed=seed)
        setting = setting_of(prepare(configuration), configuration, 2)
        components = flat(components_of(setting, setting.end).gradients)
        cosines.append(cost(components, [(1, 5), (5, 5)]).cosine)
    of_kinds = dict(zip(("sliding", "chunks"), np.transpose(cosines)))
    for kind, start in (("sliding", "a sliding window of 5 steps has"), ("chunks", "chunks of 5 steps have")):
        numbers = start.replace(" ", r"\s") + r".*?(\d\.\d\d).*?(\d\.\d\d) to\s(\d\.\d\d)"
        median, low, high = re.search(numbers, TEXT, re.S).groups()
        found = np.quantile(of_kinds[kind], (0.1, 0.5, 0.9), method="inverted_cdf")
        np.testing.assert_allclose([float(low), float(median), float(high)], found, rtol=0, atol=0.01)
    of_seed_0, others = re.search(r"is −(\d\.\d\d), and with the other (\d+)\sseeds it is positive", TEXT).groups()
    np.testing.assert_allclose(-float(of_seed_0), of_kinds["chunks"][0], rtol=0, atol=0.01)
    assert (of_kinds["chunks"][1:] > 0).sum() == int(others) == len(cosines) - 1
