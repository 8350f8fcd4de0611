"""What the author of a loop says of it, as `--expect` takes it: the parts of the line
that describes a loop, each of them optional, and read without regard to case.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import nearest_name, one_line
from torch_rnn.loop_audit.description import (
    ALL_STEPS,
    BY_HAND_LOSS,
    CARRIED,
    COMPUTED,
    EPOCH_ZEROS,
    SEQUENCE_ZEROS,
    THROUGH_EPOCHS,
    WARM_UP,
    WINDOW_ZEROS,
)
from torch_rnn.loop_audit.torch_internals import LOSSES_OF_OPERATORS, LOSSES_OF_TORCH

NUMBER = r"[\d.]+(?:e[+-]?\d+)?"
STATES = (
    CARRIED,
    THROUGH_EPOCHS,
    EPOCH_ZEROS,
    SEQUENCE_ZEROS,
    WINDOW_ZEROS,
    COMPUTED,
    WARM_UP,
)
# Of each kind of part the pattern, of which groups are the values.
PATTERNS = {
    "truncation": r"tbptt\(\s*(\d+)\s*,\s*(\d+)\s*\)"
    r"|(full) bptt(?: over (\d+) steps?)?",
    "batch": r"batch of (\d+)",
    "states": "|".join(f"({text})" for text in STATES),
    "steps": rf"({ALL_STEPS})|loss at (?:the last (\d+) steps?|(the last step)|"
    r"(\d+) steps?)",
    "losses per update": r"(\d+) loss(?:es)? per update",
    "backward passes per update": r"(\d+) backward pass(?:es)? per update",
    "updates": r"(\d+) updates?",
    "rate": rf"lr (from )?({NUMBER}(?: and {NUMBER})*)"
    rf"(?: to ({NUMBER}(?: and {NUMBER})*))?",
    "clip": rf"no clip|clip (?:norm|value) {NUMBER}(?: of \d+ parameters?)?"
    rf"(?: and clip (?:norm|value) {NUMBER})*",
}
OF_MODULES = ("truncation", "batch", "states", "steps")  # the others are of the loop


def _short(name: str) -> str:
    """Return the name of a loss as the report writes it."""
    return name.removesuffix("_nd").removesuffix("_loss")


LOSSES = {_short(name): _short(name) for name in LOSSES_OF_OPERATORS + LOSSES_OF_TORCH}
LOSSES |= {f"{name}_loss": name for name in LOSSES.copy()}
# nn.CrossEntropyLoss and the like, without case and underscores
LOSSES |= {f"{name.replace('_', '')}loss": name for name in set(LOSSES.values())}
LOSSES |= {
    "bceloss": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy_with_logits",
    "kldivloss": "kl_div",
}
OPTIMIZERS = {
    name.lower(): name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and kind is not torch.optim.Optimizer
}
EXAMPLE = "TBPTT(20, 20), carried, zeros at each epoch, mse mean, Adam, clip norm 1"
WORDS = (
    "TBPTT(k1, k2)",
    "full BPTT",
    "batch of N",
    *STATES,
    ALL_STEPS,
    "loss at the last step",
    BY_HAND_LOSS,
    *sorted(set(LOSSES.values())),
    "N losses per update",
    "N backward passes per update",
    "N updates",
    *OPTIMIZERS.values(),
    "optimizer NAME",
    "update by hand",
    "lr X",
    "lr from X to Y",
    "clip norm X",
    "clip value X",
    "no clip",
)


class Part(NamedTuple):
    """A part of an expectation: its words, and the values that they have."""

    text: str
    values: tuple[str | None, ...] = ()


class Expectation(NamedTuple):
    """What is expected of each module, in their order or of all, and of the loop. The
    parts are by their kinds.
    """

    modules: list[dict[str, list[Part]]]
    loop: dict[str, list[Part]]
    text: str

    def of_module(self, index: int) -> Mapping[str, list[Part]]:
        """Return what is expected of a module."""
        return self.modules[index if len(self.modules) > 1 else 0]


def _named_losses(text: str) -> str | None:
    """Return losses as the report writes them, None if it is another part."""
    names = []
    for words in text.split(" and "):
        name, _, reduction = words.partition(" ")
        known = LOSSES.get(name.removeprefix("nn."))
        if known is None or reduction not in ("", "mean", "sum", "none", "batchmean"):
            return None
        names.append(f"{known} {reduction}".strip())
    return " and ".join(names)


def _named_optimizers(text: str) -> str | None:
    """Return optimizers as the report writes them, None if it is another part."""
    names = []
    for words in text.split(" and "):
        own = re.fullmatch(r"optimizer (\w+)", words)
        name = own[1] if own else OPTIMIZERS.get(words)
        if name is None and words != "update by hand":
            return None
        names.append(name or words)
    return " and ".join(names)


def read_part(text: str) -> tuple[str, Part]:
    """Return the kind of a part, and the part. Raises InputError."""
    words = " ".join(text.lower().split())
    for kind, pattern in PATTERNS.items():
        match = re.fullmatch(pattern, words)
        if match and kind == "clip":  # 1.0 is 1
            return kind, Part(re.sub(NUMBER, lambda n: f"{float(n[0]):g}", words))
        if match:
            return kind, Part(words, match.groups())
    if words == BY_HAND_LOSS:
        return "loss", Part(words, (words,))
    losses = _named_losses(words)
    if losses:
        return "loss", Part(losses, tuple(losses.split(" and ")))
    optimizers = _named_optimizers(words)
    if optimizers:
        return "optimizer", Part(optimizers, tuple(optimizers.split(" and ")))
    meant = nearest_name(words, WORDS)
    advice = (
        f"did you mean {meant!r}?" if meant else f"expected parts as in {EXAMPLE!r}"
    )
    raise InputError(f"expect has the part {one_line(text, 60)!r}, {advice}")


def read_expectation(text: str) -> Expectation:
    """Read what is expected of a loop.

    Parameters
    ----------
    text
        Parts, separated by commas. Those of several modules are separated by
        semicolons.

    Raises
    ------
    InputError
        If a part is unknown, or is given twice.
    """
    modules: list[dict[str, list[Part]]] = []
    loop: dict[str, list[Part]] = {}
    for group in text.split(";"):
        modules.append({})
        for words in re.split(r",(?![^()]*\))", group):
            if not words.strip():
                continue
            kind, part = read_part(words)
            parts = modules[-1] if kind in OF_MODULES else loop
            if kind in parts and kind != "states":
                raise InputError(
                    f"expect has two parts on one thing, {parts[kind][0].text!r} and"
                    f" {part.text!r}: leave one out"
                )
            parts.setdefault(kind, []).append(part)
    if not loop and not any(modules):
        raise InputError(f"expect is empty: expected parts as in {EXAMPLE!r}")
    return Expectation(modules, loop, one_line(text))


def module_names(modules: list[nn.Module]) -> list[str]:
    """Return the classes of modules, with a number where two are the same."""
    kinds = [type(module).__name__ for module in modules]
    names = []
    for place, kind in enumerate(kinds):
        number = f" {kinds[: place + 1].count(kind)}" if kinds.count(kind) > 1 else ""
        names.append(f"{kind}{number}")
    return names
