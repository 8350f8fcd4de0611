"""The page of the lesson: what it is built of, what it says, and its looks in a
browser.
"""

import re
from html import unescape

import numpy as np
import pytest

from numpy_rnn import windows
from numpy_rnn.study.evidence.components import mask
from numpy_rnn.study.lesson_page import build
from tests.helpers.lesson import CHECKS, LESSON, PAGE, code_of

pytestmark = pytest.mark.slow


def words_of(page):
    """Return the words of a page, without its tags."""
    return unescape(re.sub(r"<[^>]*>", " ", page)).split()


def test_page_is_built_of_its_source():
    """Words and formulas agree; attributes may be those of another converter."""
    built = build()
    assert words_of(built) == words_of(PAGE)
    assert built.splitlines()[:2] == PAGE.splitlines()[:2]
    assert "source/lesson.html" in PAGE.splitlines()[1]
    assert built.count("<math") == PAGE.count("<math")


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", ["no-detach", "retain-graph"])
def test_messages_of_pytorch_are_its_own(name):
    """The loop of the page runs; without its detach it raises what the page shows."""
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
    shown = re.search(rf'id="error-{name}">(.*?)</span>', PAGE, re.DOTALL)[1]
    assert " ".join(shown.split()) in " ".join(str(raised.value).split())


def test_answers_of_the_exercises():
    """Compute the terms and the work of TBPTT(2, 4), and a lag."""
    text = "".join(words_of(PAGE))
    kept = mask(10, 2, 4).sum()
    work = sum(window.steps for window in windows(10, 2, 4))
    assert f"keep{kept:.0f}termsandcompute{work}steps" in text
    assert 0.9**44 < 0.01 < 0.9**43
    assert "Fromlag44on" in text


@pytest.fixture(scope="module")
def opened(new_page):
    """Open the page with all that it hides shown, after the networks have learned."""
    page = new_page(LESSON / "lesson.html", reduced_motion="reduce")
    page.add_script_tag(content=CHECKS.read_text(encoding="utf-8"))
    page.wait_for_function("CHECKS.hasLearned()")
    page.evaluate("CHECKS.openAll()")
    return page


def test_page_fits_every_screen(opened):
    for width in (320, 768, 1280):
        opened.set_viewport_size({"width": width, "height": 800})
        opened.evaluate("CHECKS.redraw()")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate("CHECKS.outside()") == [], width
        if width >= 768:  # nothing moves, whatever the figure shows
            heights = opened.evaluate("CHECKS.heights()")
            assert max(heights) - min(heights) < 20, width
            assert width < 1200 or max(heights) < 584  # it fits a screen of 600


def test_controls_change_their_figures(opened):
    opened.evaluate("lesson.figures.FIGURES.network.set({at: 0, cut: 0})")
    opened.locator("#network-next").click()
    assert opened.locator("#network-at-output").text_content() == "h1"
    learned = opened.locator("#delay-text").inner_text()
    assert learned.startswith("After 800 updates the error is")
    opened.locator("#lines-B3").fill("dh[t] * (1 - h[t]**2)")
    assert "1 of eight" in opened.locator("#lines-result").text_content()
    opened.locator("#cliff-step").click()
    assert "1 step: b = −0.708" in opened.locator("#cliff-text").text_content()
    for k1, k2 in ((1, 1), (1, 6), (4, 4), (3, 7), (12, 12)):
        expected = np.argwhere(mask(12, k1, k2)) + 1
        kept = opened.evaluate(f"CHECKS.kept([{k1}, {k2}])")
        assert sorted(kept) == expected.tolist()
        text = opened.locator("#windows-text").inner_text()
        assert f"kept: {len(expected)} of 78 terms" in text
        assert opened.locator(".lost").count() == 78 - len(expected)
    assert opened.evaluate("CHECKS.unmoved()") == []


def test_page_is_accessible(opened, violations):
    opened.locator("#lines-B4").fill("x[t].T @ dh[t]")
    opened.locator("#paste-text").fill("dW_hh = [[1]]")
    assert violations(opened) == []
