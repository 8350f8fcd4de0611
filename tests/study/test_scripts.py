"""The scripts of the page in headless Chromium: their numbers are those of numpy_rnn, and their controls work."""

import json
import random
import re

import numpy as np
import pytest
from cases import Kind, Sizes, random_run
from study_runs import near, small

import numpy_rnn
from numpy_rnn import Activations, Parameters, windows
from numpy_rnn.study.components.matrix import components_of, cost, flat, mask, pairs
from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.page.document import equation
from numpy_rnn.study.page.formulas import formula

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow]

T = 6  # of the explorer's runs
SECTIONS = ("worked_example", "explore", "delayed_recall", "spectral_radius", "live", "own_backward")


@pytest.fixture(scope="module")
def page(new_page, tmp_path_factory):
    """The sections that move, without the others, of a run on the sine wave."""
    texts = {name: (pages.HERE / f"sections/{name}.html").read_text(encoding="utf-8") for name in SECTIONS}
    inserts = {"equation": equation, "formula": formula, "reference": str}
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(pages.assembled(texts, {"explorer": explorer(small(T, 1, epochs=3))}, inserts), encoding="utf-8")
    opened = new_page(path)
    assert opened.evaluate("[shown.size, shown.epoch, T, H]") == ["small", 0, 3, 2]
    return opened


@pytest.fixture
def compute(page):
    """Evaluates JavaScript of the page with an argument; arrays are lists there."""

    def evaluate(script, argument=None):
        given = json.dumps(argument, default=lambda array: array.tolist())
        return json.loads(page.evaluate(f"JSON.stringify(({script})({given}) ?? null)"))

    return evaluate


def drawn(seed, steps, bias=True):
    """Parameters, inputs, targets and an initial state of a random network, as the page has them too."""
    params, x, target, h_0, *_ = random_run(seed, Sizes(steps, 2, 3, 4, 2), Kind(bias=bias))
    return params, x, target, h_0, {"p": params._asdict(), "x": [None, *x], "target": [None, *target], "h_0": h_0}


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
    params, x, target, h_0, case = drawn(k2, 11, bias=k1 != 3)
    options = {"k1": k1, "k2": k2, "rate": 0.1, "nonlinearity": nonlinearity, "mean": reduction == "mean"}
    found, rule = compute(TRAINED, case | {"options": options}), {"nonlinearity": nonlinearity, "reduction": reduction}
    updates = list(numpy_rnn.train(params, x, target, h_0, k1=k1, k2=k2, learning_rate=0.1, epochs=1, **rule))
    near(found["losses"], [update.loss for update in updates])
    near_parameters(found["p"], updates[-1].parameters)


# -- the explorer -----------------------------------------------------------------------------------------------------

RUNS = {
    "relu": {"epochs": 1, "nonlinearity": "relu", "hidden_size": 8, "momentum": 0.9},
    "everything": {
        "epochs": 2, "hidden_size": 3, "bias": True, "reduction": "mean", "learn_initial_state": True, "k1": 2, "k2": 3,
        "learning_rate": 0.05, "max_norm": 0.02, "weight_decay": 0.01, "momentum": 0.5, "nesterov": True,
    },
}  # fmt: skip
COMPUTED = """({data, states, pairs}) => {
  const before = RUNS.full;
  RUNS.full = data;
  use("full");
  const updates = states.map(([epoch, k1, k2, update, uncut, rate]) => {
    Object.assign(shown, {epoch, k1, k2, update, uncut, rate});
    shown.moment = momentsNow().length - 1;
    const now = current(), {activations: {a, h, y}, flow, first, window} = now, {delta, after, losses} = stepOf(now);
    return {a, h, y, ...flow, window, first, gradients: {delta, after, gradient: gradientSoFar(now),
      sum: gradientSum(now.p, now.activations, flow, first, window.stop)}, losses, words: stepInWords(now)};
  });
  const components = run.snapshots.map(computed).map((seen) => (
    {norms: seen.norm, costs: pairs.map(([k1, k2]) => costAt(seen, k1, k2))}));
  RUNS.full = before;
  explore("small");
  return {updates, components};
}"""


def updates_of_all_truncations(epochs):
    """(epoch, k1, k2, update, uncut, η) of every update of every truncation, the others in turn."""
    states = [(k1, k2, n) for k1, k2 in pairs(T) for n in range(1, -(-T // k1) + 1)]
    return [(i % epochs, *state, i // epochs % 2, (0.01, 3.0)[i % 2]) for i, state in enumerate(states)]


@pytest.mark.parametrize("name", RUNS)
def test_the_explorer_shows_the_numbers_of_numpy_rnn(name, compute):
    """Forward pass, gradient and step of every update, the words about steps that raise their loss, and components."""
    subject = small(T, 1, **RUNS[name])
    objective, step = subject.options.objective, subject.options.step
    options, raised = {"nonlinearity": objective.nonlinearity}, 0
    reduced = options | {"reduction": objective.reduction}
    momentum = {key: getattr(step, key) for key in ("momentum", "nesterov", "weight_decay")}
    states = updates_of_all_truncations(len(subject.snapshots))
    found = compute(COMPUTED, {"data": explorer(subject), "states": states, "pairs": pairs(T)})
    for state, result in zip(states, found["updates"], strict=True):
        epoch, k1, k2, number, uncut, rate = state
        window = list(windows(T, k1, k2))[number - 1]
        start = 0 if uncut else window.start  # without the cut, the window begins at step 1
        new, target = slice(start, window.stop), subject.target[window.loss_start : window.stop]
        whole = subject.snapshots[epoch].params
        params = whole if start == 0 else whole._replace(h_0=None)
        x, a, h, y = numpy_rnn.forward(whole, subject.x, subject.initial_state(whole), **options)
        activations = Activations(x[new], a[new], h[start : window.stop + 1], y[new])
        flow = numpy_rnn.adjoints(params, activations, target, **reduced)
        total = gradient = numpy_rnn.bptt(params, activations, target, **reduced)
        if step.max_norm is not None:
            gradient = numpy_rnn.clip_by_global_norm(total, step.max_norm)
        delta, _ = numpy_rnn.direction(params, gradient, **momentum)
        after = numpy_rnn.sgd(params, delta, rate)
        again = numpy_rnn.forward(after, x[new], h[start] if after.h_0 is None else after.h_0, **options)
        losses = [
            numpy_rnn.half_squared_error(of.y[-len(target) :], target, reduction=objective.reduction)
            for of in (activations, again)
        ]
        assert (result["first"], result["window"]) == (start + 1, dict(zip(("start", "lossStart", "stop"), window)))
        for quantity, values in {"a": a, "y": y, "h": h[1:]}.items():
            near(result[quantity][1:], values, quantity)
        for quantity in ("dy", "dh", "da"):
            near(result[quantity][start + 1 : window.stop + 1], getattr(flow, quantity), quantity)
        for key, values in {"sum": total, "gradient": gradient, "delta": delta, "after": after}.items():
            near_parameters(result["gradients"][key], values, rtol=1e-10)
        near(result["losses"], losses)
        first_order = rate * sum(np.vdot(d, e) for d, e in zip(total, delta) if d is not None)
        assert ("too large" in result["words"]) == (losses[1] > losses[0] and first_order > 0)
        raised += "too large" in result["words"]
    assert raised or name == "everything"  # whose steps are clipped
    for snapshot, result in zip(subject.snapshots, found["components"], strict=True):
        G = flat(components_of(subject, snapshot.params))
        expected = cost(G, pairs(T))
        near([v for row in result["norms"][1:] for v in row[1:]], np.linalg.norm(G, axis=-1)[np.tril_indices(T)])
        near([[one["cosine"], one["bias"]] for one in result["costs"]], np.transpose([expected.cosine, expected.bias]))


def test_keys_clicks_and_links_lead_to_the_same_view(page):
    from playwright.sync_api import expect

    values = "() => ['epoch', 'k1', 'k2', 'update'].map((id) => Number(document.getElementById(id).value))"
    moment = "() => document.getElementById('moment-output').textContent.split(': ')[1]"
    kept = "[...document.querySelectorAll('#mask .kept')].map((e) => [e.dataset.t - 1, e.dataset.s - 1])"
    page.locator("#size-full").click()
    page.evaluate("change({epoch: 1, k2: 5, k1: 3, update: 2, moment: 3})")
    page.locator("#mask").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(values)[:3] == [1, 2, 2]  # k1 never exceeds k2
    page.evaluate("change({k1: 1, k2: 2, update: 6})")
    page.locator("#mask .component[data-t='6'][data-s='2'] .hit").dispatch_event("click")  # one that is cut
    assert page.evaluate(moment) == "da2"
    assert page.locator("#uncut").is_checked()
    assert sorted(page.evaluate(kept)) == np.argwhere(mask(T, 1, 2)).tolist()
    page.evaluate("location.hash = '#explore/size=full&epoch=3&k1=1&k2=3&update=4&at=dh_3&rate=0.5'")
    expect(page.locator("#moment-output")).to_have_text(re.compile("dh3$"))
    assert page.evaluate(values) == [3, 1, 3, 4]
    assert page.locator("#rate-output").text_content() == "0.50"
    page.locator("#forward").click()
    assert page.evaluate(moment) == "da3"
    page.locator("a[data-set='size=full k1=1 k2=1']").click()
    assert (page.evaluate(values)[:3], page.locator("#rate-output").text_content()) == ([3, 1, 1], "0.10")
    page.locator("#steps").press("]")
    view = page.evaluate("goTo('explore', FIGURES.explore.words()), FIGURES.explore.words()")
    assert "row=2" in view
    page.evaluate("change({moment: Infinity})")
    assert page.locator("#curves .curve").count() == 1  # of the loss by η
    table = "document.getElementById('numbers').parentElement"
    assert page.evaluate(f"{table}.scrollHeight - {table}.clientHeight") <= 0  # every row is in sight


# -- all figures ------------------------------------------------------------------------------------------------------

MOVED = """(size) => Object.entries(FIGURES).flatMap(([figure, {id}]) => {
  const seen = () => element(id).innerHTML.replace(/inside-\\d+/g, "");
  return [...element(id).querySelectorAll("input:not(#own-named), select")].map((control) => {
    goTo(figure, size);
    const {type, value, max, min} = control, [first, before] = [FIGURES[figure].words(), seen()];
    if (type === "checkbox") control.click();
    else {
      const other = {range: value === max ? min : max, text: `2 * (${value})`};
      control.value = other[type] ?? [...control.options].at(-1).value;
      control.dispatchEvent(new Event("input"));
    }
    const [words, after] = [FIGURES[figure].words(), seen()];
    goTo(figure, words);
    const changes = words !== first && after !== before;
    return {id: control.id, words, first, before, changes, returns: seen() === after};
  });
})"""


def test_every_control_changes_its_figure_and_the_address(compute):
    """By the address, the view is there again; what the address does not say is as at first."""
    moved = compute(MOVED, "size=full")
    assert [one["id"] for one in moved if not (one["changes"] and one["returns"])] == []
    assert len(moved) > 25
    assert len({(one["first"], one["before"]) for one in moved}) == 6  # of as many figures
    words = {one["id"]: one["words"] for one in moved}
    assert words["example-both"].startswith("first=3&second=3")
    assert "k1=6&k2=6" in words["k1"]  # k1 never exceeds k2


# -- the worked example -----------------------------------------------------------------------------------------------


def test_the_two_copies_have_the_derivatives_of_complex_step(compute):
    def loss(w1, w2):
        h1 = 1 + w1
        return ((h1 - 2) ** 2 + (1 + h1 * w2 - 6) ** 2) / 2

    for w1, w2 in ((2, 2), (1.3, 2.7), (2.9, 1.1)):
        found = compute("([w1, w2]) => exampleAt(w1, w2)", [w1, w2])
        near(found["loss"], loss(w1, w2))
        near(found["partial"][1:], [loss(w1 + 1e-30j, w2).imag * 1e30, loss(w1, w2 + 1e-30j).imag * 1e30])
        near(found["sum"], loss(w1 + 1e-30j, w2 + 1e-30j).imag * 1e30)
    found = compute("() => exampleAt(2, 2)")  # as in DERIVATION.md, with the usual wrong answer
    assert [found[key] for key in ("loss", "sum", "double")] == [1, 6, 8]


# -- the own backward pass --------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.\[=])(?<!axis=-)(\d+\.?\d*(?:e-\d+)?)(?![\w\]])")  # no step, and no axis
LEAVES = ["h[t]", "a[t-1]", "da[t+1]", "W_hh", "W_xh", "b_h", "2", "0.5", "N", "x[1]", "h[T]", "1e-1"]


def expression(draw, depth):
    """A random expression of the language, which is one of NumPy too; what is stepped is an array of arrays."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(LEAVES)
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
    params, x, target, h_0, case = drawn(7, 5)
    activations = numpy_rnn.forward(params, x, h_0)
    da = [None, *numpy_rnn.adjoints(params, activations, target).da]
    draw, t, count = random.Random(5), 3, 300
    texts = [expression(draw, draw.choice([1, 2, 3])) for _ in range(count)]
    found = compute(COMPUTED_TEXTS, case | {"N": 7.0, "da": da, "t": t, "texts": texts})
    names = {**params._asdict(), "h": activations.h, "np": np, "t": t, "T": len(x), "N": np.float64(7), "da": da}
    names |= {"a": [None, *activations.a], "x": [None, *x]}
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


KNOWN = "x[t], target[t], a[t], h[t], y[t], dy[t], dh[t], da[t], W_xh, W_hh, W_hy, b_h, b_y, h_0, N, B, T"
SAID = {  # of a line, in place of that of (B2), or of (B3), (B5) and (B7)
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
    "alert(1)": f"alert is unknown: expected one of {KNOWN}",
    "h[t]": None,
    "B5: 7 * (h[t-1].T @ da[t])": "This is the right value times 7.000.",
    "B3: -dh[t] * (1 - h[t]**2)": "This is the right value times −1: the sign is wrong.",
    "B7: da[t].sum(axis=0) * N": "This is the right value times N.",
}


def test_lines_that_are_wrong_say_why(compute):
    for text, message in SAID.items():
        line, _, code = text.partition(": ") if text[0] == "B" else ("B2", "", text)
        found = compute("([line, text]) => checkLines({...rightLines(), [line]: text}).verdicts[line]", [line, code])
        is_error = message is not None and not message.startswith("This is the")
        assert found == {"kind": "error" if is_error else "wrong", "message": message}, text


MISTAKEN = """() => mistakenValues.map(({line, text, message}) => {
  const {verdicts, first} = checkLines({...rightLines(), [line]: `0 + (${text})`});
  const {result} = byLines(parsedLines({...rightLines(), [line]: text}), null);
  const numbers = GRADIENT_NAMES.map((key) => `${key} = ${JSON.stringify(each((v) => v.toPrecision(6), result[key]))}`);
  const wrong = Object.entries(verdicts).filter(([id, {kind}]) => kind !== "right");
  return {text, wrong, expected: [[line, {kind: "wrong", message}]], tensor: LINES[line].name, first: first.label,
    said: pasted(numbers.join(" ")).at(-1), end: `(${line}). ${message}`};
})"""


def test_every_mistake_is_named_by_its_value(compute):
    """However it is written, and where the gradients are pasted. The other lines are judged on right inputs."""
    assert compute("() => checkLines(rightLines()).first") is None
    found = compute(MISTAKEN)
    assert len(found) > 40
    for one in found:
        assert one["wrong"] == one["expected"], one["text"]
        assert one["first"].startswith(one["tensor"]), one["text"]
        assert one["said"].endswith(one["end"]), one["text"]


def test_pasted_gradients_are_read_as_programs_print_them(page, compute):
    """NumPy and PyTorch, in float32; the network is copied from the page, and the gradient is that of numpy_rnn."""
    names, code = {"np": np}, page.locator("#own-numbers").text_content()
    exec(code, names)
    params = Parameters(*(names[name].astype(np.float32) for name in Parameters._fields))
    x, target = names["x"].astype(np.float32), names["target"].astype(np.float32)
    activations = numpy_rnn.forward(params, x, params.h_0)
    gradients = numpy_rnn.bptt(params, activations, target, reduction="mean")._asdict()
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

    page.evaluate("goTo('own', ''); Object.assign(LESSON, {updates: 30})")
    verdict, result = (page.locator(f"#own-{name}") for name in ("B2-verdict", "result"))
    assert "W_hh needs a transpose here" in verdict.text_content()
    assert "The first wrong tensor of the whole pass is dh[2]" in result.text_content()
    for text, is_right in (("da[t+1] @ W_hh.T + dy[t] @ W_hy.T", True), ("dy[t] @ W_hy.T", False)):
        page.locator("#own-B2").fill(text)
        assert ("All nine lines are right" in result.text_content()) == is_right
        page.locator("#own-train").click()
        expect(page.locator("#own-lesson")).to_have_text(re.compile("^Mean of the last 50 updates"))
        curve, reference = page.evaluate("[own.curve, own.reference]")
        assert np.allclose(curve, reference, rtol=1e-11) == is_right
    page.locator("#own-empty").click()
    assert page.locator("#own-train").is_disabled()
    page.locator("#own-plant").click()
    assert "The first wrong tensor" in result.text_content()
    assert not page.locator("#own-named").is_checked()
    page.locator("#own-right").click()
    assert "All nine lines" in result.text_content()


# -- delayed recall ---------------------------------------------------------------------------------------------------


def test_recall_trains_as_numpy_rnn_does(compute):
    """32 networks on the page's stream."""
    d, k2, updates = 3, 5, 50
    found = compute("""([d, k2, updates]) => {
      const trial = newRecall(d, k2);
      for (let i = 0; i < updates; i++) advance(trial);
      return {losses: trial.all.map(({losses}) => losses), points: trial.points, learned: trial.learned,
        series: recallSeries(d, updates), networks: range(1, RECALL.networks).map(recallNetwork), rate: RECALL.rate};
    }""", [d, k2, updates])  # fmt: skip
    x, target = (np.array(found["series"][name][1:], float) for name in ("x", "target"))
    params = Parameters(*(np.array([one[name] for one in found["networks"]]) for name in Parameters._fields[:3]))
    h_0, options = np.zeros((x.shape[1], params.W_hh.shape[-1])), {"learning_rate": found["rate"], "reduction": "mean"}
    run = numpy_rnn.train(params, x, target, h_0, k1=1, k2=k2, epochs=1, **options)
    expected = 2 * np.array([update.loss for update in run])
    near(np.transpose(found["losses"]), expected, rtol=1e-9)
    late = np.sort(expected[25:].mean(axis=0))
    near(found["points"][-1], [50, *late[[3, 15, 28]]], rtol=1e-9)  # 10, 50 and 90 % of 32
    assert found["learned"] == (late < 0.5).sum()


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
    lags = "[...document.querySelectorAll('#recall-matrix .{}')].map((e) => e.dataset.t - e.dataset.s)".format
    assert max(page.evaluate(lags("kept"))) < page.evaluate("recall.k2")
    assert set(page.evaluate(lags("framed"))) == {2}


# -- vanishing and exploding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", ["tanh", "sigmoid"])
def test_growth_by_lag_and_its_bound(phi, compute):
    for kind in ("random", "rotation", "run"):
        found = compute("(options) => growth(options)", {"rho": 1.3, "drive": 0.5, "kind": kind, "phi": phi})
        W, h = np.array(found["W_hh"]), np.array(found["h"])[:, 0]
        near(max(abs(np.linalg.eigvals(W))), 1.3, rtol=1e-9)
        near(found["largestStretch"], 1.3 if kind == "rotation" else np.linalg.norm(W, 2))
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
    assert [("Vanishing is certain" in text) for text in said] == [True, False, False, False, True]
    ends = [text.rsplit(": ", 1)[1] for text in said]
    assert ends == ["it vanishes.", "it vanishes.", "it explodes.", "it vanishes.", "it vanishes."]


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_cliff_is_that_of_numpy_rnn(max_norm, compute):
    start = {"w": 2.5, "b": 0.5, "rate": 0.5, "steps": 80, "length": 10}
    one, x, target = np.ones((1, 1)), np.zeros((10, 1, 1)), np.full((1, 1, 1), 0.3)
    params = Parameters(0 * one, start["w"] * one, one, np.array([start["b"]]), np.zeros(1))
    for point in compute("([start, max_norm]) => descend(start, max_norm)", [start, max_norm]):
        activations = numpy_rnn.forward(params, x, 0 * one)
        loss = numpy_rnn.half_squared_error(activations.y[-1:], target)
        # Roundings grow by the slope of the cliff at every step that meets it.
        near([point[name] for name in ("w", "b", "loss")], [params.W_hh.item(), params.b_h.item(), loss], rtol=1e-6)
        gradients = numpy_rnn.bptt(params, activations, target)
        step = numpy_rnn.Gradients(0 * one, gradients.W_hh, 0 * one, gradients.b_h, np.zeros(1))
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
