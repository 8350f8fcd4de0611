"""The findings of one study with made-up numbers, all different and the same on every machine."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np

from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.study import findings as records
from numpy_rnn.study.checks.equations import EQUATIONS

T, H, EPOCHS, NETWORKS = 4, 2, [0, 4], 3
WITNESSES = ("ball arithmetic", "complex step", "central difference", "counting steps")
SIZES = {"T": T, "B": 1, "D": 1, "H": H, "O": 1}
serial = count(1)


def numbers(*shape: int) -> np.ndarray:
    """Numbers between 0.1 and 1, no two the same."""
    values = [0.1 + 0.9 * (next(serial) * 0.618034 % 1) for _ in range(int(np.prod(shape)))]
    return np.array(values).reshape(shape)


def number() -> float:
    return float(numbers(1)[0])


def band(*shape: int) -> records.Band:
    return records.Band(*np.sort(numbers(3, *shape), axis=0))


def network(values: Callable[..., Any]) -> records.Network:
    costs = {kind: records.Cost(values(T), values(T)) for kind in ("chunks", "sliding")}
    return records.Network(costs, values(T), values(), values())


def equation_check(equation, place: int) -> records.EquationCheck:
    differences = [
        records.Difference(
            witness, 1e-16 * number(), 1e6 * number() if "central" in witness else number(), 8, 9
        )
        for witness in WITNESSES[: 2 + place % 3]
    ]
    differences.append(records.Difference("plain loops", 0.0, 0.0, 9, 9))
    values = {"by hand": number(), "ball arithmetic": number()}
    return records.EquationCheck(
        equation.what,
        equation.quantity,
        "in a run",
        differences,
        f"{equation.quantity}[{place}]",
        values,
    )


def final(diverged: int = 0) -> np.ndarray:
    losses = numbers(NETWORKS)
    losses[:diverged] = np.inf
    return losses


def mistake(
    name: str, tensor: str, equation: str, shown_by: str | None, *outcomes: tuple[str, float, int]
) -> records.Mistake:
    made = [
        records.Outcome(rate, band(), diverged, verdict) for verdict, rate, diverged in outcomes
    ]
    changes, functions = [("x < 1", "x > 1")], ["def f(x):\n    return x > 1"]
    return records.Mistake(
        name, changes, functions, records.Caught(tensor, equation), shown_by, made
    )


@cache
def made_up() -> records.Findings:
    """All records of a study of four steps."""
    options = RunOptions(Schedule(1, 1, 4), Objective(), Step(0.1, momentum=0.5, max_norm=0.25))
    equations = {
        id: equation_check(equation, place)
        for place, (id, equation) in enumerate(EQUATIONS.items())
    }
    checks = records.Checks(
        equations, {"autograd": "PyTorch is not installed"}, ["here", "there"], [(1, 1), (1, 4)], True, 512,
        records.Difference("a mistake", 0.0, 12345.0, 1, 1),
    )  # fmt: skip
    components = records.ComponentFindings(
        steps=T,
        epochs=EPOCHS,
        checks={
            end: records.ComponentCheck(10, 80, 90, 1e-15 * number(), 11, 1e-16 * number())
            for end in (records.BEFORE, records.AFTER)
        },
        norms=np.tril(numbers(T, T)),
        masks=[
            records.MaskShown(1, 1, "one step", 4, 10, 0.7),
            records.MaskShown(2, 4, "overlapping blocks", 10, 10, 1.0),
        ],
        own=[network(numbers) for _ in EPOCHS],
        networks=NETWORKS,
        bands=[network(band) for _ in EPOCHS],
        diverged=1,
        lower={kind: np.array([2, 1, 0, 1]) for kind in ("chunks", "sliding")},
        opposite=[records.Opposite("chunks", 2, 1), records.Opposite("sliding", 1, 2)],
    )
    verdicts = {"stale_now": 0, "one_more": 0, "chunks": 0, "mean": 1, "squared": 1, "added_up": 0}
    disagreements = [
        records.Disagreement(key, f"variant {key}", "k1 = 1, k2 = 4",
                     [records.Outcome(0.1, band(), diverged, "diverged" if key == "squared" else "learns")])
        for key, diverged in verdicts.items()
    ]  # fmt: skip
    window, slower = (
        "k1 = 1, k2 = 4",
        (("diverged", 0.1, 2), ("learns", 0.025, 1), ("lower loss", 0.00625, 0)),
    )
    mistakes = [
        mistake("dh_next dropped", "dh", "B2", window, ("learns less", 0.1, 0)),
        mistake("tanh′ missing", "da", "B3", window, *slower),
        mistake("2e for e", "dy", "B1", window, ("the same", 0.1, 0)),
        mistake("loss · 2", "loss", "L1", "mean", ("moves no parameter", 0.1, 0)),
        mistake("a < b", "dx", "B10", None),
    ]
    lengths = records.FinalLosses(
        {k: final(k % 2) for k in (1, 2, 4)}, {k: final(k // 4) for k in (1, 2, 4)}
    )
    about = records.About("sine wave", SIZES, 9, options, {"epochs": "4"}, False, "float32", 7, NETWORKS, EPOCHS,
                  {"python": "3", "numpy": "2", "matplotlib": "3"})  # fmt: skip
    explorer = {
        "name": "</script><b>", "sizes": SIZES, "nonlinearity": "tanh", "biases": False, "learned_h_0": False,
        "k1": 1, "k2": 1, "learning_rate": 0.1, "update": {"max_norm": None}, "snapshots": [{"epoch": 0}, {"epoch": 1}],
    }  # fmt: skip
    made, other = {"command": "make it", "numpy": "2"}, "another series"
    training = records.TrainingFindings(
        made, other, SIZES, NETWORKS, 0.1, "sum", lengths, disagreements, mistakes, 4, 2.0
    )
    return records.Findings(about, checks, components, training, explorer)


@cache
def extreme() -> records.Findings:
    """The same of a network that is not trained: numbers that are missing, infinite, negative or very small."""
    made = made_up()
    components, training, (first, *_) = made.components, made.training, made.checks.equations
    check, bounds = made.checks.equations[first], (0.0, 1e-9, 0.5, 1e20, np.inf)
    differences = [replace(check.differences[0], bounds=each) for each in bounds]
    equations = made.checks.equations | {first: replace(check, differences=differences)}
    cosines = records.Cost(records.Band(*np.linspace(-0.9, 0.8, 3 * T).reshape(3, T)), band(T))
    bands = [replace(components.bands[0], cost={"chunks": cosines, "sliding": cosines})]
    masks = [replace(components.masks[0], share=np.nan)]
    norms = np.tril(10.0 ** -np.arange(T * T).reshape(T, T))
    components = replace(
        components, epochs=[0], own=components.own[:1], bands=bands, masks=masks, norms=norms
    )
    outcome = replace(
        training.mistakes[0].outcomes[0],
        ratio=records.Band(*np.full(3, np.inf)),
        verdict="diverged",
    )
    mistakes = [*training.mistakes[:2], replace(training.mistakes[2], outcomes=[outcome])]
    by_k = replace(training.by_k, chunks=training.by_k.chunks | {2: final(NETWORKS)})
    training = replace(training, by_k=by_k, mistakes=mistakes)
    return replace(
        made,
        checks=replace(made.checks, equations=equations),
        components=components,
        training=training,
    )
