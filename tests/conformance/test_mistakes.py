"""The mistakes that hints are made of: numbers that change with any of their words and values.

Which of them is right, test_hints.py shows by code that is written otherwise; here none is left out.
"""

import math
import zlib
from contextlib import suppress
from itertools import product

import numpy as np
from inline_snapshot import snapshot
from ports_for_tests import PLAIN, window

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.case import GIVEN_DY
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.mutants import step_mistakes, window_mistakes
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, trace
from numpy_rnn.conformance.mutants.hints import Fit
from numpy_rnn.conformance.mutants.step_mistakes import stepped
from numpy_rnn.conformance.mutants.window_mistakes import Mistake, exact_flow, flow
from numpy_rnn.conformance.random_cases import RandomDraw, random_run


def as_fitted(**changes):
    """A case as hints have it."""
    case = window(5, **PLAIN | {"O": 2, "weights": True} | changes)
    return Fit(case, window_update(case)).case


WINDOWS = [
    as_fitted(T=4, two_biases=True, objective=Objective("tanh", reduction="mean")),
    as_fitted(objective=Objective("sigmoid", "cross_entropy"), classes=True, learned=True),
]
STEPS = [
    as_fitted(step=step, velocity=True, two_biases=True) for step in (
        Step(0.25, 0.5, 0.25, weight_decay=0.1, max_norm=0.5), Step(0.3, adagrad=True, max_value=0.2),
        Step(0.2, 0.75, nesterov=True, max_value=0.3))
]  # fmt: skip


def row(kind, mistakes, values_of, cases):
    """How many there are, how many of them apply, and a number of their words and values."""
    found = []
    for mistake, case in product(mistakes, cases):
        with suppress(LookupError, ValueError, AttributeError, TypeError), np.errstate(all="ignore"):
            found.append(fingerprint(mistake.text, values_of(mistake, mistake.change(case))))
    return f"{kind}: {len(mistakes)}, {len(found)}, {sum(found):.3f}"


def fingerprint(text, values):
    """A number between -1 and 1 that every word and number changes."""
    total = zlib.crc32(text.encode()) % 1000
    for k, name in enumerate(sorted(values), 1):
        total += k * float(np.arange(1, np.size(values[name]) + 1) @ np.ravel(values[name]))
    return math.cos(total) if math.isfinite(total) else 1.0


CATALOGUE = [Mistake(f"{mutant.name}: {mutant.stage}", mutant.definition) for mutant in MUTANTS if not mutant.in_run]


def test_mistakes_of_windows():
    kinds = {make.__name__: list(make()) for make in (
        step_mistakes.other_cases, step_mistakes.other_losses, window_mistakes.transposes, window_mistakes.other_terms,
        window_mistakes.other_operands, window_mistakes.other_functions, window_mistakes.other_results)}  # fmt: skip
    kinds |= {"catalogue": CATALOGUE, "truncations": list(window_mistakes.truncations(4))}

    def values_of(mistake, case):
        return (exact_flow if mistake.is_exact else flow)(case, mistake.of)

    rows = [row(*kind, values_of, WINDOWS) for kind in kinds.items()]
    given_dy = as_fitted(T=3, objective=Objective(loss=GIVEN_DY), weights=False)
    rows.append(row("of a given dy", kinds["other_functions"], values_of, [given_dy]))
    assert "\n".join(rows) == snapshot("""\
other_cases: 13, 26, -0.062
other_losses: 105, 186, -6.495
transposes: 5, 10, -2.458
other_terms: 315, 588, 32.976
other_operands: 678, 1104, 3.833
other_functions: 35, 70, -2.921
other_results: 168, 336, 15.818
catalogue: 34, 68, -3.073
truncations: 10, 20, -1.651
of a given dy: 35, 35, 3.957\
""")


def test_mistakes_of_steps():
    rows = []
    for case in STEPS:
        d, step = window_update(case), case.step
        kinds = {"options": list(step_mistakes.other_options(step)), "steps": list(step_mistakes.other_steps(step))}
        for kind in (kinds | {"catalogue": CATALOGUE}).items():
            rows.append(row(*kind, lambda m, case, d=d: stepped(case, d, m.of), [case]))
    others = step_mistakes.other_gradients(STEPS[0], window_update(STEPS[0]))
    rows.append(f"gradients: {len(others)}, {sum(fingerprint(text, d) for text, d in others.items()):.3f}")
    assert "\n".join(rows) == snapshot("""\
options: 23, 23, -2.279
steps: 165, 148, -0.957
catalogue: 34, 34, 2.788
options: 20, 20, -2.460
steps: 166, 166, 10.476
catalogue: 34, 34, 2.911
options: 25, 25, -0.146
steps: 162, 162, 3.524
catalogue: 34, 34, 1.387
gradients: 24, -4.626\
""")


def test_mistakes_of_runs():
    run = random_run(RandomDraw(3), "float64")
    found = [fingerprint(m.name + m.stage, trace(m.definition, run).updates) for m in MUTANTS if m.in_run]
    assert " ".join(f"{number:.3f}" for number in found) == snapshot("0.988 0.920 -0.789 0.890 0.545 -0.149")
