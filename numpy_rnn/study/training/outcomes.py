"""Final losses of many networks: by the length of the truncation, and by wrong programs.

Every wrong program is compared with the definition on the same networks, over the same updates, by the same measure:
the loss of a pass. So an algorithm that is both a disagreement and a mistake has one number and one verdict.
"""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Nonlinearity, Parameters, RunOptions, Update
from numpy_rnn.study.findings import NO_EFFECT, SAME, Band, Caught, FinalLosses, Outcome, band
from numpy_rnn.study.subject import DIVERGED_FACTOR, Subject, changed, in_float64
from numpy_rnn.study.suite_parts import Program, judge_run, trained, updates
from numpy_rnn.study.training.programs import program


class Trained(NamedTuple):
    """The training of a set of networks. The loss is Σ_t ℓ_t of one pass over the series with the current weights.

    The loss that `train` reports for an epoch uses the weights of each update, whose number depends on k1, and a mutant
    may report a wrong one. This loss is the same function of the weights for all.
    """

    parameters: Parameters  # after it, (*E, ..)
    untrained: np.ndarray  # (*E), the losses before it
    final: np.ndarray  # (*E), infinite where a network has diverged


def draw_networks(
    subject: Subject,
    networks: int,
    bias: bool | None = None,
    dtype: str | None = None,
    is_learned: bool = False,
) -> Parameters:
    """Draw networks with successive seeds from that of the run, with zero biases where `bias` asks for them, and with
    a learned initial state, zero at first, where `is_learned` asks for it. By default they are like the run's own,
    whose weights may come from a file; these are always drawn.
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
    if params.h_0 is None and not is_learned:
        return members
    return members._replace(h_0=np.zeros((networks, *subject.h_0.shape), members.W_hh.dtype))


def one_network(members: Parameters, n: int) -> Parameters:
    """The parameters of the n-th network."""
    return Parameters(*(None if theta is None else theta[n] for theta in members))


def last_of(
    training: Iterable[Update], params: Parameters, subject: Subject, options: RunOptions
) -> Trained:
    """The networks after a training that starts from `params`."""
    latest = params
    with np.errstate(all="ignore"):
        for update in training:
            latest = update.parameters
    before, after = losses_of_a_pass([params, latest], subject, options.objective.nonlinearity)
    return Trained(latest, before, np.where(after > DIVERGED_FACTOR * before, np.inf, after))


def losses_of_a_pass(
    parameters: list[Parameters], subject: Subject, nonlinearity: Nonlinearity
) -> np.ndarray:
    """Σ_t ℓ_t (L1) of one pass, in float64: a list of M with E networks each → (M, *E); infinite for NaN."""
    params = in_float64(
        Parameters(*(None if theta[0] is None else np.stack(theta) for theta in zip(*parameters)))
    )
    with np.errstate(all="ignore"):
        y = numpy_rnn.forward(
            params, subject.x, subject.initial_state(params), nonlinearity=nonlinearity
        ).y
        losses = numpy_rnn.half_squared_error(y, subject.target)
    return np.where(np.isfinite(losses), losses, np.inf)


LENGTHS = (1, 2, 3, 5, 10)  # and all steps of the series


def lengths(steps: int) -> list[int]:
    """The k of the runs: some short ones, and the whole series."""
    return sorted({k for k in LENGTHS if k < steps} | {steps})


def by_length(subject: Subject) -> FinalLosses:
    """The losses after TBPTT(k, k) and TBPTT(1, k) for every k, of the same networks, with the run's other options."""
    params = draw_networks(subject, subject.networks)

    def final(k1, k2):
        options = changed(subject.options, k1=k1, k2=k2)
        return last_of(
            subject.train(params, options, yield_every="epoch"), params, subject, options
        ).final

    ks = lengths(len(subject.x))
    chunks = {k: final(k, k) for k in ks}
    return FinalLosses(chunks, {k: chunks[k] if k == 1 else final(1, k) for k in ks})


OVERLAP = 5  # steps of the window: windows overlap, and the backward pass has steps to go back over
MAX_UPDATES = 2000  # of a run with k1 = 1: there are many mutants
JUDGED_EPOCHS = 2  # the second shows what is carried over from the first
LEARNS = 2.0  # largest ratio of the final losses, wrong to right
CLOSE = 1.01  # ratio up to which, either way, two losses are called the same
RATES = (
    1.0,
    0.25,
    0.0625,
)  # times the learning rate: the next one is tried where a network diverges


class DemoRun(NamedTuple):
    """A run that may show a mistake: how it differs from the configured one."""

    name: str
    options: RunOptions
    bias: bool | None = None  # None: as configured
    dtype: str | None = None  # None: as configured
    is_learned: bool = False  # whether h_0 is

    def networks(self, subject: Subject, number: int) -> Parameters:
        """An ensemble of so many networks, as `draw_networks` draws them."""
        return draw_networks(subject, number, self.bias, self.dtype, self.is_learned)


def demo_epochs(subject: Subject) -> int:
    """The epochs of every run: those of the configuration, but at most as many as make MAX_UPDATES with k1 = 1."""
    return min(subject.options.schedule.epochs, max(1, MAX_UPDATES // len(subject.x)))


def demo_runs(subject: Subject) -> dict[str, DemoRun]:
    """The runs by key, in the order in which they are tried. All have windows of several steps."""
    steps = len(subject.x)
    k, k1 = min(OVERLAP, steps), min(3, steps)
    own = changed(subject.options, epochs=demo_epochs(subject))
    sliding, blocks = changed(own, k1=1, k2=k), changed(own, k1=k1, k2=k)
    slow = changed(sliding, learning_rate=0.2 * float(own.step.learning_rate))
    momentum = {
        "momentum": 0.5,
        "dampening": 0.25,
        "nesterov": False,
        "weight_decay": 0.001,
        "max_norm": 0.5,
    }
    nesterov = {"momentum": 0.5, "dampening": 0.0, "nesterov": True}
    adagrad = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "adagrad": True}
    window, block, clipped = (
        f"k1 = 1, k2 = {k}",
        f"k1 = {k1}, k2 = {k}",
        changed(sliding, max_norm=0.5),
    )
    return {
        "sliding": DemoRun(window, sliding),
        "chunks": DemoRun(f"k1 = {k}, k2 = {k}", changed(own, k1=k, k2=k)),
        "biases": DemoRun(f"{window}, biases", sliding, bias=True),
        "float64": DemoRun(
            f"float64, {window}, biases, max_norm", clipped, bias=True, dtype="float64"
        ),
        "mean": DemoRun(f"{block}, mean", changed(blocks, reduction="mean"), bias=True),
        "sum": DemoRun(f"{block}, sum", changed(blocks, reduction="sum"), bias=True),
        "relu": DemoRun(f"relu, {window}", changed(slow, nonlinearity="relu"), bias=True),
        "momentum": DemoRun(
            "momentum, dampening, decay, max_norm, learned h₀",
            changed(slow, **momentum),
            bias=True,
            is_learned=True,
        ),
        "nesterov": DemoRun("nesterov", changed(slow, **nesterov), bias=True),
        "adagrad": DemoRun("adagrad", changed(slow, **adagrad), bias=True),
    }


class Outcomes:
    """Outcomes of wrong programs on the runs of a subject; each run of the definition is made once."""

    def __init__(self, subject: Subject):
        self.subject, self.runs = subject, demo_runs(subject)
        self.definition = cache(lambda run, factor: self._train(trained, run, factor))
        self.of = cache(self._outcomes)

    def _outcomes(self, name: str, run: str) -> list[Outcome]:
        """At the run's learning rate, and at smaller ones while networks diverge."""
        result, rate = list[Outcome](), float(self.runs[run].options.step.learning_rate)
        for factor in RATES:
            wrong = self._train(program(name), run, factor)
            result.append(outcome(self.definition(run, factor), wrong, factor * rate))
            if not result[-1].diverged:
                break
        return result

    def _train(self, program: Program, run: str, factor: float) -> Trained:
        params, options = (
            self.runs[run].networks(self.subject, self.subject.networks),
            self.runs[run].options,
        )
        options = changed(options, learning_rate=factor * float(options.step.learning_rate))
        return last_of(
            updates(program, self.subject.run_of(params, options)), params, self.subject, options
        )


def outcome(right: Trained, wrong: Trained, learning_rate: float) -> Outcome:
    """The ratio of the final losses over the networks, and the verdict.

    The ratio is taken per network, where the definition's loss is finite and not zero.
    """
    kept = np.isfinite(right.final) & (right.final > 0)
    ratio = (
        band(wrong.final[kept] / right.final[kept]) if kept.any() else Band(*np.full((3,), np.nan))
    )
    same = all(np.array_equal(*pair, equal_nan=True) for pair in zip(wrong.parameters, right.parameters)
               if pair[0] is not None)  # fmt: skip
    medians = float(band(wrong.final).median), float(band(wrong.untrained).median)
    said = NO_EFFECT if same else verdict(float(ratio.median), *medians)
    return Outcome(learning_rate, ratio, int(np.isinf(wrong.final).sum()), said)


def verdict(ratio: float, final: float, untrained: float) -> str:
    """The verdict on a program. ratio: median over the networks of the ratio of the final losses, its to the
    definition's; final, untrained: its median loss after and before training.
    """
    if np.isnan(ratio):
        return "the correct run diverged"
    if not np.isfinite(final):
        return "diverged"
    if 1 / CLOSE <= ratio <= CLOSE:
        return SAME
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
    return judge_run(program, subject.run_of(one_network(demo.networks(subject, 1), 0), options))
