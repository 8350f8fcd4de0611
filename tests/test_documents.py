"""Everything in the documents is true: programs and commands print what is shown, links lead somewhere.

When an output has changed, `python tests/update_documents.py` writes it anew.
"""

import re
import shlex

import documents
import pytest
from documents import COPY, DOCUMENTS, TOP, blocks, excerpt, name_of, same
from in_process import main

import numpy_rnn
from numpy_rnn.app.options import parser
from numpy_rnn.conformance.__main__ import main as conformance
from numpy_rnn.conformance.__main__ import parser as conformance_parser

EXAMPLES = [example for document in DOCUMENTS for example in documents.examples(document)]
PROGRAMS = ("python", "pytest", "pip", "cc", "cat", "python3", "numpy-rnn", "torch-rnn")  # first words of commands
TEXTS = {name_of(document): document.read_text(encoding="utf-8") for document in DOCUMENTS}


def parameters():
    for document in DOCUMENTS:
        for number, example in enumerate(documents.examples(document), 1):
            marks = [pytest.mark.needs_torch] * example.needs_torch
            yield pytest.param(example, marks=marks, id=f"{name_of(document)}-{number}")


@pytest.mark.slow
@pytest.mark.first
@pytest.mark.parametrize("example", [*parameters()])
def test_the_output_is_that_of_a_run(example, tmp_path):
    shown = example.output.text
    printed = excerpt(shown, documents.run(example, tmp_path))
    assert same(shown, printed, example.output.note("numbers vary") is not None), f"it prints now:\n\n{printed}\n"


def test_all_kinds_of_examples_are_found():
    """Programs in both packages, commands, commands in a comment; and every output belongs to one of them."""
    assert {example.language for example in EXAMPLES} == {"python", "sh"}
    assert sum("import torch_rnn" in example.source for example in EXAMPLES) >= 2
    outputs = {
        (name, block.start) for name, text in TEXTS.items() for block in blocks(text) if block.language == "text"
    }
    assert outputs == {(name_of(example.document), example.output.start) for example in EXAMPLES}
    assert len(outputs) >= 9


def test_every_python_block_is_run_or_saved_or_copied():
    sources = {example.source for example in EXAMPLES}
    for name, text in TEXTS.items():
        for block in blocks(text):
            if (
                block.language == "python" and name != "numpy_rnn/DERIVATION.md"
            ):  # tests/core/test_derivation.py runs it
                assert block.text in sources or block.file or block.note("from"), f"{name}: {block.text}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_repeated_code_tables_and_claims_are_those_of_the_other_file(document):
    for shown, wanted, _ in documents.repeated(document):
        assert shown == wanted, f"it is now:\n\n{wanted}\n"
    assert document != TOP / "README.md" or len(documents.repeated(document)) == 3


def test_commands_can_be_parsed():
    """Every command of this project in the documents is accepted by its parser; others are known programs."""
    ours = 0
    for document in DOCUMENTS:
        for command in documents.commands(document):
            words = shlex.split(command.rpartition("| ")[2])
            assert words[0].removeprefix(".venv/bin/") in PROGRAMS, command
            if words[:2] != ["python", "-m"]:
                continue
            package, *arguments = words[2:]
            ours += 1
            if package == "numpy_rnn.conformance":
                conformance_parser().parse_args(arguments)
            else:
                named = arguments[:1] in (["compare"], ["study"], ["train"])
                parser(package).parse_args(arguments if named else ["train", *arguments])
    assert ours >= 20


def test_options_exist(capsys, pytestconfig):
    """Every option that a document names is one of the programs' or of pytest's."""
    for command in ("train", "compare", "study"):
        with pytest.raises(SystemExit):
            main(numpy_rnn, [command, "--help"])
    for command in ("score", "long"):
        with pytest.raises(SystemExit):
            conformance([command, "--help"])
    known = set(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out))
    known |= {option for group in pytestconfig._parser._groups for one in group.options for option in one.names()}
    known |= {"--pyargs", "--quiet", "--packages", "--perturb"}
    of_others = (TOP / "benchmarks").glob("*.py")  # their parser may need packages that are not installed
    for path in of_others:
        known |= set(re.findall(r'"(--[a-z][a-z0-9-]+)"', path.read_text(encoding="utf-8")))
    for name, text in TEXTS.items():
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", re.sub("<!--.*?-->", "", text, flags=re.S)):
            assert option in known, f"{name}: {option}"


def heading_anchors(text):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\((?!https:)([^)\s]+)\)", TEXTS[name_of(document)]):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in heading_anchors(target.read_text(encoding="utf-8")), link


def test_the_readme_leads_to_every_document():
    linked = set(re.findall(r"\]\(([^)#\s]+\.md)\)", TEXTS["README.md"]))
    assert linked == TEXTS.keys() - {"README.md"}


def test_figures_are_described():
    for name, text in TEXTS.items():
        for description in re.findall(r"!\[(.*?)\]\(", text, re.S):
            assert len(description) > 40, f"{name}: {description}"


# -- the helpers ----------------------------------------------------------------------------------------------------

PRINTED = "a first line\nepoch 1: 0.51\nepoch 2: 0.42\nepoch 3: 0.33\nsaid at the end\nlast 1.0e-03"


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("an old text", PRINTED),
        ("the first line\n...\nepoch 2: 0.40\n...", "a first line\n...\nepoch 2: 0.42\n..."),
        ("...\nepoch 1: 0.5\nepoch 2: 0.4\n...\nlast", "...\nepoch 1: 0.51\nepoch 2: 0.42\n...\nlast 1.0e-03"),
        ("...\nat the end: said\nlast", "...\nsaid at the end\nlast 1.0e-03"),
        ("1\n2\n...\n3\n4\n5\n6\n7", PRINTED),  # there is no room for all of it
    ],
)
def test_an_excerpt_has_the_lines_that_resemble_those_before(shown, found):
    assert excerpt(shown, PRINTED) == found


@pytest.mark.parametrize(
    ("other", "vary", "expected"),
    [
        (PRINTED, False, True),
        (PRINTED.replace("0.42", "0.43"), False, True),
        (PRINTED.replace("0.42", "0.44"), False, False),
        (PRINTED.replace("1.0e-03", "1.2e-03"), False, False),
        (PRINTED.replace("epoch 2", "epoch 3"), False, False),
        (PRINTED.replace("epoch 2", "epoch 3"), True, True),
        (PRINTED.replace("said", "told"), True, False),
        (PRINTED.replace("\nlast 1.0e-03", ""), True, False),
    ],
)
def test_outputs_are_the_same_if_their_words_are(other, vary, expected):
    assert same(PRINTED, other, vary) is expected


def test_copies_are_found():
    assert [found["kind"] for found in COPY.finditer(TEXTS["README.md"])] == ["rows", "claims"]
