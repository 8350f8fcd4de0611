"""Learning curves of many networks: by the length of the truncation, and by wrong programs.

Every wrong program is compared with the definition on the same networks, over the same updates, by the same measure:
the loss of a pass. So an algorithm that is both a disagreement and a mistake has one number and one verdict.
"""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Nonlinearity, Parameters, RunOptions, Update
from numpy_rnn.study.findings import Band, Caught, Curve, CurvesByLength, Outcome, band
from numpy_rnn.study.subject import DIVERGED_FACTOR, Subject, changed, in_float64
from numpy_rnn.study.suite_parts import Program, judge_run, plain_rnn, updates
from numpy_rnn.study.training.programs import program

MAX_POINTS = 60  # at which a curve is known, between its first and its last


class LearningCurve(NamedTuple):
    """The training of a set of networks. The loss is Σ_t ℓ_t of one pass over the series with the current weights.

    The loss that `train` reports for an epoch uses the weights of each update, whose number depends on k1, and a mutant
    may report a wrong one. This loss is the same function of the weights for all.
    """

    epochs: list[int]  # 0: as drawn
    losses: np.ndarray  # (epochs, *E), infinite where a network has diverged
    parameters: list[Parameters]  # at these epochs, (*E, ..)

    def findings(self) -> Curve:
        """The band over the networks and the final losses."""
        return Curve(self.epochs, band(self.losses), self.losses[-1])


def curve_epochs(epochs: int) -> list[int]:
    """The first, the last, and some in between: close together at first, where most happens."""
    if epochs == 0:
        return [0]
    between = np.geomspace(1, epochs, MAX_POINTS // 2), np.linspace(1, epochs, MAX_POINTS // 2)
    return sorted({0, epochs, *(int(epoch) for part in between for epoch in np.rint(part))})


def draw_networks(subject: Subject, networks: int, bias: bool | None = None, dtype: str | None = None) -> Parameters:
    """Draw networks with successive seeds from that of the run, with zero biases where `bias` asks for them.

    The weights of the run may come from a file; these are always drawn.
    """
    params = subject.run.params
    members = numpy_rnn.initial_parameters(
        params.W_xh.shape[-2],
        params.W_hh.shape[-1],
        params.W_hy.shape[-1],
        bias=params.b_h is not None if bias is None else bias,
        dtype=dtype or str(params.W_hh.dtype),
        seed=subject.seed,
        networks=networks,
    )
    return members if params.h_0 is None else with_learned_state(members, subject)


def with_learned_state(params: Parameters, subject: Subject) -> Parameters:
    """Networks with a learned initial state, zero at first."""
    return params._replace(h_0=np.zeros((*params.W_hh.shape[:-2], *subject.h_0.shape), params.W_hh.dtype))


def learning_curve(
    training: Iterable[Update], params: Parameters, subject: Subject, options: RunOptions
) -> LearningCurve:
    """The weights after some of the epochs of a training, however many updates of an epoch it yields."""
    wanted = curve_epochs(options.schedule.epochs)
    kept, epoch, latest = {}, 0, params
    with np.errstate(all="ignore"):
        for update in training:
            if update.epoch != epoch and epoch in wanted:
                kept[epoch] = latest
            epoch, latest = update.epoch, update.parameters
        kept[epoch] = latest
    losses = losses_of_a_pass(list(kept.values()), subject, options.objective.nonlinearity)
    return LearningCurve(list(kept), np.where(losses > DIVERGED_FACTOR * losses[0], np.inf, losses), [*kept.values()])


def stacked(parameters: list[Parameters]) -> Parameters:
    """M times E networks as one ensemble (M, *E)."""
    return Parameters(*(None if theta[0] is None else np.stack(theta) for theta in zip(*parameters)))


def losses_of_a_pass(parameters: list[Parameters], subject: Subject, nonlinearity: Nonlinearity) -> np.ndarray:
    """Σ_t ℓ_t (L1) of one pass, in float64: a list of M with E networks each → (M, *E); infinite for NaN."""
    params = in_float64(stacked(parameters))
    with np.errstate(all="ignore"):
        y = numpy_rnn.forward(params, subject.x, subject.initial_state(params), nonlinearity=nonlinearity).y
        losses = numpy_rnn.half_squared_error(y, subject.target)
    return np.where(np.isfinite(losses), losses, np.inf)


LENGTHS = (1, 2, 3, 5, 10)  # and all steps of the series


def lengths(steps: int) -> list[int]:
    """The k of the runs: some short ones, and the whole series."""
    return sorted({k for k in LENGTHS if k < steps} | {steps})


def by_length(subject: Subject) -> CurvesByLength:
    """Curves of TBPTT(k, k) and TBPTT(1, k) for every k, of the same networks, with the run's other options."""
    params = draw_networks(subject, subject.networks)

    def train(k1, k2):
        options = changed(subject.options, k1=k1, k2=k2)
        return learning_curve(subject.train(params, options, yield_every="epoch"), params, subject, options).findings()

    ks = lengths(len(subject.x))
    chunks = {k: train(k, k) for k in ks}
    return CurvesByLength(chunks, {k: chunks[k] if k == 1 else train(1, k) for k in ks})


OVERLAP = 5  # steps of the window, where windows have to overlap
MAX_UPDATES = 2000  # of a run with k1 = 1: there are many mutants
JUDGED_EPOCHS = 2  # the second shows what is carried over from the first
LEARNS = 2.0  # largest ratio of the final losses, wrong to right
SAME = 1.01  # ratio up to which, either way, two loss curves look the same


class DemoRun(NamedTuple):
    """A run that may show a mistake: how it differs from the configured one."""

    name: str
    options: RunOptions
    bias: bool | None = None  # None: as configured
    dtype: str | None = None  # None: as configured
    is_learned: bool = False  # whether h_0 is

    def networks(self, subject: Subject, number: int) -> Parameters:
        """An ensemble of so many networks, as `draw_networks` draws them."""
        params = draw_networks(subject, number, self.bias, self.dtype)
        return with_learned_state(params, subject) if self.is_learned else params


def demo_epochs(subject: Subject) -> int:
    """The epochs of every run: those of the configuration, but at most as many as make MAX_UPDATES with k1 = 1."""
    return min(subject.options.schedule.epochs, max(1, MAX_UPDATES // len(subject.x)))


def demo_runs(subject: Subject) -> dict[str, DemoRun]:
    """The runs by key, in the order in which they are tried."""
    steps = len(subject.x)
    k, k1 = min(OVERLAP, steps), min(3, steps)
    own = changed(subject.options, epochs=demo_epochs(subject))
    sliding, blocks = changed(own, k1=1, k2=k), changed(own, k1=k1, k2=k)
    slow = changed(sliding, learning_rate=0.2 * np.asarray(own.step.learning_rate).item())
    momentum = {"momentum": 0.5, "dampening": 0.25, "nesterov": False, "weight_decay": 0.001, "max_norm": 0.5}
    nesterov = {"momentum": 0.5, "dampening": 0.0, "nesterov": True}
    adagrad = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "adagrad": True}
    window, block, clipped = f"k1 = 1, k2 = {k}", f"k1 = {k1}, k2 = {k}", changed(sliding, max_norm=0.5)
    return {
        "configured": DemoRun("as configured", own),
        "sliding": DemoRun(window, sliding),
        "chunks": DemoRun(f"k1 = {k}, k2 = {k}", changed(own, k1=k, k2=k)),
        "biases": DemoRun(f"{window}, biases", sliding, bias=True),
        "float64": DemoRun(f"float64, {window}, biases, max_norm", clipped, bias=True, dtype="float64"),
        "mean": DemoRun(f"{block}, mean", changed(blocks, reduction="mean"), bias=True),
        "sum": DemoRun(f"{block}, sum", changed(blocks, reduction="sum"), bias=True),
        "relu": DemoRun(f"relu, {window}", changed(slow, nonlinearity="relu"), bias=True),
        "momentum": DemoRun(
            "momentum, dampening, decay, max_norm, learned h₀", changed(slow, **momentum), bias=True, is_learned=True
        ),
        "nesterov": DemoRun("nesterov", changed(slow, **nesterov), bias=True),
        "adagrad": DemoRun("adagrad", changed(slow, **adagrad), bias=True),
    }


class Outcomes:
    """Outcomes of wrong programs on the runs of a subject; each run of the definition is made once."""

    def __init__(self, subject: Subject):
        self.subject, self.runs = subject, demo_runs(subject)
        self.definition = cache(lambda run: self._train(plain_rnn, run))
        self.of = cache(lambda name, run: outcome(self.definition(run), self._train(program(name), run)))

    def _train(self, program: Program, run: str) -> LearningCurve:
        params, options = self.runs[run].networks(self.subject, self.subject.networks), self.runs[run].options
        return learning_curve(updates(program, self.subject.run_of(params, options)), params, self.subject, options)


def outcome(right: LearningCurve, wrong: LearningCurve) -> Outcome:
    """Both curves, the ratio of the final losses over the networks, and the verdict.

    The ratio is taken per network, where the definition's loss is finite and not zero.
    """
    final = right.losses[-1]
    kept = np.isfinite(final) & (final > 0)
    ratio = band(wrong.losses[-1][kept] / final[kept]) if kept.any() else Band(*np.full(3, np.nan))
    medians = band(wrong.losses).median
    said = verdict(float(ratio.median), medians[-1], medians[0]) if right.epochs != [0] else "not trained"
    return Outcome(right.findings(), wrong.findings(), ratio, said)


def verdict(ratio: float, final: float, untrained: float) -> str:
    """The verdict on a program. ratio: median over the networks of the ratio of the final losses, its to the
    definition's; final, untrained: its median loss after and before training.
    """
    if np.isnan(ratio):
        return "the correct run diverged"
    if not np.isfinite(final):
        return "diverged"
    if 1 / SAME <= ratio <= SAME:
        return "the same"
    if ratio < 1:
        return "lower loss"
    if ratio <= LEARNS:
        return "learns"
    return "learns less" if final < untrained / LEARNS else "does not learn"


def judge_demo_run(program: Program, demo: DemoRun, subject: Subject) -> Caught | None:
    """The verdict of the conformance suite on the first epochs of a run with one network.

    Raises ValueError on shapes that a mutant does not admit.
    """
    options = changed(demo.options, epochs=min(JUDGED_EPOCHS, max(1, demo.options.schedule.epochs)))
    params = Parameters(*(None if theta is None else theta[0] for theta in demo.networks(subject, 1)))
    return judge_run(program, subject.run_of(params, options))
