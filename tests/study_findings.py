"""The findings of one study with made-up numbers, all different and the same on every machine."""

from functools import cache
from itertools import count

import numpy as np

from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.study.checks.equations import OTHERS, STEP, TRUNCATION, WINDOW
from numpy_rnn.study.findings import (
    AFTER,
    BEFORE,
    About,
    Band,
    Caught,
    Checks,
    ComponentCheck,
    ComponentFindings,
    Cost,
    Curve,
    CurvesByLength,
    Difference,
    Disagreement,
    EquationCheck,
    Findings,
    Growth,
    MaskShown,
    Mistake,
    Network,
    Opposite,
    Outcome,
    StartingPoint,
    StepDifferences,
    TrainingFindings,
    VCurve,
    WrongFormula,
)

T, H, EPOCHS, NETWORKS = 4, 2, [0, 1, 4], 3
WITNESSES = ("ball arithmetic", "complex step", "central difference", "counting steps")


@cache
def made_up() -> Findings:
    """All records of a study of four steps."""
    serial = count(1)

    def numbers(*shape):
        """Numbers between 0.1 and 1, no two the same."""
        values = [0.1 + 0.9 * (next(serial) * 0.618034 % 1) for _ in range(int(np.prod(shape)))]
        return np.array(values).reshape(shape)

    def number():
        return float(numbers(1)[0])

    def band(*shape):
        return Band(*np.sort(numbers(3, *shape), axis=0))

    def network(values):
        def costs():
            return {kind: Cost(values(T), values(T)) for kind in ("chunks", "sliding")}

        return Network(costs(), costs(), values(T), values(3), *(values() for _ in range(4)))

    def growth(values):
        return Growth(values(T + 1), *(values() for _ in range(5)))

    def curve(diverged=0):
        final = numbers(NETWORKS)
        final[:diverged] = np.inf
        return Curve(EPOCHS, band(len(EPOCHS)), final)

    def outcome(verdict):
        return Outcome(curve(), curve(diverged=1), band(), verdict)

    def equation(id, equation, place):
        differences = [
            Difference(witness, 1e-16 * number(), number(), 1e6 * number() if "central" in witness else number(), 8, 9)
            for witness in WITNESSES[: 2 + place % 3]
        ]
        differences.append(Difference("plain loops", 0.0, 0.0, 0.0, 9, 9))
        return EquationCheck(equation.what, equation.quantity, differences, f"{equation.quantity}[{place}]",
                             {"by hand": number(), "ball arithmetic": number()})  # fmt: skip

    def checked(*groups):
        equations = [pair for group in groups for pair in group.items()]
        return {id: equation(id, of, place) for place, (id, of) in enumerate(equations)}

    step = Step(0.1, momentum=0.5, max_norm=0.25)
    steps = np.array([0.1, 1e-3, 1e-6, 1e-12])
    v_curve = VCurve("W_hh[1, 2]", 2.5, "ball arithmetic", steps, numbers(4), numbers(4), np.array([1e-20, 1e-250]),
                     1e-15 * numbers(2), 5.0, 1e-17, 1e-6, 1e-6, 2e-11)  # fmt: skip
    checks = Checks(
        checked(WINDOW, TRUNCATION, STEP), checked(OTHERS), {"autograd": "PyTorch is not installed"}, ["here", "there"],
        {"the run's own": step._asdict(), "other": step._replace(nesterov=True, max_norm=None)._asdict()},
        [(1, 1), (1, 4)], True, 512, v_curve, WrongFormula("a mistake", "dW_hh", 12345.0),
    )  # fmt: skip
    starts = ("as drawn", "scaled to vanish", "scaled to explode", AFTER)
    components = ComponentFindings(
        steps=T,
        parameters=9,
        epochs=EPOCHS,
        checks={
            end: ComponentCheck(10, 80, 90, 1e-15 * number(), (2, 1), 11, 1e-16 * number()) for end in (BEFORE, AFTER)
        },
        norms={end: np.tril(numbers(T, T)) for end in (BEFORE, AFTER)},
        masks=[MaskShown(1, 1, "one step", 4, 10, 0.7), MaskShown(2, 4, "overlapping blocks", 10, 10, 1.0)],
        own=[network(numbers) for _ in EPOCHS],
        networks=NETWORKS,
        bands=[network(band) for _ in EPOCHS],
        diverged=[0, 0, 1],
        lower={kind: np.array([2, 1, 0, 1]) for kind in ("chunks", "sliding")},
        opposite=[Opposite("chunks", 2, 1), Opposite("sliding", 1, 2)],
        starts={name: StartingPoint(number(), growth(numbers), numbers(T + 1, H), 1e-14 * number()) for name in starts},
        start_bands={name: growth(band) for name in starts},
        max_radius=3.0,
        threshold=0.9,
    )
    keys = ("stale_now", "one_more", "chunks", "mean", "squared", "added_up")
    disagreements = [
        Disagreement(key, f"variant {key}", "k1 = 1, k2 = 4", np.tri(T), np.tri(T) * (place + 1),
                     StepDifferences(EPOCHS, None if key == "chunks" else numbers(3), 2, number()), outcome("learns"))
        for place, key in enumerate(keys)
    ]  # fmt: skip
    changes = (("x < 1", "x > 1"),)
    functions = ["def f(x):\n    return x > 1"]
    in_run = Caught("dh", "B2", 1e6, 3, 2)
    mistakes = [
        Mistake("dh_next dropped", changes, functions, in_run, "k1 = 1", outcome("learns")),
        Mistake("2e for e", changes, functions, Caught("a", "F1", np.inf, 1, 1), "as configured", outcome("diverged")),
        Mistake("a < b", changes, functions, Caught("dx", "B10", 2.0), None, None),
    ]
    lengths = CurvesByLength({k: curve(k % 2) for k in (1, 2, 4)}, {k: curve(k // 4) for k in (1, 2, 4)})
    options = RunOptions(Schedule(1, 1, 4), Objective(), step)
    about = About("sine wave", dict(zip("TBDHO", (T, 1, 1, H, 1))), 9, options, {"epochs": "4"}, "float32", 7, NETWORKS,
                  EPOCHS, {"python": "3", "numpy": "2", "matplotlib": "3"})  # fmt: skip
    explorer = {
        "name": "</script><b>", "sizes": about.sizes, "nonlinearity": "tanh", "biases": False, "learned_h_0": False,
        "k1": 1, "k2": 1, "learning_rate": 0.1, "update": {"max_norm": None}, "snapshots": [{"epoch": 0}, {"epoch": 1}],
    }  # fmt: skip
    return Findings(about, checks, components, TrainingFindings(lengths, disagreements, mistakes, 4, 2.0), explorer)
