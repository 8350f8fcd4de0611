"""The lesson: its scripts in node compute what numpy_rnn does; its page in headless
Chromium.
"""

import contextlib
import io
import json
import random
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Parameters, windows
from numpy_rnn.backward import compute_adjoints, compute_gradients
from numpy_rnn.common.records import Objective
from numpy_rnn.conformance.case import present
from numpy_rnn.conformance.random_cases import CaseSpec
from numpy_rnn.elman import compute_activations
from numpy_rnn.study.lesson_page import build

pytestmark = pytest.mark.slow

LESSON = Path(numpy_rnn.__file__).parent / "study" / "lesson"
WEIGHTS = Parameters._fields
PAGE = (LESSON / "lesson.html").read_text(encoding="utf-8")
CHECKS = Path(__file__).parent / "lesson_checks.js"
SCRIPTS = [
    *(str(LESSON / name) for name in re.findall(r'src="(.*?)">', PAGE)),
    str(CHECKS),
]


@pytest.fixture(scope="session")
def compute():
    """Return a function that evaluates a check with the scripts of the lesson."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")

    def evaluate(name, argument=None):
        given = json.dumps([SCRIPTS, name, argument], default=np.ndarray.tolist)
        command = [node, CHECKS]
        run = subprocess.run(command, input=given, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return evaluate


def near(found, expected, rtol=1e-11):
    expected = np.asarray(expected)
    np.testing.assert_allclose(
        found, expected, rtol, rtol * abs(expected).max(initial=0)
    )


def drawn(seed, steps, bias=True):
    """Draw a network and series, also as the scripts have them."""
    spec = CaseSpec(steps, 2, 3, 4, 2, steps, "float64", bias=bias, seed=seed)
    params, x, target, h_0, *_ = spec.case()
    case = {
        "p": params._asdict(),
        "x": [None, *x],
        "target": [None, *target],
        "h_0": h_0,
    }
    return params, x, target, h_0, case


def code_of(identifier):
    """Return the code on the page with this id."""
    return unescape(re.search(rf'id="{identifier}">(.*?)</code>', PAGE, re.DOTALL)[1])


def terms_of(schedule):
    rows = (
        (start, t)
        for start, first, stop in schedule
        for t in range(first + 1, stop + 1)
    )
    return [(t, s) for start, t in rows for s in range(start + 1, t + 1)]


@pytest.mark.parametrize(("k1", "k2"), [(1, 3), (3, 3), (2, 5)])
def test_training_is_that_of_numpy_rnn(k1, k2, compute):
    params, x, target, h_0, case = drawn(k2, 11, bias=k1 != 3)
    rule = {"k1": k1, "k2": k2, "learning_rate": 0.1, "epochs": 1, "reduction": "mean"}
    found = compute("trained", case | {"options": {"k1": k1, "k2": k2, "rate": 0.1}})
    updates = list(numpy_rnn.train(params, x, target, h_0, **rule))
    near([one["loss"] for one in found], [update.loss for update in updates])
    for name in WEIGHTS[: 3 if k1 == 3 else 5]:
        near(found[-1]["p"][name], getattr(updates[-1].parameters, name))


def test_sums_by_lag_are_those_of_windows_of_numpy_rnn(compute):
    found = compute("sums")
    p = {name: theta for name, theta in found["p"].items() if theta is not None}
    params = numpy_rnn.Parameters(**{name: np.array(v) for name, v in p.items()})
    x, target = (np.array(found["series"][name][1:], float) for name in ("x", "target"))
    h = numpy_rnn.forward(params, x, np.zeros((4, 8))).h
    totals = {"W_xh": np.zeros((9, 1, 8)), "W_hh": np.zeros((9, 8, 8))}
    for t in range(20, len(x)):  # from 0
        window = numpy_rnn.forward(params, x[t - 8 : t + 1], h[t - 8])
        da = numpy_rnn.adjoints(params, window, target[t : t + 1]).da[::-1]
        totals["W_xh"] += window.x[::-1].mT @ da / 2400
        totals["W_hh"] += window.h[-2::-1].mT @ da / 2400
    for name, total in totals.items():
        near(found["sums"][name], np.linalg.norm(total, axis=(1, 2)), 1e-9)


def sums_of_parts(params, x, target, h_0, parts, last=3):
    """Compute the gradient of half the squared errors, whose way back is in parts."""
    h = compute_activations(params, x, h_0, "tanh").h
    sums = []
    for part in parts:
        made = compute_activations(params, x[part], h[part.start], "tanh")
        flow = compute_adjoints(params, made, target[part][-last:], Objective())
        sums.append(present(compute_gradients(params, made, flow)))
    return {name: sum(one[name] for one in sums) for name in present(params)}


def test_a_cut_changes_the_gradient_alone(compute):
    """It is that of chunks, with the state as a constant."""
    found = compute("cuts")
    params = numpy_rnn.Parameters(*(np.array(v) for v in found["p"].values()))
    x, target = (
        np.reshape(found[name], (3, 1, 1)).astype(float) for name in ("x", "target")
    )
    whole, *others = found["cuts"]
    for cut, one in enumerate(others, start=1):
        parts = slice(0, cut), slice(cut, 3)
        total = sums_of_parts(params, x, target, np.array([found["h_0"]]), parts)
        for name in WEIGHTS[:3]:
            near(one["gradient"][name], total[name])
            is_same = name == "W_hy"
            assert np.allclose(total[name], whole["gradient"][name], 0.1) == is_same
        assert one["activations"] == whole["activations"]
        assert one["losses"][0] == whole["losses"][0]


def test_nudges_example_and_still_figures(compute):
    """By differences and complex step; a change is stretched as the text says."""
    for nudge, slope, is_lower in compute("nudges"):
        assert (nudge, is_lower) == (pytest.approx(slope, abs=1e-8), True)
    found = compute("stills")
    example = found["example"]  # its numbers are those of DERIVATION's two steps
    assert [example[key] for key in ("loss", "sum", "twice")] == [1, 6, 8]
    assert example["slopes"] == [None, 3, 3]
    for b, loss, slope in found["cliffs"]:
        h = 0j
        for _ in range(10):
            h = np.tanh(1.5 * h + b + 1e-40j)
        value = (h - 0.3) ** 2 / 2
        near([loss, slope], [value.real, value.imag * 1e40], 1e-9)
    free, small, large = found["changes"]
    near(free, 1.5 ** np.arange(31.0), 1e-9)
    assert (np.array(small) <= 0.8 ** np.arange(31) * (1 + 1e-12)).all()
    assert large[-1] < 1e-3


LEAVES = [
    "h[t]",
    "a[t-1]",
    "da[t+1]",
    "W_hh",
    "W_xh",
    "b_h",
    "2.",
    "T*B*O",
    "x[1]",
    "h[T]",
]
FORMS = """{u} + {v};{u} - {v};{u} * {v};{u} @ {v};({u}) @ ({v}).T;-{u};({u})**2;({u}).T
-{u}**2;({u}).sum(axis=0);({u}).sum(-1);np.sum({u});np.tanh({u});{u} / (2 + ({v})**2)
np.dot({u}, {v});({u}).dot({v})
np.mean({u}, axis=0);({u}).mean();np.square({u})
np.transpose({u});({u}).transpose();np.matmul({u}, {v})
np.multiply({u}, {v})""".replace("\n", ";").split(";")
RIGHT = """B1 (y[t]-target[t])/(T*B*O); 1/N * (-target[t] + y[t])
B1 np.subtract(y[t], target[t])/N
B2 np.dot(da[t+1], W_hh.T) + dy[t].dot(W_hy.transpose())
B2 (W_hy @ dy[t].T + W_hh @ da[t+1].T).T
B2 dy[t] @ W_hy.T + (dh[t+1] * (1 - h[t+1]**2)) @ W_hh.T
B2 dy[t] @ W_hy.T + da[t+1] @ W_hh.T
B3 (1 - np.square(h[t])) * dh[t]; dh[t] - dh[t] * h[t] * h[t]
B3 dh[t] * (1 - np.tanh(a[t])**2)
B4 np.dot(x[t].T, da[t]); (da[t].T @ x[t]).T; x[t].T.dot(dh[t] * (1 - h[t]**2))
B5 h[t-1].T @ da[t]; h[t-1].transpose().dot(da[t]); np.transpose(h[t-1]) @ da[t]
B6 np.matmul(h[t].T, dy[t]); h[t].T @ (y[t] - target[t]) / N
B6 np.transpose(dy[t].T @ h[t])
B7 da[t].sum(axis=0); np.sum(da[t], axis=0); da[t].sum(0); B * da[t].mean(axis=0)
B8 dy[t].sum(axis=0); np.sum(dy[t], 0); np.mean(dy[t], axis=0) * B"""
LOOSE = """B1 (y[t]-target[t])/(T*B*O) #; (y[t]-target[t])/y.size
B1 (y[t]-target[t])/np.size(y); (y[t]-target[t])/(T*y[t].shape[0]*float(O))
B2 dy[t] @ W_hy.T + dh_next
B3 dh[t] / np.cosh(a[t])**2
B7 sum(da[t]); da[t][0] + da[t][1]
B1 dy[t] = (y[t]-target[t])/N
B4 dW_xh += x[t].T @ da[t]  # (B4); dW_xh = dW_xh + x[t].T @ da[t]
B8 dy[t].sum(axis=0, keepdims=True); dy[t].sum(0, keepdims=True)"""
SAID = {  # of lines for (B2)
    "dy[t] @ W_hy.T +": "the line is not finished",
    "dy[t] @ W_hy": "@: shapes (2, 5) and (4, 5) do not fit, 5 ≠ 4",
    "dy[s] @ W_hy.T": "dy[s] has no step: expected t, t-1, t+1, T or a number",
    "da[t] @ W_hh.T": "da[3] is not known yet at this line",
    "dy[t]": "the shape is (2, 5), expected (2, 4)",
    "dy[t].shape[2]": "index 2 does not exist in (2,)",
    "dy[t] @ W_hy.T * (t < T)": "“<” is not part of the language",
    'np.einsum("bo,ho->bh", dy[t], W_hy)': (
        "np.einsum is not read here: write the product with @ and .T"
    ),
}


def expression(draw, depth):
    """Draw an expression of the language, which is one of NumPy too."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(LEAVES)
    u, v = (expression(draw, depth - 1) for _ in range(2))
    return draw.choice(FORMS).format(u=u, v=v)


@pytest.fixture(scope="session")
def tiny(compute):
    """Return the tiny network of the page, its parameters, series and state."""
    found = compute("tiny")
    arrays = {name: np.array(found["p"][name]) for name in WEIGHTS}
    x, target = (np.array(found[name][1:]) for name in ("x", "target"))
    return found, arrays, x, target, np.array(found["h_0"])


def test_language_computes_what_numpy_does(tiny, compute):
    draw = random.Random()
    texts = [expression(draw, draw.choice([1, 2, 3])) for _ in range(300)]
    found, arrays, *_ = tiny
    names, computed = {"np": np, "t": 2, "T": 3, "B": 2, "O": 5, **arrays}, 0
    for key in ("x", "a", "h", "da"):
        steps = [np.array(v, float) for v in found[key][key != "h" :]]
        names[key] = [
            *[None] * (key != "h"),
            *steps,
            np.zeros_like(steps[0]),
        ]  # 0 at step T + 1
    for text, value in zip(texts, compute("values", texts), strict=True):
        try:  # NumPy sums a number over axis 0, but does not swap its axes
            expected = eval(re.sub(r"\)\.sum\(", ").swapaxes(0, 0).sum(", text), names)
        except AttributeError:  # a method of a number
            continue
        except (ValueError, TypeError, np.exceptions.AxisError):
            expected = None
        if value is not None:
            assert np.shape(value) == np.shape(expected), text
            near(value, expected)
        elif expected is not None:  # products with vectors, which the language refuses
            assert re.search(r"@|dot|matmul|2\.|T\*B\*O", text), text
        computed += value is not None
    assert computed > 100


def test_lines_are_judged_however_they_are_written(compute):
    plain, loose = (
        [
            (line[:2], text)
            for line in lines.splitlines()
            for text in line[3:].split(";")
        ]
        for lines in (RIGHT, LOOSE)
    )
    found = compute("verdicts", plain + loose)
    assert found == [["right", "right"]] * len(plain + loose)
    found = compute("verdicts", [(line, f"({text}) * 1.001") for line, text in plain])
    assert {message for _, message in found} == {
        "wrong. This is the right value times 1.001."
    }
    found = compute("verdicts", [("B2", text) for text in SAID])
    expected = [f"cannot be computed: {words}" for words in SAID.values()]
    assert [message for _, message in found] == expected


def test_mistakes_are_named_by_value_and_by_gradients(compute):
    found = compute("mistaken")
    assert len(found) > 30
    for line, wrong, message, said, pasted in found:
        assert (wrong, said) == ([line], f"wrong. {message}")
        assert pasted.endswith(f"({line}). {message}")


def gradients_of(tiny, dtype="float32", last=3, parts=(slice(0, 3),), **changed):
    """Compute the gradients of the tiny network in a precision.

    last: the number of steps with a loss; parts: the steps of each way back.
    """
    _, arrays, x, target, h_0 = tiny
    values = {"x": x, "target": target, "h_0": h_0, **arrays} | changed
    x, target, h_0, *theta = (v.astype(dtype) for v in values.values())
    total = sums_of_parts(Parameters(*theta), x, target, h_0, parts, last)
    return {name: v / np.asarray(30, dtype) for name, v in total.items()}


def reported(gradients):
    """Return what the page's own `report` prints."""
    names = {}
    exec(code_of("paste-report").rpartition("\nreport")[0], names)
    with contextlib.redirect_stdout(io.StringIO()) as text:
        names["report"](**{f"d{name}": v for name, v in gradients.items()})
    return text.getvalue()


@pytest.mark.needs_torch
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_reports_are_judged_by_their_format(dtype, tiny, compute):
    import torch

    gradients = gradients_of(tiny, dtype)
    tensors = {name: torch.tensor(v) for name, v in gradients.items()}
    factor = np.asarray(1 + 16 * np.finfo(dtype).eps, dtype)
    off = {"W_hh": gradients["W_hh"] * factor}
    texts = [reported(one) for one in (gradients, tensors, off)]
    *right, wrong = compute("pastes", texts)
    said = [f"d{name}: right, to the precision of {dtype}." for name in gradients]
    assert right == [said, said]
    assert wrong[0].startswith("dW_hh: wrong, the largest difference is")


RIGHT_PRINTS = r"""d{name} = {v!r}
# d{name} torch.Size({shape})\n{v}
d{name} = {v.T}
d{name} = {lists}
{v}
d{name} = [{matlab}]
d{name} = {scalars}"""


def test_printed_gradients_are_judged_by_their_digits(tiny, compute):
    """float32 is told from float64 only if the text says it."""
    exact, single = gradients_of(tiny, "float64"), gradients_of(tiny)
    for gradients in (exact, single):
        texts = []
        for form in RIGHT_PRINTS.split("\n"):
            parts = []
            for name, v in gradients.items():
                rows = np.atleast_2d(v)
                words = {
                    "shape": [*v.shape],
                    "lists": v.tolist(),
                    "matlab": "; ".join(" ".join(map(str, row)) for row in rows),
                    "scalars": [[np.float64(u) for u in row] for row in rows],
                }
                filled = form.replace("\\n", "\n").format(name=name, v=v, **words)
                parts.append(filled)
            texts.append("\n".join(parts))
        for text, messages in zip(texts, compute("pastes", texts), strict=True):
            is_named = gradients is exact or "float32" in text
            is_double = gradients is single and "float64" in text
            for message in messages[:5]:
                if is_double:  # rounded to float32, and said to be float64
                    assert ": wrong" in message
                elif is_named:
                    assert re.search(r": right, to the [\w ]*\.$", message), text
                else:
                    assert ": right if it is computed in float32" in message, text


UNREADABLE = """dW_hh
     [,1] [,2]
[1,] 0.1 0.2
[2,] 0.3 0.4
---
[1] 0.1 0.2 0.3 0.4
---
dW_hh[0] = 0.1 0.2
---
dW_hh
[0.1 0.2]
[0.3 0.4]
---
dW_hh =

   0.1234   -0.2345
   0.3   0.4
---
dW_hh = [[0.1, 0.2 ... 0.3]]
---
1.0e-03 *
 0.1 0.2
---
{"name": "b_h\""""


def test_wrong_and_unreadable_texts(tiny, compute):
    """Two units of the last digit; an element of 13 %; zeros; rows without brackets."""
    W_hh, wrong = gradients_of(tiny, "float64")["W_hh"], []
    for decimals in (3, 4, 5, 6):
        off = W_hh.round(decimals)
        off[1, 2] += 2 * 10.0**-decimals
        with np.printoptions(precision=decimals, floatmode="fixed", suppress=True):
            wrong.append(f"dW_hh {off!r}")
    off = W_hh.copy()
    off.flat[abs(off).argmin()] *= 1.13
    wrong += [f"dW_hh = {off.round(4)!r}", reported({"W_hh": off})]
    for first, *_ in compute("pastes", wrong):
        assert re.match("dW_hh: wrong, the largest difference", first)
    zeros = [f"db_h = {np.zeros(4)}", f"dW_hh = {np.zeros((4, 4), int).tolist()}"]
    for *_, last in compute("pastes", [*zeros, reported({"b_h": np.zeros(4)})]):
        assert last.startswith("All numbers are 0: print .grad")
    for (message,) in compute("pastes", UNREADABLE.split("\n---\n")):
        assert message.startswith("Not read: ")


def test_causes_of_wrong_gradients_are_named(tiny, compute):
    """Other equations of a program, a factor, clipping."""
    _, arrays, *_, h_0 = tiny
    right = gradients_of(tiny)
    norm = np.sqrt(sum((v.astype(float) ** 2).sum() for v in right.values()))
    doubled = gradients_of(tiny, b_h=2 * arrays["b_h"])

    def scaled(factor, gradients=right):
        return {name: np.float32(factor) * v for name, v in gradients.items()}

    cases = [
        (scaled(2), "in (B1). Twice too much: nn.MSELoss has no ½"),
        (scaled(5), "All are 5.00 times the right ones"),
        (scaled(0), "All numbers are 0: print .grad"),
        (
            scaled(0.7),
            f"0.700 times the right ones: clipped by norm (now {0.7 * norm:.3f})",
        ),
        (doubled, "bias is added twice"),
        (gradients_of(tiny, h_0=0 * h_0), "h_0 is zero"),
        (gradients_of(tiny, W_hh=arrays["W_hh"].T), "is loaded with W_hh.T"),
        (gradients_of(tiny, last=1), "Only the last step has a loss"),
        ({"W_hh": right["W_hh"].T}, "dW_hh: transposed"),
        ({"W_hh": right["W_hh"] ** 2}, "No mistake of the list"),
        (scaled(1.001), "All are 1.001 times the right ones: another factor"),
        (gradients_of(tiny, parts=[slice(1, 3)]), "ends before step 1"),
        (gradients_of(tiny, parts=[slice(0, 2), slice(2, 3)]), "as in chunks of 2"),
    ]
    found = compute("pastes", [reported(gradients) for gradients, _ in cases])
    for (_, words), messages in zip(cases, found, strict=True):
        assert words in messages[-1]


def printed(code):
    """Run a program, and return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        exec(code, {"__name__": "__main__"})
    return text.getvalue()


def test_program_learns_as_printed_and_its_lines_are_right(compute):
    code = code_of("program-code")
    assert code == (LESSON / "repeat_input.py").read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 60
    short = code.replace("= 5, 6", "= 5, 5")
    for text, word in ((code, "learned\n"), (short, "not learned\n")):
        # One of hundreds of networks does not learn, or does.
        assert word in (printed(text), printed(text))
    lines = re.findall(r"^ +(d\w+).*? \+?= (.*?)  # \((B\d)\)$", code, re.MULTILINE)
    verdicts = compute("verdicts", [(id, text) for _, text, id in lines])
    assert verdicts == [["right", "right"]] * 8


def test_page_is_built_of_its_source():
    """The words and formulas; attributes may be those of another converter."""

    def plain(page):
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))

    assert plain(build()) == plain(PAGE)
    assert build().count("<math") == PAGE.count("<math")


def test_scripts_name_those_that_they_use():
    """The head names every earlier script whose names are used. It may name a later
    one, whose functions are called when all scripts have run.
    """
    owner = {}
    for path in map(Path, SCRIPTS[:-1]):
        text = path.read_text(encoding="utf-8")
        head = re.search(r"^// (?:.* )?Uses (.*)\.$", text, re.MULTILINE)
        listed = re.findall(r"\w+\.js", head[1] if head else "")
        assert all((LESSON / name).is_file() for name in listed), path.name
        code = re.sub(r"//.*|`[^`$]*`|\"[^\"\n]*\"", "", text)
        words = set(re.findall(r"(?<![.\w])\w+", code))
        for other, names in owner.items():
            assert other in listed or not names & words, (path.name, other)
        top = r"^(?:const|let|class|function\*?) (\w+)"
        owner[path.name] = set(re.findall(top, text, re.MULTILINE))


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", ["no-detach", "retain-graph"])
def test_messages_of_pytorch_are_its_own(name):
    import torch

    chunks = [(torch.ones(2, 1, 1), torch.zeros(2, 1, 1))] * 3
    names = {"nn": torch.nn, "SGD": torch.optim.SGD, "chunks": chunks}
    loop = code_of("pytorch-loop")
    exec(loop, dict(names))
    loop = loop.replace("h = h.detach()", "")
    if name == "retain-graph":
        loop = loop.replace("backward()", "backward(retain_graph=True)")
    with pytest.raises(RuntimeError) as raised:
        exec(loop, names)
    said = re.search(rf'id="error-{name}">(.*?)</span>', PAGE, re.DOTALL)[1]
    assert " ".join(said.split()) in " ".join(str(raised.value).split())


def test_exercises():
    """The answers of the exercises, computed."""
    dh_1, dh_2, schedule = 3 - 2 + (7 - 5) * 2, 7 - 5, list(windows(10, 2, 4))
    kept, work = (
        len(terms_of(schedule)),
        sum(stop - start for start, _, stop in schedule),
    )
    words = unescape("".join(re.sub(r"<[^>]*>", "", PAGE).split()))
    twice = dh_1 + dh_2 * (3 + 2)
    sums = f"={dh_1}anddL/dw={dh_1 + dh_2 * 3}.Withthepathcountedtwice:{twice}."
    assert 0.9**44 < 0.01 < 0.9**43
    for answer in (sums, f"keep{kept}termsandcompute{work}steps", "Fromlag44on"):
        assert answer in words


@pytest.fixture
def opened(new_page):
    """Open the page with all that it hides shown, after the networks have learned."""
    page = new_page(LESSON / "lesson.html", reduced_motion="reduce")
    page.add_script_tag(content=CHECKS.read_text(encoding="utf-8"))
    page.wait_for_function("delay.done === TASK.updates")
    page.evaluate("CHECKS.openAll()")
    return page


def test_page_fits_every_screen(opened):
    for width in (320, 768, 1280):
        opened.set_viewport_size({"width": width, "height": 800})
        opened.evaluate("redraw()")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate("CHECKS.outside()") == [], width
        if width >= 768:  # nothing moves, whatever the figure shows
            heights = opened.evaluate("CHECKS.heights()")
            assert max(heights) - min(heights) < 20, width
            assert width < 1200 or max(heights) < 584  # it fits a screen of 600


def test_page_is_accessible(opened, violations):
    opened.locator("#lines-right").click()
    opened.locator("#paste-text").fill("dW_hh = [[1]]")
    assert violations(opened) == []


def test_controls_change_their_figures(opened):
    opened.locator("#network-next").click()
    assert opened.locator("#network-at-output").text_content() == "h1"
    for button, words in {"right": "All eight", "empty": "Begin"}.items():
        opened.locator(f"#lines-{button}").click()
        assert words in opened.locator("#lines-result").text_content()
    opened.locator("#cliff-step").click()
    assert "1 step: b = −0.708" in opened.locator("#cliff-text").text_content()
    for k1, k2 in ((1, 1), (1, 6), (4, 4), (3, 7), (12, 12)):
        kept = terms_of(windows(12, k1, k2))
        assert sorted(
            map(tuple, opened.evaluate(f"CHECKS.kept([{k1}, {k2}])"))
        ) == sorted(kept)
        assert (
            f"kept: {len(kept)} of 78 terms"
            in opened.locator("#windows-text").inner_text()
        )
    assert opened.evaluate("CHECKS.unmoved()") == []
