"""The numbers in numpy_rnn/conformance/README.md that no block of output has."""

import re

import documents

from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, MUTANTS

TEXT = (documents.TOP / "numpy_rnn" / "conformance" / "README.md").read_text(encoding="utf-8")


def test_there_are_as_many_mutants_as_the_document_says():
    found = re.search(r"makes (\d+) mutants of the reference,.*?and (\d+) of the engine", TEXT, re.S).groups()
    assert (len(MUTANTS), len(ENGINE_MUTANTS)) == tuple(map(int, found))
    assert f"{len(MUTANTS)} known mistakes" in TEXT


def test_no_ratio_in_the_table_of_the_long_run_is_above_one():
    table = [line for line in TEXT.splitlines() if re.match(r"\| \w+ \| [A-Z]\d", line)]
    assert len(table) == 26
    for line in table:
        cells = [float(cell) for cell in line.split("|")[3:-1]]
        assert len(cells) == 8
        assert all(cell <= 1 for cell in cells)
