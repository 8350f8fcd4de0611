"""The exercises of exercises.txt with their solutions, whose numbers are computed by the functions of the page."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import numpy_rnn as rnn
from numpy_rnn.clipping import global_norm
from numpy_rnn.study.page.derivation import inline

TEXT = Path(__file__).with_name("exercises.txt")
EXERCISE = re.compile(r"^## (\w+)\n\n(.*?)\n\n\*\*Solution\.\*\* (.*?)$(?=\n\n##|\n*\Z)", re.DOTALL | re.MULTILINE)
ONE = np.ones((1, 1))


def two_steps() -> dict[str, float]:
    """The worked example of section 4.1, with the second target 5 instead of 6."""
    params = rnn.Parameters(ONE, 2 * ONE, ONE)
    activations = rnn.forward(params, np.ones((2, 1, 1)), ONE, nonlinearity="relu")
    target = np.array([2.0, 5.0]).reshape(2, 1, 1)
    flow = rnn.adjoints(params, activations, target, nonlinearity="relu")
    gradient = rnn.bptt(params, activations, target, nonlinearity="relu").W_hh.item()
    total = flow.da[0].item() * 1 + flow.da[1].item() * 5
    return {"dh_1": flow.dh[0].item(), "dw": gradient, "wrong": total}


def kept_components() -> dict[str, float]:
    """Components that TBPTT(2, 4) keeps of a series of 10 steps, and all."""
    schedule = list(rnn.windows(10, 2, 4))
    kept = sum(t - start for start, loss_start, stop in schedule for t in range(loss_start + 1, stop + 1))
    steps = sum(window.stop - window.start for window in schedule)
    return {"kept": kept, "all": 10 * 11 // 2, "windows": len(schedule), "steps": steps}


def softmax_error() -> dict[str, float]:
    """y = (0, 0, log 2), and the last class is the right one."""
    y = np.log([1.0, 1.0, 2.0]).reshape(1, 1, 3)
    params = rnn.Parameters(ONE, ONE, np.ones((1, 3)))
    activations = rnn.Activations(ONE[None], ONE[None], np.ones((2, 1, 1)), y)
    target = np.array([[2]])
    dy = rnn.adjoints(params, activations, target, loss="cross_entropy").dy.ravel()
    return {"loss": rnn.cross_entropy(y, target).item()} | {f"dy_{i}": v for i, v in enumerate(dy, start=1)}


def clipped() -> dict[str, float]:
    """A gradient (3, 4, 0) and max_norm 1, by norm and by value."""
    gradients = rnn.Gradients(3 * ONE, 4 * ONE, 0 * ONE)
    by_norm, by_value = rnn.clip_by_global_norm(gradients, 1.0), rnn.clip_by_value(gradients, 1.0)
    return {
        "norm": float(global_norm(gradients)),
        **{f"n_{i}": g.item() for i, g in enumerate(by_norm[:2], start=1)},
        **{f"v_{i}": g.item() for i, g in enumerate(by_value[:2], start=1)},
    }


def steady_velocity() -> dict[str, float]:
    """The velocity after 1, 10 and 100 updates with the gradient 1 and momentum 0.9."""
    params, one, velocity, result = rnn.Parameters(ONE, ONE, ONE), rnn.Gradients(ONE, ONE, ONE), None, {}
    for number in range(1, 101):
        delta, velocity = rnn.direction(params, one, velocity, momentum=0.9)  # the direction is the velocity
        result[f"v_{number}"] = delta.W_hh.item()
    return {name: result[name] for name in ("v_1", "v_10", "v_100")}


def fading() -> dict[str, float]:
    """The first lag at which 0.9 to its power is below 1 %."""
    lag = next(lag for lag in range(1000) if 0.9**lag < 0.01)
    return {"lag": lag, "before": 0.9 ** (lag - 1), "at": 0.9**lag}


def memory() -> dict[str, float]:
    """Numbers in memory for T = 10,000, B = 1, H = 50, D = 1: section 5.1."""
    T, H, D, k2 = 10_000, 50, 1, 20
    return {"bptt": T * H, "tbptt": k2 * H, "rtrl": H * (D * H + H * H + H), "work": 20 / 5}


def means() -> dict[str, float]:
    """Divisors of the windows of TBPTT(4, 8) on 10 steps with two outputs, under "mean"."""
    schedule = list(rnn.windows(10, 4, 8))
    return {f"N_{n}": 2 * w.loss_steps for n, w in enumerate(schedule, start=1)} | {
        "eta": 0.8 / (2 * schedule[0].loss_steps)
    }


def slopes() -> dict[str, float]:
    """The largest slope of the logistic function, its tenth power in units of 10⁻⁷, and tanh' at 0 and 3."""
    h = np.tanh([0.0, 3.0])
    return {"sigmoid": 0.5 * (1 - 0.5), "ten": 0.25**10 * 1e7, "tanh_0": 1 - h[0] ** 2, "tanh_3": 1 - h[1] ** 2}


def learned_state() -> dict[str, float]:
    """Windows that start from h_0, of TBPTT(2, 3) and of TBPTT(2, 4), on 6 steps."""
    return {f"k_{k2}": sum(w.start == 0 for w in rnn.windows(6, 2, k2)) for k2 in (3, 4)}


NUMBERS: dict[str, Callable[[], dict[str, float]]] = {
    of.__name__: of
    for of in (
        two_steps,
        softmax_error,
        kept_components,
        learned_state,
        memory,
        fading,
        slopes,
        means,
        clipped,
        steady_velocity,
    )
}


class Exercise(NamedTuple):
    """Text as in DERIVATION.md, without an open place."""

    name: str
    question: str
    solution: str


@cache
def all_exercises() -> tuple[Exercise, ...]:
    """Those of exercises.txt, with their numbers."""
    parts = (part.groups() for part in EXERCISE.finditer(TEXT.read_text(encoding="utf-8")))
    return tuple(Exercise(name, question, solution.format(**NUMBERS[name]())) for name, question, solution in parts)


def exercises() -> str:
    """All of them as HTML, the solutions folded."""
    return "\n".join(
        f'<div class="exercise" id="exercise-{number}"><p><b>{number}.</b> {inline(one.question)}</p>\n'
        f"<details><summary>Solution</summary>\n<p>{inline(one.solution)}</p></details></div>"
        for number, one in enumerate(all_exercises(), start=1)
    )
