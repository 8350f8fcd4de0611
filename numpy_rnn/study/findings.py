"""The findings of a study: records of its numbers, which the figures, the tables and the page show, and their JSON.

A number that is not defined is NaN, and null in JSON. The loss of a network that diverged is infinite, and "Infinity".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite, isnan, nan
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from numpy_rnn.common.records import RunOptions

NOT_STORED = {"is_stored": False}  # of a field that JSON does not have
N = TypeVar("N")  # the numbers of one network, or their Band over networks


@dataclass(frozen=True)
class Band:
    """The 10th percentile, the median and the 90th percentile over networks."""

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def band(values: np.ndarray) -> Band:
    """The band over the last axis. Infinite values are the largest; NaN is left out. The band of no value is NaN.

    The median of an even number of values is the mean of the two in the middle; the percentiles are values of networks.
    """
    ordered = np.sort(np.asarray(values, float), axis=-1)  # NaN last
    known = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)

    def ranked(rank):  # from 1
        return np.take_along_axis(ordered, np.maximum(rank - 1, 0), axis=-1)[..., 0]

    low, high = (ranked(np.ceil(share * known).astype(int)) for share in (0.1, 0.9))
    return Band(low, (ranked((known + 1) // 2) + ranked(known // 2 + 1)) / 2, high)


def bands(networks: Sequence[Any], like: Any) -> Any:
    """The record `like` with a Band over the networks for every number; None is a network without numbers."""
    if isinstance(like, dict):
        return {
            name: bands([None if of is None else of[name] for of in networks], like[name])
            for name in like
        }
    if is_dataclass(like):
        parts = bands([None if of is None else vars(of) for of in networks], vars(like))
        return replace(like, **parts)  # type: ignore[type-var]
    return band(
        np.stack(
            [np.full(np.shape(like), np.nan) if of is None else of for of in networks], axis=-1
        )
    )


# -- the run ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """The run that is studied, and the versions that studied it."""

    series: str
    sizes: dict[str, int]  # T, B, D, H, O
    parameters: int
    options: RunOptions
    choices: dict[str, str]  # the options of the command, in words
    is_full: bool  # whether the findings about training are of this run
    dtype: str
    seed: int
    networks: int
    epochs: list[int]  # of the weights that are shown
    versions: dict[str, str]


# -- checks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The largest difference of a value by hand from that of one witness.

    bounds: |difference| / E by element, the largest; infinite where there is a difference and none is allowed.
    """

    witness: str
    difference: float
    bounds: float
    compared: int  # elements
    of: int


@dataclass(frozen=True)
class EquationCheck:
    """One equation: its differences from all witnesses, and one element as each of them has it."""

    what: str
    quantity: str
    where: str  # the numbers are from: "in this run", or other ones
    differences: list[Difference]
    element: str
    values: dict[str, float]  # by hand and by witness


@dataclass(frozen=True)
class Checks:
    """All equations and their witnesses."""

    equations: dict[str, EquationCheck]  # by id, as `equations.EQUATIONS`
    absent: dict[str, str]  # witnesses that are not installed, and the reason
    places: list[str]
    truncations: list[tuple[int, int]]
    biases_added: bool
    max_elements: int
    wrong: Difference  # that a mutant makes to dW_hh

    def largest(self) -> dict[str, float]:
        """The largest difference from each witness, in units of the bound."""
        result: dict[str, float] = {}
        for equation in self.equations.values():
            for one in equation.differences:
                result[one.witness] = max(result.get(one.witness, 0.0), one.bounds)
        return result


# -- components and truncation ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost(Generic[N]):
    """The distance of the truncated gradients from the full one, for windows of k = 1 to T steps."""

    cosine: N  # (T,)
    bias: N  # (T,)


@dataclass(frozen=True)
class Network(Generic[N]):
    """The numbers of a network at one epoch."""

    cost: dict[str, Cost[N]]  # of "chunks" and "sliding"
    lag: N  # (T,) the mean norm of the components, by lag
    reach: N  # steps that have 90 % of the norms
    cancellation: N  # the sum of the norms over the norm of the sum


@dataclass(frozen=True)
class ComponentCheck:
    """The components compared with their complex steps, and masked sums of them with the gradients of `bptt`."""

    components: int
    elements: int  # that were compared, of all
    of: int
    difference: float  # relative to the component's largest element
    truncations: int
    sum_difference: float  # relative to the sum's largest element


@dataclass(frozen=True)
class MaskShown:
    """A truncation that is shown as a mask."""

    k1: int
    k2: int
    name: str
    kept: int  # components
    of: int
    share: float  # of the norms, after training


@dataclass(frozen=True)
class Opposite:
    """A truncation whose gradient points away from the full one for some networks."""

    kind: str
    k: int
    networks: int


@dataclass(frozen=True)
class ComponentFindings:
    """The component matrix, and the cost of truncation.

    Lists are by epoch, and have one entry where the network is not trained, or two, before and after training.
    """

    steps: int
    epochs: list[int]
    checks: dict[str, ComponentCheck]  # before and after training
    norms: np.ndarray  # (T, T) after training
    masks: list[MaskShown]
    own: list[Network[np.ndarray]]  # the network of the run
    networks: int
    bands: list[Network[Band]]
    diverged: int  # networks that diverged in training
    lower: dict[
        str, np.ndarray
    ]  # (T,) networks with a lower cosine than the run's after training; empty without any
    opposite: list[Opposite]  # after training

    @property
    def is_trained(self) -> bool:
        """Whether there is a training between the first epoch and the last."""
        return len(self.epochs) > 1

    @property
    def sliding_is_closer(self) -> int:
        """The number of k, 1 < k < T, for which the sliding window has the higher median cosine at the end."""
        chunks, sliding = (
            self.bands[-1].cost[kind].cosine.median[1:-1] for kind in ("chunks", "sliding")
        )
        return int((sliding > chunks).sum())


BEFORE, AFTER = "before training", "after training"


# -- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FinalLosses:
    """The losses of a pass after training, (networks,), by the length k of the windows; infinite: diverged."""

    chunks: dict[int, np.ndarray]  # (k, k)
    sliding: dict[int, np.ndarray]  # (1, k)

    def best(self, kind: str) -> tuple[int, float] | None:
        """The k with the lowest median, and that median; None where all diverged."""
        runs = self.chunks if kind == "chunks" else self.sliding
        median, k = min((float(band(final).median), k) for k, final in runs.items())
        return (k, median) if isfinite(median) else None

    @property
    def diverged(self) -> list[Opposite]:
        """The truncations with which some networks diverged."""
        runs = [("chunks", k, final) for k, final in self.chunks.items()]
        runs += [("a sliding window", k, final) for k, final in self.sliding.items() if k > 1]
        return [
            Opposite(kind, k, int(np.isinf(final).sum()))
            for kind, k, final in runs
            if np.isinf(final).any()
        ]


@dataclass(frozen=True)
class Outcome:
    """Training by the definition and by a wrong program, on the same networks."""

    learning_rate: float  # of both
    ratio: Band  # of the final losses, wrong to right
    diverged: int  # networks, by the wrong program
    verdict: str


@dataclass(frozen=True)
class Disagreement:
    """A computation that differs from the definition, and its effect."""

    key: str
    name: str
    run: str
    outcomes: list[Outcome]  # the first at the run's learning rate, others at smaller ones


@dataclass(frozen=True)
class Caught:
    """The check that catches a mutant; the tensor is None where nothing is found."""

    tensor: str | None
    equation: str


@dataclass(frozen=True)
class Mistake:
    """A mutant, the run that shows it, and its effect."""

    name: str
    changes: list[tuple[str, str]] = field(
        metadata=NOT_STORED
    )  # functions of the definition, and the wrong ones
    functions: list[str] = field(metadata=NOT_STORED)  # the code of the wrong ones
    caught: Caught
    shown_by: str | None  # None: a random case shows it, and no run
    outcomes: list[Outcome]  # as those of a Disagreement; empty: not in a run

    @property
    def verdict(self) -> str:
        """The effect on training at the run's learning rate."""
        return self.outcomes[0].verdict if self.outcomes else "not in a run"


SAME = "the same"
NO_EFFECT = "moves no parameter"
GOOD = (SAME, "lower loss", "learns")  # verdicts on a network that learns


@dataclass(frozen=True)
class TrainingFindings:
    """Effects of truncations, disagreements and mistakes on training."""

    made_with: dict[str, str]  # the command and the versions
    series: str
    sizes: dict[str, int]  # T, B, D, H, O
    networks: int
    learning_rate: float
    reduction: str
    by_k: FinalLosses
    disagreements: list[Disagreement]
    mistakes: list[Mistake]
    epochs: int  # of the runs of disagreements and mistakes
    max_ratio: float  # of the final losses, up to which a network learns

    def count(self, *verdicts: str) -> int:
        """The number of mistakes with one of these verdicts."""
        return sum(mistake.verdict in verdicts for mistake in self.mistakes)

    @property
    def moved(self) -> int:
        """The number of mistakes that move a parameter of a run."""
        return len(self.mistakes) - self.count("not in a run", NO_EFFECT)

    @property
    def learn(self) -> int:
        """The number of mistakes that move a parameter and still learn."""
        return self.count(*GOOD)

    @property
    def caught(self) -> int:
        """The number of mistakes that a check catches."""
        return sum(mistake.caught.tensor is not None for mistake in self.mistakes)


@dataclass(frozen=True)
class Findings:
    """All parts."""

    about: About
    checks: Checks
    components: ComponentFindings
    training: TrainingFindings
    explorer: dict[str, Any]  # JSON: the data of the page's script


DIGITS = 7  # significant ones, of the numbers in study.json


def plain(value: Any, digits: int | None = DIGITS) -> Any:
    """The value as JSON can hold it; numbers are rounded to so many significant digits unless that is None."""
    if is_dataclass(value):
        value = {
            one.name: getattr(value, one.name)
            for one in fields(value)
            if one.metadata != NOT_STORED
        }
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): plain(one, digits) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one, digits) for one in value]
    if not isinstance(value, float):
        return value
    if not isfinite(value):
        return None if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if digits is None else float(f"{value:.{digits}g}")


def restored(kind: Any, value: Any) -> Any:
    """The value of this type that `plain` made JSON of: a record, an array, or a list, dict or tuple of them."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is dict:
        key, of = inner
        return {key(name): restored(of, one) for name, one in value.items()}
    if origin is list:
        return [restored(inner[0], one) for one in value]
    if origin is tuple:
        return tuple(restored(*pair) for pair in zip(inner, value, strict=True))
    if is_dataclass(kind):
        return kind(
            **{name: restored(of, value[name]) for name, of in get_type_hints(kind).items()}
        )  # type: ignore
    if kind is np.ndarray:
        return np.array(value, float)
    if kind is float:
        return nan if value is None else float(value)
    return value
