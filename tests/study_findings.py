"""The findings of one study with made-up numbers, all different and the same on every machine."""

from functools import cache
from itertools import count

import numpy as np

from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.study.checks.equations import EQUATIONS
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
    Difference,
    Disagreement,
    EquationCheck,
    FinalLosses,
    Findings,
    Growth,
    MaskShown,
    Mistake,
    Network,
    Opposite,
    Outcome,
    TrainingFindings,
    WrongFormula,
)

T, H, EPOCHS, NETWORKS = 4, 2, [0, 4], 3
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

        return Network(costs(), values(T), values(), values())

    def growth(values):
        return Growth(values(T + 1), *(values() for _ in range(5)))

    def final(diverged=0):
        losses = numbers(NETWORKS)
        losses[:diverged] = np.inf
        return losses

    def outcome(verdict, rate=0.1, diverged=0):
        return Outcome(rate, band(), diverged, verdict)

    def equation(equation, place):
        differences = [
            Difference(witness, 1e-16 * number(), 1e6 * number() if "central" in witness else number(), 8, 9)
            for witness in WITNESSES[: 2 + place % 3]
        ]
        differences.append(Difference("plain loops", 0.0, 0.0, 9, 9))
        return EquationCheck(equation.what, equation.quantity, "in a run", differences, f"{equation.quantity}[{place}]",
                             {"by hand": number(), "ball arithmetic": number()})  # fmt: skip

    step = Step(0.1, momentum=0.5, max_norm=0.25)
    equations = {id: equation(of, place) for place, (id, of) in enumerate(EQUATIONS.items())}
    checks = Checks(
        equations, {"autograd": "PyTorch is not installed"}, ["here", "there"], [(1, 1), (1, 4)], True, 512,
        WrongFormula("a mistake", "dW_hh", 12345.0),
    )  # fmt: skip
    components = ComponentFindings(
        steps=T,
        epochs=EPOCHS,
        checks={
            end: ComponentCheck(10, 80, 90, 1e-15 * number(), (2, 1), 11, 1e-16 * number()) for end in (BEFORE, AFTER)
        },
        norms=np.tril(numbers(T, T)),
        masks=[MaskShown(1, 1, "one step", 4, 10, 0.7), MaskShown(2, 4, "overlapping blocks", 10, 10, 1.0)],
        own=[network(numbers) for _ in EPOCHS],
        networks=NETWORKS,
        bands=[network(band) for _ in EPOCHS],
        diverged=1,
        lower={kind: np.array([2, 1, 0, 1]) for kind in ("chunks", "sliding")},
        opposite=[Opposite("chunks", 2, 1), Opposite("sliding", 1, 2)],
        growth={name: growth(band) for name in (BEFORE, AFTER)},
    )
    keys = ("stale_now", "one_more", "chunks", "mean", "squared", "added_up")
    disagreements = [
        Disagreement(key, f"variant {key}", "k1 = 1, k2 = 4", np.tri(T), np.tri(T) * (place + 1), [
            outcome("diverged" if key == "squared" else "learns", diverged=int(key in ("mean", "squared")))])
        for place, key in enumerate(keys)
    ]  # fmt: skip
    changes = [("x < 1", "x > 1")]
    functions = ["def f(x):\n    return x > 1"]
    slower = [outcome("diverged", 0.1, 2), outcome("learns", 0.025, 1), outcome("lower loss", 0.00625)]
    mistakes = [
        Mistake("dh_next dropped", changes, functions, Caught("dh", "B2"), "k1 = 1, k2 = 4", [outcome("learns less")]),
        Mistake("tanh′ missing", changes, functions, Caught("da", "B3"), "k1 = 1, k2 = 4", slower),
        Mistake("2e for e", changes, functions, Caught("dy", "B1"), "k1 = 1, k2 = 4", [outcome("the same")]),
        Mistake("loss · 2", changes, functions, Caught("loss", "L1"), "mean", [outcome("moves no parameter")]),
        Mistake("a < b", changes, functions, Caught("dx", "B10"), None, []),
    ]
    lengths = FinalLosses({k: final(k % 2) for k in (1, 2, 4)}, {k: final(k // 4) for k in (1, 2, 4)})
    options = RunOptions(Schedule(1, 1, 4), Objective(), step)
    about = About("sine wave", dict(zip("TBDHO", (T, 1, 1, H, 1))), 9, options, {"epochs": "4"}, "float32", 7, NETWORKS,
                  EPOCHS, {"python": "3", "numpy": "2", "matplotlib": "3"})  # fmt: skip
    explorer = {
        "name": "</script><b>", "sizes": about.sizes, "nonlinearity": "tanh", "biases": False, "learned_h_0": False,
        "k1": 1, "k2": 1, "learning_rate": 0.1, "update": {"max_norm": None}, "snapshots": [{"epoch": 0}, {"epoch": 1}],
    }  # fmt: skip
    made, other = {"command": "make it", "numpy": "2"}, "another series"
    training = TrainingFindings(
        made, other, about.sizes, NETWORKS, 0.1, "sum", lengths, disagreements, mistakes, 4, 2.0
    )  # fmt: skip
    return Findings(about, checks, components, training, explorer)
