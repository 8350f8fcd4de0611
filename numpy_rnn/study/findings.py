"""The findings of a study: records of its numbers, which the figures, the tables and the page show, and their JSON.

A number that is not defined is NaN, the loss of a network that diverged is infinite; both are null in JSON.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from math import isfinite
from typing import Any, Generic, TypeVar

import numpy as np

from numpy_rnn.common.records import RunOptions

N = TypeVar("N")  # the numbers of one network, or their Band over networks
R = TypeVar("R")
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Band:
    """The 10th percentile, the median and the 90th percentile over networks. Each is the value of one network."""

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def band(values: np.ndarray) -> Band:
    """The band over the last axis. Infinite values are the largest; NaN is left out. The band of no value is NaN."""
    ordered = np.sort(np.asarray(values, float), axis=-1)  # NaN last
    known = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)

    def quantile(share):
        at = np.maximum(np.ceil(share * known).astype(int) - 1, 0)
        return np.take_along_axis(ordered, at, axis=-1)[..., 0]

    return Band(*map(quantile, QUANTILES))


def bands(networks: Sequence[Any], like: Any) -> Any:
    """The record `like` with a Band over the networks for every number; None is a network without numbers."""
    if isinstance(like, dict):
        return {name: bands([None if of is None else of[name] for of in networks], like[name]) for name in like}
    if is_dataclass(like):
        parts = bands([None if of is None else vars(of) for of in networks], vars(like))
        return replace(like, **parts)  # type: ignore[type-var]
    return band(np.stack([np.full(np.shape(like), np.nan) if of is None else of for of in networks], axis=-1))


# -- the run ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """The run that is studied, and the versions that studied it."""

    series: str
    sizes: dict[str, int]  # T, B, D, H, O
    parameters: int
    options: RunOptions
    choices: dict[str, str]  # the options of the command, in words
    dtype: str
    seed: int
    networks: int
    epochs: list[int]  # of the weights that are shown
    versions: dict[str, str]


# -- checks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The largest difference of a value by hand from that of one witness.

    ulps: |difference| over the distance from the tensor's largest element, in size, to the next float64. bounds:
    |difference| / E by element, the largest; infinite where there is a difference and none is allowed.
    """

    witness: str
    difference: float
    ulps: float
    bounds: float
    compared: int  # elements
    of: int


@dataclass(frozen=True)
class EquationCheck:
    """One equation: its differences from all witnesses, and one element as each of them has it."""

    what: str
    quantity: str
    differences: list[Difference]
    element: str
    values: dict[str, float]  # by hand and by witness


@dataclass(frozen=True)
class VCurve:
    """Relative errors of one derivative by the step of central difference and complex step."""

    element: str
    value: float
    against: str
    steps: np.ndarray
    central: np.ndarray
    complex: np.ndarray
    smaller_steps: np.ndarray
    complex_smaller: np.ndarray
    truncation: float  # times h²: the relative error of truncation
    rounding: float  # over h: the relative error of rounding
    predicted_step: float  # NaN where one of the two is zero
    best_step: float
    best_error: float


@dataclass(frozen=True)
class WrongFormula:
    """The difference that a mutant makes."""

    mutant: str
    quantity: str
    bounds: float


@dataclass(frozen=True)
class Checks:
    """All equations and their witnesses."""

    equations: dict[str, EquationCheck]  # that the run uses
    others: dict[str, EquationCheck]  # that a run of numbers does not use
    absent: dict[str, str]  # witnesses that are not installed, and the reason
    places: list[str]
    options: dict[str, dict[str, Any]]  # the fields of the steps that are checked
    truncations: list[tuple[int, int]]
    biases_added: bool
    max_elements: int
    v_curve: VCurve | None  # None: every derivative by W_hh is zero
    wrong: WrongFormula

    def largest(self) -> dict[str, float]:
        """The largest difference from each witness, in units of the bound."""
        result: dict[str, float] = {}
        for equation in self.equations.values():
            for one in equation.differences:
                result[one.witness] = max(result.get(one.witness, 0.0), one.bounds)
        return result

    def witnesses(self, ids: Iterable[str]) -> list[str]:
        """The witnesses of some equations, in the order of all."""
        there = {one.witness for id in ids for one in self.equations[id].differences}
        return [witness for witness in self.largest() if witness in there]


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
    recurrent: dict[str, Cost[N]]  # the same for W_hh alone
    lag: N  # (T,) the mean norm of the components, by lag
    reach: N  # (3,) steps that have 50, 90 and 99 % of the norms
    spectral_radius: N
    slope: N  # mean
    saturated: N  # share of the units
    loss: N


@dataclass(frozen=True)
class Growth(Generic[N]):
    """The growth of small changes of the state."""

    by_lag: N  # (T+1,) the largest singular value of ∂h_t/∂h_s, as a mean over t
    at_longest: N
    per_step: N
    spectral_radius: N
    slope: N
    saturated: N


@dataclass(frozen=True)
class StartingPoint:
    """A starting point of the run's own network, or the end of its training."""

    factor: float  # by which W_hh was multiplied
    growth: Growth[np.ndarray]
    h: np.ndarray  # (T+1, H)
    difference: float  # the largest one from the complex step


@dataclass(frozen=True)
class ComponentCheck:
    """The components compared with their complex steps, and masked sums of them with the gradients of `bptt`."""

    components: int
    elements: int  # that were compared, of all
    of: int
    difference: float  # relative to the component's largest element
    at: tuple[int, int]  # (t, s)
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
    """The component matrix, the cost of truncation, and the growth of states. Lists are by epoch."""

    steps: int
    parameters: int
    epochs: list[int]
    checks: dict[str, ComponentCheck]  # before and after training
    norms: dict[str, np.ndarray]  # the same, (T, T)
    masks: list[MaskShown]
    own: list[Network[np.ndarray]]  # the network of the run
    networks: int
    bands: list[Network[Band]]
    diverged: list[int]  # networks
    lower: dict[str, np.ndarray]  # (T,) networks with a lower cosine than the run's after training; empty without any
    opposite: list[Opposite]  # after training
    starts: dict[str, StartingPoint]  # of the run's network
    start_bands: dict[str, Growth[Band]]
    max_radius: float
    threshold: float  # of |h|, above which a tanh unit is called saturated

    @property
    def is_trained(self) -> bool:
        """Whether there is a training between the first epoch and the last."""
        return self.epochs != [0]


BEFORE, AFTER = "before training", "after training"


# -- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """The loss of a pass over the series along training: the band over networks, and the final losses of all."""

    epochs: list[int]
    band: Band
    final: np.ndarray  # (networks,)

    @property
    def final_median(self) -> float:
        """The median of the final losses."""
        return float(self.band.median[-1])

    @property
    def diverged(self) -> int:
        """The number of networks that diverged."""
        return int(np.isinf(self.final).sum())


@dataclass(frozen=True)
class CurvesByLength:
    """Training by the length k of the windows: chunks (k, k) and sliding windows (1, k)."""

    chunks: dict[int, Curve]
    sliding: dict[int, Curve]

    def best(self, kind: str) -> int | None:
        """The k with the lowest median of the final losses; None where all diverged."""
        runs = self.chunks if kind == "chunks" else self.sliding
        k = min(runs, key=lambda k: runs[k].final_median)
        return k if isfinite(runs[k].final_median) else None

    @property
    def diverged(self) -> list[Opposite]:
        """The truncations with which some networks diverged."""
        runs = [("chunks", k, run) for k, run in self.chunks.items()]
        runs += [("a sliding window", k, run) for k, run in self.sliding.items() if k > 1]
        return [Opposite(kind, k, run.diverged) for kind, k, run in runs if run.diverged]


@dataclass(frozen=True)
class Outcome:
    """Training by the definition and by a mutant, on the same networks."""

    right: Curve
    wrong: Curve
    ratio: Band  # of the final losses, wrong to right
    verdict: str


@dataclass(frozen=True)
class StepDifferences:
    """The difference of the steps from those of the definition, relative to their length."""

    epochs: list[int]  # whose weights both start from
    by_epoch: np.ndarray | None  # root mean square over the updates of an epoch; None: they make other updates
    first_update: int | None  # that differs, from 1
    first_difference: float


@dataclass(frozen=True)
class Disagreement:
    """A computation that differs from the definition, and its effect."""

    key: str
    name: str
    run: str
    right_counts: np.ndarray  # (T, T) how often each component is counted in an epoch
    counts: np.ndarray
    steps: StepDifferences
    outcome: Outcome


@dataclass(frozen=True)
class Caught:
    """The check that catches a mutant; epoch and update are None in a random case, tensor where nothing is found."""

    tensor: str | None
    equation: str
    ratio: float  # of error and bound
    epoch: int | None = None
    update: int | None = None


@dataclass(frozen=True)
class Mistake:
    """A mutant, the run that shows it, and its effect."""

    name: str
    changes: tuple[tuple[str, str], ...]  # correct line of conformance/plain_rnn.py, and the wrong lines
    functions: list[str]  # the code with the wrong lines
    caught: Caught
    shown_by: str | None  # None: a random case shows it, and no run
    outcome: Outcome | None

    @property
    def verdict(self) -> str:
        """The effect on training."""
        return "not in a run" if self.outcome is None else self.outcome.verdict


GOOD = ("the same", "lower loss", "learns")  # verdicts on a network that learns


@dataclass(frozen=True)
class TrainingFindings:
    """Effects of truncations, disagreements and mistakes on training."""

    by_k: CurvesByLength
    disagreements: list[Disagreement]
    mistakes: list[Mistake]
    epochs: int  # of the runs of disagreements and mistakes
    max_ratio: float  # of the final losses, up to which a network learns

    def count(self, *verdicts: str) -> int:
        """The number of mistakes with one of these verdicts."""
        return sum(mistake.verdict in verdicts for mistake in self.mistakes)

    @property
    def learn(self) -> int:
        """The number of mistakes that still learn."""
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
        value = vars(value)
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
        return None
    return value if digits is None else float(f"{value:.{digits}g}")
