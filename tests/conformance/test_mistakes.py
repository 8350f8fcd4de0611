"""The mistakes that hints are made of: each does what its words say, and runs with one are named by it."""

import math
import zlib
from contextlib import suppress
from itertools import product

import numpy as np
from inline_snapshot import snapshot
from ports_for_tests import PLAIN, window

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.mutants import step_mistakes, window_mistakes
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, trace
from numpy_rnn.conformance.mutants.hints import Fit
from numpy_rnn.conformance.mutants.step_mistakes import stepped
from numpy_rnn.conformance.mutants.window_mistakes import Mistake, exact_flow, flow
from numpy_rnn.conformance.random_cases import RandomDraw, random_run

STEP = Step(0.25, 0.5, max_value=3.0)
V, W = np.array([[-8.0, 0.3], [1.5, 7.0]]), -2 * np.arange(1.0, 4)[:, None, None]
TABLES: list[tuple[window_mistakes.Changes, list[tuple]]] = [  # changes, and what they are given
    (window_mistakes.CHANGES, [(V, t, 3) for t in (1, 2, 3)]),
    (window_mistakes.PHIS, [(V, np.tanh)]),
    (window_mistakes.SLOPES, [(np.array([-2.0, 0.0, 2.0]), np.array([-0.5, 0.0, 0.5]), 0.75)]),
    (step_mistakes.WEIGHTS, [(W,)]),
    (step_mistakes.ORDERS, [(np.arange(6).reshape(3, 2),)]),
    (step_mistakes.OPTIONS, [(0.3, "momentum"), (0.3, "learning_rate")]),
    (step_mistakes.CHANGES, [(V, STEP)]),
    (step_mistakes.NORMS, [({"W_xh": V, "b_h": np.array([2.0, -9.0])},)]),
    (step_mistakes.ROOTS, [(np.array([3.0]), np.array([4e-12]))]),
]


def numbers(value):
    return " ".join(f"{float(number) + 0.0:.9g}" for number in np.ravel(value))


def test_changes_are_those_of_their_words():
    lines = [
        f"{text}: {' | '.join(dict.fromkeys(numbers(change(*given)) for given in several))}"
        for changes, several in TABLES
        for text, change in changes.items()
    ]
    assert "\n".join(lines) == snapshot("""\
without {}: 0 0 0 0
twice {}: -16 0.6 3 14
-{}: 8 -0.3 -1.5 -7
{} / B: -4 0.15 0.75 3.5
{} at the first step alone: -8 0.3 1.5 7 | 0 0 0 0
{} at the last step alone: 0 0 0 0 | -8 0.3 1.5 7
{} left out at the first step: 0 0 0 0 | -8 0.3 1.5 7
{} left out at the last step: -8 0.3 1.5 7 | 0 0 0 0
{} averaged over the batch: -3.25 3.65 -3.25 3.65
tanh of {}: -0.999999775 0.291312612 0.905148254 0.999998337
sigmoid of {}: 0.00033535013 0.574442517 0.817574476 0.999088949
{} within ±1: -1 0.3 1 1
{} within ±5: -5 0.3 1.5 5
{} within ±0.5: -0.5 0.3 0.5 0.5
{} within ±2: -2 0.3 1.5 2
{} within ±10: -8 0.3 1.5 7
{} within ±3: -3 0.3 1.5 3
{} within ±0.1: -0.1 0.1 0.1 0.1
{} rounded to float32: -8 0.300000012 1.5 7
{} rounded to float16: -8 0.300048828 1.5 7
{} rounded to bfloat16: -8 0.30078125 1.5 7
no nonlinearity: -8 0.3 1.5 7
φ applied twice: -0.761594061 0.283342493 0.718795412 0.761593458
leaky relu with 0.01 for φ: -0.08 0.3 1.5 7
leaky relu with 0.1 for φ: -0.8 0.3 1.5 7
leaky relu with 0.2 for φ: -1.6 0.3 1.5 7
a_t within ±1 before φ: -0.761594156 0.291312612 0.761594156 0.761594156
a_t within ±5 before φ: -0.999909204 0.291312612 0.905148254 0.999909204
a_t within ±0.5 before φ: -0.462117157 0.291312612 0.462117157 0.462117157
a_t within ±2 before φ: -0.96402758 0.291312612 0.905148254 0.96402758
a_t within ±10 before φ: -0.999999775 0.291312612 0.905148254 0.999998337
a_t within ±3 before φ: -0.995054754 0.291312612 0.905148254 0.995054754
a_t within ±0.1 before φ: -0.0996679946 0.0996679946 0.0996679946 0.0996679946
φ′ squared: 0.5625
φ for φ′: -0.5 0 0.5
φ′ missing: 1
1 − h² for φ′: 0.75 1 0.75
1 − tanh(h)² for φ′: 0.786447733 1 0.786447733
h(1 − h) for φ′: -0.75 0 0.25
a φ′ of 1 at a = 0: 0 1 1
leaky φ′ of 0.01: 0.01 0.01 1
loss weights left out: 1 1 1
loss weights squared: 4 16 36
signs of the loss weights: -1 -1 -1
the loss of the last step alone: 0 0 -6
the loss of the first step alone: -2 0 0
the loss without the last step: -2 -4 0
the loss without the first step: 0 -4 -6
in reversed order: 4 5 2 3 0 1
one step late: 4 5 0 1 2 3
one step early: 2 3 4 5 0 1
reshaped for transposed: 0 2 4 1 3 5
{} left out: 0 | 1
twice the {}: 0.6
half of the {}: 0.15
{} of the other sign: -0.3
1 − {0} for {0}: 0.7
without {}: 0 0 0 0
twice {}: -16 0.6 3 14
{} of the other sign: 8 -0.3 -1.5 -7
{} within ±max_value: -3 0.3 1.5 3
(1 − μ) {}: -4 0.15 0.75 3.5
μ {}: -4 0.15 0.75 3.5
η {}: -2 0.075 0.375 1.75
the sign of {}: -1 1 1 1
{} divided by its norm: -0.744903498 0.0279338812 0.139669406 0.65179056
{} rounded to float32: -8 0.300000012 1.5 7
{} rounded to float16: -8 0.300048828 1.5 7
{} rounded to bfloat16: -8 0.30078125 1.5 7
the sum of the tensors' norms: 19.9591906
the largest number for the norm: 9
g divided by the sum of squares, without the root: 299880048
1e-10 outside the root: 1499925
1e-07 outside the root: 1428571.43
1e-06 outside the root: 1000000\
""")


def as_fitted(**changes):
    """A case as hints have it."""
    case = window(5, **PLAIN | {"O": 2, "weights": True} | changes)
    return Fit(case, window_update(case)).case


PLAIN_CASES = [
    as_fitted(T=4, two_biases=True, objective=Objective("tanh", reduction="mean")),
    as_fitted(objective=Objective("sigmoid", "cross_entropy"), classes=True, learned=True),
]
STEPS = [
    as_fitted(step=step, velocity=True, two_biases=True) for step in (
        Step(0.25, 0.5, 0.25, weight_decay=0.1, max_norm=0.5), Step(0.3, adagrad=True, max_value=0.2),
        Step(0.2, 0.75, nesterov=True, max_value=0.3))
]  # fmt: skip


def rows_of(kinds, values_of, cases):
    """A line for each kind of mistakes: how many, how many of them apply, and a number of their words and values."""
    rows = []
    for kind, mistakes in kinds.items():
        for field in dict.fromkeys(mistake.field for mistake in mistakes):
            chosen, found = [each for each in mistakes if each.field == field], []
            for mistake, case in product(chosen, cases):
                with suppress(LookupError, ValueError, AttributeError, TypeError), np.errstate(all="ignore"):
                    found.append(fingerprint(mistake.text, values_of(mistake, mistake.change(case))))
            rows.append(f"{kind} {field}: {len(chosen)}, {len(found)}, {sum(found):.3f}")
    return "\n".join(rows)


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
    rows = rows_of(kinds, lambda m, case: (exact_flow if m.is_exact else flow)(case, m.of), PLAIN_CASES)
    assert rows == snapshot("""\
other_cases loss_and_error: 13, 26, -0.062
other_losses loss_and_error: 105, 186, -6.495
transposes pre_activation: 2, 4, -1.776
transposes state_adjoint: 1, 2, -0.872
transposes initial_state_adjoint: 1, 2, 0.606
transposes : 1, 2, -0.415
other_terms pre_activation: 168, 294, 1.777
other_terms output: 84, 168, 2.585
other_terms state_adjoint: 63, 126, 28.614
other_operands pre_activation: 108, 108, 5.408
other_operands state: 72, 72, 0.434
other_operands output: 78, 84, -4.381
other_operands state_adjoint: 54, 108, 3.470
other_operands pre_activation_adjoint: 111, 222, -16.996
other_operands input_weights_gradient: 45, 90, 6.612
other_operands recurrent_weights_gradient: 81, 162, -3.861
other_operands output_weights_gradient: 57, 114, -9.618
other_operands initial_state_adjoint: 36, 72, 11.521
other_operands input_adjoint: 36, 72, 11.246
other_functions state_adjoint: 1, 2, 1.112
other_functions state: 24, 48, -1.471
other_functions pre_activation_adjoint: 10, 20, -2.562
other_results pre_activation: 42, 84, -4.933
other_results state: 42, 84, 0.209
other_results output: 42, 84, 9.707
other_results pre_activation_adjoint: 21, 42, 10.885
other_results state_adjoint: 21, 42, -0.049
catalogue : 34, 68, -3.073
truncations pre_activation_adjoint: 4, 8, -2.607
truncations backward: 3, 6, 1.266
truncations state_adjoint: 3, 6, -0.311\
""")


def test_mistakes_of_steps():
    rows = []
    for case in STEPS:
        kinds = {
            make.__name__: list(make(case.step)) for make in (step_mistakes.other_options, step_mistakes.other_steps)
        }
        d = window_update(case)
        rows.append(rows_of(kinds | {"catalogue": CATALOGUE}, lambda m, case, d=d: stepped(case, d, m.of), [case]))
    others = step_mistakes.other_gradients(STEPS[0], window_update(STEPS[0]))
    rows.append(f"{len(others)}, {sum(fingerprint(text, d) for text, d in others.items()):.3f}")
    assert "\n".join(rows) == snapshot("""\
other_options : 23, 23, -2.279
other_steps : 165, 148, -0.957
catalogue : 34, 34, 2.788
other_options : 20, 20, -2.460
other_steps : 166, 166, 10.476
catalogue : 34, 34, 2.911
other_options : 25, 25, -0.146
other_steps : 162, 162, 3.524
catalogue : 34, 34, 1.387
24, -4.626\
""")


def test_mistakes_of_runs():
    run, rows = random_run(RandomDraw(3), "float64"), []
    for mutant in [mutant for mutant in MUTANTS if mutant.in_run]:
        updates = trace(mutant.definition, run).updates
        rows.append(f"{mutant.name}, {mutant.stage}: {fingerprint('', updates):.3f}")
    assert "\n".join(rows) == snapshot("""\
state reset at every window, initial: -0.855
state not reset between epochs, initial: -0.873
bptt over k+1 steps, window: -1.000
chunks instead of a sliding window, window: -0.297
sliding window starts from the newest state, initial: -0.999
activations of stale weights kept, a: -1.000\
""")
