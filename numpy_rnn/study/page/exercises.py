"""What readers of the page try: exercises with computed solutions, wrong lines to find, and the table of all mistakes.

The exercises of exercises.txt have solutions whose numbers are computed by the functions of the page. Twelve mistakes
are exercises too, "find the wrong line"; the table has all of them, with curves.
"""

import ast
import re
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

import numpy_rnn as rnn
from numpy_rnn.clipping import global_norm
from numpy_rnn.conformance.mutants.catalogue import Mutant, mutated_source, named
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


# Those that people make, by the order of the derivation, each with the question that leads to it.
PUZZLES = {
    "state reset at every window": "The loss falls, but the network seems to have no memory beyond one window.",
    "tanh′ missing": "All derivatives have the right shape, and the first updates look right.",
    "1 − h_{t-1}² for 1 − h_t²": "The loss falls almost as it should.",
    "dh_next dropped": "The first update of a sliding window is right, the others are not.",
    "W_hh used without its transpose": "It is right for a symmetric matrix, and for one hidden unit.",
    "h_t for h_{t-1} in dW_hh": "Only one gradient is wrong.",
    "dW_hh from the last step only": "Right for windows of one step.",
    "2e for e": "The network learns faster than the one it is compared with.",
    "loss of older steps included": "Chunks are right; with overlapping windows the loss explodes.",
    "clipping per tensor": "Every gradient that is clipped has the right length.",
    "bptt over k+1 steps": "The loss is a little lower than that of another program with the same k.",
    "sliding window starts from the newest state": "Right as long as no window has moved.",
}
CURVE = (132, 40)  # pixels
MAX_POINTS = 20
WORDS = {"the same": "the same loss", "lower loss": "a lower loss", "diverged": "diverges"}  # of verdicts


def puzzles(mistakes: list[dict]) -> str:
    """The exercises of PUZZLES that are among the findings: the code, and folded the answer, curve and check."""
    by_name = {one["name"]: one for one in mistakes}
    names = [name for name in PUZZLES if name in by_name]
    return "\n".join(_puzzle(number, by_name[name]) for number, name in enumerate(names, start=1))


def _puzzle(number, mistake):
    changed = "\n".join(_change(place) for place in mistake["lines"])
    code = escape("\n\n".join(wrong_functions(named(mistake["name"]))), quote=False)
    return (
        f'<div class="exercise" id="wrong-line-{number}"><h4>{number}. {escape(PUZZLES[mistake["name"]])}</h4>\n'
        f'<pre class="wide" tabindex="0" role="region" aria-label="Code with a wrong line, {number}">'
        f"<code>{code}</code></pre>\n"
        f"<details><summary>The wrong line</summary>\n<p>{escape(_capital(mistake['name']))}:</p>\n{changed}\n"
        f"<p>{curve(mistake)} {escape(verdict(mistake))}. {escape(_capital(caught(mistake)))}.</p></details></div>"
    )


def _capital(text):
    return text if text[1:2] in "_ " else text[0].upper() + text[1:]


def wrong_functions(mutant: Mutant) -> list[str]:
    """The functions of a mutant that have a wrong line, without their docstrings."""
    folder, result = Path(rnn.__file__).parent, []
    for module, _, wrong in mutant.changes:
        source = mutated_source(mutant, module, (folder / f"{module}.py").read_text(encoding="utf-8"))
        line = source[: source.index(wrong)].count("\n") + 1
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        around = [node for node in functions if node.lineno <= line <= (node.end_lineno or 0)]
        if around:
            text = _without_docstring(source.splitlines(), max(around, key=lambda node: node.lineno))
            result += [text] if text not in result else []
    return result


def _without_docstring(lines, function):
    """The function with the names of its arguments only."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    names = ", ".join(argument.arg for argument in function.args.args)
    body = lines[function.body[1 if documented else 0].lineno - 1 : function.end_lineno]
    return "\n".join([f"def {function.name}({names}):", *body])


def _change(place):
    """The right lines and the wrong ones, as a difference of files shows them."""
    sides = [
        f'<{tag}><span class="mark">{mark}</span> {escape(line, quote=False)}</{tag}>'
        for tag, mark, side in (("del", "−", "right"), ("ins", "+", "wrong"))
        for line in place[side].split("\n")
    ]
    return f'<div class="change"><span>{place["module"]}</span>\n<code>{"<br>".join(sides)}</code></div>'


def verdict(mistake: dict) -> str:
    """The verdict and the ratio of the final losses, in words."""
    ratio = mistake["ratio"]["median"]
    words = WORDS.get(mistake["verdict"], mistake["verdict"])
    return words if ratio is None else f"{words}, final loss × {ratio:.2g}"


def caught(mistake: dict) -> str:
    """The check that finds it, in words."""
    of = mistake["caught"]
    if of["tensor"] is None:
        return "no check finds it"
    where = "in a random case" if of["update"] is None else f"in update {of['update']} of epoch {of['epoch']}"
    size = "which is not the expected value" if of["ratio"] is None else f"{of['ratio']:.0e} times its bound off"
    return f"({of['equation']}) finds it in {of['tensor']}, {where}: {size}"


def curve(mistake: dict) -> str:
    """The loss of the correct run and of the mistaken one over the epochs, on one logarithmic scale, as an SVG."""
    if mistake["right"] is None or len(mistake["right"]["epochs"]) < 2:
        return ""
    sides = [_log(mistake[side]["median"]) for side in ("right", "wrong")]
    values = np.concatenate(sides)
    if not np.isfinite(values).any():
        return ""
    low, high = np.nanmin(values), np.nanmax(values)
    paths = []
    for kind, logs, side in zip(("right", "wrong"), sides, ("right", "wrong")):
        across = np.array(mistake[side]["epochs"], float) / max(mistake[side]["epochs"][-1], 1) * CURVE[0]
        down = 2 + (high - logs) / max(high - low, 1e-9) * (CURVE[1] - 4)
        chosen = np.unique(np.linspace(0, len(logs) - 1, MAX_POINTS).astype(int))
        points = [f"{across[i]:.0f} {down[i]:.0f}" for i in chosen if np.isfinite(down[i])]
        paths.append(f'<path class="{kind}" d="M{"L".join(points)}"/>')
    return (
        f'<svg class="loss" viewBox="0 0 {CURVE[0]} {CURVE[1]}" width="{CURVE[0]}" height="{CURVE[1]}" role="img"'
        f' aria-label="loss over the epochs, correct and with the mistake: {escape(verdict(mistake))}">'
        f"{''.join(paths)}</svg>"
    )


def _log(median):
    return np.array([np.nan if not v else np.log(v) for v in median], float)


def mistake_table(mistakes: list[dict]) -> str:
    """A row for each mistake: its lines, its curve and verdict, and the check that finds it."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("mistake", "lines", "effect on training", "check"))
    rows = "\n".join(
        f'<tr data-verdict="{one["verdict"]}"><th scope="row">{escape(one["name"])}</th>'
        f"<td>{''.join(map(_change, one['lines']))}</td>"
        f"<td>{curve(one)} {escape(verdict(one))}{_run(one)}</td><td>{escape(caught(one))}</td></tr>"
        for one in mistakes
    )
    return (
        f'{_filter(mistakes)}<div class="all" role="region" tabindex="0" aria-labelledby="table-mistakes">'
        '<table class="text" id="mistake-table"><caption id="table-mistakes">Every mistake: − the correct line, + the'
        " wrong one; grey, the loss of the correct run.</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )


def _filter(mistakes):
    """Words and a verdict; the script of the section shows it."""
    verdicts = dict.fromkeys(one["verdict"] for one in mistakes)
    options = "".join(f'<option value="{one}">{WORDS.get(one, one)}</option>' for one in verdicts)
    return (
        '<div class="filter" hidden role="group" aria-label="Filter of the table">'
        '<label for="mistake-words">words</label><input type="search" id="mistake-words" autocomplete="off">'
        '<label for="mistake-verdict">verdict</label>'
        f'<select id="mistake-verdict"><option value="">all</option>{options}</select>'
        '<output for="mistake-words mistake-verdict" id="mistake-count"></output></div>\n'
    )


def _run(mistake):
    return f"<br><small>{escape(mistake['shown_by'])}</small>" if mistake["shown_by"] else ""
