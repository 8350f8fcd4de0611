"""Whether the data of a window follow those before it, and where epochs begin.

Three witnesses tell it, the first that knows: offsets in one tensor; the numbers, as
the target of a window may have the step that follows it; and the samples that a
DataLoader has yielded. Where none of them knows, the answer is None.
"""

from collections import Counter
from collections.abc import Iterable

from torch_rnn.loop_audit.events import ForwardPass, SampledBatch

MIN_DIFFERENCES = 4  # between samples, for a statement on their order


def follows(before: ForwardPass, after: ForwardPass) -> bool | None:
    """Return whether the data of a pass begin where those of another one end."""
    if before.data.series is not None and before.data.series == after.data.series:
        gap = after.data.step - before.data.step - before.steps
        return gap == 0 if gap <= 0 else None  # some steps may be left out
    expected, first = before.contents.following, after.contents.first
    if expected is None or first is None:
        return None
    if expected == first:
        return True
    return False if before.contents.is_shifted else None


def epoch_starts(passes: Iterable[ForwardPass]) -> list[bool | None]:
    """Return of each first pass of a window whether it begins an epoch: its data have
    been in this epoch already, or a DataLoader has begun again.
    """
    starts: list[bool | None] = []
    seen = set[object]()
    batch: SampledBatch | None = None
    series: object = None
    for forward in passes:
        key: object = forward.contents.digest
        if series is not None and forward.data.series == series:
            key = forward.data  # where it is in a tensor of which more is read
        series = forward.data.series
        if not starts:
            is_start: bool | None = True
        elif key is None:
            is_start = None
        else:
            is_start = key in seen
        now = forward.contents.batch
        if batch is not None and now is not None and batch.loader == now.loader:
            is_start = bool(is_start) or batch.iteration != now.iteration
        batch = now
        if is_start:
            seen.clear()
        seen.update((key, forward.data, forward.contents.digest))
        starts.append(is_start)
    return starts


def sample_steps(pairs: Iterable[tuple[ForwardPass, ForwardPass]]) -> Counter[int]:
    """Return by how many samples each sequence of a batch goes on from pass to pass of
    one iteration of a DataLoader, with how often.
    """
    steps = Counter[int]()
    for before, after in pairs:
        old, new = before.contents.batch, after.contents.batch
        if old is None or new is None or old is new or old.iteration != new.iteration:
            continue
        steps.update(j - i for i, j in zip(old.indices, new.indices))
    return steps


def is_shuffled(steps: Counter[int]) -> bool:
    """Return whether samples follow one another in no order."""
    if steps.total() < MIN_DIFFERENCES:
        return False
    ((_, count),) = steps.most_common(1)
    return 2 * count < steps.total()
