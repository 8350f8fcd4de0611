"""`python -m benchmarks.equivalence` counts the right pairs that `check_equivalent`
refuses, the bugs that it accepts, and those of other rules on the same numbers.

It takes 15 minutes for all; `--pairs 30` takes one. With the kernels for processors
without SIMD: `.ci/without_simd .venv/bin/python -m benchmarks.equivalence`.
"""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.equivalence import bugs
from benchmarks.equivalence.cases import (
    IMPLEMENTATIONS,
    Case,
    implementations_of,
    random_case,
)
from benchmarks.equivalence.public_code import public_pairs
from numpy_rnn.conformance import check_equivalent
from numpy_rnn.conformance.equivalence.compare import SPREADS, TensorCheck

SEEDS_OF_BUGS = 3


class Outcome(NamedTuple):
    """The check of one pair, and what other rules say of the same numbers."""

    report: Any
    seconds: float
    others: dict[str, bool]  # whether the rule accepts


def outcome_of(f: Any, g: Any, *arguments: Any) -> Outcome:
    """Check a pair."""
    start = time.process_time()
    try:
        report = check_equivalent(f, g, *arguments)
    except AssertionError as error:
        (report,) = error.args
    seconds = time.process_time() - start
    checks = [check for check in report.checks if check.labels == ("f", "g")]
    others = {name: all(map(rule, checks)) for name, rule in RULES.items()}
    return Outcome(report, seconds, others)


# Rules with a tolerance that is chosen: the defaults of float64


def numpy_accepts(check: TensorCheck) -> bool:
    """Return whether numpy.testing.assert_allclose accepts a tensor."""
    return accepts(np.testing.assert_allclose, check.g, check.f)


def torch_accepts(check: TensorCheck) -> bool:
    """Return whether torch.testing.assert_close accepts a tensor."""
    import torch

    return accepts(torch.testing.assert_close, *map(torch.tensor, (check.g, check.f)))


def jax_accepts(check: TensorCheck) -> bool:
    """Return whether the tolerance of jax.test_util.check_grads accepts a tensor."""
    from jax._src.public_test_util import _assert_numpy_allclose, default_tolerance

    tolerance = default_tolerance()[np.dtype("float64")]
    options = {"atol": tolerance, "rtol": tolerance}
    return accepts(_assert_numpy_allclose, check.g, check.f, **options)


def accepts(rule: Callable[..., Any], *arrays: Any, **options: Any) -> bool:
    """Return whether a rule raises nothing."""
    try:
        rule(*arrays, **options)
    except AssertionError:
        return False
    return True


RULES = {
    "numpy.testing.assert_allclose": numpy_accepts,
    "torch.testing.assert_close": torch_accepts,
    "jax.test_util": jax_accepts,
}


def run_right_pairs(count: int, seed: int) -> None:
    """Check right pairs, and print how many are refused or not judged."""
    counts: Counter[str] = Counter()
    ratios = []
    for name, f, g, arguments in right_pairs(count, seed):
        outcome = outcome_of(f, g, *arguments)
        report = outcome.report
        refused, unjudged = map(report.tensors, ("different", "not judged"))
        counts["pairs"] += 1
        counts["tensors"] += len({check.tensor for check in report.checks})
        counts["not judged"] += len(unjudged)
        counts["refused"] += bool(refused)
        for rule, is_accepted in outcome.others.items():
            counts[rule] += not is_accepted
        worst = max(report.checks, key=lambda check: check.ratio)
        ratios.append((worst.ratio, f"{worst.tensor} {worst.labels}, {name}"))
        if refused:
            print(f"REFUSED {name}\n{report}")
    print(f"right pairs: {dict(counts)}")
    print(f"largest parts of what is allowed ({SPREADS:g} spreads):")
    for ratio, words in sorted(ratios, reverse=True)[:5]:
        print(f"  {ratio:.2f} {words}")


def right_pairs(count: int, seed: int) -> Any:
    """Yield a name, two functions and their arguments."""
    for name, f, g, arguments in public_pairs(np.random.default_rng(seed)):
        yield name, f, g, arguments
    for number in range(count):
        random = np.random.default_rng([seed, number])
        case = random_case(random)
        names = random.choice(implementations_of(case), 2, replace=False)
        f, g = (make_function(name, case) for name in names)
        yield f"{' and '.join(names)}, {case}", f, g, case.arguments()


def make_function(name: str, case: Case) -> Any:
    """Return an implementation of a case."""
    make: Any = IMPLEMENTATIONS[name]
    return make(case)


def run_bugs(seed: int) -> None:
    """Check bugs, and print how many are accepted, and how many are explained."""
    counts: Counter[str] = Counter()
    for cell, table in bugs.EXPECTED.items():
        for number, (bug, expected) in enumerate(table.items()):
            for repeat in range(SEEDS_OF_BUGS):
                random = np.random.default_rng([seed, number, repeat])
                sizes = dict(zip("TBDHO", map(int, random.permutation(range(2, 9)))))
                arguments = bugs.arguments(cell, random, **sizes)
                f, g = bugs.network(cell), bugs.network(cell, bug)
                report, _, others = outcome_of(f, g, *arguments)
                counts["bugs"] += 1
                counts["refused"] += not report
                said = report.diagnosis
                is_right = bool(expected and re.search(expected, said))
                counts["diagnosis right"] += is_right
                counts["diagnosis silent"] += not said
                counts["diagnosis wrong"] += bool(said) and not is_right
                for rule, is_accepted in others.items():
                    counts[f"accepted by {rule}"] += is_accepted
                if report or (said and not is_right):
                    print(f"{cell}, {bug}, {sizes}: {said or report}")
    print(f"bugs: {dict(counts)}")


def run_time() -> None:
    """Print the time for an LSTM with H = 64, T = 60, B = 8."""
    sizes = {"T": 60, "B": 8, "D": 32, "H": 64, "O": 3}
    arguments = bugs.arguments("lstm", np.random.default_rng(0), **sizes)
    for bug in ("", "gates in another order", "no tanh of c"):
        outcome = outcome_of(
            bugs.network("lstm"), bugs.network("lstm", bug), *arguments
        )
        print(f"{outcome.seconds:.1f} s of CPU: LSTM {sizes}, bug: {bug or 'none'}")


def main() -> None:
    """Run all, or as much as is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--path", action="append", default=[], help="of public code")
    options = parser.parse_args()
    sys.path += options.path
    run_time()
    run_bugs(options.seed)
    run_right_pairs(options.pairs, options.seed)


if __name__ == "__main__":
    main()
