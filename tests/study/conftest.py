"""What the tests of the study share: one folder of a study per session, and one browser per worker."""

import fcntl
import io
import json
import os
import re
from contextlib import redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
from in_process import main
from study_explorer import CHROMIUM, SETTINGS, T, choose
from study_settings import MISTAKES, RENDERED, STUDIED, small

import numpy_rnn
from numpy_rnn.study import study
from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.figures import svg
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.study import PARTS
from numpy_rnn.study.training.mistakes import measure_training


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A small study of other sizes and options than the default ones, made by the first worker that needs it."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    printed = place / "study.txt"
    with open(place / "study.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            printed.write_text(make_study(place / "study"))
    page, numbers = ((place / f"study/study.{kind}").read_text(encoding="utf-8") for kind in ("html", "json"))
    return SimpleNamespace(folder=place / "study", printed=printed.read_text(), page=page, findings=json.loads(numbers))


def make_study(folder):
    """Write the folder and return what is printed. Only some figures are rendered, as every one takes a second."""

    empty = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
    words = [f"--{name.replace('_', '-')}{'' if value is True else f'={value}'}" for name, value in STUDIED.items()]

    def some(drawing, findings):
        if drawing.name in RENDERED:
            return svg.pictures(drawing, findings)
        return empty, b"\x89PNG\r\n\x1a\n", svg.Picture((empty, drawing.size), (empty, (svg.NARROW, 3.0)))

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(study, "pictures", some)
        patch.setitem(PARTS, "training", ("training", lambda setting: measure_training(setting, MISTAKES)))
        assert main(numpy_rnn, ("study", *words, "--folder", folder)) == 0
    return printed.getvalue()


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """The settings of the explorer that are looked at, by name."""
    path = tmp_path_factory.mktemp("series") / "two.csv"
    steps = 0.7 * np.arange(12)
    np.savetxt(path, np.column_stack((np.sin(steps), np.cos(1.3 * steps))), delimiter=",")
    data = {"two series": str(path)}
    return {name: small(T, 1, **options, data=data.get(name)) for name, options in SETTINGS.items()}


@pytest.fixture(scope="session")
def numbers(settings):
    """What the explorer is given, by the setting's name."""
    return {name: explorer(setting) for name, setting in settings.items()}


@pytest.fixture(scope="session")
def files(numbers, tmp_path_factory):
    """The pages, by the setting's name: the figures that move alone, without the other sections."""
    sections = ("0_explore", "4b_live")
    texts = {name: (pages.HERE / f"sections/{name}.html").read_text(encoding="utf-8") for name in sections}
    folder = tmp_path_factory.mktemp("pages")
    result = {name: folder / f"{name.replace(' ', '_')}.html" for name in numbers}
    for name, path in result.items():
        findings = {"explorer": numbers[name], "components": {"seeds": {"networks": 32}}}
        path.write_text(pages.assembled(texts, findings, {}, (), ()), encoding="utf-8")
    return result


@pytest.fixture(scope="session")
def new_page():
    """Opens a page of its own in headless Chromium. At the end: nothing was asked of a network, and nothing was written
    to the console.
    """
    from playwright.sync_api import sync_playwright

    opened, wrong = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)

        def open_page(path, width=1280, **options):
            # Not a tab of another page's window: only the tab in front scrolls and plays.
            page = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options).new_page()
            opened.append(page)
            page.on("request", lambda request: wrong.extend(re.findall("^(?!data:|file:).*", request.url)))
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(path.as_uri())
            return page

        yield open_page
        browser.close()
    assert wrong == []
    assert opened


@pytest.fixture(scope="session")
def shared(new_page, files):
    """One page per setting, which all tests move that only look at what they set."""
    return {name: new_page(path) for name, path in files.items()}


@pytest.fixture
def sine(shared):
    """The page of the sine wave, in one state."""
    choose(shared["sine"], epoch=1, uncut=False, k2=5, k1=2)
    choose(shared["sine"], update=3, moment=3)
    return shared["sine"]
