"""The usual tutorial program, on the one job that it is written for."""

from functools import partial

import numpy as np

from benchmarks import tutorial
from benchmarks.cases import MAIN_SIZES, Case
from benchmarks.rows.row import RUN, Prepared, Row, Unsuited, one_network, present, run_report


def run(case: Case) -> Prepared:
    if one_network(case)[1:6] != MAIN_SIZES or case.k2 != 1:
        raise Unsuited("written for the main job's series and one step a window")
    params, x, target, _ = case.arrays()
    series = np.append(x[:, 0, 0], target[-1, 0, 0])
    W_xh, W_hh, W_hy = params[:3]
    call = partial(tutorial.train, W_xh, W_hh, W_hy, series, case.epochs, case.learning_rate)
    return Prepared(call, lambda: run_report(*call()))


ROW = Row(
    "tutorial loop",
    "a Python loop over the points, autograd and `.data -=`, as PyTorch tutorials write it",
    present,
    {RUN: run},
)
