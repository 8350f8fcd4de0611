"""Programs and commands of the documents print what is shown there.

Only a change of the project can make one fail, so that `.ci/run` runs them, by `pytest -n auto --dist load` and this
file. When an output has changed, `python tests/documents.py` updates it.
"""

import documents
import pytest
from documents import DOCUMENTS, examples, excerpt, name_of, same_numbers

EXAMPLES = [
    pytest.param(example, id=f"{name_of(document)}-{number}")
    for document in DOCUMENTS
    for number, example in enumerate(examples(document), 1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_output_is_that_of_a_run(example, tmp_path):
    printed = documents.run(example, tmp_path)
    vary = "numbers vary" in example.output.notes
    found = excerpt(example.output.text, printed, vary)
    assert found is not None, f"it prints now:\n\n{printed}\n"
    assert vary or same_numbers(example.output.text, found), found
