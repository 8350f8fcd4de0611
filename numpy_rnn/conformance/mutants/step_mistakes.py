"""Mistakes of the loss, of the case, of the step, and of sums of gradients, for hints."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY, Floats
from numpy_rnn.conformance.case import initial_state, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, Equation, update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, by_factor
from numpy_rnn.conformance.mutants.window_mistakes import (
    CONSTANTS,
    FORMATS,
    Changes,
    Mistake,
    Mistakes,
    changed,
    rounded,
)

# -- the loss and the case --------------------------------------------------------------------------------------------


def _softmax(y: NumpyArray) -> NumpyArray:
    e = np.exp(y - y.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


WEIGHTS: Changes = {  # other weights of the loss, by their steps
    "loss weights left out": lambda w: 0 * w + 1, "loss weights squared": lambda w: w * w,
    "signs of the loss weights": np.sign,
    "the loss of the last step alone": lambda w: np.concatenate((0 * w[:-1], w[-1:])),
    "the loss of the first step alone": lambda w: np.concatenate((w[:1], 0 * w[1:])),
    "the loss without the last step": lambda w: np.concatenate((w[:-1], 0 * w[-1:])),
    "the loss without the first step": lambda w: np.concatenate((0 * w[:1], w[1:])),
}  # fmt: skip


def other_losses() -> Mistakes:
    """Other weights, terms or reductions of the loss, of its gradient, or of both."""

    def counting(change, in_sum, in_divisor, n, y, target, weights, objective):
        w = weights * np.ones((*y.shape[:-1], 1))
        others, sums = change(w), objective._replace(reduction="sum")
        L, dy = right.loss_and_error(n, y, target, others if in_sum else w, sums)
        N = n.divisor(y, others if in_divisor else w, objective)
        return L / np.ravel(N)[0], dy / N

    def of_softmax(log, error, n, y, z, weights, objective):
        """Cross-entropy with another logarithm of p, or another gradient."""
        if objective.loss != "cross_entropy":
            raise LookupError("it is the mistake of another loss")
        N = n.divisor(y, weights, objective)
        L = (weights * -z * log(_softmax(y))).sum() / np.ravel(N)[0]
        return L, weights * error(_softmax(y), z) / N

    def unequal(loss, error, *given):
        return loss(*given)[0], error(*given)[1]

    found = {
        m.name: m.functions["loss_and_error"]
        for m in MUTANTS
        if [*m.functions] == ["loss_and_error"]
    }
    for text, change in WEIGHTS.items():
        found[text] = partial(counting, change, True, True)
        found[f"{text}, in the divisor of the mean not"] = partial(counting, change, True, False)
        found[f"{text}, in the divisor of the mean alone"] = partial(counting, change, False, True)
    found["the target not subtracted from p"] = partial(of_softmax, np.log, lambda p, z: p)
    found["(p − target) p (1 − p)"] = partial(
        of_softmax, np.log, lambda p, z: (p - z) * p * (1 - p)
    )
    for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6):
        found[f"log(p + {c:g})"] = partial(
            of_softmax, lambda p, c=c: np.log(p + c), lambda p, z: p - z
        )
    for text, function in found.items():
        yield from changed(text, "loss_and_error", function)
        for where, pair in (
            ("dy", (right.loss_and_error, function)),
            ("the loss", (function, right.loss_and_error)),
        ):
            yield from changed(
                f"in {where} alone: {text}", "loss_and_error", partial(unequal, *pair)
            )


ORDERS: Changes = {  # of inputs or targets
    "in reversed order": lambda v: v[::-1], "one step late": lambda v: np.roll(v, 1, 0),
    "one step early": lambda v: np.roll(v, -1, 0),  # and (B, T, N) read as (T, B, N)
    "reshaped for transposed": lambda v: np.ascontiguousarray(np.moveaxis(v, 0, 1)).reshape(v.shape),
}  # fmt: skip


def other_cases() -> Mistakes:
    """The values of another case: a part of it is exchanged, or shifted in time."""

    def first_losses(case):
        older = len(case.x) - len(case.target)
        w = np.ones(case.target.shape[:2]) if case.weights is None else case.weights
        target, weights = (
            np.pad(array, ((0, older), *[(0, 0)] * (array.ndim - 1))) for array in (case.target, w)
        )
        return case._replace(target=target, weights=weights)

    def reordered(order, names, case):
        return case._replace(**{name: order(getattr(case, name)) for name in names})

    changes: Changes = {"the losses of the first K steps of the window": first_losses}
    for words, names in {
        "inputs": ("x",),
        "targets": ("target",),
        "inputs and targets": ("x", "target"),
    }.items():
        changes |= {
            f"{words} {text}": partial(reordered, order, names) for text, order in ORDERS.items()
        }
    for text, change in changes.items():
        yield Mistake(text, field="loss_and_error", change=change)


# -- the step ---------------------------------------------------------------------------------------------------------


def stepped(case: WindowCase, gradients: Arrays, of: Definition = DEFINITION) -> Arrays:
    """The velocities and parameters after the step with these gradients, dW_xh and so on."""
    n, p = Floats(np.float64), present(case.params)
    update(n, p, {name: gradients["d" + name] for name in p}, present(case.velocity), case.step, of)
    return n.report()


OPTIONS: Changes = {  # of a number of the step, and its name
    "{} left out": lambda v, name: getattr(Step(1.0), name), "twice the {}": lambda v, name: 2 * v,
    "half of the {}": lambda v, name: v / 2, "{} of the other sign": lambda v, name: -v,
    "1 − {0} for {0}": lambda v, name: 1 - v,
}  # fmt: skip
OPERANDS: dict[str, tuple[str, tuple[str, ...]]] = {  # of the step: the result, and what it is made of; "": no number
    "decayed": ("g with weight decay", ("", "g", "θ")), "velocity": ("v", ("g", "v of before")),
    "direction": ("the direction", ("g", "v", "v of before")), "updated": ("the new θ", ("", "θ", "the direction")),
}  # fmt: skip
CHANGES: Changes = {  # of an operand or a result, and the step
    "without {}": lambda v, s: 0 * v, "twice {}": lambda v, s: 2 * v, "{} of the other sign": lambda v, s: -v,
    "{} within ±max_value": lambda v, s: np.clip(v, -s.max_value, s.max_value),
    "(1 − μ) {}": lambda v, s: (1 - s.momentum) * v, "μ {}": lambda v, s: s.momentum * v,
    "η {}": lambda v, s: s.learning_rate * v, "the sign of {}": lambda v, s: np.sign(v),
    "{} divided by its norm": lambda v, s: v / np.linalg.norm(v),
    **{f"{{}} rounded to {name}": partial(lambda name, v, s: rounded(v, name), name) for name in FORMATS},
}  # fmt: skip
NORMS: Changes = {  # of the gradients by name
    "the sum of the tensors' norms": lambda d: sum(np.linalg.norm(g) for g in d.values()),
    "the largest number for the norm": lambda d: max(np.abs(g).max() for g in d.values()),
}
ROOTS: Changes = {  # of g, and the sum of squares
    "g divided by the sum of squares, without the root": lambda g, v: g / (v + TINY),
    **{
        f"{c:g} outside the root": partial(lambda c, g, v: g / (np.sqrt(v) + c), c)
        for c in (1e-10, 1e-7, 1e-6)
    },
}


def other_steps(step: Step) -> Mistakes:
    """Steps of other functions of the definition, that apply to this step."""

    def by_norm(norm, n, d, p, step):
        return {name: n.factor(norm(d), step.max_norm) * g for name, g in d.items()}

    def by_root(root, n, g, v, before, step):
        return root(g, v)

    def of_result(equation, change, *given):
        return change(equation(*given), given[-1])

    def of_operand(equation, i, change, *given):
        """The i-th operand changed, but not in the first velocity."""
        is_first = equation is right.velocity and given[2] is None
        return equation(
            *given[:i], given[i] if is_first else change(given[i], given[-1]), *given[i + 1 :]
        )

    def decayed_twice(n, name, theta, delta, step):
        return theta - n.rate(step, theta) * (delta + step.weight_decay * theta)

    def of(text: str, **functions: Equation) -> Mistake:
        return Mistake(text, DEFINITION._replace(**functions))

    if step.max_norm is not None:
        yield from (of(text, clipped=partial(by_norm, norm)) for text, norm in NORMS.items())
        yield of(
            "a norm without its root",
            clipped=by_factor(lambda norm, c: np.minimum(1, c / (norm**2 + SMALL))),
        )
    if step.adagrad:
        yield from (of(text, direction=partial(by_root, root)) for text, root in ROOTS.items())
    yield of(
        "the velocity of before left out",
        velocity=lambda n, g, _, step: right.velocity(n, g, None, step),
    )
    yield of("weight decay both in the gradient and of the weights", updated=decayed_twice)
    for field, (result, operands) in OPERANDS.items():
        equation, places = (
            getattr(right, field),
            [(i, name) for i, name in enumerate(operands, 1) if name],
        )
        for text, change in CHANGES.items():
            functions: Changes = {field: partial(of_result, equation, change)}
            yield of(text.format(result), **functions)
            if "max_value" in text:
                functions["clipped"] = lambda n, d, *_: d
                yield of(f"{text.format(result)}, in place of the gradients", **functions)
            for i, name in places:
                words = (
                    f"{result} {'' if text.startswith('without') else 'with '}{text.format(name)}"
                )
                yield of(words, **{field: partial(of_operand, equation, i, change)})


def other_options(step: Step) -> Mistakes:
    """Steps of other options than those of this step."""

    def replaced(name: str, change: Callable[[Any], Any]) -> Callable[[WindowCase], WindowCase]:
        return lambda c: c._replace(step=c.step._replace(**{name: change(getattr(c.step, name))}))

    def with_options() -> Iterator[tuple[str, Callable[[WindowCase], WindowCase]]]:
        yield "learning_rate left out", replaced("learning_rate", lambda v: 1.0)
        for name in ("max_norm", "max_value", "weight_decay", "momentum", "dampening"):
            if getattr(step, name) or name == "dampening":
                for text, change in OPTIONS.items():
                    yield text.format(name), replaced(name, partial(change, name=name))
        for name, words in (("nesterov", "Nesterov's momentum"), ("adagrad", "Adagrad")):
            is_asked = getattr(step, name)
            yield (
                words + (" left out" if is_asked else ", though it is not asked for"),
                replaced(name, lambda v: not v),
            )
        for c in () if step.weight_decay else (1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.1):
            yield f"a weight decay of {c:g}", replaced("weight_decay", partial(lambda c, v: c, c))

    yield from (Mistake(text, change=change) for text, change in with_options())


# -- other gradients --------------------------------------------------------------------------------------------------


def other_gradients(case: WindowCase, values: Arrays) -> dict[str, Arrays]:
    """Gradients from the right values that are other sums, transposed, clipped by value or rounded."""
    p, h = present(case.params), np.concatenate((initial_state(case)[None], values["h"]))
    own = {"d" + name: values["d" + name] for name in p}
    (T, B, _), K = case.x.shape, len(case.target)
    t, b = np.arange(T)[:, None, None], np.arange(B)[:, None]
    counts = {"without the steps that have no loss": 1 * (t >= T - K)}
    for name, is_part in {"first step": t == 0, "last step": t == T - 1,
                          "first sequence": b == 0, "last sequence": b == B - 1}.items():  # fmt: skip
        counts |= {f"of the {name} alone": 1 * is_part, f"without the {name}": 1 - is_part,
                   f"with the {name} counted twice": 1 + is_part}  # fmt: skip
    others: dict[str, Arrays] = {"transposed": {"dW_hh": own["dW_hh"].T}}
    for text, count in counts.items():
        dy, da = count * values["dy"], count * values["da"]
        pairs = {"dW_xh": (case.x, da), "dW_hh": (h[:-1], da), "dW_hy": (h[1:], dy)}
        d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        others[text] = (
            own | d | {"db_y": dy.sum((0, 1))} | dict.fromkeys(("db_h", "db_hh"), da.sum((0, 1)))
        )
    others |= {
        f"rounded to {form}": {name: rounded(g, form) for name, g in own.items()}
        for form in FORMATS
    }
    others |= {
        f"within ±{c:g}": {name: np.clip(g, -c, c) for name, g in own.items()} for c in CONSTANTS
    }
    return others
