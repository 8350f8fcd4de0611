"""Exercises with solutions. Every number of a solution is computed, by the functions that the page is about."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

import numpy_rnn as rnn
from numpy_rnn.clipping import global_norm
from numpy_rnn.study.page.derivation import inline

ONE = np.ones((1, 1))


class Exercise(NamedTuple):
    """A question, a solution with {placeholders}, and what computes them. Text as in DERIVATION.md."""

    question: str
    solution: str
    numbers: Callable[[], dict[str, float]]


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
        _, velocity = rnn.direction(params, one, velocity, momentum=0.9)
        result[f"v_{number}"] = velocity.W_hh.item()
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
    return {f"N_{n}": 2 * w.loss_steps for n, w in enumerate(schedule, start=1)} | {"eta": 0.8 / (2 * schedule[0].loss_steps)}


def slopes() -> dict[str, float]:
    """The largest slope of the logistic function, its tenth power in units of 10⁻⁷, and tanh' at 0 and 3."""
    h = np.tanh([0.0, 3.0])
    return {"sigmoid": 0.5 * (1 - 0.5), "ten": 0.25**10 * 1e7, "tanh_0": 1 - h[0] ** 2, "tanh_3": 1 - h[1] ** 2}


def learned_state() -> dict[str, float]:
    """Windows that start from h_0, of TBPTT(2, 3) and of TBPTT(2, 4), on 6 steps."""
    return {f"k_{k2}": sum(w.start == 0 for w in rnn.windows(6, 2, k2)) for k2 in (3, 4)}


EXERCISES = (
    Exercise(
        "In the worked example of section 4.1 the second target is 5 instead of 6. What are $dh_1$ and $dw$? What does one get"
        " with the total derivative of $a_2$ by $w$ in place of the immediate one?",
        "$dh_1 = {dh_1:g}$ and $dw = {dw:g}$. With the total derivative, 5, the path through $h_1$ is counted twice: {wrong:g}.",
        two_steps,
    ),
    Exercise(
        "Why is $dy_t$ of the softmax cross-entropy not small where the network is sure and wrong? Compute it for"
        " $y = (0, 0, \\log 2)$ if the third class is right.",
        "$p = (\\frac{{1}}{{4}}, \\frac{{1}}{{4}}, \\frac{{1}}{{2}})$, so $dy = ({dy_1:g}, {dy_2:g}, {dy_3:g})$, and the loss is"
        " ${loss:.4f}$. $dy = p - target$ does not contain the slope of the softmax, so it is nearly 1 in size where $p$ of the"
        " right class is nearly 0.",
        softmax_error,
    ),
    Exercise(
        "A series has 10 steps. Which windows has TBPTT(2, 4), how many components does it keep, and how many forward steps does"
        " an epoch compute?",
        "{windows:g} windows: (0, 2], (0, 4], (2, 6], (4, 8], (6, 10]. They keep {kept:g} of {all:g} components and compute"
        " {steps:g} steps, a little less than $k_2 / k_1 = 2$ times the series, because the first window is shorter.",
        kept_components,
    ),
    Exercise(
        "A learned $h_0$ has a gradient in the windows with $s_n = 0$. How many are there per epoch of 6 steps with TBPTT(2, 3),"
        " and with TBPTT(2, 4)?",
        "{k_3:g} and {k_4:g}: only if $2 k_1 \\le k_2$ does the second window reach back to the beginning.",
        learned_state,
    ),
    Exercise(
        "$T = 10\\,000$, $B = 1$, $D = 1$, $H = 50$. How many numbers must be kept for BPTT, for TBPTT(5, 20) and for RTRL? How"
        " much more does TBPTT(5, 20) compute than BPTT?",
        "The states are {bptt:,.0f} numbers for BPTT and {tbptt:,.0f} for TBPTT; the $J_t$ of RTRL are {rtrl:,.0f}, whatever $T$"
        " is. TBPTT(5, 20) computes {work:g} times as much.",
        memory,
    ),
    Exercise(
        "The largest singular value of $W_{{hh}}$ is 0.9, and φ is tanh. From which lag on is the Jacobian"
        " $\\partial h_t / \\partial h_s$ surely below 1 %? Why may it be sooner?",
        "From lag {lag:g} on: $0.9^{{{lag:g}}} = {at:.4f}$. The bound takes every slope to be 1 and every step to stretch the"
        " same direction; slopes of saturated units are far smaller.",
        fading,
    ),
    Exercise(
        "Elman 1990 has logistic units. How small does a gradient become at least over ten steps if $W_{{hh}}$ is the identity? And"
        " tanh units?",
        "The slope of the logistic function is at most {sigmoid:g}, so ten steps leave at most ${ten:.2f} \\cdot 10^{{-7}}$ of it. The slope of tanh"
        " is {tanh_0:g} at 0, where nothing is lost, and {tanh_3:.4f} at 3.",
        slopes,
    ),
    Exercise(
        'TBPTT(4, 8) on 10 steps with two outputs and the reduction "mean". By which $N$ does each update divide? Which learning'
        ' rate under "sum" makes the first update equal to that of "mean" with $\\eta = 0.8$?',
        "By {N_1:g}, {N_2:g} and {N_3:g}: the last update has fewer new steps. The first one equals that of the sum with"
        " $\\eta = {eta:g}$; the last does not, so no single $\\eta$ makes the two runs equal.",
        means,
    ),
    Exercise(
        "The gradient is (3, 4, 0). What do clipping by norm to 1 and clipping by value to 1 make of it, and which keeps the"
        " direction?",
        "Its norm is {norm:g}. By norm: ({n_1:.8f}, {n_2:.8f}, 0), the same direction; the norm is a little below 1 because of the"
        " $10^{{-6}}$ of (U3). By value: ({v_1:g}, {v_2:g}, 0), another direction.",
        clipped,
    ),
    Exercise(
        "With momentum 0.9 and a gradient that stays 1, how long is the velocity after 1, 10 and 100 updates? What does this say"
        " about the learning rate?",
        "{v_1:g}, {v_10:.3f} and {v_100:.4f}: it approaches $1 / (1 - \\mu) = 10$. A learning rate that suits plain gradient"
        " descent is ten times too large.",
        steady_velocity,
    ),
)


@cache
def solutions() -> tuple[str, ...]:
    """The solutions with their numbers."""
    return tuple(exercise.solution.format(**exercise.numbers()) for exercise in EXERCISES)


def exercises() -> str:
    """All of them as HTML, the solutions folded."""
    return "\n".join(
        f'<div class="exercise" id="exercise-{number}"><p><b>{number}.</b> {inline(exercise.question.format())}</p>\n'
        f"<details><summary>Solution</summary>\n<p>{inline(solution)}</p></details></div>"
        for number, (exercise, solution) in enumerate(zip(EXERCISES, solutions()), start=1)
    )
