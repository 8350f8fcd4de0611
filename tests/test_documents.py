"""Options in the documents exist, links lead somewhere, and every program is run: by document_outputs.py."""

import re

import documents
import pytest
from children import with_benchmarks
from documents import DOCUMENTS, TOP, blocks, examples, excerpt, name_of, same_numbers

from numpy_rnn.__main__ import main as numpy_main
from numpy_rnn.app.options import ABOUT

TEXTS = {name_of(document): document.read_text(encoding="utf-8") for document in DOCUMENTS}
README, DERIVATION = TEXTS["README.md"], TEXTS["numpy_rnn/DERIVATION.md"]
PLUGIN = "-p no:elman -p numpy_rnn.conformance.plugin"  # also where PYTHONPATH has it, without entry points
HELP = "python -m benchmarks", "python -m benchmarks.report", f"pytest {PLUGIN} {TOP}/tests"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_program_is_run_or_saved_or_repeated(document):
    sources = {example.source for example in examples(document)}
    for block in blocks(document):
        if "from" in block.notes:
            assert block.text == documents.functions_of(block.notes["from"])
        elif (
            block.language == "python" and name_of(document) != "numpy_rnn/DERIVATION.md"
        ):  # tests/core runs that
            assert block.text in sources or block.file, block.text
    outputs = {example.output.span for example in examples(document)}
    assert outputs == {block.span for block in blocks(document) if block.language == "text"}


@pytest.mark.slow
@pytest.mark.needs_torch
def test_options_exist(capsys, tmp_path):
    """Every option that a document names is in the help of a program."""
    known, option = {"--quiet", "--editable"}, r"--[a-z][a-z0-9-]+"  # of pip
    with_benchmarks(tmp_path)
    for command in HELP:
        known |= set(re.findall(option, documents.run_script(f"{command} --help", tmp_path)))
    for command in ABOUT:
        with pytest.raises(SystemExit):
            numpy_main([command, "--help"])
        known |= set(re.findall(option, capsys.readouterr().out))
    for name, text in TEXTS.items():
        for option in re.findall(
            r"(?<![\w-])--[a-z][a-z0-9-]+", re.sub("<!--.*?-->", "", text, flags=re.S)
        ):
            assert option in known, f"{name}: {option}"


def anchors(text):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    for text, link in re.findall(r"\[([^]]*)\]\((?!https:)([^)\s]+)\)", TEXTS[name_of(document)]):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link
        assert target.suffix not in (".svg", ".png") or len(text) > 40, f"{link} has no description"


def test_readme_leads_to_every_document():
    assert set(re.findall(r"\]\(([^)#\s]+\.md)\)", README)) >= TEXTS.keys() - {"README.md"}


def test_readme_has_the_equations_of_the_derivation():
    shown, derived = [
        dict(re.findall(r"\| (\(B\d+\)) \| (.*?) (?=\|)", text)) for text in (README, DERIVATION)
    ]
    assert shown == derived
    assert [*derived] == re.findall(r"\*\*(\(B\d+\))\*\*", DERIVATION)


PRINTED = "first\nepoch 1: 0.51\nepoch 2: 0.42\n------ 7 -\nlast 1.0e-03"


@pytest.mark.parametrize(
    ("shown", "found", "same"),
    [
        (PRINTED.replace("0.42", "0.43").replace("------", "--"), PRINTED, True),
        (PRINTED.replace("0.42", "0.44"), PRINTED, False),
        ("first\n...\nlast 8.9e-04", "first\n...\nlast 1.0e-03", False),
        ("...\nepoch 2: 0.42\n...", "...\nepoch 2: 0.42\n...", True),
        ("...\nthe last 1.0e-03", None, None),
        ("first\nlast 1.0e-03", None, None),
    ],
)
def test_excerpt_has_the_words_shown(shown, found, same):
    assert excerpt(shown, PRINTED, vary=False) == found
    assert found is None or same_numbers(shown, found) is same
    assert not same_numbers("7 steps", "8 steps")
    assert (
        excerpt("epoch 1: 0.5\n...", "epoch 2: 0.4\nend", vary=True) == "epoch 2: 0.4\n..."
    )  # whole numbers too
    assert excerpt("epoch 1: 0.5\n...", "epoch 2: 0.4\nepoch 1: 0.3", vary=False) is None
