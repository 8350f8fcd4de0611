"""The score board: every mutant and the check that catches it.

python -m numpy_rnn.conformance score
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import INTERMEDIATES, Case, format_errors
from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, MUTANTS, Mutant, load
from numpy_rnn.conformance.mutants.engine_checks import engine_violation
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_recipe, random_run
from numpy_rnn.conformance.traces.drive import is_bounded, trace_of
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, EQUATIONS, judge

MAX_CASES = 500
ENSEMBLES = 0.2  # fraction of the runs; some mutants are visible in an ensemble only


class Score(NamedTuple):
    """The score of one mutant at one level."""

    mutant: Mutant
    level: str
    tensor: str | None  # the first in causal order that exceeds its bound; None: it survived
    cases: int  # the number of cases until then
    factor: float  # error / bound


def score(mutant: Mutant, level: str, max_cases: int = MAX_CASES, seed: int = 1) -> Score:
    """Check a mutant on random cases, the same for all, until one exceeds a bound of this level."""
    package = load(mutant)
    for cases in range(1, max_cases + 1):
        with np.errstate(all="ignore"):  # a wrong gradient may well overflow
            violation = VIOLATION_OF[level](package, (seed, cases))
        if violation is not None:
            return Score(mutant, level, violation[0], cases, violation[1])
    return Score(mutant, level, None, max_cases, 0.0)


def first_violation(ratios: dict) -> tuple[str, float] | None:
    """The first tensor in causal order above its bound, and error / bound."""
    for name in CAUSAL_ORDER:
        if name in ratios and not np.max(ratios[name], initial=0) <= 1:
            return name, float(np.max(ratios[name]))
    return None


Seed = tuple[int, ...]


@cache
def random_case(seed: Seed) -> Case:
    """One window update."""
    return random_recipe(np.random.default_rng(seed), has=CAPABILITIES).case()


@cache
def _bounds(seed):
    return global_bounds(random_case(seed))


def report_on(case: Case, package) -> dict[str, np.ndarray]:
    """What a package with the functions of numpy_rnn reports on a case."""
    arrays = case.params._asdict(), case.x, case.target, case.h_0
    return PackagePort(package).window_update(*arrays, learning_rate=case.learning_rate, **case.options)


def _of_update(ratios_of, package, seed):
    case = random_case(seed)
    report = report_on(case, package)
    faults = format_errors(case, report, intermediates=True, input_gradients=True)
    return (faults[0].split("[")[0].split()[0], np.inf) if faults else first_violation(ratios_of(case, report))


def local_violation(package, seed: Seed) -> tuple[str, float] | None:
    """Level L1: one window update, stage by stage."""
    return _of_update(check_local, package, seed)


def global_violation(package, seed: Seed) -> tuple[str, float] | None:
    """Level L2: one window update as a black box: its loss, gradients and updated parameters."""

    def ratios_of(case, report):
        required = {name: report[name] for name in report if name not in INTERMEDIATES}
        return check_global(case, required, bounds=_bounds(seed))

    return _of_update(ratios_of, package, seed)


@cache
def bounded_run(seed: Seed) -> tuple[Experiment, Configuration] | None:
    """A run of several updates, sometimes of an ensemble; None if a correct run diverges."""
    generator = np.random.default_rng(seed)
    experiment, configuration = random_run(generator, has=CAPABILITIES)
    if generator.random() < ENSEMBLES:
        experiment = ensemble_of_two(experiment, generator)
    return (experiment, configuration) if is_bounded(experiment, configuration) else None


def run_violation(package, seed: Seed) -> tuple[str, float] | None:
    """Level L3: a run in lockstep."""
    run = bounded_run(seed)
    return None if run is None else first_violation(judge(trace_of(package, *run)).worst)


def ensemble_of_two(experiment: Experiment, generator) -> Experiment:
    """The same run of two networks: the given one, and one whose parameters are up to four times as large."""
    factors = (1, generator.uniform(0.5, 4))
    params = Parameters(
        *(None if p is None else np.stack([p * p.dtype.type(f) for f in factors]) for p in experiment.params)
    )
    return experiment._replace(params=params, h_0=experiment.h_0 if params.h_0 is None else params.h_0)


def _of_engine(package, seed):
    return engine_violation(package, np.random.default_rng(seed))


VIOLATION_OF = {"L1": local_violation, "L2": global_violation, "L3": run_violation, "engine": _of_engine}
LEVELS = {"update": ("L1", "L2"), "run": ("L3",), "engine": ("engine",)}


def score_board(seed: int = 1) -> list[Score]:
    """Every mutant at every level that can catch it: those of a window at L1 and L2, of the training loop at L3."""
    return [score(mutant, level, seed=seed) for mutant in MUTANTS for level in LEVELS[mutant.level]]


def engine_board(seed: int = 1) -> list[Score]:
    """Every mutant of the engine, by the checks of `engine_checks`."""
    return [score(mutant, "engine", seed=seed) for mutant in ENGINE_MUTANTS]


def text(scores: list[Score]) -> str:
    """The board, a line per mutant and level, and the number of survivors.

    If the level reports stages, the stage that is caught should be the mutated one.
    """
    lines = [f"{'mutant':58} level  caught at       cases  error / bound"]
    for mutant, level, tensor, cases, factor in scores:
        caught = "SURVIVED" if tensor is None else f"{tensor} ({EQUATIONS.get(tensor, 'form')})"
        lines.append(
            f"{mutant.name:58} {level:5}  {caught:17} {cases:4}  {factor:9.1e}{_remark(mutant, level, tensor)}"
        )
    survived = sum(score.tensor is None for score in scores)
    lines.append(f"{len({s.mutant for s in scores})} mutants, {len(scores)} trials, {survived} survived")
    return "\n".join(lines)


def names_the_stage(mutant: Mutant, level: str, tensor: str | None) -> bool:
    """Whether the caught tensor is computed by the mutated equation.

    Without momentum there is no velocity, and a fault in the direction of the step is visible in the parameters.
    """
    shown = {EQUATIONS[mutant.stage], EQUATIONS["W_xh"] if mutant.stage.startswith("v") else ""}
    return tensor is not None and EQUATIONS.get(tensor) in shown


def _remark(mutant, level, tensor):
    if tensor is None or names_the_stage(mutant, level, tensor):
        return ""
    if level == "L2":
        return f"  (a black box: {mutant.stage} is not reported)"
    return f"  (expected {mutant.stage})"
