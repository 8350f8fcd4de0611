"""The explorer in a real browser, headless Chromium: moved by sliders and keys, its numbers compared with the run."""

import importlib.util
import shutil
from functools import reduce
from operator import add

import numpy as np
import pytest
from in_process import main

import numpy_rnn
from numpy_rnn import windows
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.setting import setting_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [
    what
    for what, there in (
        ("Chromium", CHROMIUM),
        ("the package playwright", importlib.util.find_spec("playwright")),
        ("the package axe-playwright-python", importlib.util.find_spec("axe_playwright_python")),
    )
    if not there
]
pytestmark = [
    pytest.mark.needs_matplotlib,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the page is not tested in a browser: no {' and no '.join(MISSING)}"),
]

T = 7
EQUATIONS = {"a": "F1", "h": "F2", "y": "F3", "ℓ": "L1", "dy": "B1", "dh": "B2", "da": "B3"}
SETTINGS = {
    "sine": {"epochs": 3},
    "two series": {
        "epochs": 2,
        "hidden_size": 3,
        "bias": True,
        "reduction": "mean",
        "learn_initial_state": True,
        "k1": 2,
        "k2": 3,
        "learning_rate": 0.05,
    },
    "relu": {"epochs": 1, "nonlinearity": "relu", "hidden_size": 8},
}

READ = """() => ({
  moment: document.getElementById("moment-output").textContent,
  equations: [...document.querySelectorAll("#detail [data-equation]")].filter((e) => e.checkVisibility())
    .map((e) => e.dataset.equation),
  rows: [...document.querySelectorAll("#numbers tbody tr")].map((row) => [row.querySelector("th").textContent,
    [...row.querySelectorAll("td")].map((cell) => cell.textContent)]),
  computed: [...document.querySelectorAll("#unrolled g.cells")].map((g) => `${g.dataset.name} ${g.dataset.t}`),
  framed: [...document.querySelectorAll("#mask .framed")].map((e) => [Number(e.dataset.t), Number(e.dataset.s)]),
})"""
SET = """([slider, value]) => {
  const input = document.getElementById(slider);
  input.value = value;
  input.dispatchEvent(new Event("input", {bubbles: true}));
}"""
WALK = f"""() => {{
  const read = {READ}, set = {SET};
  const last = Number(document.getElementById("moment").max);
  return Array.from({{length: last + 1}}, (_, i) => {{ set(["moment", i]); return read(); }});
}}"""
MASKS = f"""(truncations) => truncations.map(([epoch, k1, k2]) => {{
  for (const chosen of [["epoch", epoch], ["k1", k1], ["k2", k2]]) ({SET})(chosen);
  return {{
    kept: [...document.querySelectorAll("#mask .kept")].map((cell) => [Number(cell.dataset.t), Number(cell.dataset.s)]),
    all: document.querySelectorAll("#mask .kept, #mask .cut").length,
    ...Object.fromEntries(["kept", "all-components", "cosine", "bias"].map((id) =>
      [`#${{id}}`, document.getElementById(id).textContent])),
  }};
}})"""
TOO_WIDE = """() => [...document.querySelectorAll(".wide:has(> table)")].filter((e) => e.scrollWidth > e.clientWidth)
  .map((e) => e.textContent.slice(0, 40))"""
VALUES = """() => Object.fromEntries(["epoch", "k1", "k2", "update", "moment"].map((id) =>
  [id, Number(document.getElementById(id).value)]))"""


# -- the run, the browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """The settings that are looked at, by name."""
    path = tmp_path_factory.mktemp("series") / "two.csv"
    steps = 0.7 * np.arange(12)
    rows = "\n".join(f"{np.sin(t)},{np.cos(1.3 * t)}" for t in steps)
    path.write_text(f"first,second\n{rows}\n", encoding="utf-8")
    result = {}
    for name, options in SETTINGS.items():
        configuration = Configuration(**options, data=str(path) if name == "two series" else None)
        result[name] = setting_of(prepare(configuration), configuration, seeds=1, steps=T)
    return result


@pytest.fixture(scope="session")
def numbers(settings):
    """What the explorer is given, by the setting's name."""
    return {name: explorer(setting) for name, setting in settings.items()}


@pytest.fixture(scope="session")
def files(numbers, tmp_path_factory):
    """The pages, by the setting's name: the explorer alone, without the other sections."""
    texts = {"0_explore": (pages.HERE / "sections/0_explore.html").read_text(encoding="utf-8")}
    folder = tmp_path_factory.mktemp("pages")
    result = {}
    for name, data in numbers.items():
        result[name] = folder / f"{name.replace(' ', '_')}.html"
        result[name].write_text(pages.assembled(texts, {"explorer": data}, {}, (), ()), encoding="utf-8")
    return result


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The whole page of a small study."""
    folder = tmp_path_factory.mktemp("study") / "small"
    words = ("--epochs", "3", "--steps", "5", "--seeds", "2", "--hidden-size", "3", "--bias", "--folder", str(folder))
    assert main(numpy_rnn, ["study", *words]) == 0
    return folder / "study.html"


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, files):
    """Opens the page of a setting. At the end: nothing was asked of a network, and nothing stands on the console."""
    contexts, requests, messages = [], [], []

    def opened(name="sine", width=1000, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options))
        page = contexts[-1].new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(files[name].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} <= {path.as_uri() for path in files.values()}
    assert len(contexts) > 0


def still(page):
    """Let the time of the page go on only where a test says so."""
    page.clock.install(time=0)
    page.clock.pause_at(1000)


def choose(page, **sliders):
    for slider, value in sliders.items():
        page.evaluate(SET, [slider, value])


def read(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-"))


def as_written(value):
    """A number of which the page shows four digits."""
    return float(f"{value:.3e}")


# -- the numbers ----------------------------------------------------------------------------------------------------


def row_of_sums(rows):
    return [reduce(add, column, 0.0) for column in zip(*rows)]


def product(row, matrix):
    return row_of_sums([[v * w for w in weights] for v, weights in zip(row, matrix)])


def transposed(matrix):
    return [list(column) for column in zip(*matrix)]


def expected_rows(data, seen, window, divisor, what, t):
    """The rows of numbers of a moment, the last being what is made: from what the page was given, by the equations."""
    parameters = seen["parameters"]

    def delta(name, s):
        steps = [u for u in range(window.loss_start + 1, window.stop + 1) if u >= s]
        return [v / divisor for v in row_of_sums([seen[name][u - 1][s - 1] for u in steps])]

    dy = [v / divisor if t > window.loss_start else 0.0 for v in seen["dy"][t - 1]]
    y, target = seen["y"][t - 1], data["target"][t - 1]
    biases = {name: [theta] if (theta := parameters[name]) else [] for name in ("b_h", "b_y")}
    if what == "h" and t == window.start:
        return [seen["h"][t]]
    if what == "a":
        terms = product(data["x"][t - 1], parameters["W_xh"]), product(seen["h"][t - 1], parameters["W_hh"])
        return [*terms, *biases["b_h"], seen["a"][t - 1]]
    if what == "h":
        return [seen["a"][t - 1], seen["h"][t]]
    if what == "y":
        return [product(seen["h"][t], parameters["W_hy"]), *biases["b_y"], y]
    if what == "ℓ":
        return [y, target, seen["dy"][t - 1], [seen["losses"][t - 1]]]
    if what == "dy":
        return [y, target, [divisor], dy]
    if what == "dh":
        later = [] if t == window.stop else product(delta("da", t + 1), transposed(parameters["W_hh"]))
        return [product(dy, transposed(parameters["W_hy"])), later, delta("dh", t)]
    tanh = data["nonlinearity"] == "tanh"
    slopes = [1 - h * h if tanh else float(h > 0) for h in seen["h"][t]]
    return [delta("dh", t), slopes, delta("da", t)]


def expected_moments(window):
    """(what, t) of an update in the order in which it computes: forward through its window and back."""
    yield "h", window.start
    for t in range(window.start + 1, window.stop + 1):
        yield from ((what, t) for what in ("a", "h", "y"))
        if t > window.loss_start:
            yield "ℓ", t
    for t in range(window.stop, window.start, -1):
        yield from ((what, t) for what in ("dy", "dh", "da"))


@pytest.mark.parametrize(
    ("name", "pair"), [("sine", (1, 3)), ("sine", (T, T)), ("two series", (3, 5)), ("relu", (2, 3))]
)
def test_every_moment_of_every_update_shows_the_numbers(name, pair, open_page, numbers):
    page, data = open_page(name), numbers[name]
    for epoch in {0, len(data["snapshots"]) - 1}:
        choose(page, epoch=epoch, k1=pair[0], k2=pair[1])
        for update, window in enumerate(windows(T, *pair), start=1):
            choose(page, update=update)
            divisor = window.loss_steps * data["sizes"]["O"] if data["reduction"] == "mean" else 1
            moments = list(expected_moments(window))
            for i, ((what, t), result) in enumerate(zip(moments, page.evaluate(WALK), strict=True)):
                assert result["moment"] == f"{i} of {len(moments) - 1}: {what}_{t}"
                initial = i == 0
                assert result["equations"] == ["T3" if initial else EQUATIONS[what]]
                rows = expected_rows(data, data["snapshots"][epoch], window, divisor, what, t)
                assert result["rows"][-1][0] == f"{what}{t}"
                for (label, cells), row in zip(result["rows"], rows, strict=True):
                    if row:
                        assert [read(cell) for cell in cells] == [as_written(v) for v in row], label
                    else:
                        assert cells == ["none: the window has no later step"]
                shown = {f"{'loss' if what == 'ℓ' else what} {t}" for what, t in moments[: i + 1]}
                inside = {
                    cell
                    for cell in result["computed"]
                    if cell.split()[0] not in ("x", "target") and int(cell.split()[1]) > window.start
                }
                assert inside == {cell for cell in shown if int(cell.split()[1]) > window.start}


def test_components_that_make_a_delta_are_framed(open_page):
    page = open_page()
    choose(page, k2=5)
    choose(page, k1=2, update=3)
    (window,) = [window for n, window in enumerate(windows(T, 2, 5), start=1) if n == 3]
    for (what, t), result in zip(expected_moments(window), page.evaluate(WALK), strict=True):
        framed = [[u, t] for u in range(max(t, window.loss_start + 1), window.stop + 1)]
        assert result["framed"] == (framed if what in ("dh", "da") else [])


@pytest.mark.parametrize("name", ["sine", "two series"])
def test_every_mask_is_the_schedule_and_has_its_cost(name, open_page, numbers):
    page, snapshots = open_page(name), numbers[name]["snapshots"]
    pairs = [(k1, k2) for k2 in range(1, T + 1) for k1 in range(1, k2 + 1)]
    chosen = [(i % len(snapshots), k1, k2) for i, (k1, k2) in enumerate(pairs)]
    for (epoch, k1, k2), result in zip(chosen, page.evaluate(MASKS, chosen), strict=True):
        kept = [
            [t, s]
            for start, loss_start, stop in windows(T, k1, k2)
            for t in range(loss_start + 1, stop + 1)
            for s in range(start + 1, t + 1)
        ]
        assert sorted(result["kept"]) == kept
        assert result["all"] == T * (T + 1) // 2
        assert (result["#kept"], result["#all-components"]) == (str(len(kept)), str(result["all"]))
        for kind in ("cosine", "bias"):
            assert read(result[f"#{kind}"]) == as_written(snapshots[epoch][kind][k1 - 1][k2 - k1])


def test_the_epoch_changes_what_is_said_of_it(open_page, numbers):
    page = open_page()
    snapshots = numbers["sine"]["snapshots"]
    for i, seen in enumerate(snapshots):
        choose(page, epoch=i)
        text = page.locator("#state").text_content()
        assert text.startswith(f"Weights after epoch {seen['epoch']} (loss ")
        words = text.replace(",", "").replace(")", "").split()
        assert read(words[words.index("(loss") + 1]) == as_written(seen["loss"])
        assert read(words[words.index("norm") + 1]) == as_written(seen["gradient_norm"])
        assert read(words[words.index("W_hh") + 1].strip(".")) == as_written(seen["spectral_radius"])


# -- sliders, keys, buttons -----------------------------------------------------------------------------------------


def test_k1_never_exceeds_k2(open_page):
    page = open_page()
    choose(page, k1=6)
    assert page.evaluate(VALUES)["k2"] == 6
    choose(page, k2=4)
    assert page.evaluate(VALUES)["k1"] == 4
    choose(page, k2=7)
    assert page.evaluate(VALUES)["k1"] == 4
    page.locator("#k1").focus()
    for _ in range(T):
        page.keyboard.press("ArrowRight")
        values = page.evaluate(VALUES)
        assert values["k1"] <= values["k2"]
        assert values["update"] <= page.evaluate("Number(document.getElementById('update').max)")
    assert (values["k1"], values["k2"]) == (T, T)


def test_sliders_obey_the_keyboard(open_page):
    page = open_page()
    for slider in ("epoch", "k1", "k2", "update", "moment"):
        choose(page, epoch=1, k1=2, k2=5)
        choose(page, update=2, moment=3)
        before = page.evaluate(VALUES)[slider]
        output = page.locator(f"#{slider}-output")
        page.locator(f"#{slider}").focus()
        texts = [output.text_content()]
        for key, change in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", -1)):
            page.keyboard.press(key)
            assert page.evaluate(VALUES)[slider] == before + change, slider
            texts.append(output.text_content())
            assert page.locator(f"#{slider}").get_attribute("aria-valuetext") == texts[-1]
        assert texts[0] == texts[2]
        assert len(set(texts)) == 3
        page.keyboard.press("End")
        assert page.evaluate(VALUES)[slider] == page.evaluate(f"Number(document.getElementById('{slider}').max)")


KEYS = {
    ("unrolled", "ArrowRight"): ("moment", 1),
    ("unrolled", "ArrowLeft"): ("moment", -1),
    ("unrolled", "ArrowUp"): ("update", 1),
    ("unrolled", "ArrowDown"): ("update", -1),
    ("mask", "ArrowRight"): ("k2", 1),
    ("mask", "ArrowLeft"): ("k2", -1),
    ("mask", "ArrowUp"): ("k1", 1),
    ("mask", "ArrowDown"): ("k1", -1),
}


def test_figures_obey_the_keys_that_the_page_names(open_page):
    page = open_page()
    for (figure, key), (slider, change) in KEYS.items():
        choose(page, epoch=1, k1=2, k2=5)
        choose(page, update=2, moment=3)
        before = page.evaluate(VALUES)
        page.locator(f"#{figure}").focus()
        page.keyboard.press(key)
        after = page.evaluate(VALUES)
        assert after[slider] == before[slider] + change, (figure, key)
        chosen = {"epoch", "k1", "k2"} - {slider}  # the moment and the update may have to follow
        assert {name: after[name] for name in chosen} == {name: before[name] for name in chosen}
        page.keyboard.press("Control+ArrowRight")
        assert page.evaluate(VALUES) == after


def test_page_keys_scroll_the_page(open_page):
    page = open_page()
    page.locator("#unrolled").focus()
    before, values = page.evaluate("scrollY"), page.evaluate(VALUES)
    page.keyboard.press("PageDown")
    page.wait_for_function("before => scrollY > before + 100", arg=before)
    assert page.evaluate(VALUES) == values


def test_ends_of_an_update_by_key_and_button(open_page):
    page = open_page()
    last = page.evaluate("Number(document.getElementById('moment').max)")
    page.locator("#unrolled").focus()
    page.keyboard.press("End")
    assert page.evaluate(VALUES)["moment"] == last
    page.locator("#forward").click()
    assert page.evaluate(VALUES)["moment"] == last
    page.locator("#back").click()
    assert page.evaluate(VALUES)["moment"] == last - 1
    page.locator("#unrolled").focus()
    page.keyboard.press("Home")
    assert page.evaluate(VALUES)["moment"] == 0


def test_a_click_on_cells_goes_to_their_moment(open_page):
    page = open_page()
    choose(page, k2=T, update=T, moment=0)
    page.locator("#unrolled rect.empty[data-name=dh][data-t='3']").dispatch_event("click")
    assert page.locator("#moment-output").text_content().endswith(": dh_3")
    page.locator("#unrolled g[data-name=a][data-t='2'] rect.frame").dispatch_event("click")
    assert page.locator("#moment-output").text_content().endswith(": a_2")


def test_another_window_keeps_the_moment(open_page):
    page = open_page()
    choose(page, k2=5, update=6, moment=0)
    names = [f"{what}_{t}" for what, t in expected_moments(list(windows(T, 1, 5))[5])]
    choose(page, moment=names.index("da_5"))
    choose(page, update=T)
    assert page.locator("#moment-output").text_content().endswith(": da_5")
    choose(page, k2=1)
    assert page.locator("#moment-output").text_content().endswith(f": da_{T}")


def test_play_goes_on_by_itself_and_stops_at_the_end(open_page):
    page = open_page()
    still(page)
    choose(page, moment=0)
    last = page.evaluate("Number(document.getElementById('moment').max)")
    page.locator("#unrolled").focus()
    page.keyboard.press("Space")
    assert page.locator("#play").get_attribute("aria-pressed") == "true"
    page.clock.run_for(2100)
    assert page.evaluate(VALUES)["moment"] == 3
    page.keyboard.press("Space")
    page.clock.run_for(2100)
    assert page.evaluate(VALUES)["moment"] == 3
    page.locator("#play").click()
    page.clock.run_for(700 * (last + 2))
    assert page.evaluate(VALUES)["moment"] == last
    assert page.locator("#play").get_attribute("aria-pressed") == "false"


def test_who_wants_less_motion_goes_step_by_step(open_page):
    page = open_page(reduced_motion="reduce")
    still(page)
    choose(page, moment=0)
    page.locator("#play").click()
    page.clock.run_for(5000)
    assert page.evaluate(VALUES)["moment"] == 1


# -- links that set it, and its address -----------------------------------------------------------------------------


def test_links_of_the_text_set_the_explorer(open_page, numbers):
    page = open_page()
    choose(page, k1=2, k2=2, update=2)
    for words, expected in {
        "k1=1 k2=1": {"k1": 1, "k2": 1},
        f"epoch={numbers['sine']['snapshots'][1]['epoch']}": {"epoch": 1},
        f"component={T},{T - 3}": {"k2": 4, "update": T},
    }.items():
        page.locator(f"a[data-set='{words}']").click()
        values = page.evaluate(VALUES)
        assert expected.items() <= values.items(), words
    assert page.locator("#moment-output").text_content().endswith(f": da_{T - 3}")
    assert [T, T - 3] in page.evaluate(READ)["framed"]


def test_the_address_holds_the_state(open_page, files):
    page = open_page()
    page.wait_for_timeout(500)
    assert page.url == files["sine"].as_uri()  # nothing was changed yet
    choose(page, epoch=1, k1=2, k2=5)
    choose(page, update=3, moment=7)
    page.wait_for_function("() => location.hash.startsWith('#explore/')")
    words, values = page.evaluate("location.hash"), page.evaluate(VALUES)
    page.evaluate(f"location.hash = '{words.replace('k2=5', 'k2=3')}'")
    page.wait_for_function("() => document.getElementById('k2').value === '3'")
    page.goto("about:blank")
    page.goto(files["sine"].as_uri() + words)
    assert page.evaluate(VALUES) == values
    for wrong in ("", "k1=x&k2=-1", "at=nothing_3&component=9,99", "epoch=99999&k1=999&at=dh_999", "=&&=="):
        page.evaluate("words => { location.hash = '#explore/' + words; }", wrong)
        page.wait_for_timeout(50)
        values = page.evaluate(VALUES)
        assert 1 <= values["k1"] <= values["k2"] <= T


# -- reading it -----------------------------------------------------------------------------------------------------


def test_everything_that_acts_is_reached_by_tab(open_page):
    page = open_page()
    acting = set(page.evaluate("[...document.querySelectorAll('input, button, #unrolled, #mask')].map((e) => e.id)"))
    assert len(acting) == 10
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    assert acting <= reached


@pytest.mark.parametrize("name", SETTINGS)
def test_narrow_screens_need_no_sideways_scrolling(name, open_page):
    page = open_page(name, width=400)
    choose(page, k2=T, update=T)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_axe_finds_no_violation(browser, whole):
    from axe_playwright_python.sync_playwright import Axe

    for width, scheme in ((1280, "light"), (1280, "dark"), (400, "light")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
        page = context.new_page()
        page.goto(whole.as_uri())
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == 1280:
            assert page.evaluate(TOO_WIDE) == []
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        context.close()


def test_it_prints(open_page):
    page = open_page("relu")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    for hidden in (".controls", "nav", "#keys"):
        assert not page.locator(hidden).is_visible()
    for shown in ("#state", "#summary", "#numbers", "#unrolled svg", "#mask svg", "#curves"):
        assert page.locator(shown).is_visible()
    for drawing in ("#unrolled svg", "#mask svg"):
        width = page.locator(drawing).bounding_box()["width"]
        page.set_viewport_size({"width": int(width) - 20, "height": 1000})  # paper on which it does not fit as it is
        box = page.locator(drawing).bounding_box()
        assert box["x"] + box["width"] <= int(width) - 20


def test_what_is_shown_is_announced(open_page):
    page = open_page()
    choose(page, k2=5, update=6)
    page.locator("#unrolled").focus()
    before = page.locator("[aria-live=polite]").text_content()
    page.keyboard.press("ArrowRight")
    after = page.locator("[aria-live=polite]").text_content()
    assert before != after
    assert after.startswith("Backward, step ")
    assert page.locator("#unrolled svg").get_attribute("aria-label") == f"{T} steps; the window is (1, 6]"
