"""An upper bound on the memory of a run, computed before it is allocated."""

from math import prod
from mmap import mmap
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration
from numpy_rnn.app.format import number_of
from numpy_rnn.app.results import MAX_PREDICTED, STEPS_PER_PASS, max_epochs
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.engine.layout import GROUP_BYTES, MAX_GROUPED, MIN_GROUP, available_threads
from numpy_rnn.engine.loop import MAX_KEPT, MAX_WINDOWS, TAPE_BYTES
from numpy_rnn.engine.window import MAX_VIEWED

MAX_BYTES = 8 * 2**30
ARRAY_BYTES = 128  # of the array object itself: the networks of an ensemble are drawn one by one
FIXED_BYTES = 4 * 2**20  # of every run
COPIES = 24  # of the parameters: drawn, joined, at the start; of four updates with gradients and steps; and all of them
# again while a divergence is located
OPTION_COPIES = 6  # more with momentum, weight decay, clipping or several rates: velocity, direction, products
VIEWED_STEP_BYTES = 1200  # the array objects through which the engine accesses one step of a window
SEGMENT_BYTES = 512  # a window of an epoch that the engine keeps
WINDOW_COPIES = 5  # of the values of a window, which are allocated again if its length changes, and all of them again
# while a divergence is located


class Size(NamedTuple):
    """The sizes on which the memory of a run depends."""

    rows: int  # of the series
    features: int
    hidden_size: int
    networks: int
    itemsize: int  # bytes of a number
    generate: int = 0  # free-running steps
    copies_of_series: int = 3  # in float64: read, standardized and converted; 0 if it stays on the disk


def bytes_needed(size: Size, configuration: Configuration) -> int:
    """The maximum number of bytes that a run of these sizes takes."""
    T, D, H, N, itemsize, generate, copies_of_series = size
    has_options = configuration.sgd_options() != SgdOptions() or configuration.rates()
    of_network = H * (H + 2 * D) + 2 * H + D  # with biases and an initial state
    drawn = 8 * max(of_network, H * H + H) if configuration.weights is None else 0
    copies = COPIES + (OPTION_COPIES if has_options else 0)
    of_step = 7 * H + 5 * D  # a, h, y, their derivatives and the slope; x and the target
    steps = min(configuration.k2, T) + 1
    predicted, per_pass = min(T, MAX_PREDICTED + 2 * STEPS_PER_PASS), min(T, STEPS_PER_PASS) + 1
    of_prediction = 6 * D * (itemsize + 8)  # of all networks, concatenated, and sorted for medians and bands
    epochs = min(configuration.epochs, max_epochs(N)) + 2
    return (
        FIXED_BYTES
        + 8 * copies_of_series * T * D
        + drawn
        + N * (copies * of_network * itemsize + 12 * ARRAY_BYTES)
        + 2 * _of_engine(size, configuration, of_network)
        + N * WINDOW_COPIES * steps * of_step * itemsize
        + N * (2 * per_pass * (2 * H + 2 * D) * itemsize + (predicted + generate) * of_prediction)
        + N * 4 * epochs * 8
        + generate * 4 * ARRAY_BYTES
    )


def _of_engine(size, configuration, of_network):
    """What the engine takes besides the values of a window: tapes, views and segments."""
    T, _, H, N, itemsize, *_ = size
    k1, k2 = min(configuration.k1, T), min(configuration.k2, T)
    if H > MAX_GROUPED or N < MIN_GROUP:
        blocks = N
    else:
        blocks = min(-(-N // MIN_GROUP), max(available_threads(), -(-2 * N * of_network * itemsize // GROUP_BYTES)))
    windows = -(-T // k1)
    viewed = min(windows, MAX_WINDOWS + k2 // k1 + 2) * k2 * blocks
    views = min(viewed, 2 * max(MAX_VIEWED, blocks * k2))  # kept, and of the latest windows
    return TAPE_BYTES + VIEWED_STEP_BYTES * views + SEGMENT_BYTES * min(windows, MAX_KEPT)


def check_size(size: Size, configuration: Configuration) -> None:
    """Raise InputError if the run takes more than MAX_BYTES."""
    if (needed := bytes_needed(size, configuration)) > MAX_BYTES:
        raise InputError(
            f"hidden size {size.hidden_size}, {number_of(size.networks, 'network')}, windows of"
            f" {number_of(min(configuration.k2, size.rows), 'step')}, {number_of(size.rows, 'row')} and"
            f" {number_of(size.generate, 'free-running step')} take"
            f" {min(needed, 10**300) / 2**30:.3g} GiB: expected {MAX_BYTES / 2**30:.0f} at most; choose fewer"
        )


def size_of(configuration: Configuration, series: np.ndarray, params: Parameters | None, generate: int) -> Size:
    """The sizes of a run with these parameters; None: those that the configuration draws."""
    rows, features = series.shape
    itemsize = 8 if configuration.dtype == "float64" else 4
    if params is None:
        hidden_size = configuration.hidden_size or HIDDEN_SIZE
        networks = (configuration.networks or 1) * max(1, len(configuration.rates()))
    else:
        hidden_size, networks = params.W_hh.shape[-1], prod(params.W_hh.shape[:-2])
        itemsize = params.W_hh.dtype.itemsize
    stays = _is_mapped(series) and series.dtype.itemsize == itemsize and not configuration.standardize
    return Size(rows, features, hidden_size, networks, itemsize, generate, 0 if stays else 3)


def _is_mapped(array) -> bool:
    """Whether the array is a view of a memory-mapped file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap)
