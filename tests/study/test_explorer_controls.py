"""The explorer in headless Chromium: sliders, keys, clicks, links and its address."""

from typing import Any

import pytest
from study_explorer import IN_BROWSER, READ, VALUES, T, choose, moment, resize

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow, IN_BROWSER]


def test_k1_never_exceeds_k2(sine):
    for changes, expected in (({"k1": 6}, (6, 6)), ({"k2": 4}, (4, 4)), ({"k2": T}, (4, T)), ({"k1": T}, (T, T))):
        choose(sine, **changes)
        values = sine.evaluate(VALUES)
        assert (values["k1"], values["k2"]) == expected
        assert values["update"] <= sine.evaluate("Number(document.getElementById('update').max)")


def test_changing_the_truncation_keeps_the_step_and_what_is_computed(sine):
    choose(sine, k1=1, k2=5)
    choose(sine, update=6)
    sine.evaluate("change({moment: sameMoment({name: 'da', t: 5})})")
    for slider, value, expected in (
        ("k1", 2, "da_5"),  # window (1, 6]
        ("k1", 4, "da_5"),  # window (2, 7]
        ("k1", 1, "da_5"),
        ("k2", 1, "da_6"),  # window (5, 6]
        ("k2", 6, "da_5"),
        ("uncut", True, "da_5"),
        ("epoch", 0, "da_5"),
        ("update", T, "da_5"),
    ):
        choose(sine, **{slider: value})
        assert moment(sine) == expected, (slider, value)


ARROWS = ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown")
KEYS: dict[str, dict[str, Any]] = {  # of what has the focus: what each key changes, and by how much
    **{
        slider: {"ArrowRight": (slider, 1), "ArrowLeft": (slider, -1)}
        for slider in ("epoch", "k1", "k2", "update", "moment")
    },
    "steps": dict(zip(ARROWS, (("moment", 1), ("moment", -1), ("update", 1), ("update", -1)))),
    "mask": dict(zip(ARROWS, (("k2", 1), ("k2", -1), ("k1", 1), ("k1", -1)))),
}
KEYS["steps"] |= {"Home": ("moment", -3), "End": ("moment", None)}
SLIDER = """(id) => ({
  last: Number(document.getElementById('moment').max),
  text: document.getElementById(`${id}-output`).textContent,
  announced: document.getElementById(id).getAttribute('aria-valuetext'),
})"""


def test_sliders_and_figures_obey_the_keys_that_the_page_names(sine):
    pressed = [(focused, key, *change) for focused, of_key in KEYS.items() for key, change in of_key.items()]
    for focused, key, slider, by in pressed:
        choose(sine, epoch=1, k2=5, k1=2, update=2, moment=3)
        before = sine.evaluate(VALUES)
        sine.locator(f"#{focused}").focus()
        sine.keyboard.press(key)
        after, shown = sine.evaluate(VALUES), sine.evaluate(SLIDER, slider)
        assert after[slider] == (shown["last"] if by is None else before[slider] + by), (focused, key)
        for kept in {"epoch", "k1", "k2"} - {slider}:  # the moment and the update may have to follow
            assert after[kept] == before[kept]
        assert shown["announced"] == shown["text"]
        if focused in ("steps", "mask"):
            sine.keyboard.press("Control+ArrowRight")
            assert sine.evaluate(VALUES) == after


def test_page_keys_scroll_the_page(sine):
    sine.bring_to_front()
    sine.locator("#steps").focus()
    before, values, scrolled = sine.evaluate("scrollY"), sine.evaluate(VALUES), "before => scrollY > before + 100"
    for _ in range(20):  # one run of all tests in four saw no effect of the first key; why is not known
        sine.keyboard.press("PageDown")
        sine.wait_for_timeout(500)
        if sine.evaluate(scrolled, before):
            break
    assert sine.evaluate(scrolled, before)
    assert sine.evaluate(VALUES) == values


def test_back_and_forward_stop_at_the_ends(sine):
    for button, end in (("forward", "Infinity"), ("back", "0")):
        sine.evaluate(f"change({{moment: {end}}})")
        before = sine.evaluate(VALUES)["moment"]
        sine.locator(f"#{button}").click()
        assert sine.evaluate(VALUES)["moment"] == before
    sine.locator("#forward").click()
    assert sine.evaluate(VALUES)["moment"] == 1


def test_network_and_matrix_lead_to_each_other(sine):
    choose(sine, k2=T)
    choose(sine, update=4, moment=0)
    for cells in ("rect.empty[data-name=dh][data-t='3']", "g[data-name=a][data-t='2'] rect.frame"):
        sine.locator(f"#steps {cells}").dispatch_event("click")
    assert moment(sine) == "a_2"
    sine.locator("#steps rect.empty[data-name=da][data-t='4']").dispatch_event("click")
    assert (moment(sine), sine.evaluate(READ)["framed"]) == ("da_4", [[T, 4]])
    choose(sine, k1=1, k2=2)
    for t, s, uncut in ((5, 4, False), (6, 2, True)):  # a component that is kept, and one that is cut
        sine.locator(f"#mask .component[data-t='{t}'][data-s='{s}'] .hit").dispatch_event("click")
        assert moment(sine) == f"da_{s}"
        assert {"k1": 1, "k2": 2, "update": t}.items() <= sine.evaluate(VALUES).items()
        assert [t, s] in sine.evaluate(READ)["framed"]
        assert sine.locator("#uncut").is_checked() == uncut
        assert sine.locator(f"#steps g.cells{'.beyond' if uncut else ''}[data-name=da][data-t='{s}']").count() == 1


def test_a_row_of_the_weights_is_chosen_by_click_and_key(sine):
    def labels():
        return "".join(label for label, *_ in sine.evaluate(READ)["rows"])

    sine.evaluate("change({moment: Infinity})")
    sine.locator("#weights [data-weight=W_hh] [data-row='3']").first.click()
    assert "Whh[3]" in labels()
    sine.locator("#steps").focus()
    for _ in range(2):
        sine.keyboard.press("[")
    assert "Whh[1]" in labels()


def test_the_cut_is_drawn_where_the_window_starts(sine):
    choose(sine, k1=1, k2=2)
    choose(sine, update=5)
    labels = "() => [...document.querySelectorAll('.cut-line text')].map((e) => e.textContent)"
    assert sine.evaluate(labels) == ["detach here"]
    line = sine.locator("#steps .cut-line path").first.bounding_box()["x"]
    edges = [sine.locator(f"#steps [data-name=h][data-t='{t}']").bounding_box()["x"] for t in (3, 4)]
    assert edges[0] < line < edges[1]
    choose(sine, uncut=True)
    assert sine.evaluate(labels) == ["not detached"]
    choose(sine, update=1)
    assert sine.evaluate(labels) == []


def test_play_goes_on_by_itself_and_stops_at_the_end(new_page, files):
    page = new_page(files["sine"])
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    choose(page, moment=0)
    last = page.evaluate("Number(document.getElementById('moment').max)")
    page.locator("#steps").focus()
    for _ in ("play", "pause"):
        page.keyboard.press("Space")
        page.clock.run_for(2100)
        assert page.evaluate(VALUES)["moment"] == 3
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-pressed") == "true"
    page.clock.run_for(700 * (last + 2))
    assert page.evaluate(VALUES)["moment"] == last
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    page.emulate_media(reduced_motion="reduce")
    choose(page, moment=0)
    page.locator("#play").click()
    page.clock.run_for(5000)
    assert page.evaluate(VALUES)["moment"] == 1


def test_sliders_of_the_live_figures_move_what_they_say(sine):
    for slider, value, words in (
        ("scale-factor", 50, "W_hh times 10.0"), ("scale-factor", -50, "W_hh times 0.100"), ("scale-epoch", 2, ""),
        ("cliff-w", 1.5, ""), ("cliff-b", -0.4, ""), ("cliff-rate", 0.1, ""), ("cliff-clip", 0.2, "clipping at 0.2"),
        ("cliff-steps", 7, "after 7 steps"), ("cliff-length", 3, ""),
    ):  # fmt: skip
        figure = slider.partition("-")[0]
        text = sine.locator(f"#{figure}-text")
        before = text.text_content()
        choose(sine, **{slider: value})
        after = text.text_content()
        assert after.startswith("This network")
        assert before != after, slider
        assert words in after
    for path, threshold in (("Without clipping", "null"), ("With clipping at 0.2", "cliff.clip")):
        loss = sine.evaluate(f"show(descend(cliff, {threshold}).at(-1).loss, 3)")
        assert f"{path}: loss {loss} at " in sine.locator("#cliff-text").text_content()
    sine.locator("#cliff-surface").scroll_into_view_if_needed()
    box = sine.locator("#cliff-surface").bounding_box()
    clicked = box["x"] + 0.6 * box["width"], box["y"] + 0.25 * box["height"]
    sine.mouse.click(*clicked)
    w, b = (float(sine.locator(f"#cliff-{name}").input_value()) for name in "wb")
    assert (w, b) == pytest.approx((-1 + 0.6 * 5, 1.5 - 0.25 * 3), abs=0.02)
    ring = sine.locator("#cliff-paths .begin").bounding_box()
    middle = ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2
    assert middle == pytest.approx(clicked, abs=3)


def test_links_of_the_text_set_the_figures(sine, numbers):
    choose(sine, k1=2, k2=2, update=2)
    for words, expected in {
        "k1=1 k2=1": {"k1": 1, "k2": 1},
        f"epoch={numbers['sine']['snapshots'][1]['epoch']}": {"epoch": 1},
        f"component={T},{T - 3}": {"k2": 4, "update": T},
        f"k1=1 k2=2 update={T} uncut=1 at=da_1": {"k1": 1, "k2": 2, "update": T},
    }.items():
        sine.locator(f"a[data-set='{words}']").click()
        assert expected.items() <= sine.evaluate(VALUES).items(), words
    assert moment(sine) == "da_1"
    assert [T, 1] in sine.evaluate(READ)["framed"]
    sine.locator("a[data-set='factor=0.3']").click()
    assert "W_hh times 0.302" in sine.locator("#scale-text").text_content()


WRONG_ADDRESSES = """
#explore/k1=x&k2=-1 #explore/at=nothing_3&component=9,99 #explore/epoch=99999&k1=999&at=dh_999 #explore/=&&==
#explore/row=99&uncut=5 #explore/component&at scale/factor=x&epoch=-1 scale/factor=1000
cliff/w=99&steps=-5&length=x constructor/k1=1 explore
"""


def test_the_address_holds_the_state(new_page, files):
    page = new_page(files["sine"])
    page.wait_for_timeout(400)
    assert page.url == files["sine"].as_uri()  # nothing was changed yet
    state = "() => ({...shown, moment: current().moment, factor: scaling.factor, ...cliff})"
    choose(page, epoch=1, k1=2, k2=5, uncut=True)
    page.evaluate("change({row: 3, moment: Infinity})")
    page.wait_for_function("() => location.hash.includes('uncut')")
    words, values = page.evaluate("location.hash"), page.evaluate(state)
    page.evaluate(f"location.hash = '{words.replace('k2=5', 'k2=3')}'")
    page.wait_for_function("() => document.getElementById('k2').value === '3'")
    for slider, value in (("scale-factor", 9), ("cliff-b", -0.25)):
        choose(page, **{slider: value})
        page.wait_for_function("figure => location.hash.startsWith(`#${figure}/`)", arg=slider.partition("-")[0])
        address, moved = page.url, page.evaluate(state)
        page.goto("about:blank")
        page.goto(address)
        assert page.evaluate(state)[{"scale-factor": "factor", "cliff-b": "b"}[slider]] == value
        assert moved["factor"] == 9
    page.goto("about:blank")
    page.goto(files["sine"].as_uri() + words)
    assert page.evaluate(state) == values | {"factor": 0}
    for wrong in WRONG_ADDRESSES.split():
        page.evaluate("words => { location.hash = words; }", wrong)
        page.wait_for_timeout(30)
        values = page.evaluate(VALUES)
        assert 1 <= values["k1"] <= values["k2"] <= T
    assert page.evaluate("[scaling.factor, cliff.w, cliff.steps, cliff.length]") == [50, 4, 1, 10]


def test_everything_that_acts_is_reached_by_tab(sine):
    acting = set(sine.evaluate("[...document.querySelectorAll('input, button, #steps, #mask')].map((e) => e.id)"))
    assert len(acting) == 19
    reached = set()
    sine.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(50):
        sine.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        identifier, outline = sine.evaluate(f"[document.activeElement.id, {outline}]")
        reached.add(identifier)
        assert outline != "none" or sine.evaluate("document.activeElement === document.body")
    assert acting <= reached


def test_it_prints(shared):
    page = shared["relu"]
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    for hidden in ("#moment", "#play", "#scale-factor", "nav", "#keys"):
        assert not page.locator(hidden).is_visible(), hidden
    drawings = ("#steps svg", "#weights svg", "#mask svg", "#cliff-paths svg")
    texts = ("#state", "#summary", "#numbers", "#curves", "#scale-panels", "#scale-text", "#cliff-text")
    for shown in (*drawings, *texts):
        assert page.locator(shown).is_visible(), shown
    resize(page, 660)  # A4 without its margins
    for drawing in drawings:
        box = page.locator(drawing).bounding_box()
        assert box["x"] + box["width"] <= 660, drawing
    heights = [page.locator(drawing).bounding_box()["height"] for drawing in drawings[:2]]
    assert heights == pytest.approx([heights[0]] * 2, rel=1e-3)  # the rails meet
    page.emulate_media(media="screen")
    resize(page, 1280)


def test_what_is_shown_is_announced(sine):
    sine.locator("#steps").focus()
    before = sine.locator("#summary").text_content()
    sine.keyboard.press("End")
    after = sine.locator("#summary[aria-live=polite]").text_content()
    assert before != after
    assert after.startswith("Update: the step")
    assert sine.locator("#steps svg").get_attribute("aria-label") == f"{T} steps; the window is (1, 6]"
