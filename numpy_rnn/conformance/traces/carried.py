"""What an update takes over from the ones before: its place in the schedule, and the states; all of it exactly."""

from collections.abc import Iterator

import numpy as np

from numpy_rnn.common.windows import Window, windows
from numpy_rnn.conformance.traces.divergence import Divergence
from numpy_rnn.conformance.traces.settings import Settings


def schedule_divergences(trace: dict, settings: Settings, whole: bool) -> Iterator[Divergence]:
    """The first window that TBPTT(k1, k2) would not make; unless it is the `whole` run, it may end early."""
    expected = list(windows(len(trace["x"]), settings.k1, settings.k2))
    columns = [trace[name].tolist() for name in ("epoch", "number", "start", "loss_start", "stop")]
    total = len(expected) * settings.epochs
    for index, (epoch, number, *window) in enumerate(zip(*columns)):
        due = (index // len(expected) + 1, index % len(expected) + 1)
        right = expected[index % len(expected)]
        if index >= total or (epoch, number) != due or Window(*window) != right:
            wrong = next((i for i in range(3) if window[i] != right[i]), 0)
            yield Divergence(*due, "window", None, (wrong,), window[wrong], right[wrong], 0.0, np.inf)
            return
    if whole and len(columns[0]) < total:
        index = len(columns[0])
        due = (index // len(expected) + 1, index % len(expected) + 1)
        right = expected[index % len(expected)]
        yield Divergence(*due, "window", None, (2,), float("nan"), right.stop, 0.0, np.inf)


def state_divergences(trace: dict) -> Iterator[Divergence]:
    """The first state that did not enter exactly as it should have.

    Where a window begins with the series, that is the initial state, of a learned one its latest value; else what the
    update before left. Where the port's states are not known, whoever drove it gave it this one.
    """
    start, stop = trace["start"], trace["stop"]
    offsets = np.concatenate(([0], np.cumsum(stop - start)))
    entering, h, learned = trace["entering"], trace.get("h"), trace.get("h_0")
    for index in range(len(start)):
        begins = index == 0 or trace["epoch"][index] != trace["epoch"][index - 1]
        if begins or start[index] == 0:
            initial = trace["initial_h_0"] if learned is None or index == 0 else learned[index - 1]
            right = np.broadcast_to(initial, entering[index].shape)
        elif h is None:
            continue
        else:
            step = start[index] - start[index - 1]  # after which step of the window before
            if not 0 <= step <= stop[index - 1] - start[index - 1]:
                return  # the schedule is wrong, and that is reported already
            right = entering[index - 1] if step == 0 else h[offsets[index - 1] + step - 1]
        if not np.array_equal(entering[index], right):
            yield _difference(trace, index, "entering", entering[index], right)
            return


def learned_state_divergences(trace: dict) -> Iterator[Divergence]:
    """The first learned initial state, and the first velocity of it, that moved in a window that it does not enter."""
    for name in ("h_0", "vh_0"):
        for index in np.flatnonzero(trace["start"] > 0) if name in trace else ():
            if index > 0 and not np.array_equal(trace[name][index], trace[name][index - 1]):
                yield _difference(trace, index, name, trace[name][index], trace[name][index - 1])
                break


def _difference(trace, index, name, found, right):
    element = tuple(map(int, np.argwhere(found != right)[0]))
    where = int(trace["epoch"][index]), int(trace["number"][index])
    return Divergence(*where, name, None, element, float(found[element]), float(right[element]), 0.0, np.inf)
