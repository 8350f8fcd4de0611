"""Mistakes of the loss, of the case, of the step, and of sums of gradients, for hints."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations, product
from typing import Any

import numpy as np

from numpy_rnn.common.records import Step, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY, Floats
from numpy_rnn.conformance.arithmetics.nonlinearities import NONLINEARITIES
from numpy_rnn.conformance.case import initial_state, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, by_factor
from numpy_rnn.conformance.mutants.mistakes import FORMATS, Mistake, changed, rounded

# -- the loss and the case --------------------------------------------------------------------------------------------


def counted(part: Any, name: str) -> dict[str, Any]:
    """How often each of several numbers counts, by words, if a part of them is counted otherwise."""
    return {
        f"of the {name} alone": 1 * part,
        f"without the {name}": 1 - part,
        f"with the {name} counted twice": 1 + part,
    }


def _softmax(y: Any) -> Any:
    e = np.exp(y - y.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _logistic(y: Any, z: Any) -> Any:
    s = NONLINEARITIES["sigmoid"].phi(y)
    return -(z * np.log(s) + (1 - z) * np.log(1 - s))


LOSSES: dict[str, dict[str, Any]] = {  # of y and the target; dy is the derivative
    "squared_error": {
        "|e| for the squared error": lambda y, z: (y - z) * np.sign((y - z).real),
        "the squared error of softmax": lambda y, z: (_softmax(y) - z) ** 2 / 2,
        "y for y − target": lambda y, z: y * y / 2,
    },
    "cross_entropy": {
        "the squared error of p": lambda y, z: (_softmax(y) - z) ** 2 / 2,
        "the squared error of y": lambda y, z: (y - z) ** 2 / 2,
        "logistic outputs for softmax": _logistic,
        "smoothed targets": lambda y, z: -(0.9 * z + 0.1 / y.shape[-1]) * np.log(_softmax(y)),
        "the largest target alone": lambda y, z: -np.eye(z.shape[-1])[z.argmax(-1)] * np.log(_softmax(y)),
        **{f"log(p + {c:g})": partial(lambda c, y, z: -z * np.log(_softmax(y) + c), c)
           for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)},
    },
}  # fmt: skip
ERRORS: dict[str, dict[str, Any]] = {  # the same, of dy alone
    "squared_error": {"e (1 − y²) for e": lambda y, z: (y - z) * (1 - y * y),
                      "e y (1 − y) for e": lambda y, z: (y - z) * y * (1 - y)},
    "cross_entropy": {"the target not subtracted from p": lambda y, z: _softmax(y),
                      "(p − target) p (1 − p)": lambda y, z: (_softmax(y) - z) * _softmax(y) * (1 - _softmax(y))},
}  # fmt: skip


def other_losses() -> Iterator[Mistake]:
    """Other weights, terms or reductions of the loss, of its gradient, or of both."""

    def counting(change, in_sum, in_divisor, n, y, target, weights, objective):
        w = weights * np.ones((*y.shape[:-1], 1))
        others = change(w, np.arange(len(y)).reshape(-1, *(1,) * (y.ndim - 1)), len(y))
        L, dy = right.loss_and_error(n, y, target, others if in_sum else w, objective._replace(reduction="sum"))
        N = n.divisor(y, others if in_divisor else w, objective)
        return L / np.ravel(N)[0], dy / N

    def other(loss, text, n, y, target, weights, objective):
        terms, N = LOSSES[loss][text], n.divisor(y, weights, objective)
        moved = [terms(y + 1e-50j * unit, target).sum(-1).imag / 1e-50 for unit in np.eye(y.shape[-1])]
        if objective.loss != loss:
            raise LookupError("it is the mistake of another loss")
        return (weights * terms(y, target)).sum() / np.ravel(N)[0], weights * np.stack(moved, -1) / N

    def error(loss, text, n, y, target, weights, objective):
        L, dy = right.loss_and_error(n, y, target, weights, objective)
        return L, weights * ERRORS[objective.loss][text](y, target) / n.divisor(y, weights, objective)

    def unequal(loss, error, *given):
        return loss(*given)[0], error(*given)[1]

    changes: dict[str, Any] = {
        "loss weights left out": lambda w, k, K: 0 * w + 1, "loss weights squared": lambda w, k, K: w * w,
        "signs of the loss weights": lambda w, k, K: np.sign(w),
        "loss weights one step late": lambda w, k, K: np.roll(w, 1, 0),
        "loss weights one step early": lambda w, k, K: np.roll(w, -1, 0),
    }  # fmt: skip
    for i, name in product(range(3), ("first step", "last step")):
        text, is_last = [*counted(0, name)][i], name == "last step"
        changes[f"the loss {text}"] = partial(
            lambda is_last, i, w, k, K: w * [*counted(k == (K - 1) * is_last, "").values()][i], is_last, i)  # fmt: skip
    found = {m.name: m.functions["loss_and_error"] for m in MUTANTS if [*m.functions] == ["loss_and_error"]}
    for text, change in changes.items():
        found[text] = partial(counting, change, True, True)
        found[f"{text}, in the divisor of the mean not"] = partial(counting, change, True, False)
        found[f"{text}, in the divisor of the mean alone"] = partial(counting, change, False, True)
    for make, tables in ((other, LOSSES), (error, ERRORS)):
        found |= {text: partial(make, loss, text) for loss, table in tables.items() for text in table}
    for text, function in found.items():
        yield from changed(text, "loss_and_error", function)
        for where, pair in (("dy", (right.loss_and_error, function)), ("the loss", (function, right.loss_and_error))):
            yield from changed(f"in {where} alone: {text}", "loss_and_error", partial(unequal, *pair))


def _reshaped(array: Any) -> Any:
    """What is meant for (B, T, N) read as (T, B, N)."""
    return np.ascontiguousarray(np.moveaxis(array, 0, 1)).reshape(array.shape)


def _first_losses(c: Any) -> Any:
    older = len(c.x) - len(c.target)
    w = np.ones(c.target.shape[:2]) if c.weights is None else c.weights
    return c._replace(target=np.pad(c.target, ((0, older), (0, 0), (0, 0))), weights=np.pad(w, ((0, older), (0, 0))))


ORDERS: dict[str, Any] = {
    "in reversed order": lambda v: v[::-1], "one step late": lambda v: np.roll(v, 1, 0),
    "one step early": lambda v: np.roll(v, -1, 0), "reshaped for transposed": _reshaped,
    "of the first sequence for all": lambda v: 0 * v + v[:, :1],
    "one step late, zeros at first": lambda v: np.concatenate((0 * v[:1], v[:-1])),
    "of the last step for all": lambda v: 0 * v + v[-1:],
}  # fmt: skip


def other_cases() -> Iterator[Mistake]:
    """The values of another case: a part of it is exchanged, or shifted in time."""

    def reordered(order, names, case):
        return case._replace(**{name: order(getattr(case, name)) for name in names})

    def of_phi(name, case):
        return case._replace(objective=case.objective._replace(nonlinearity=name))

    changes: dict[str, Any] = {"the losses of the first K steps of the window": _first_losses}
    for words, names in {"inputs": ("x",), "targets": ("target",), "inputs and targets": ("x", "target")}.items():
        changes |= {f"{words} {text}": partial(reordered, order, names) for text, order in ORDERS.items()}
    changes |= {f"{name} for the nonlinearity": partial(of_phi, name) for name in NONLINEARITIES}
    for text, change in changes.items():
        yield Mistake(text, "loss_and_error", change=change)


# -- the step ---------------------------------------------------------------------------------------------------------


def stepped(case: WindowCase, gradients: Arrays, of: Definition = DEFINITION) -> Arrays:
    """The velocities and parameters after the step with these gradients, dW_xh and so on."""
    n, p = Floats(np.float64), present(case.params)
    update(n, p, {name: gradients["d" + name] for name in p}, present(case.velocity), case.step, of)
    return n.report()


OPTIONS: dict[str, Any] = {  # of a number of the step, its name and the step
    "{} left out": lambda v, name, s: Step(1.0)._asdict()[name], "twice the {}": lambda v, name, s: 2 * v,
    "half of the {}": lambda v, name, s: v / 2, "{} of the other sign": lambda v, name, s: -v,
    "1 − {0} for {0}": lambda v, name, s: 1 - v, "1 for {}": lambda v, name, s: 1.0,
    "{} × rate": lambda v, name, s: v * s.learning_rate,
}  # fmt: skip
OPERANDS: dict[str, tuple[str, tuple[str, ...]]] = {  # of the step: the result, and what it is made of; "": no number
    "decayed": ("g with weight decay", ("", "g", "θ")), "velocity": ("v", ("g", "v of before")),
    "direction": ("the direction", ("g", "v", "v of before")), "updated": ("the new θ", ("", "θ", "the direction")),
}  # fmt: skip
CHANGES: dict[str, Any] = {  # of an operand or a result, and the step
    "without {}": lambda v, s: 0 * v, "twice {}": lambda v, s: 2 * v, "{} of the other sign": lambda v, s: -v,
    "{} within ±max_value": lambda v, s: np.clip(v, -s.max_value, s.max_value),
    "(1 − μ) {}": lambda v, s: (1 - s.momentum) * v, "μ {}": lambda v, s: s.momentum * v,
    "η {}": lambda v, s: s.learning_rate * v, "the sign of {}": lambda v, s: np.sign(v),
    "{} divided by its norm": lambda v, s: v / np.linalg.norm(v),
    **{f"{{}} rounded to {name}": partial(lambda name, v, s: rounded(v, name), name) for name in FORMATS},
}  # fmt: skip


def _all(d: Arrays, *left_out: str) -> Any:
    return np.concatenate([g.ravel() for name, g in d.items() if name not in left_out])


NORMS: dict[str, Any] = {  # of the gradients by name
    "the biases left out of the norm": lambda d: np.linalg.norm(_all(d, "b_h", "b_y", "b_hh")),
    "h_0 left out of the norm": lambda d: np.linalg.norm(_all(d, "h_0")),
    "the sum of the tensors' norms": lambda d: sum(np.linalg.norm(g) for g in d.values()),
    "the largest number for the norm": lambda d: np.abs(_all(d)).max(),
    "the root mean square for the norm": lambda d: np.sqrt(np.mean(_all(d) ** 2)),
}
FACTORS: dict[str, Any] = {  # of the norm, and max_norm
    "a norm without its root": lambda norm, limit: np.minimum(1, limit / (norm**2 + SMALL)),
    "gradients always divided by their norm": lambda norm, limit: 1 / norm,
}
ROOTS: dict[str, Any] = {  # of g, and the sum of squares
    "g divided by the sum of squares, without the root": lambda g, v: g / (v + TINY),
    "no division by the root": lambda g, v: g,
    **{
        f"{c:g} for 10⁻⁸ under the root": partial(lambda c, g, v: g / np.sqrt(v + c), c)
        for c in (0.0, 1e-10, 1e-7, 1e-6)
    },
    **{f"{c:g} outside the root": partial(lambda c, g, v: g / (np.sqrt(v) + c), c) for c in (1e-10, 1e-7, 1e-6)},
}
OTHERS: dict[str, dict[str, Any]] = {
    "the velocity of before left out": {"velocity": lambda n, g, before, step: right.velocity(n, g, None, step)},
    "no weight decay of h_0": {"decayed": lambda n, name, g, theta, step: g + step.weight_decay * theta * (name != "h_0")},
    "weight decay both in the gradient and of the weights": {"updated": lambda n, name, theta, delta, step: (
        theta - n.rate(step, theta) * (delta + step.weight_decay * theta))},
    "weight decay without the rate": {
        "decayed": lambda n, name, g, theta, step: g,
        "updated": lambda n, name, theta, delta, step: theta * (1 - step.weight_decay) - n.rate(step, theta) * delta},
}  # fmt: skip


def _functions(step: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    """Other functions of the definition, that apply to this step."""

    def by_norm(norm, n, d, p, step):
        return {name: n.factor(norm(d), step.max_norm) * g for name, g in d.items()}

    def by_root(root, n, g, v, before, step):
        return root(g, v)

    def of_result(equation, change, *given):
        return change(equation(*given), given[-1])

    def of_operand(equation, i, change, later, *given):
        """The i-th operand changed; later: but not at the first step."""
        given, step = list(given), given[-1]
        if not (later and given[2] is None):
            given[i] = change(given[i], step)
        return equation(*given)

    def swapped(equation, i, j, *given):
        given = list(given)
        given[i] = 0 * given[1] if given[j] is None else given[j]
        return equation(*given)

    if step.max_norm is not None:
        yield from ((text, {"clipped": partial(by_norm, norm)}) for text, norm in NORMS.items())
        yield from ((text, {"clipped": by_factor(factor)}) for text, factor in FACTORS.items())
    if step.adagrad:
        yield from ((text, {"direction": partial(by_root, root)}) for text, root in ROOTS.items())
    yield from OTHERS.items()
    for field, (result, operands) in OPERANDS.items():
        equation, places = getattr(right, field), [(i, name) for i, name in enumerate(operands, 1) if name]
        for text, change in CHANGES.items():
            other = {field: partial(of_result, equation, change)}
            yield text.format(result), other
            if "max_value" in text:
                yield f"{text.format(result)}, in place of the gradients", other | {"clipped": lambda n, d, p, step: d}
            for later in (False, True) if field == "velocity" else (False,):
                for i, name in places:
                    words = f"{result} {'' if text.startswith('without') else 'with '}{text.format(name)}"
                    words += ", but not at first" * later
                    yield words, {field: partial(of_operand, equation, i, change, later)}
        for (i, name), (j, other) in permutations(places, 2):
            yield f"{result} with {other} for {name}", {field: partial(swapped, equation, i, j)}


StepMistake = tuple[str, Callable[[WindowCase, Arrays], Arrays]]  # words; the step from the gradients


def other_options(step: Step) -> Iterator[StepMistake]:
    """Steps of other options."""

    def of_step(change, case, gradients):
        return stepped(case._replace(step=change(case.step)), gradients)

    yield from ((text, partial(of_step, change)) for text, change in _options(step).items())


def other_steps(step: Step) -> Iterator[StepMistake]:
    """Steps of other functions, or of other options in one equation."""

    def of_equation(equation, change, *given):
        return equation(*given[:-1], change(given[-1]))

    for text, functions in _functions(step):
        yield text, partial(stepped, of=DEFINITION._replace(**functions))
    for field, (result, _) in OPERANDS.items():
        for text, change in _options(step).items():
            other = {field: partial(of_equation, getattr(right, field), change)}
            yield f"{result} with {text}", partial(stepped, of=DEFINITION._replace(**other))


def _options(step: Step) -> dict[str, Callable[[Step], Step]]:
    """Other options than those of this step, by words."""

    def option(change, name, step):
        return step._replace(**{name: change(getattr(step, name), name, step)})

    options: dict[str, Any] = {text.format(name): partial(option, change, name)
               for name in ("max_norm", "max_value", "weight_decay", "momentum", "dampening")
               if getattr(step, name) or name == "dampening" for text, change in OPTIONS.items()}  # fmt: skip
    options |= {
        "learning_rate left out": lambda s: s._replace(learning_rate=1.0),
        "learning_rate squared": lambda s: s._replace(learning_rate=s.learning_rate**2),
        "momentum for dampening": lambda s: s._replace(dampening=s.momentum),
        "each number clipped for the norm": lambda s: s._replace(max_norm=None, max_value=s.max_norm),
    }
    for name, words in (("nesterov", "Nesterov's momentum"), ("adagrad", "Adagrad")):
        words += " left out" if getattr(step, name) else ", though it is not asked for"
        options[words] = partial(lambda name, s: s._replace(**{name: not getattr(s, name)}), name)
    for c in () if step.weight_decay else (1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.1):
        options[f"a weight decay of {c:g}"] = partial(lambda c, s: s._replace(weight_decay=c), c)
    return options


# -- other gradients --------------------------------------------------------------------------------------------------


def other_gradients(case: WindowCase, values: Arrays) -> dict[str, Arrays]:
    """Gradients from the right values that are other sums, or are reported otherwise than the step uses them."""
    p, step, h = present(case.params), case.step, np.concatenate((initial_state(case)[None], values["h"]))
    own = {"d" + name: values["d" + name] for name in p}
    (T, B, _), K = case.x.shape, len(case.target)
    t, b = np.arange(T)[:, None, None], np.arange(B)[:, None]
    counts = counted(t == 0, "first step") | counted(t == T - 1, "last step") | counted(b == 0, "first sequence")
    counts |= counted(b == B - 1, "last sequence") | {"without the steps that have no loss": t >= T - K}
    others: dict[str, Arrays] = {"transposed": {"dW_hh": own["dW_hh"].T}}
    for text, count in counts.items():
        dy, da = count * values["dy"], count * values["da"]
        pairs = {"dW_xh": (case.x, da), "dW_hh": (h[:-1], da), "dW_hy": (h[1:], dy)}
        d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        others[text] = own | d | {"db_y": dy.sum((0, 1))} | dict.fromkeys(("db_h", "db_hh"), da.sum((0, 1)))
    others["divided by the norm of each"] = {name: g / np.linalg.norm(g) for name, g in own.items()}
    others |= {f"rounded to {form}": {name: rounded(g, form) for name, g in own.items()} for form in FORMATS}
    if step is not None:
        limits = step._replace(learning_rate=1.0, momentum=0.0, dampening=0.0, nesterov=False, adagrad=False)
        for text, part in {"after clipping": limits._replace(weight_decay=0.0), "after clipping and weight decay": limits,
                           "with weight decay": limits._replace(max_norm=None, max_value=None)}.items():  # fmt: skip
            moved = stepped(case._replace(step=part, velocity=None), values)
            others[text] = {"d" + name: theta - moved[name] for name, theta in p.items()}
        moved = stepped(case, values)
        others["after momentum"] = {"d" + name: moved["v" + name] for name in p if "v" + name in moved}
        others["multiplied by the rate"] = {name: step.learning_rate * g for name, g in own.items()}
    return others
