"""What the numbers of inputs and targets tell of the order of data.

The target of a loss is often the input one step later. Then its last step is the one
that follows the window, and the next window begins with it or not.
"""

from typing import NamedTuple

import torch

from torch_rnn.loop_audit.events import DataContents, ForwardPass

MAX_HASHED = 4096  # numbers of a tensor
MIN_STEPS = 4  # of a window that is known again by its numbers
MAX_MEASURED = 100_000  # numbers whose roughness is measured
MAX_COMPARED = 10_000_000


def content_hash(tensor: torch.Tensor) -> int:
    """Return a hash of the first numbers of a tensor."""
    values = tensor.detach().reshape(-1)[:MAX_HASHED].float().cpu().numpy() + 0.0
    return hash(values.tobytes())


def _roughness(data: torch.Tensor, axis: int) -> float:
    """Return the mean squared difference of neighbours along an axis, as a part of
    that of values without order: about 1 for those.
    """
    difference = data.diff(dim=axis).square().mean()
    return float(difference / (2 * data.var()).clamp_min(1e-30))


def read_contents(
    data: torch.Tensor, axis: int | None, is_measured: bool
) -> DataContents:
    """Return the hashes of data whose steps are on an axis, None for one step; and
    their roughness where it is measured.
    """
    if data.numel() == 0 or data.is_complex() or data.dim() <= (axis or 0):
        return DataContents()
    if axis is None:
        return DataContents(None, content_hash(data))
    sequence = data.select(1 - axis, 0) if data.dim() > 1 else data
    # a few steps may be the same anywhere
    digest = content_hash(sequence) if data.shape[axis] >= MIN_STEPS else None
    contents = DataContents(digest, content_hash(data.select(axis, 0)))
    is_wide = data.dim() == 3 and min(data.shape[:2]) > 3
    is_small = data.is_floating_point() and data.numel() <= MAX_MEASURED
    if is_measured and is_wide and is_small:
        along = (_roughness(data, axis), _roughness(data, 1 - axis))
        contents.roughness = along
    return contents


def note_following(contents: DataContents) -> None:
    """Hash the step that follows the latest window, as the next one begins."""
    if contents.next_step is not None:
        contents.following = content_hash(contents.next_step)
        contents.next_step = None


def _is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors have the same numbers, in any types."""
    if one.dtype != other.dtype:
        one, other = one.float(), other.float()
    return bool(torch.equal(one, other))


class LatestData(NamedTuple):
    """The data of the latest pass of a module."""

    forward: ForwardPass
    data: torch.Tensor
    axis: int | None


def _values(latest: LatestData, target: torch.Tensor) -> torch.Tensor:
    """Return the data of a pass as numbers like the target's: classes where the data
    are one-hot and the target is classes.
    """
    data = latest.data
    is_coded = data.is_floating_point() and not target.is_floating_point()
    if is_coded and data.dim() > 1 and data.numel() != target.numel():
        data = data.argmax(-1)
    return data


def read_target(latest: LatestData, target: torch.Tensor) -> set[str]:
    """Note what the target of a loss tells of the data that follow a pass. Return the
    signs of a target that is the input.
    """
    if target.numel() == 0 or target.numel() > MAX_COMPARED or target.is_complex():
        return set()
    data = _values(latest, target)
    if data.is_complex() or data.numel() > MAX_COMPARED:
        return set()
    axis = latest.axis
    contents = latest.forward.contents
    steps = 1 if axis is None else data.shape[axis]
    target = target.detach().to(data.device)
    if target.numel() == data.numel():
        target = target.reshape(data.shape)
        if _is_equal(target, data):
            return {"target-is-input"} if bool(data.any()) else set()
        if axis is None:
            contents.next_step = target
            return set()
        later, before = (
            data.narrow(axis, 1, steps - 1),
            target.narrow(axis, 0, steps - 1),
        )
        if steps > 1 and _is_equal(before, later):
            contents.is_shifted = True
            contents.next_step = target.select(axis, -1)
            if latest.forward.is_bidirectional:
                return {"target-seen"}
        elif steps == 1:
            contents.next_step = target
        elif steps > 2 and _is_equal(
            target.narrow(axis, 1, steps - 1), data.narrow(axis, 0, steps - 1)
        ):
            return {"target-is-earlier-input"}
    elif axis is not None and target.numel() * steps == data.numel():
        last = data.select(axis, -1)
        if _is_equal(target.reshape(last.shape), last):
            return {"target-is-last-input"} if bool(last.any()) else set()
        contents.next_step = target
    return set()
