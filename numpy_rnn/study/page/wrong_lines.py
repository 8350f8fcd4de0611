"""The mistakes on the page: twelve as exercises, "find the wrong line", and the table of all of them, with curves."""

import ast
from html import escape
from pathlib import Path

import numpy as np

import numpy_rnn
from numpy_rnn.conformance.mutants.catalogue import Mutant, mutated_source, named

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
    folder, result = Path(numpy_rnn.__file__).parent, []
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
