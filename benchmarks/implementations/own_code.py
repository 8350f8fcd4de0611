"""A training function of a user: `python -m benchmarks --implementation my_rnn.py`."""

import os
import runpy
import sys

import numpy as np

from benchmarks.cases import Case
from benchmarks.implementations import Call, Results, Unsupported
from numpy_rnn.common.trees import tree_map


def prepare(case: Case, path: str) -> Call:
    """Return a call of the function `train` of this file, with copies of parameters.

    Raises Unsupported if the function raises NotImplementedError on the beginning of
    the run, ValueError if there is no such function.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.append(folder)
    train = runpy.run_path(path).get("train")
    if not callable(train):
        raise ValueError("it has no function train")

    def prepared(case: Case) -> Call:
        params, *series = case.arrays()
        keywords = case.options.keywords()

        def call() -> Results:
            copies = tree_map(np.copy, params)
            result: Results = train(copies, *series, **keywords)
            return result

        return call

    try:
        prepared(case.beginning())()
    except NotImplementedError as error:
        raise Unsupported(str(error)) from None
    return prepared(case)
