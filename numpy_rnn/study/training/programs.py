"""Published ways to train by truncated BPTT that are no mutants of `plain_rnn`: their windows remember earlier ones."""

from collections.abc import Callable, Iterator
from itertools import cycle
from types import ModuleType
from typing import Any

import numpy as np

from numpy_rnn import windows
from numpy_rnn.common.records import Run, WindowCase
from numpy_rnn.study.suite_parts import Program, Recorded, Report, initial_state, mutant, plain_rnn, present


def stale_weights() -> Program:
    """h, φ′ and W_hh of (B2) are those of the update that had the step as a new one."""
    stale = mutant("activations of stale weights kept")
    W_hh: list[Any] = []  # by which a_t of each step of the latest window was computed

    def window_update(case: WindowCase) -> Report:
        W_hh[:] = _slide(W_hh, case, case.params.W_hh)
        return _with_flow(case, stale.window_update(case), W_hh, [0] * len(case.x))

    return Program(stale.train, window_update)


def added_up() -> Program:
    """The gradient that reached h_t through a_{t+1} is kept, and added to by every later window."""
    kept: list[Any] = []  # for each step of the latest window

    def window_update(case: WindowCase) -> Report:
        kept[:] = _slide(kept, case, 0)
        return _with_flow(case, plain_rnn.window_update(case), [case.params.W_hh] * len(case.x), kept)

    return Program(plain_rnn.train, window_update)


def replayed() -> Program:
    """The initial state of a window is computed again from h_0, with the current weights."""

    def train(run: Run, compute: Callable[[WindowCase], tuple[Report, Any]]) -> Iterator[Recorded]:
        h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
        schedule, initial = cycle(windows(len(run.x), *run.options.schedule[:2])), h_0

        def replay(case):
            nonlocal initial
            start = next(schedule).start
            if start > 0:
                states = plain_rnn.forward(present(case.params), run.x[:start], h_0, case.objective.nonlinearity)[1]
                case = case._replace(h_0=states[-1])
            initial = case.h_0
            return compute(case)

        for recorded in plain_rnn.train(run, replay):
            yield recorded._replace(initial=initial)
            h_0 = recorded.report.get("h_0", h_0)

    return Program(train, plain_rnn.window_update)


def counted_again() -> Program:
    """Every step of a window has a loss: that of an older step counts again in each window that holds it."""

    def train(run: Run, compute: Callable[[WindowCase], tuple[Report, Any]]) -> Iterator[Recorded]:
        schedule = cycle(windows(len(run.x), *run.options.schedule[:2]))

        def with_all_targets(case):
            start, _, stop = next(schedule)
            return compute(case._replace(target=run.target[start:stop]))

        return plain_rnn.train(run, with_all_targets)

    return Program(train, plain_rnn.window_update)


def clipped_per_tensor() -> Program:
    """The mutant “clipping per tensor”, but with a norm for each network of an ensemble."""

    def window_update(case: WindowCase) -> Report:
        report, p, step = plain_rnn.window_update(case), present(case.params), case.step
        if step.max_norm is None:
            return report
        clipped = {}
        for name, theta in p.items():
            g = report["d" + name]
            norm = np.sqrt((g * g).sum(axis=tuple(range(p["W_hh"].ndim - 2, theta.ndim)), keepdims=True))
            clipped[name] = np.minimum(1, step.max_norm / (norm + 1e-6)) * g
        return report | plain_rnn.update(p, clipped, present(case.velocity), step._replace(max_norm=None))

    return Program(plain_rnn.train, window_update)


PROGRAMS: dict[str, Callable[[], Program]] = {
    "stale activations and stale W_hh kept": stale_weights,
    "state gradients add up over overlapping windows": added_up,
    "losses of older steps counted again": counted_again,
    "states replayed from the start with the current weights": replayed,
    "clipping per tensor": clipped_per_tensor,
}


def program(name: str) -> Program | ModuleType:
    """The program of this name, or the mutant."""
    return PROGRAMS[name]() if name in PROGRAMS else mutant(name)


def _slide(values: list[Any], case: WindowCase, new: Any) -> list[Any]:
    """What is known of each step of a window: of its older steps, what was known of the newest steps of the last."""
    loss_steps = len(case.target)
    return values[len(values) + loss_steps - len(case.x) :] + [new] * loss_steps


def _with_flow(case: WindowCase, report: Report, W_hh: list[Any], kept: list[Any]) -> Report:
    """The report with other dh and da: by one W_hh per step in (B2), and with the gradients in `kept`, which are added
    to.
    """
    p, T = present(case.params), len(case.x)
    slopes = plain_rnn.SLOPES[case.objective.nonlinearity](report["h"], report["a"])
    dy, dh, da, flow = report["dy"], np.zeros_like(report["h"]), np.zeros_like(report["h"]), 0
    for t in reversed(range(T)):
        dh[t] = dy[t] @ p["W_hy"].mT + flow  # (B2)
        da[t] = dh[t] * slopes[t]  # (B3)
        flow = da[t] @ W_hh[t].mT
        if t > 0:
            flow = kept[t - 1] = flow + kept[t - 1]
    h_0 = np.broadcast_to(initial_state(case), dh[0].shape)
    d = plain_rnn.gradients(p, case.x, np.concatenate((h_0[None], report["h"])), dy, da)
    d |= {"h_0": flow} if "h_0" in p else {}
    step = plain_rnn.update(p, d, present(case.velocity), case.step)
    adjoints = {"dh": dh, "da": da, "dx": da @ p["W_xh"].mT, "dh_0": flow}
    return report | adjoints | {"d" + name: gradient for name, gradient in d.items()} | step
