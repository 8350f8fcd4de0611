"""Which truncated BPTT the windows of a module make."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch_rnn.loop_audit.events import ModuleRecord, Origin
from torch_rnn.loop_audit.mistakes import attached_pairs
from torch_rnn.loop_audit.updates import PREVIOUS, Run, Window, initial_state


@dataclass(frozen=True)
class Truncation:
    """The truncation of a module in words; k1 and k2 if it is TBPTT(k1, k2)."""

    text: str
    k1: int | None = None
    k2: int | None = None


def ranged(values: Iterable[int]) -> str:
    """Return a number, or the least and the largest of several: "4 to 28, mostly 20 (8
    of 9)"."""
    found = Counter(values)
    value, count = found.most_common(1)[0]
    if len(found) == 1:
        return str(value)
    text = f"{min(found)} to {max(found)}"
    if 2 * count > found.total():
        text += f", mostly {value} ({count} of {found.total()})"
    return text


def _is_carried(window: Window) -> bool:
    return any(part.origin is Origin.CUT for part in window.first.state)


def truncation(run: Run, module: ModuleRecord) -> Truncation:
    """Return the truncation that the windows of a module make."""
    by_update = [windows for _, windows in run.windows[module]]
    windows = run.all_windows(module)
    if not windows:
        return Truncation("no update by its gradients is seen")
    if any(attached_pairs(run, module)):
        return Truncation("no truncation: the gradient goes on into earlier updates")
    pairs = Counter((window.k1, window.k2) for window in windows)
    (k1, k2), count = pairs.most_common(1)[0]
    from_previous = [w for w in windows if initial_state(run, w.first) == PREVIOUS]
    are_chunks = 2 * len(from_previous) > len(windows)
    whole = [w.steps == k2 for w in windows if (w.k1, w.k2) == (k1, k2)]
    is_tbptt = (
        len(windows) == len(by_update)
        and any(map(_is_carried, windows))
        and all(whole)
        and 2 * count > len(windows)
        and k2 == max(window.k2 for window in windows)
        # chunks of which some steps have no loss are no TBPTT(k1, k2)
        and 0 < k1 <= k2
        and (k1 == k2 or not are_chunks)
    )
    if is_tbptt:
        return Truncation(f"TBPTT({k1}, {k2}), state carried and cut", k1, k2)
    return Truncation(_other_truncation(run, windows))


def _other_truncation(run: Run, windows: list[Window]) -> str:
    kinds = dict.fromkeys(initial_state(run, window.first) for window in windows)
    is_full = all(w.k2 == w.steps and not _is_carried(w) for w in windows)
    is_known = all(
        part.origin is not Origin.UNKNOWN for w in windows for part in w.first.state
    )
    name = "truncated BPTT"
    if is_full and is_known:
        name = "full BPTT"
    elif not is_known:
        name = "BPTT"
    return f"{name}, each window from {' or '.join(kinds)}"
