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
from numpy_rnn.conformance.mutants.window_mistakes import FORMATS, Mistake, changed, rounded

# -- the loss and the case --------------------------------------------------------------------------------------------


def counted(part: Any, name: str) -> dict[str, Any]:
    """How often each of several numbers counts, by words, if a part of them is counted otherwise."""
    return {f"of the {name} alone": part, f"without the {name}": 1 - part, f"with the {name} counted twice": 1 + part}


def _softmax(y: Any) -> Any:
    e = np.exp(y - y.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


LOSSES: dict[str, tuple[str, Any, Any]] = {  # terms of the loss, and dy; None: the right loss, or its derivative
    "y for y − target": ("squared_error", lambda y, z: y * y / 2, None),
    "the squared error of softmax": ("squared_error", lambda y, z: (_softmax(y) - z) ** 2 / 2, None),
    "the squared error of p": ("cross_entropy", lambda y, z: (_softmax(y) - z) ** 2 / 2, None),
    "the target not subtracted from p": ("cross_entropy", None, lambda y, z: _softmax(y)),
    "(p − target) p (1 − p)": ("cross_entropy", None, lambda y, z: (_softmax(y) - z) * _softmax(y) * (1 - _softmax(y))),
    **{f"log(p + {c:g})": ("cross_entropy", partial(lambda c, y, z: -z * np.log(_softmax(y) + c), c), None)
       for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)},
}  # fmt: skip


def other_losses() -> Iterator[Mistake]:
    """Other weights, terms or reductions of the loss, of its gradient, or of both."""

    def counting(change, in_sum, in_divisor, n, y, target, weights, objective):
        w = weights * np.ones((*y.shape[:-1], 1))
        others = change(w, np.arange(len(y)).reshape(-1, *(1,) * (y.ndim - 1)), len(y))
        L, dy = right.loss_and_error(n, y, target, others if in_sum else w, objective._replace(reduction="sum"))
        N = n.divisor(y, others if in_divisor else w, objective)
        return L / np.ravel(N)[0], dy / N

    def other(loss, terms, error, n, y, z, weights, objective):
        if objective.loss != loss:
            raise LookupError("it is the mistake of another loss")
        N, (L, _) = n.divisor(y, weights, objective), right.loss_and_error(n, y, z, weights, objective)
        if error is not None:
            return L, weights * error(y, z) / N
        dy = np.stack([terms(y + 1e-50j * unit, z).sum(-1).imag / 1e-50 for unit in np.eye(y.shape[-1])], -1)
        return (weights * terms(y, z)).sum() / np.ravel(N)[0], weights * dy / N

    def unequal(loss, error, *given):
        return loss(*given)[0], error(*given)[1]

    changes: dict[str, Any] = {
        "loss weights left out": lambda w, k, K: 0 * w + 1, "loss weights squared": lambda w, k, K: w * w,
        "signs of the loss weights": lambda w, k, K: np.sign(w),
        "loss weights one step late": lambda w, k, K: np.roll(w, 1, 0),
        "loss weights one step early": lambda w, k, K: np.roll(w, -1, 0),
    }  # fmt: skip
    for (name, at), text in product({"last step": -1, "first step": 0}.items(), counted(0, "{}")):
        changes[f"the loss {text.format(name)}"] = partial(
            lambda at, text, w, k, K: w * counted(1 * (k == at % K), "{}")[text], at, text)  # fmt: skip
    found = {m.name: m.functions["loss_and_error"] for m in MUTANTS if [*m.functions] == ["loss_and_error"]}
    for text, change in changes.items():
        found[text] = partial(counting, change, True, True)
        found[f"{text}, in the divisor of the mean not"] = partial(counting, change, True, False)
        found[f"{text}, in the divisor of the mean alone"] = partial(counting, change, False, True)
    found |= {text: partial(other, *given) for text, given in LOSSES.items()}
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


OPTIONS: dict[str, Any] = {  # of a number of the step, and its name
    "{} left out": lambda v, name: getattr(Step(1.0), name), "twice the {}": lambda v, name: 2 * v,
    "half of the {}": lambda v, name: v / 2, "{} of the other sign": lambda v, name: -v,
    "1 − {0} for {0}": lambda v, name: 1 - v, "1 for {}": lambda v, name: 1.0,
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


NORMS: dict[str, Any] = {  # of the gradients by name
    "the sum of the tensors' norms": lambda d: sum(np.linalg.norm(g) for g in d.values()),
    "the largest number for the norm": lambda d: max(np.abs(g).max() for g in d.values()),
}
ROOTS: dict[str, Any] = {  # of g, and the sum of squares
    "g divided by the sum of squares, without the root": lambda g, v: g / (v + TINY),
    **{f"{c:g} outside the root": partial(lambda c, g, v: g / (np.sqrt(v) + c), c) for c in (1e-10, 1e-7, 1e-6)},
}


def _functions(step: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    """Other functions of the definition, that apply to this step."""

    def by_norm(norm, n, d, p, step):
        return {name: n.factor(norm(d), step.max_norm) * g for name, g in d.items()}

    def by_root(root, n, g, v, before, step):
        return root(g, v)

    def of_result(equation, change, *given):
        return change(equation(*given), given[-1])

    def of_operand(equation, i, change, *given):
        """The i-th operand changed, but not in the first velocity."""
        is_first = equation is right.velocity and given[2] is None
        return equation(*given[:i], given[i] if is_first else change(given[i], given[-1]), *given[i + 1 :])

    def swapped(equation, i, j, *given):
        return equation(*given[:i], 0 * given[1] if given[j] is None else given[j], *given[i + 1 :])

    def decayed_twice(n, name, theta, delta, step):
        return theta - n.rate(step, theta) * (delta + step.weight_decay * theta)

    if step.max_norm is not None:
        yield from ((text, {"clipped": partial(by_norm, norm)}) for text, norm in NORMS.items())
        yield "a norm without its root", {"clipped": by_factor(lambda norm, c: np.minimum(1, c / (norm**2 + SMALL)))}
    if step.adagrad:
        yield from ((text, {"direction": partial(by_root, root)}) for text, root in ROOTS.items())
    yield "the velocity of before left out", {"velocity": lambda n, g, before, step: right.velocity(n, g, None, step)}
    yield "weight decay both in the gradient and of the weights", {"updated": decayed_twice}
    for field, (result, operands) in OPERANDS.items():
        equation, places = getattr(right, field), [(i, name) for i, name in enumerate(operands, 1) if name]
        for text, change in CHANGES.items():
            functions: dict[str, Any] = {field: partial(of_result, equation, change)}
            yield text.format(result), functions
            if "max_value" in text:
                yield f"{text.format(result)}, in place of the gradients", functions | {"clipped": lambda n, d, *_: d}
            for i, name in places:
                words = f"{result} {'' if text.startswith('without') else 'with '}{text.format(name)}"
                yield words, {field: partial(of_operand, equation, i, change)}
        for (i, name), (j, other) in permutations(places, 2):
            yield f"{result} with {other} for {name}", {field: partial(swapped, equation, i, j)}


StepMistake = tuple[str, Callable[[WindowCase, Arrays], Arrays]]  # words; the step from the gradients


def other_steps(step: Step, is_all: bool) -> Iterator[StepMistake]:
    """Steps of other options; or of other functions, and of other options in one equation."""

    def of_step(change, case, gradients):
        return stepped(case._replace(step=change(case.step)), gradients)

    def of_equation(equation, change, *given):
        return equation(*given[:-1], change(given[-1]))

    if is_all:
        yield from ((text, partial(of_step, change)) for text, change in _options(step).items())
        return
    for text, functions in _functions(step):
        yield text, partial(stepped, of=DEFINITION._replace(**functions))
    for (field, (result, _)), (text, change) in product(OPERANDS.items(), _options(step).items()):
        of = DEFINITION._replace(**{field: partial(of_equation, getattr(right, field), change)})
        yield f"{result} with {text}", partial(stepped, of=of)


def _options(step: Step) -> dict[str, Callable[[Step], Step]]:
    """Other options than those of this step, by words."""

    def option(change, name, step):
        return step._replace(**{name: change(getattr(step, name), name)})

    options: dict[str, Any] = {
        "momentum for dampening": lambda s: s._replace(dampening=s.momentum),
        "learning_rate left out": lambda s: s._replace(learning_rate=1.0),
    }
    for name in ("max_norm", "max_value", "weight_decay", "momentum", "dampening"):
        if getattr(step, name) or name == "dampening":
            options |= {text.format(name): partial(option, change, name) for text, change in OPTIONS.items()}
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
    counts = {"without the steps that have no loss": 1 * (t >= T - K)}
    for name, is_part in {"first step": t == 0, "last step": t == T - 1,
                          "first sequence": b == 0, "last sequence": b == B - 1}.items():  # fmt: skip
        counts |= counted(1 * is_part, name)
    others: dict[str, Arrays] = {"transposed": {"dW_hh": own["dW_hh"].T}}
    for text, count in counts.items():
        dy, da = count * values["dy"], count * values["da"]
        pairs = {"dW_xh": (case.x, da), "dW_hh": (h[:-1], da), "dW_hy": (h[1:], dy)}
        d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        others[text] = own | d | {"db_y": dy.sum((0, 1))} | dict.fromkeys(("db_h", "db_hh"), da.sum((0, 1)))
    others |= {f"rounded to {form}": {name: rounded(g, form) for name, g in own.items()} for form in FORMATS}
    if step is not None:
        limits = step._replace(learning_rate=1.0, momentum=0.0, dampening=0.0, nesterov=False, adagrad=False)
        for text, part in {"after clipping": limits._replace(weight_decay=0.0), "clipped and decayed": limits,
                           "with weight decay": limits._replace(max_norm=None, max_value=None)}.items():  # fmt: skip
            moved = stepped(case._replace(step=part, velocity=None), values)
            others[text] = {"d" + name: theta - moved[name] for name, theta in p.items()}
    return others
