"""Published ways to train by truncated BPTT that are no mutants of the suite: their windows remember earlier ones."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

from numpy_rnn import Window, windows
from numpy_rnn.common.records import Run, WindowCase
from numpy_rnn.study.suite_parts import (
    DEFINITION,
    FORWARD,
    Program,
    Recorded,
    Stale,
    initial_state,
    named,
    trained,
    window_update,
)


class StaleWeights(Stale):
    """h, φ′ and W_hh of (B2) are those of the update that had the step as a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.W_hh = dict[int, Any]()  # by the step of the series whose a it made

    def pre_activation(self, n, w, p, t):
        step = self.window.start + t
        if step > self.window.loss_start:
            self.W_hh[step] = p.W_hh
        return super().pre_activation(n, w, p, t)

    def state_adjoint(self, n, w, p, t):
        flow = [(w.da[t + 1], self.W_hh[self.window.start + t + 1].mT)] if t < len(w.x) else []
        return n.affine([(w.dy[t], p.W_hy.mT), *flow])

    def initial_state_adjoint(self, n, w, p):
        return n.affine([(w.da[1], self.W_hh[self.window.start + 1].mT)])


class AddedUp(Stale):
    """The gradient that reached h_t through a_{t+1} is kept, and added to by every later window."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = dict[int, Any]()  # by the step of the series

    def state_adjoint(self, n, w, p, t):
        step, flow = self.window.start + t, n.affine([(w.da[t + 1], p.W_hh.mT)])
        self.kept[step] = flow if step > self.window.loss_start else self.kept[step] + flow
        return n.affine([(w.dy[t], p.W_hy.mT)]) + self.kept[step]


def counted_again(T: int, new: int, k1: int, k2: int) -> Window:
    """Every step of a window has a loss: that of an older step counts again in each window that holds it."""
    start, _, stop = DEFINITION.window(T, new, k1, k2)
    return Window(start, start, stop)


def replayed(run: Run) -> Iterator[Recorded]:
    """The initial state of a window is computed again from h_0, with the current weights."""
    h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
    schedule, initial = cycle(windows(len(run.x), *run.options.schedule[:2])), h_0

    def replay(case: WindowCase) -> WindowCase:
        nonlocal initial
        if start := next(schedule).start:
            older = case._replace(x=run.x[:start], target=case.target[:1], h_0=h_0, step=None)  # type: ignore[arg-type]
            case = case._replace(h_0=window_update(older, of=FORWARD)["h"][-1])
        initial = initial_state(case)
        return case

    for recorded in trained(run, changed=replay):
        yield recorded._replace(initial=initial)
        h_0 = recorded.report.get("h_0", h_0)


def with_methods(of: Stale, *names: str) -> Program:
    """The definition with these methods of an object, which follows the windows."""
    return partial(
        trained,
        of=DEFINITION._replace(**{name: getattr(of, name) for name in ("carried_state", *names)}),
    )


PROGRAMS: dict[str, Callable[[], Program]] = {
    "stale activations and stale W_hh kept": lambda: with_methods(
        StaleWeights(), "pre_activation", "state_adjoint", "initial_state_adjoint"
    ),
    "state gradients add up over overlapping windows": lambda: with_methods(
        AddedUp(), "state_adjoint"
    ),
    "losses of older steps counted again": lambda: partial(
        trained, of=DEFINITION._replace(window=counted_again)
    ),
    "states replayed from the start with the current weights": lambda: replayed,
}


def program(name: str) -> Program:
    """The program of this name, or the mutant."""
    return PROGRAMS[name]() if name in PROGRAMS else partial(trained, of=named(name).definition)
