"""The lesson: its scripts in node compute what numpy_rnn does; its page in headless Chromium."""

import itertools
import json
import random
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from cases import Kind, Sizes, random_run

import numpy_rnn
from numpy_rnn import Gradients, Parameters, windows
from numpy_rnn.study.study import LESSON

pytestmark = pytest.mark.slow

PAGE = (LESSON / "lesson.html").read_text(encoding="utf-8")
SCRIPTS = re.findall(r'<script src="(.*?)">', PAGE)
DRIVER = """
const fs = require("node:fs"), vm = require("node:vm"), context = vm.createContext({});
const [names, text, argument] = JSON.parse(fs.readFileSync(0, "utf8"));
for (const name of names) vm.runInContext(fs.readFileSync(name, "utf8"), context, {filename: name});
context.argument = JSON.stringify(argument);
const value = vm.runInContext(`JSON.stringify((${text})(JSON.parse(argument)) ?? null)`, context);
process.stdout.write(value);
"""


@pytest.fixture(scope="session")
def compute():
    """Evaluates a function of JavaScript on an argument, with the scripts of the lesson."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    names = [str(LESSON / name) for name in SCRIPTS]

    def evaluate(text, argument=None):
        given = json.dumps([names, text, argument], default=lambda array: array.tolist())
        command = [node, "-e", DRIVER]
        run = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return evaluate


def near(found, expected, rtol=1e-11):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol, rtol * abs(expected).max(initial=0))


def drawn(seed, steps, bias=True):
    """A random network and series, and the same as the scripts have them."""
    run = random_run(seed, Sizes(steps, 2, 3, 4, 2), Kind(bias=bias))
    p = {name: getattr(run.params, name) for name in Gradients._fields if name != "h_0"}
    params = Parameters(**p)
    case = {"p": p, "x": [None, *run.x], "target": [None, *run.target], "h_0": run.h_0}
    return params, run.x, run.target, run.h_0, case


def code_of(identifier):
    """The code on the page with this id."""
    return unescape(re.search(rf'id="{identifier}">(.*?)</code>', PAGE, re.DOTALL)[1])


# -- the network ------------------------------------------------------------------------------------

TRAINED = """({p, x, target, h_0, options}) => {
  const updates = [...train(p, x, target, h_0, options)];
  return {losses: updates.map(({loss}) => loss), p: updates.at(-1).p}; }"""


@pytest.mark.parametrize(
    ("k1", "k2", "nonlinearity", "reduction"),
    [(1, 3, "tanh", "mean"), (3, 3, "sigmoid", "sum"), (2, 5, "relu", "mean")],
)
def test_training_is_that_of_numpy_rnn(k1, k2, nonlinearity, reduction, compute):
    params, x, target, h_0, case = drawn(k2, 11, bias=k1 != 3)
    rule = {"k1": k1, "k2": k2, "nonlinearity": nonlinearity}
    options = rule | {"rate": 0.1, "mean": reduction == "mean"}
    found = compute(TRAINED, case | {"options": options})
    rule |= {"learning_rate": 0.1, "epochs": 1, "reduction": reduction}
    updates = list(numpy_rnn.train(params, x, target, h_0, **rule))
    near(found["losses"], [update.loss for update in updates])
    for name, theta in found["p"].items():
        expected = getattr(updates[-1].parameters, name)
        assert (theta is None) == (expected is None)
        if theta is not None:
            near(theta, expected)


def complex_loss(params, x, target, h_0, t, moved=(None, None, None)):
    """The loss of step t, where one number of a weight is moved by i·1e-40 at one step only."""
    h, (name, place, step) = h_0 + 0j, moved
    for s in range(t):
        p = {key: theta + 0j for key, theta in params._asdict().items() if theta is not None}
        if s == step:
            p[name][place] += 1e-40j
        h = np.tanh(x[s] @ p["W_xh"] + h @ p["W_hh"] + p["b_h"])
    y = h @ p["W_hy"] + p["b_y"]
    return ((y - target[t - 1]) ** 2).sum() / 2


def test_terms_are_the_derivatives_by_the_copies_of_the_weights(compute):
    """By complex step: a copy of the weights for each step, of which one number is moved."""
    params, x, target, h_0, case = drawn(3, 4)
    names = [name for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y")]
    text = "({p, x, target, h_0}) => termNorms(p, forward(p, x, h_0), target)"
    found = compute(text, case)
    for t, s in ((t, s) for t in range(1, 5) for s in range(1, t + 1)):
        slopes = [
            complex_loss(params, x, target, h_0, t, (name, place, s - 1)).imag * 1e40
            for name in names
            for place in np.ndindex(getattr(params, name).shape)
        ]
        near(found[t][s], np.linalg.norm(slopes))


def test_small_network(compute):
    """Its gradients are those of numpy_rnn, its nudges their differences, its update lowers L."""
    text = """() => [3, 2, 1].map((k2) => {
      const now = smallUpdate(SMALL, k2), {window, p, activations, target} = now;
      const nudges = ["y", "h", "a"].map((what) => [1, 2, 3].map((t) => [1e-5, -1e-5].map((by) =>
        nudgedLoss(p, activations, target, window, {what, t, by}))));
      return {...now, nudges, moments: momentsOf(window)}; })"""
    for found in compute(text):
        start, loss_start, _ = found["window"].values()
        params = Parameters(*(np.array(found["p"][name]) for name in Parameters._fields[:3]))
        x, target = found["x"][start + 1 :], found["target"][loss_start + 1 :]
        x, target, h = (np.array(v, float) for v in (x, target, found["activations"]["h"][start]))
        activations = numpy_rnn.forward(params, x, h)
        flow = numpy_rnn.adjoints(params, activations, target)
        gradients = numpy_rnn.bptt(params, activations, target)
        for name in ("W_xh", "W_hh", "W_hy"):
            near(found["gradient"][name], getattr(gradients, name))
        for name, nudges in zip(("dy", "dh", "da"), found["nudges"], strict=True):
            slopes = [(up - down) / 2e-5 for up, down in nudges[start:]]
            assert slopes == pytest.approx(getattr(flow, name)[:, 0, 0], abs=1e-8)
        before, after = found["losses"]
        assert after < before
        assert len(found["moments"]) == 3 * (3 - start) + 3 - loss_start + 4 * (3 - start) + 1


def test_example_and_cliff_by_complex_step(compute):
    def loss(w1, w2):
        return ((w1 - 1) ** 2 + ((1 + w1) * w2 - 5) ** 2) / 2

    draw = random.Random(1)
    points = [[2.0, 2.0], *([draw.uniform(1, 3), draw.uniform(1, 3)] for _ in range(5))]
    found = compute("(points) => points.map(([u, v]) => exampleAt(u, v))", points)
    for (u, v), one in zip(points, found, strict=True):
        slopes = [loss(u + 1e-40j, v).imag * 1e40, loss(u, v + 1e-40j).imag * 1e40]
        near([one["loss"], *one["slopes"][1:], one["sum"]], [loss(u, v), *slopes, sum(slopes)])
    assert [found[0][key] for key in ("loss", "sum", "twice")] == [1, 6, 8]
    for b in (-0.3, 0.004, 0.006, 0.1):
        h = 0j
        for _ in range(10):
            h = np.tanh(1.5 * h + b + 1e-40j)
        value = (h - 0.3) ** 2 / 2
        found = compute("(b) => Object.values(cliffAt(b))", b)
        near(found, [value.real, value.imag * 1e40], rtol=1e-9)


def test_change_by_lag_is_the_product_of_jacobians(compute):
    text = """([size, drive]) => {
      const seen = [], inner = forward;
      return changeByLag(size, drive).map(([, v]) => v); }"""
    assert compute(text, [1.5, 0]) == pytest.approx([1.5**lag for lag in range(31)])
    small, large = compute(text, [0.8, 1]), compute(text, [1.5, 1])
    assert all(v <= 0.8**lag * (1 + 1e-12) for lag, v in enumerate(small))
    assert large[-1] < 1e-3  # as the text says: above 1, and it vanishes


# -- the task of the lesson ---------------------------------------------------------------------------


def test_learning_the_delay_is_that_of_numpy_rnn(compute):
    text = """([d, k2, updates]) => ({
      series: delaySeries(d, updates), rate: TASK.rate, networks: [1, 2, 3].map(delayNetwork),
      losses: [1, 2, 3].map((seed) => learnDelay({d, k2, seed, updates}).losses)})"""
    found = compute(text, [3, 5, 60])
    x, target = (np.array(found["series"][name][1:], float) for name in ("x", "target"))
    assert (target[3:] == x[:-3]).all()
    names = Parameters._fields[:3]
    params = Parameters(*(np.array([one[name] for one in found["networks"]]) for name in names))
    h_0 = np.zeros((x.shape[1], params.W_hh.shape[-1]))
    options = {"k1": 1, "k2": 5, "learning_rate": found["rate"], "epochs": 1, "reduction": "mean"}
    run = numpy_rnn.train(params, x, target, h_0, **options)
    near(np.transpose(found["losses"]), [2 * update.loss for update in run], rtol=1e-9)


def test_recorded_counts_are_those_of_a_fresh_run(compute):
    """The cells where the term is just missing, and just there, for two lags."""
    text = """() => [1, 2].flatMap((d) => [d, d + 1].flatMap((k2) => [["sliding", 1], ["chunks", k2]]
      .map(([kind, k1]) => [RECORDED[kind][d - 1][k2 - 1], range(1, RECORDED.networks).filter((seed) =>
        hasLearned(learnDelay({d, k1, k2, seed}).losses)).length])))"""
    found = compute(text)
    assert [recorded for recorded, _ in found] == [fresh for _, fresh in found]


def test_rule_of_the_window_is_that_of_the_records(compute):
    """Wherever the term is there, nearly all learn; without it fewer, and at d = 5 none."""
    recorded = compute("() => RECORDED")
    for kind, d, k in itertools.product(("sliding", "chunks"), range(1, 6), range(1, 9)):
        count = recorded[kind][d - 1][k - 1]
        assert count >= 31 if k > d else count <= 22
        assert k > d or d < 5 or count == 0


# -- the reader's own lines ---------------------------------------------------------------------------

LEAVES = ["h[t]", "a[t-1]", "da[t+1]", "W_hh", "W_xh", "b_h", "2.", "T*B*O", "x[1]", "h[T]", "1e-1"]
FORMS = [
    "{u} + {v}", "{u} - {v}", "{u} * {v}", "{u} @ {v}", "({u}) @ ({v}).T", "-{u}", "({u})**2",
    "({u}).T", "({u}).sum(axis=0)", "({u}).sum(-1)", "np.sum({u})", "np.tanh({u})", "-{u}**2",
    "{u} / (2 + ({v})**2)", "np.dot({u}, {v})", "({u}).dot({v})", "np.mean({u}, axis=0)",
    "({u}).mean()", "np.square({u})", "np.transpose({u})", "({u}).transpose()", "np.matmul({u}, {v})",
    "np.multiply({u}, {v})",
]  # fmt: skip


def expression(draw, depth):
    """A random expression of the language, which is one of NumPy too."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(LEAVES)
    u, v = (expression(draw, depth - 1) for _ in range(2))
    return draw.choice(FORMS).format(u=u, v=v)


@pytest.fixture(scope="session")
def tiny(compute):
    """The tiny network of the page: its numbers, and all adjoints and gradients by the scripts."""
    found = compute("() => ({tiny, tinyPass, right})")
    params = Parameters(**{name: np.array(theta) for name, theta in found["tiny"]["p"].items()})
    x, target = (np.array(found["tiny"][name][1:]) for name in ("x", "target"))
    return params, x, target, np.array(found["tiny"]["h_0"]), found


def names_of(tiny, t):
    """The names of a line at step t, as NumPy has them; at step T + 1 everything is 0."""
    params, x, target, h_0, found = tiny
    names = {"np": np, "t": t, "h_0": h_0, "T": 3, "B": 2, "D": 3, "H": 4, "O": 5, "N": 30.0}
    stepped = found["tinyPass"] | found["right"] | {"target": found["tiny"]["target"]}
    for key in ("x", "target", "a", "h", "y", "dy", "dh", "da"):
        steps = [np.array(v, float) for v in stepped[key][1:]]
        first = np.array(h_0) if key == "h" else None
        names[key] = [first, *steps, np.zeros_like(steps[0])]
    return names | params._asdict()


def test_language_computes_what_numpy_does(tiny, compute):
    """And the verdict on a random line is right where NumPy gets the right numbers, else not."""
    draw = random.Random(5)
    texts = [expression(draw, draw.choice([1, 2, 3])) for _ in range(300)]
    text = """(texts) => texts.map((text) => {
      try { return parse(text)(Object.assign(environment(right), {t: 2})); }
      catch (error) { if (!(error instanceof LineError)) throw error; return null; } })"""
    computed = 0
    for text, value in zip(texts, compute(text, texts), strict=True):
        try:
            expected = eval(text, names_of(tiny, 2))
        except AttributeError:  # a method of a number
            continue
        except (ValueError, TypeError, np.exceptions.AxisError):
            expected = None
        if value is not None:
            assert expected is not None and np.shape(value) == np.shape(expected), text
            near(value, expected)
        elif expected is not None:  # products with vectors, which the language refuses
            assert any(sign in text for sign in ("@", "dot", "matmul", "2.", "T*B*O", "1e-1")), text
        computed += value is not None
    assert computed > 100


RIGHT = {
    "B1": ["(y[t] - target[t]) / N", "(y[t]-target[t])/(T*B*O)", "np.subtract(y[t], target[t]) / (T * B * O)",
           "1/N * (-target[t] + y[t])"],
    "B2": ["dy[t] @ W_hy.T + da[t+1] @ W_hh.T", "np.dot(da[t+1], W_hh.T) + dy[t].dot(W_hy.transpose())",
           "dy[t] @ W_hy.T + (dh[t+1] * (1 - h[t+1]**2)) @ W_hh.T",
           "(W_hy @ dy[t].T + np.dot(W_hh, da[t+1].T)).T"],
    "B3": ["dh[t] * (1 - h[t]**2)", "(1 - np.square(h[t])) * dh[t]", "dh[t] - dh[t] * h[t] * h[t]",
           "dh[t] * (1 - np.tanh(a[t])**2)"],
    "B4": ["x[t].T @ da[t]", "np.dot(x[t].T, da[t])", "(da[t].T @ x[t]).T",
           "x[t].T.dot(dh[t] * (1 - h[t]**2))"],
    "B5": ["h[t-1].T @ da[t]", "h[t-1].transpose().dot(da[t])", "np.transpose(h[t-1]) @ da[t]"],
    "B6": ["h[t].T @ dy[t]", "np.matmul(h[t].T, dy[t])", "h[t].T @ (y[t] - target[t]) / N"],
    "B7": ["da[t].sum(axis=0)", "np.sum(da[t], axis=0)", "da[t].sum(0)", "B * da[t].mean(axis=0)"],
    "B8": ["dy[t].sum(axis=0)", "np.sum(dy[t], 0)", "np.mean(dy[t], axis=0) * B"],
}  # fmt: skip
VERDICTS = "(all) => all.map(([id, text]) => checkLines({...rightLines(), [id]: text}).verdicts[id])"


def test_right_lines_are_right_however_they_are_written(compute):
    """And each of them with a small change of one number is wrong."""
    lines = [[name, text] for name, texts in RIGHT.items() for text in texts]
    found = compute(VERDICTS, lines)
    assert [line for line, one in zip(lines, found, strict=True) if one["kind"] != "right"] == []
    slightly = [[name, f"({text}) * 1.001"] for name, text in lines]
    assert {one["message"] for one in compute(VERDICTS, slightly)} == {
        "wrong. This is the right value times 1.001."
    }
    assert compute("() => checkLines(rightLines()).first") is None


def test_lines_that_are_no_code_say_why(compute):
    said = {
        "dy[t] @ W_hy.T +": "the line is not finished", "dy @ W_hy.T": "dy needs a step: dy[t]",
        "dy[t] @ W_hy": "@: shapes (2, 5) and (4, 5) do not fit, 5 ≠ 4",
        "dy[s] @ W_hy.T": "dy[s] has no step: expected t, t-1, t+1, T or a number",
        "dy[t] @ W_hy.T; x": "“;” is not part of the language",
        "da[t] @ W_hh.T": "da[3] is not known yet at this line",
        "h[t+2]": "h[5] does not exist: the last step is 3",
        "dy[t].sum(axis=2)": "axis 2 does not exist in shape (2, 5)",
        "dy[t]": "the shape is (2, 5), expected (2, 4)",
        "np.dot(dy[t])": "dot has too few arguments", "np.tanh(h[t], 1)": "tanh has too many arguments",
    }  # fmt: skip
    found = compute(VERDICTS, [["B2", text] for text in said])
    assert [one["message"] for one in found] == [f"cannot be computed: {v}" for v in said.values()]
    (one,) = compute(VERDICTS, [["B2", "alert(1)"]])
    assert one["message"].startswith("cannot be computed: alert is unknown: expected one of x[t]")


MISTAKEN = """() => mistakes.map(({id, code, message, gradients}) => {
  const {verdicts, first} = checkLines({...rightLines(), [id]: `0 + (${code})`});
  const names = Object.keys(SHAPES).map((key) => `d${key}`);
  const text = names.map((key) => `${key} = ${JSON.stringify(each((v) => v.toPrecision(6), gradients[key]))}`);
  const wrong = Object.keys(verdicts).filter((one) => verdicts[one].kind !== "right");
  return {code, wrong, id, said: verdicts[id].message, message, tensor: LINES[id][0], first,
    pasted: pasted(text.join(" ")).at(-1), named: `(${id}). ${message}`}; })"""


def test_every_mistake_is_named_by_its_value_and_by_its_gradients(compute):
    found = compute(MISTAKEN)
    assert len(found) > 30
    for one in found:
        assert (one["wrong"], one["said"]) == ([one["id"]], f"wrong. {one['message']}"), one["code"]
        assert one["first"].startswith(one["tensor"]), one["code"]
        assert one["pasted"].endswith(one["named"]), one["code"]


# -- pasted gradients ---------------------------------------------------------------------------------


def gradients_of(tiny, dtype="float32", last=3, nonlinearity="tanh", h_0=None, **changed):
    """By numpy_rnn, in a precision; last: the number of steps that have a loss."""
    params, x, target, first, _ = tiny
    params = Parameters(**{k: v.astype(dtype) for k, v in (params._asdict() | changed).items() if v is not None})
    first = first if h_0 is None else h_0
    rule = {"nonlinearity": nonlinearity}
    made = numpy_rnn.forward(params, x.astype(dtype), first.astype(dtype), **rule)
    made = numpy_rnn.bptt(params, made, target[-last:].astype(dtype), reduction="sum", **rule)
    return {k: (v / 30).astype(dtype) for k, v in made._asdict().items() if v is not None}


def halves_of(tiny):
    """The gradients of the weights, computed in float16 by the assembled pass of the page."""
    params, x, target, h_0, _ = tiny
    x, target, h_0 = (array.astype(np.float16) for array in (x, target, h_0))
    thetas = (getattr(params, name) for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y"))
    W_xh, W_hh, W_hy, b_h, b_y = (theta.astype(np.float16) for theta in thetas)
    h, names = [h_0], {"np": np}
    for x_t in x:
        h.append(np.tanh(x_t @ W_xh + h[-1] @ W_hh + b_h))
    y = [h_t @ W_hy + b_y for h_t in h[1:]]
    exec(code_of("backward-code"), names)
    found = names["backward"](x, h, y, target, W_hh, W_hy)
    return {name: v / np.float16(30) for name, v in zip(("W_xh", "W_hh", "W_hy"), found)}


def printed(gradients, decimals=6, prefix="d"):
    """As `print(tensor)` does: with a fixed number of decimals."""
    with np.printoptions(precision=decimals, floatmode="fixed", suppress=True):
        arrays = {name: np.array2string(v, separator=", ") for name, v in gradients.items()}
    return "\n".join(f"{prefix}{name} tensor({text})" for name, text in arrays.items())


def test_right_gradients_are_right_however_they_are_printed(tiny, compute):
    gradients = gradients_of(tiny)
    turned = {name: v.T if v.ndim == 2 else v for name, v in gradients.items()}
    torch = dict(zip(turned, ("weight_ih_l0", "weight_hh_l0", "out.weight", "bias_ih_l0", "out.bias")))
    half = halves_of(tiny)
    rows = "\n".join(f"d{name}:\n" + "\n".join(" ".join(f"{x:.5e}" for x in row) for row in np.atleast_2d(v))
                     for name, v in gradients.items())  # fmt: skip
    texts = {
        "numpy": "\n".join(f"d{name} = {v!r}" for name, v in gradients.items()),
        "json": json.dumps({f"d{name}": v.tolist() for name, v in gradients.items()}),
        "jax": "\n".join(f"{{'{k}': {v!r}}}".replace("array", "Array") for k, v in gradients.items()),
        "four decimals": printed(gradients, 4),
        "torch": printed({f"rnn.{torch[name]}.grad": v for name, v in turned.items()}, prefix=""),
        "karpathy": "\n".join(f"d{k.replace('_', '')} = {v[..., None] if v.ndim < 2 else v}" for k, v in turned.items()),
        "rows": rows,
        "sizes": "\n".join(f"# d{k} torch.Size({[*v.shape]})\n{v}" for k, v in gradients.items()),
        "scaled": f"dW_hh tensor(1.00000e-02 *\n {(100 * gradients['W_hh'].astype(float)).round(4).tolist()})",
        "no names": "\n".join(f"{v}" for v in gradients.values()),
        "float16, repr": "\n".join(f"d{name} = {v!r}" for name, v in half.items()),
        "float16, print": "\n".join(f"d{name} = {v}" for name, v in half.items()),
        "float16, list": "\n".join(f"d{name} = {v.tolist()}" for name, v in half.items()),
        "float16, torch": "\n".join(
            f"d{k} = tensor({v.astype(float).round(4).tolist()}, dtype=torch.float16)" for k, v in half.items()
        ),
    }  # fmt: skip
    for kind, messages in zip(texts, compute("(all) => all.map(pasted)", list(texts.values())), strict=True):
        wrong = [text for text in messages if not re.search(r": right(, to the [\w ]*)?\.$", text)]
        assert (wrong, bool(messages)) == ([], True), kind


def test_wrong_gradients_are_wrong_by_their_digits(tiny, compute):
    """Two units of the last digit are wrong in float32; in float16, more than its rounding."""
    gradients, texts = gradients_of(tiny), []
    for decimals in (3, 4, 5, 6):
        off = gradients["W_hh"].astype(float).round(decimals)
        off[1, 2] += 2 * 10.0**-decimals
        texts.append(printed({"W_hh": off}, decimals))
    off = gradients["W_hh"] + np.float32(0.03) * abs(gradients["W_hh"]).max() * np.eye(4)
    texts.append(f"dW_hh = {off.astype(np.float16)!r}")
    found = compute("(all) => all.map((text) => pasted(text)[0])", texts)
    assert all(text.startswith("dW_hh: wrong, the largest difference") for text in found), found


def test_causes_of_wrong_gradients_are_named(tiny, compute):
    """What a program may do otherwise, by numpy_rnn; a factor; clipping."""
    params, *_ = tiny
    right = gradients_of(tiny)
    scaled = {factor: {k: np.float32(factor) * v for k, v in right.items()} for factor in (2, 5, 0, 0.7, 3.3)}
    norm = np.sqrt(sum((v.astype(float) ** 2).sum() for v in right.values()))
    doubled = gradients_of(tiny, b_h=2 * params.b_h)
    cases = [
        (scaled[2], "in (B1). Twice too much: nn.MSELoss has no ½"),
        (scaled[5], "All are O times the right ones"), (scaled[0], "All numbers are 0: print .grad"),
        (scaled[0.7], f"All are 0.700 times the right ones: clipped by norm, to {0.7 * norm:.3f}, or"),
        (scaled[3.3], "All are 3.30 times the right ones: another factor"),
        ({"W_hh": scaled[0.7]["W_hh"]}, "clipped by norm, or"),
        ({k: v.clip(-0.05, 0.05) for k, v in right.items()}, "Clipped by value to ±0.0500"),
        (doubled, "bias is added twice"), ({k: 2 * v for k, v in doubled.items()}, "there is a factor of 2"),
        (gradients_of(tiny, b_h=0 * params.b_h), "no hidden bias"),
        (gradients_of(tiny, h_0=np.zeros((2, 4))), "h_0 is zero"),
        (gradients_of(tiny, W_hh=params.W_hh.T), "is loaded with W_hh.T"),
        (gradients_of(tiny, last=1), "Only the last step has a loss"),
        (gradients_of(tiny, nonlinearity="relu"), "relu in your program"),
        ({"W_hh": right["W_hh"].T}, "dW_hh: transposed"),
        ({"W_hh": right["W_hh"] ** 2}, "No mistake of the list"),
    ]  # fmt: skip
    found = compute("(all) => all.map((text) => pasted(text).at(-1))", [printed(one, 7) for one, _ in cases])
    assert [(words, text) for (_, words), text in zip(cases, found, strict=True) if words not in text] == []


# -- what the page says -------------------------------------------------------------------------------


def test_assembled_pass_is_that_of_numpy_rnn():
    params, x, target, h_0, _ = drawn(7, 6, bias=False)
    names = {"np": np}
    exec(code_of("backward-code"), names)
    _, _, h, y = activations = numpy_rnn.forward(params, x, h_0)
    found = names["backward"](x, h, y, target, params.W_hh, params.W_hy)
    gradients = numpy_rnn.bptt(params, activations, target)
    for value, name in zip(found, ("W_xh", "W_hh", "W_hy"), strict=True):
        near(value, getattr(gradients, name))


@pytest.mark.needs_torch
@pytest.mark.parametrize(
    ("line", "instead", "name"),
    [("h = h.detach()", "", "no-detach"), ("loss.backward()", "loss.backward(retain_graph=True)", "retain-graph")],
)  # fmt: skip
def test_messages_of_pytorch_are_its_own(line, instead, name):
    import torch

    rnn, out = torch.nn.RNN(1, 3), torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD([*rnn.parameters(), *out.parameters()], 0.1)
    chunks = [(torch.ones(2, 1, 1), torch.zeros(2, 1, 1))] * 3
    loop, names = code_of("pytorch-loop"), {"rnn": rnn, "out": out, "optimizer": optimizer, "chunks": chunks}
    exec(loop, names | {"h": None})
    wrong = loop.replace("h = h.detach()", "").replace(line, instead)
    with pytest.raises(RuntimeError) as raised:
        exec(wrong, names | {"h": None})
    said = unescape(re.search(rf'id="error-{name}">(.*?)</span>', PAGE, re.DOTALL)[1])
    assert " ".join(said.split()) in " ".join(str(raised.value).split())


def test_exercises():
    """The answers of the four exercises, computed."""
    w, targets, h = 2, (2, 5), [1, 3, 7]
    dh_2 = h[2] - targets[1]
    dh_1 = h[1] - targets[0] + dh_2 * w
    assert (dh_1, dh_1 * h[0] + dh_2 * h[1], dh_1 * h[0] + dh_2 * (h[1] + w * h[0])) == (5, 11, 15)
    schedule = list(windows(10, 2, 4))
    kept = sum(t - start for start, first, stop in schedule for t in range(first + 1, stop + 1))
    assert (kept, sum(stop - start for start, _, stop in schedule)) == (31, 18)
    assert 0.9**44 < 0.01 < 0.9**43
    words = unescape("".join(re.sub(r"<[^>]*>", "", PAGE).split()))
    for answer in ("=11", "countedtwice:15", "31termsandcompute18steps", "Fromlag44"):
        assert answer in words


# -- the page in a browser ----------------------------------------------------------------------------

MOVED = """() => [...document.querySelectorAll("header input, main input, main select, main textarea")]
  .filter(({id}) => id).filter((control) => {
    const before = document.querySelector("main").innerHTML + control.closest(".live").innerHTML;
    const {type, min, max, value} = control;
    if (type === "checkbox") control.click();
    else {
      control.value = type === "range" ? (value === max ? min : max)
        : type === "select-one" ? control.options[1].value : "dh[t]";
      control.dispatchEvent(new Event("input", {bubbles: true}));
    }
    return before === document.querySelector("main").innerHTML + control.closest(".live").innerHTML;
  }).map(({id}) => id)"""
OUTSIDE = """() => [...document.querySelectorAll("svg")].flatMap((svg) =>
  [...svg.querySelectorAll("rect, text, circle")].filter((e) => {
    const [at, all] = [e, svg].map((one) => one.getBoundingClientRect());
    const beyond = [all.left - at.left, all.top - at.top, at.right - all.right, at.bottom - all.bottom];
    return !e.closest("clipPath, [clip-path]") && Math.max(...beyond) > 1;
  }).map((e) => e.outerHTML))"""
HEIGHT = """() => { const {set, state} = FIGURES.network;
  return [...new Set(range(0, 25).map((at) => { set({at, by: at % 2 ? 0.1 : 0});
    return element("network").getBoundingClientRect().height; }))]; }"""


@pytest.fixture(scope="module")
def opened(new_page):
    """The page with all that it hides shown, after the networks have learned."""

    def open_at(width, **options):
        page = new_page(LESSON / "lesson.html", width, reduced_motion="reduce", **options)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.evaluate("redraw()")
        return page

    return open_at


@pytest.mark.parametrize("width", [320, 400, 768, 1000, 1280, 1920])
def test_page_fits_every_screen(width, opened):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    if width >= 1280:  # the figure stays where it is, whatever it shows
        assert len(page.evaluate(HEIGHT)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(scheme, opened):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(1280, color_scheme=scheme)
    page.locator("#lines-right").click()
    page.locator("#paste-example").click()
    found = Axe().run(page, options={"preload": False}).response["violations"]
    assert [one["id"] for one in found] == []


def test_controls_change_their_figures(opened):
    page = opened(1280)
    assert page.evaluate(MOVED) == []
    page.reload()
    page.locator("#network-next").click()
    assert page.locator("#network-at-output").text_content() == "h1"
    page.locator("[data-at='y_1']").dispatch_event("click")
    assert page.locator("#network-at-output").text_content() == "y1"
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator("#network-own input").first.fill("0.25")
    assert page.evaluate("FIGURES.network.state.numbers.x[0]") == 0.25
    page.locator("#lines-hide").click()
    assert "The first wrong tensor" in page.locator("#lines-result").text_content()
    assert not page.locator("#lines-named").is_checked()
    page.locator("#lines-right").click()
    assert "All eight lines are right" in page.locator("#lines-result").text_content()
    page.locator("#lines-empty").click()
    assert "No line is written yet" in page.locator("#lines-result").text_content()
    page.locator("#delay-again").click()
    assert page.evaluate("delay.seed") == 2


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 6), (4, 4), (3, 7), (12, 12)])
def test_windows_show_what_is_kept(k1, k2, opened):
    page = opened(768)
    page.evaluate(f"FIGURES.windows.set({{k1: {k1}, k2: {k2}}})")
    kept = "[...document.querySelectorAll('.kept')].map(({dataset: {t, s}}) => [+t, +s])"
    expected = [
        [t, s]
        for start, first, stop in windows(12, k1, k2)
        for t in range(first + 1, stop + 1)
        for s in range(start + 1, t + 1)
    ]
    assert sorted(page.evaluate(kept)) == sorted(expected)
    assert f"kept: {len(expected)} of 78 terms" in page.locator("#windows-text").inner_text()
