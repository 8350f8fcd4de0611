"""The evidence: its formulas, its numbers from the run, and its looks in a browser."""

import re
from itertools import product

import numpy as np
import pytest

from numpy_rnn.study.evidence import page
from numpy_rnn.study.evidence.components import mask
from numpy_rnn.study.evidence.evaluated_equations import OVERLAPPING
from numpy_rnn.study.evidence.figures import draw_cosine_bias, draw_masks
from numpy_rnn.study.folder import write_folder

pytestmark = [pytest.mark.needs_torch, pytest.mark.needs_matplotlib]

OUTSIDE = """() => [...document.querySelectorAll("body *")]
  .filter((e) => e.checkVisibility() && !e.closest(".wide"))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.textContent.slice(0, 60))"""
DEAD_LINKS = """() => [...document.querySelectorAll('a[href^="#"]')]
  .map((e) => e.hash.slice(1))
  .filter((id) => document.getElementById(id) === null)"""
# Small texts of drawings, where these are scaled down.
SMALL_TEXTS = """() => [...document.querySelectorAll("svg text")].filter((e) => {
  const svg = e.closest("svg");
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return parseFloat(getComputedStyle(e).fontSize) * scale < 9.5;
}).map((e) => e.textContent)"""


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """Write the folder of a study of the default network."""
    path = tmp_path_factory.mktemp("made") / "study"
    subject = small(steps=20, networks=3, hidden_size=6, epochs=30)
    evidence = page.make_evidence(subject, {"epochs": "30", "data": "<b>"})
    write_folder(str(path), evidence.files)
    return path


def test_run_is_named_where_it_is_not_the_usual_one(folder):
    text = (folder / "evidence.html").read_text(encoding="utf-8")
    assert "(max norm)" in text
    assert f"({OVERLAPPING})" not in text


def test_numbers_of_the_page_are_those_of_the_run(small):
    subject = small(steps=12, networks=4, epochs=60, k1=3, k2=3)
    findings = page.measure_truncations(subject)
    before = np.median(findings.ensemble[0].cosine[:, 0, 0])
    assert f" {before:.2f} before" in page.cosine_bias_caption(findings)[1]
    shown = page.cost_table(findings).replace("−", "-")
    _, *rows = shown.split("<tr>")[1:]
    for row, k in zip(rows, (1, 2, 3, 5, 10, 12), strict=True):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        median = np.median(findings.ensemble[1].cosine[:, 0, k - 1])
        assert (cells[0], cells[1].split()[0]) == (str(k), f"{median:.2f}")
        assert cells[5] == f"{findings.single.cosine[1, 0, k - 1]:.2f}"


def test_page_without_torch_says_so(small, monkeypatch):
    for module in ("page", "witnesses"):
        name = f"numpy_rnn.study.evidence.{module}.has_torch"
        monkeypatch.setattr(name, lambda: False)
    evidence = page.make_evidence(small(), {})
    assert b"PyTorch is not installed" in evidence.files["evidence.html"]
    assert evidence.is_right
    page_text = evidence.files["evidence.html"].decode()
    head = re.findall('<th scope="col">(.*?)</th>', page_text)
    columns = ["id", "equation", "a number of this run", "error, in bounds"]
    assert columns in [head[i : i + 4] for i in range(len(head))]


def test_page_says_so_where_all_networks_diverge(small):
    """The network of the run is then the only one of the curves and bands."""
    subject = small()._replace(networks=[], diverged=2)
    findings = page.measure_truncations(subject)
    for costs, end in zip(findings.ensemble, (0, 1), strict=True):
        np.testing.assert_array_equal(costs.bias[0], findings.single.bias[end])
    words = page.words_about(subject, findings, {})
    text = "; all 2 diverged: the curves are of this run alone"
    assert words["networks_diverged"] == text


def test_figures_are_those_of_the_findings(small):
    from matplotlib.figure import Figure

    findings = page.measure_truncations(small(networks=3))
    curves, masks = Figure(), Figure()
    draw_cosine_bias(curves, findings)
    panels = product(("cosine", "bias"), (0, 1))  # before and after training
    for axes, (part, end) in zip(curves.axes, panels, strict=True):
        drawn = [[*line.get_ydata()] for line in axes.lines]
        assert [float(part == "cosine")] * 2 in drawn  # what there is without a cut
        for kind in (0, 1):
            ensemble = getattr(findings.ensemble[end], part)[:, kind]
            single = getattr(findings.single, part)[end, kind]
            for curve in (single, np.median(ensemble, axis=0)):
                assert [*curve] in drawn
    draw_masks(masks, findings)
    for axes, (k1, k2) in zip(masks.axes, findings.masks, strict=True):
        (crosses,) = axes.lines
        is_cut = np.tril(1 - mask(6, k1, k2))
        marked = crosses.get_xydata().astype(int)[:, ::-1] - 1
        assert sorted(map(tuple, marked)) == list(zip(*np.nonzero(is_cut)))


@pytest.mark.slow
def test_page_fits_every_width_and_is_accessible(folder, new_page, violations):
    opened = new_page(folder / "evidence.html")
    assert opened.evaluate(DEAD_LINKS) == []
    links = (
        "[...document.querySelectorAll('a, link')].map((e) => e.getAttribute('href'))"
    )
    for link in opened.evaluate(links):
        if not link.startswith(("#", "https:", "data:")):
            assert (folder / link.partition("#")[0]).is_file(), link
    assert opened.locator("b").filter(has_text="<b>").count() == 0  # options are text
    heights = "[...document.querySelectorAll('.equations')].map((e) => e.clientHeight)"
    assert sum(opened.evaluate(heights)) < 5000
    for width in (320, 768, 1280):
        opened.set_viewport_size({"width": width, "height": 800})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(OUTSIDE) == []
        assert opened.evaluate(SMALL_TEXTS) == []
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(background)
    assert violations(opened) == []
    assert opened.evaluate(background) != light  # it is dark now
