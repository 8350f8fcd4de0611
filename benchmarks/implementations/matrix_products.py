"""A lower bound for training in NumPy: the matrix products of the equations.

`epoch_products` lists them. They are timed on arrays that exist, without the numbers of
a training run, so there is no result that could be checked; a test counts the
multiplications of the list.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.cases import Case
from benchmarks.implementations import Call, Results, Unsupported, one_network
from numpy_rnn import Window, windows


class Product(NamedTuple):
    """The sizes of a product of a (rows, inner) and an (inner, columns) matrix."""

    rows: int
    inner: int
    columns: int


def window_products(case: Case, window: Window) -> list[Product]:
    """List the products of a window.

    One sequence has x_t and h_{t-1} in one row, so that (F1) is one product, and (B4)
    and (B5) are one. Class inputs need no product with W_xh.
    """
    T, K = window.steps, window.loss_steps
    B, D, H, O = case.B, case.D, case.H, case.O
    if case.is_text:
        D = 0
    if B == 1:
        inputs = []
        forward = T * [Product(1, D + H, H)]  # (F1)
        weights = [Product(D + H, T, H)]  # (B4), (B5)
    else:
        inputs = [Product(T * B, D, H)]  # (F1)
        forward = T * [Product(B, H, H)]
        weights = [Product(D, T * B, H), Product(H, T * B, H)]  # (B4), (B5)
    outputs = [Product(K * B, H, O)]  # (F3)
    backward = [Product(K * B, O, H)] + (T - 1) * [Product(B, H, H)]  # (B2)
    weights.append(Product(H, K * B, O))  # (B6)
    return inputs + forward + outputs + backward + weights


def epoch_products(case: Case) -> list[Product]:
    """List the products of an epoch, in order."""
    k1, k2, _ = case.options.schedule
    products = []
    for window in windows(case.T, k1, k2):
        products += window_products(case, window)
    return products


def prepare(case: Case) -> Call:
    """Return a call that computes the products of a run."""
    if one_network(case).every_update:
        raise Unsupported("the bound is that of another case")
    generator = np.random.default_rng(0)
    arrays = {}
    products = epoch_products(case)
    for product in set(products):
        rows, inner, columns = product
        left = generator.normal(size=(rows, inner)).astype(case.dtype)
        right = generator.normal(size=(inner, columns)).astype(case.dtype)
        arrays[product] = left, right, np.empty((rows, columns), case.dtype)
    operands = [arrays[product] for product in products]

    def call() -> Results:
        for _ in range(case.options.schedule.epochs):
            for left, right, out in operands:
                np.dot(left, right, out)
        return [], None

    return call
