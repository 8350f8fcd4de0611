"""The figures of the page that compute: their numbers are those of numpy_rnn, and their controls work."""

import json
import random
import re

import numpy as np
import pytest
from study_runs import near

import numpy_rnn
from numpy_rnn import Parameters

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow]

SECTIONS = ("worked_example", "0_explore", "delayed_recall", "spectral_radius", "4b_live", "own_backward")
SIZES = {"T": 5, "B": 2, "D": 3, "H": 4, "O": 2}


@pytest.fixture(scope="module")
def page(live_page):
    return live_page(*SECTIONS)


@pytest.fixture(scope="module")
def compute(page):
    """Evaluates JavaScript of the page with an argument; arrays become lists."""

    def evaluate(script, argument=None):
        found = page.evaluate(f"(argument) => JSON.stringify(({script})(argument))", plain(argument))
        return None if found is None else json.loads(found)

    return evaluate


def plain(value):
    """Arrays as lists, parameters by name."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def arrays(by_name) -> Parameters:
    return Parameters(*(None if by_name[name] is None else np.array(by_name[name]) for name in Parameters._fields))


def drawn(seed, steps=SIZES["T"], learned=True, bias=True):
    """Parameters, inputs, targets and an initial state of a random network."""
    normal, (B, D, H, O) = np.random.default_rng(seed).normal, (SIZES[name] for name in "BDHO")
    weights = normal(0, 0.6, (D, H)), normal(0, 0.6, (H, H)), normal(0, 0.6, (H, O))
    biases = (normal(0, 0.5, H), normal(0, 0.5, O)) if bias else (None, None)
    h_0 = normal(0, 0.5, (B, H))
    params = Parameters(*weights, *biases, h_0 if learned else None)
    return params, normal(size=(steps, B, D)), normal(size=(steps, B, O)), h_0


def stepped(array):
    """A series as the page has it, from step 1."""
    return [None, *array.tolist()]


def near_parameters(found, expected, rtol=1e-11):
    for name, theta in expected._asdict().items():
        assert (theta is None) == (found[name] is None)
        if theta is not None:
            near(found[name], theta, name, rtol)


# -- the network ------------------------------------------------------------------------------------------------------

TRAINED = """({p, x, target, h_0, options}) => {
  let last = p; const losses = [];
  for (const {loss, p: q} of train(p, x, target, h_0, options)) { losses.push(loss); last = q; }
  return {losses, p: last}; }"""


@pytest.mark.parametrize(
    ("k1", "k2", "nonlinearity", "reduction"),
    [(1, 3, "tanh", "mean"), (3, 3, "sigmoid", "sum"), (2, 5, "relu", "mean")],
)
def test_an_epoch_of_updates_is_that_of_numpy_rnn(k1, k2, nonlinearity, reduction, compute):
    params, x, target, h_0 = drawn(k2, steps=11, learned=False, bias=k1 != 3)
    found = compute(TRAINED, {
        "p": params, "x": stepped(x), "target": stepped(target), "h_0": h_0,
        "options": {"k1": k1, "k2": k2, "rate": 0.1, "nonlinearity": nonlinearity, "mean": reduction == "mean"},
    })  # fmt: skip
    options = {"nonlinearity": nonlinearity, "reduction": reduction}
    updates = list(numpy_rnn.train(params, x, target, h_0, k1=k1, k2=k2, learning_rate=0.1, epochs=1, **options))
    near(found["losses"], [update.loss for update in updates])
    near_parameters(found["p"], updates[-1].parameters)


def test_eigenvalues_and_singular_values(compute):
    normal = np.random.default_rng(3).normal
    for matrix in (normal(size=(5, 5)), np.array([[0.5, 100], [0, 0.4]]), np.array([[0.0, 1], [-0.25, 0]])):
        found = compute("(W) => [spectralRadius(W), singularValues(W)]", matrix)
        near(found[0], max(abs(np.linalg.eigvals(matrix))), rtol=1e-9)  # from a power with an exponent of 2**40
        near(found[1], np.linalg.svd(matrix, compute_uv=False))


# -- the worked example -----------------------------------------------------------------------------------------------


def test_the_two_copies_have_the_derivatives_of_the_complex_step(compute):
    def loss(w1, w2):
        h1 = 1 + w1
        return ((h1 - 2) ** 2 + (1 + h1 * w2 - 6) ** 2) / 2

    for w1, w2 in ((2, 2), (1.3, 2.7), (2.9, 1.1)):
        found = compute("([w1, w2]) => exampleAt(w1, w2)", [w1, w2])
        near(found["loss"], loss(w1, w2))
        near(found["partial"][1:], [loss(w1 + 1e-30j, w2).imag * 1e30, loss(w1, w2 + 1e-30j).imag * 1e30])
        near(found["sum"], loss(w1 + 1e-30j, w2 + 1e-30j).imag * 1e30)
    found = compute("exampleAt.bind(null, 2, 2)")
    assert (found["loss"], found["sum"], found["double"]) == (
        1,
        6,
        8,
    )  # as in DERIVATION.md, with the usual wrong answer


def test_the_example_answers_to_its_controls(page):
    text = "document.getElementById('example-sum').textContent"
    page.locator("#example-both").press("ArrowRight")
    assert page.evaluate("[example.first, example.second]") == [2.01, 2.01]
    page.locator("#example-first").press("Home")
    assert page.evaluate("[example.first, example.second]") == [1, 2.01]
    assert "Wrong" not in page.evaluate(text)
    page.locator("#example-wrong").check()
    assert "Wrong" in page.evaluate(text)
    page.evaluate("goTo('example', 'first=2')")  # what it does not say is as at first
    assert page.evaluate("example") == {"first": 2, "second": 2, "wrong": 0}


# -- the own backward pass --------------------------------------------------------------------------------------------

BY_LINES = """({p, x, target, h_0, N}) => backwardBy(
  Object.fromEntries(Object.entries(LINES).map(([line, {right}]) => [line, parse(right)])), p,
  forward(p, x, h_0, "tanh"), target, N)"""


@pytest.mark.parametrize("seed", [1, 2])
def test_every_line_is_that_of_numpy_rnn(seed, compute):
    """(B1) to (B9) as the reader sees them, on a random network; so is the complex step of the page."""
    params, x, target, h_0 = drawn(seed)
    N = target.size
    case = {"p": params, "x": stepped(x), "target": stepped(target), "h_0": h_0, "N": N}
    found = compute(BY_LINES, case)
    assert found["problems"] == {}
    activations = numpy_rnn.forward(params, x, h_0)
    flow = numpy_rnn.adjoints(params, activations, target, reduction="mean")
    gradients = numpy_rnn.bptt(params, activations, target, reduction="mean")
    for witness in (found["result"], compute("({p, x, target, N}) => allDerivatives(p, x, target, N)", case)):
        for name in ("dy", "dh", "da"):
            near(witness[name][1:], getattr(flow, name), name)
        near_parameters({name: witness[f"d{name}"] for name in Parameters._fields}, Parameters(*gradients))


NUMBER = re.compile(r"(?<![\w.\[=])(?<!axis=-)(\d+\.?\d*(?:e-\d+)?)(?![\w\]])")  # no step, and no axis


def expression(draw, depth):
    """A random expression of the language, which is one of NumPy too; what is stepped is an array of arrays."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(
            ["h[t]", "a[t-1]", "da[t+1]", "W_hh", "W_xh", "b_h", "2", "0.5", "N", "x[1]", "h[T]", "1e-1"]
        )
    u, v = (expression(draw, depth - 1) for _ in range(2))
    return draw.choice([
        f"{u} + {v}", f"{u} - {v}", f"{u} * {v}", f"{u} @ {v}", f"({u}) @ ({v}).T", f"-{u}", f"({u})**2", f"({u}).T",
        f"({u}).sum(axis=0)", f"({u}).sum(axis=-1)", f"({u}).sum()", f"np.tanh({u})", f"-{u}**2",
        f"{u} / (2 + ({v})**2)",
    ])  # fmt: skip


COMPUTED_TEXTS = """({p, x, target, h_0, N, t, texts, da}) => {
  const env = Object.assign(environment(p, forward(p, x, h_0, "tanh"), target, N, {da}), {t});
  return texts.map((text) => {
    try { return parse(text)(env); }
    catch (error) { if (!(error instanceof LineError)) throw error; return null; }
  });
}"""


def test_the_language_computes_what_numpy_does(compute):
    params, x, target, h_0 = drawn(7)
    activations = numpy_rnn.forward(params, x, h_0)
    da = numpy_rnn.adjoints(params, activations, target).da
    draw, t, count = random.Random(5), 3, 300
    texts = [expression(draw, draw.choice([1, 2, 3])) for _ in range(count)]
    case = {"p": params, "x": stepped(x), "target": stepped(target), "h_0": h_0, "N": 7.0, "da": stepped(da), "t": t}
    found = compute(COMPUTED_TEXTS, {**case, "texts": texts})
    names = {**params._asdict(), "h": activations.h, "np": np, "t": t, "T": len(x), "N": np.float64(7)}
    names |= {name: [None, *values] for name, values in (("a", activations.a), ("x", x), ("da", da))}
    computed = 0
    for text, value in zip(texts, found, strict=True):
        try:
            expected = eval(NUMBER.sub(r"np.float64(\1)", text), {"__builtins__": {}}, names)
        except (ValueError, TypeError):
            expected = None
        if value is not None:
            assert np.shape(value) == np.shape(expected), text
            near(value, expected, text)
        else:
            assert expected is None or "@" in text, text  # vectors, which the language refuses there
        computed += value is not None and expected is not None
    assert computed > count / 3


def test_lines_that_cannot_be_computed_say_why(compute):
    for text, message in {
        "dy[t] @ W_hy.T +": "the line is not finished",
        "dy[t] @ W_hy": "@: shapes (2, 5) and (4, 5) do not fit, 5 ≠ 4",
        "dy @ W_hy.T": "dy needs a step: dy[t]",
        "dy[s] @ W_hy.T": "[s] is no step: expected t, T or a number",
        "dy[t] @ W_hy.T; x": "“;” is not part of the language",
        "(dy[t] @ W_hy.T": "“)” is expected after the expression in parentheses",
        "np.dot(dy[t], W_hy.T)": "np.dot is not part of the language: np.tanh is",
        "dy[t] @ W_hy.T + h[t+1]": "h[4] does not exist: the window ends at step 3",
        "da[t] @ W_hh.T": "da[t] is not known yet at this line",
        "dy[t].sum(axis=2)": "axis 2 does not exist in shape (2, 5)",
        "dy[t]": "this has the shape (2, 5), and dh has (2, 4)",
        "alert(1)": "alert is unknown: expected one of x[t], target[t], a[t], h[t], y[t], dy[t], dh[t], da[t], W_xh, "
        "W_hh, W_hy, b_h, b_y, h_0, N, B, T",
    }.items():
        verdict = compute("(text) => checkLines({...rightLines(), B2: text}).verdicts.B2", text)
        assert verdict == {"kind": "error", "message": message}, text


MISTAKEN = """() => mistakenValues.map(({line, text, message, values}) => {
  const {verdicts, first} = checkLines({...rightLines(), [line]: `0 + (${text})`});
  const {result} = byLines(parsedLines({...rightLines(), [line]: text}), null);
  const expected = stepsOf(right[LINES[line].name]), digits = (v) => Number(v.toPrecision(6));
  const numbers = GRADIENT_NAMES.map((key) => `${key} = ${JSON.stringify(each(digits, result[key]))}`);
  const apart = values.map((v, i) => largest(each((u, w) => u - w, v, expected[i]).flat(2)) / scaleOf(expected[i]));
  const others = Object.entries(verdicts).filter(([id, {kind}]) => id !== line && kind !== "right").length;
  return {line, text, message, verdict: verdicts[line], first: first.label, others, pasted: pasted(numbers.join(" ")),
    apart: Math.max(...apart)};
})"""


def test_every_mistake_is_named_by_its_value(compute):
    """However it is written; also where it is pasted as numbers, and no mistake is near the right value."""
    assert compute("() => checkLines(rightLines()).first") is None
    found = compute(MISTAKEN)
    assert len(found) > 40
    names = {
        "B1": "dy[3]",
        "B2": "dh[",
        "B3": "da[3]",
        "B4": "dW_xh",
        "B5": "dW_hh",
        "B6": "dW_hy",
        "B7": "db_h",
        "B8": "db_y",
    }
    for one in found:
        assert one["verdict"] == {"kind": "wrong", "message": one["message"]}, one["text"]
        assert one["others"] == 0, one["text"]  # the other lines are judged on right inputs
        assert one["first"].startswith(names.get(one["line"], "dh_0")), one["text"]
        assert one["apart"] > 0.05, one["text"]
        assert one["pasted"][-1].endswith(f"({one['line']}). {one['message']}"), one["text"]


def test_a_factor_and_a_transpose_are_named(compute):
    for line, text, message in (
        ("B5", "7 * (h[t-1].T @ da[t])", "This is the right value times 7.000."),
        ("B3", "-dh[t] * (1 - h[t]**2)", "This is the right value times −1: the sign is wrong."),
        ("B7", "da[t].sum(axis=0) * N", "This is the right value times N."),
        ("B2", "h[t]", None),
    ):
        found = compute("([line, text]) => checkLines({...rightLines(), [line]: text}).verdicts[line]", [line, text])
        assert found == {"kind": "wrong", "message": message}


def test_pasted_gradients_are_read_as_programs_print_them(page, compute):
    """NumPy and PyTorch, in float32; the network is copied from the page, and the gradient is that of numpy_rnn."""
    names, code = {"np": np}, page.locator("#own-numbers").text_content()
    exec(code, names)
    params = Parameters(*(names[name].astype(np.float32) for name in Parameters._fields))
    x, target = names["x"].astype(np.float32), names["target"].astype(np.float32)
    activations = numpy_rnn.forward(params, x, params.h_0)
    gradients = numpy_rnn.bptt(params, activations, target, reduction="mean")._asdict()
    near(((activations.y - target) ** 2).mean() / 2, compute("() => Object.values(activationsOfTiny.y.slice(1)).reduce("
         "(total, y, i) => total + stepLoss(y, tiny.target[i + 1]), 0) / tiny.N"), rtol=1e-5)  # fmt: skip
    torch = "{}.grad tensor({}, dtype=torch.float32, grad_fn=<T0>)".format
    prints = {
        "numpy": "\n".join(f"d{name} = {value!r}" for name, value in gradients.items()),
        "json": json.dumps({f"d{name}": value.tolist() for name, value in gradients.items()}),
        "torch": "\n".join(torch(name, value.tolist()) for name, value in gradients.items()),
    }
    for kind, text in prints.items():
        messages = compute("(text) => pasted(text)", text)
        assert [message.split(",")[0] for message in messages] == [f"d{name}: right" for name in gradients], kind
    page.locator("#live-own details").evaluate("(one) => { one.open = true; }")
    page.locator("#own-pasted").fill(f"dW_hh = {(2 * gradients['W_hh']).tolist()}\ndb_h = [1, 2]")
    shown = page.locator("#own-pasted-result p").all_text_contents()
    assert shown[0].startswith("dW_hh: wrong, the largest difference is 1.0 of")
    assert shown[1] == "db_h: 2 numbers, expected 4, of the shape (4,)."
    page.locator("#own-pasted").fill("1, 2, 3")
    assert page.locator("#own-pasted-result").text_content().startswith("No name is found")


def test_the_reader_repairs_a_line_and_trains_with_it(page):
    """At first (B2) has the usual mistake. Training by the right lines is training by the right gradient."""
    from playwright.sync_api import expect

    page.evaluate("goTo('own', '')")
    verdict, result = (page.locator(f"#own-{name}") for name in ("B2-verdict", "result"))
    assert "W_hh needs a transpose here" in verdict.text_content()
    assert "The first wrong tensor of the whole pass is dh[2]" in result.text_content()
    page.locator("#own-B2").fill("da[t+1] @ W_hh.T + dy[t] @ W_hy.T")
    assert "All nine lines are right" in result.text_content()
    page.evaluate("Object.assign(LESSON, {updates: 30})")
    page.locator("#own-train").click()
    expect(page.locator("#own-lesson")).to_have_text(re.compile("^Mean of the last 50 updates"))
    near(*page.evaluate("[own.curve, own.reference]"))
    page.locator("#own-B2").fill("dy[t] @ W_hy.T")
    page.locator("#own-train").click()
    expect(page.locator("#own-lesson")).to_have_text(re.compile("^Mean of the last 50 updates"))
    assert page.evaluate("own.curve.at(-1) !== own.reference.at(-1)")
    page.locator("#own-empty").click()
    assert page.locator("#own-train").is_disabled()
    text = "0.5 / (1 + 2) * dy[t] @ W_hy.T"
    page.locator("#own-B2").fill(text)
    page.evaluate("goTo('own', FIGURES.own.words())")  # as the address keeps it
    assert page.locator("#own-B2").input_value() == text
    page.locator("#own-plant").click()
    assert "The first wrong tensor" in result.text_content()
    assert not page.locator("#own-named").is_checked()
    page.locator("#own-right").click()
    assert "All nine lines" in result.text_content()


# -- delayed recall ---------------------------------------------------------------------------------------------------


def recall_losses(compute, d, k2, updates):
    """Mean squared errors (updates, 32) of the page's networks on its stream, trained by numpy_rnn."""
    series = compute("([d, steps]) => recallSeries(d, steps)", [d, updates])
    x, target = (np.array(series[name][1:], float) for name in ("x", "target"))
    networks = compute("() => range(1, RECALL.networks).map(recallNetwork)")
    params = Parameters(*(np.array([one[name] for one in networks]) for name in ("W_xh", "W_hh", "W_hy")), None, None)
    h_0, rate = np.zeros((x.shape[1], params.W_hh.shape[-1])), compute("() => RECALL.rate")
    options = {"k1": 1, "k2": k2, "learning_rate": rate, "epochs": 1, "reduction": "mean"}
    return 2 * np.array([update.loss for update in numpy_rnn.train(params, x, target, h_0, **options)])


def test_recall_trains_as_numpy_rnn_does(compute):
    found = compute("""([d, k2, updates]) => {
      const trial = newRecall(d, k2);
      for (let i = 0; i < updates; i++) advance(trial);
      return {losses: trial.all.map(({losses}) => losses), points: trial.points, learned: trial.learned};
    }""", [3, 5, 50])  # fmt: skip
    expected = recall_losses(compute, 3, 5, 800)
    near(np.transpose(found["losses"]), expected[:50], rtol=1e-9)
    late = np.sort(expected[25:50].mean(axis=0))
    assert found["points"][-1][0] == 50
    near(found["points"][-1][1:], late[[3, 15, 28]], rtol=1e-9)  # 10, 50 and 90 % of 32
    assert found["learned"] == (late < 0.5).sum()


@pytest.mark.parametrize("d", [2, 3, 4, 5])
def test_a_window_of_d_steps_is_too_short_and_one_more_is_enough(d, compute):
    """Of 32 networks, trained by numpy_rnn on the page's stream."""
    learned = {k2: (recall_losses(compute, d, k2, 800)[-25:].mean(axis=0) < 0.5).sum() for k2 in (d, d + 1)}
    assert learned[d] <= 8
    assert learned[d + 1] == 32


def test_recall_starts_stops_and_goes_on(page):
    from playwright.sync_api import expect

    page.evaluate("Object.assign(RECALL, {updates: 50}); goTo('recall', 'd=2 k2=3')")
    page.locator("#recall-train").click()
    expect(page.locator("#recall-train")).to_have_text("Train 32 networks")
    assert "of 32 networks have learned" in page.locator("#recall-text").text_content()
    page.locator("#recall-all").click()
    assert page.locator("#recall-train").text_content() == "Stop"
    page.locator("#recall-train").click()
    assert page.evaluate("recall.work") is None
    kept = page.evaluate(
        "[...document.querySelectorAll('#recall-matrix .kept')].every((e) => e.dataset.t - e.dataset.s < recall.k2)"
    )
    framed = page.evaluate(
        "[...document.querySelectorAll('#recall-matrix .framed')].map((e) => e.dataset.t - e.dataset.s)"
    )
    assert kept
    assert set(framed) == {2}


# -- vanishing and exploding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", ["tanh", "sigmoid"])
@pytest.mark.parametrize("kind", ["random", "rotation", "run"])
def test_growth_by_lag_and_its_bound(kind, phi, compute):
    found = compute("(options) => growth(options)", {"rho": 1.3, "drive": 0.5, "kind": kind, "phi": phi})
    W, h = np.array(found["W_hh"]), np.array(found["h"])[:, 0]
    near(max(abs(np.linalg.eigvals(W))), 1.3, rtol=1e-9)
    near(found["largestStretch"], np.linalg.norm(W, 2))
    if kind == "rotation":
        near(found["largestStretch"], 1.3)
    slopes = 1 - h**2 if phi == "tanh" else h * (1 - h)
    product, most = np.eye(len(W)), 1 if phi == "tanh" else 0.25
    for lag, value in enumerate(found["by_lag"]):
        near(value, np.linalg.norm(product, 2), lag, rtol=1e-9)
        assert value <= (found["largestStretch"] * most) ** lag * (1 + 1e-9)
        product = W * slopes[len(h) - 1 - lag] @ product


def test_the_examples_of_the_radius_do_what_they_say(page):
    said = page.evaluate("""() => [...document.querySelectorAll("a[href='#live-radius']")].map((link) => {
      link.click();
      return document.getElementById("radius-text").textContent;
    })""")
    certain = [("Vanishing is certain" in text) for text in said]
    ends = [text.rsplit(": ", 1)[1] for text in said]
    assert certain == [True, False, False, False, True]
    assert ends == ["it vanishes.", "it vanishes.", "it explodes.", "it vanishes.", "it vanishes."]


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_cliff_is_that_of_numpy_rnn(max_norm, compute):
    start = {"w": 2.5, "b": 0.5, "rate": 0.5, "steps": 80, "length": 10}
    path = compute("([start, max_norm]) => descend(start, max_norm)", [start, max_norm])
    one, x = np.ones((1, 1)), np.zeros((10, 1, 1))
    params = Parameters(0 * one, start["w"] * one, one, np.array([start["b"]]), np.zeros(1))
    for point in path:
        activations = numpy_rnn.forward(params, x, 0 * one)
        target = np.full((1, 1, 1), 0.3)
        loss = numpy_rnn.half_squared_error(activations.y[-1:], target)
        gradients = numpy_rnn.bptt(params, activations, target)
        # Roundings grow by the slope of the cliff at every step that meets it.
        near([point[name] for name in ("w", "b", "loss")], [params.W_hh.item(), params.b_h.item(), loss], rtol=1e-6)
        zero = numpy_rnn.Gradients(*map(np.zeros_like, params[:5]))
        step = zero._replace(W_hh=gradients.W_hh, b_h=gradients.b_h)
        step = step if max_norm is None else numpy_rnn.clip_by_global_norm(step, max_norm)
        params = numpy_rnn.sgd(params, step, start["rate"])


def test_the_cliff_shows_both_paths_from_a_start_that_moves(page):
    page.evaluate("goTo('cliff', '')")
    paths = "[...document.querySelectorAll('#cliff-paths .under')].map((path) => path.getAttribute('d'))"
    plain_path, clipped_path = page.evaluate(paths)
    assert plain_path.split("L")[0] == clipped_path.split("L")[0]
    assert plain_path != clipped_path
    page.locator("#cliff-paths").click(position={"x": 200, "y": 100})
    assert page.evaluate("cliff.w !== 2.5 && cliff.b !== 0.5")
    assert page.evaluate(paths)[0] != plain_path


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_figures_fit_the_screen_and_axe_finds_nothing(width, scheme, live_page):
    from axe_playwright_python.sync_playwright import Axe

    page = live_page(*SECTIONS, width=width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(
        "setExample({wrong: 1}); explore('full'); document.querySelectorAll('math').forEach((one) => { one.remove(); })"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = "[...document.querySelectorAll('section')].map((one) => one.getBoundingClientRect().height)"
    assert max(page.evaluate(heights)) < 2800  # nothing is squeezed into a column of letters
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
