"""How much memory a run takes at most, worked out before any is taken.

Everything that is held at once is counted, as often as it is held; what is small for every run is not.
"""

from math import prod
from mmap import mmap
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration
from numpy_rnn.app.losses import most_epochs
from numpy_rnn.app.predictions import AT_ONCE, MOST_PREDICTED
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.engine.layout import GROUP_BYTES, MAX_GROUPED, MIN_GROUP, available_threads
from numpy_rnn.engine.training import MAX_KEPT, MAX_WINDOWS, TAPE_BYTES
from numpy_rnn.engine.window import MAX_VIEWED

LARGEST = 8 * 2**30  # bytes
OF_AN_ARRAY = 128  # bytes of the array object itself: the networks of an ensemble are drawn one by one
OF_EVERY_RUN = 4 * 2**20  # bytes: what else there is
COPIES = 24  # of the parameters: drawn, joined, where the run starts; of four updates with gradients and steps; all of
# them again where a divergence is looked for
COPIES_OF_OPTIONS = 6  # more, with momentum, weight decay, clipping or several rates: velocity, direction, products
OF_A_VIEWED_STEP = 1200  # bytes: the array objects through which the engine sees one step of a window
OF_A_SEGMENT = 512  # bytes: a window of an epoch that the engine keeps
COPIES_OF_WINDOW = 5  # of the numbers of a window, which are made anew where its length changes, and all of them again
# where a divergence is looked for


class Size(NamedTuple):
    """The sizes that the memory of a run depends on."""

    rows: int  # of the series
    features: int
    hidden_size: int
    networks: int
    itemsize: int  # bytes of a number
    generate: int = 0  # free-running steps
    copies_of_series: int = 3  # in float64, as it is read, standardized and converted; 0 where it is left on the disk


def bytes_needed(size: Size, configuration: Configuration) -> int:
    """The most memory that a run of these sizes takes."""
    T, D, H, N, itemsize, generate, copies_of_series = size
    has_options = configuration.sgd_options() != SgdOptions() or configuration.rates()
    of_network = H * (H + 2 * D) + 2 * H + D  # with biases and an initial state
    drawn = 8 * max(of_network, H * H + H) if configuration.weights is None else 0
    copies = COPIES + (COPIES_OF_OPTIONS if has_options else 0)
    of_step = 7 * H + 5 * D  # a, h, y, their derivatives and the slope; x and the target
    steps = min(configuration.k2, T) + 1
    predicted, at_once = min(T, MOST_PREDICTED + 2 * AT_ONCE), min(T, AT_ONCE) + 1
    of_prediction = 6 * D * (itemsize + 8)  # of all networks, joined, and sorted for medians and bands
    epochs = min(configuration.epochs, most_epochs(N)) + 2
    return (
        OF_EVERY_RUN
        + 8 * copies_of_series * T * D
        + drawn
        + N * (copies * of_network * itemsize + 12 * OF_AN_ARRAY)
        + 2 * _of_engine(size, configuration, of_network)
        + N * COPIES_OF_WINDOW * steps * of_step * itemsize
        + N * (2 * at_once * (2 * H + 2 * D) * itemsize + (predicted + generate) * of_prediction)
        + N * 4 * epochs * 8
        + generate * 4 * OF_AN_ARRAY
    )


def _of_engine(size, configuration, of_network):
    """What the engine holds besides the numbers of a window: tapes, views and segments."""
    T, _, H, N, itemsize, *_ = size
    k1, k2 = min(configuration.k1, T), min(configuration.k2, T)
    if H > MAX_GROUPED or N < MIN_GROUP:
        blocks = N
    else:
        blocks = min(-(-N // MIN_GROUP), max(available_threads(), -(-2 * N * of_network * itemsize // GROUP_BYTES)))
    windows = -(-T // k1)
    viewed = min(windows, MAX_WINDOWS + k2 // k1 + 2) * k2 * blocks
    views = min(viewed, 2 * max(MAX_VIEWED, blocks * k2))  # those that are kept, and those of the latest windows
    return TAPE_BYTES + OF_A_VIEWED_STEP * views + OF_A_SEGMENT * min(windows, MAX_KEPT)


def check_size(size: Size, configuration: Configuration) -> None:
    """Raise InputError when the run takes more than LARGEST."""
    if (needed := bytes_needed(size, configuration)) > LARGEST:
        raise InputError(
            f"hidden size {size.hidden_size}, {size.networks} networks, windows of"
            f" {min(configuration.k2, size.rows)} steps, {size.rows} rows and {size.generate} free-running steps take"
            f" {min(needed, 10**300) / 2**30:.3g} GiB: expected {LARGEST / 2**30:.0f} at most; choose fewer"
        )


def size_of(configuration: Configuration, series: np.ndarray, params: Parameters | None, generate: int) -> Size:
    """The sizes of a run: with these parameters, or with those that the configuration draws where they are None."""
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
    """Whether the numbers of this array are those of a file that is mapped into memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap)
