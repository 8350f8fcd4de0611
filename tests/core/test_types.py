"""What a user's type checker and editor know of the packages: programs as users write them, checked by mypy."""

import os
import re
from pathlib import Path
from textwrap import dedent

import pytest

TOP = Path(__file__).parents[2]
PROGRAMS = [
    code
    for file in (TOP / "README.md", TOP / "numpy_rnn/DERIVATION.md")
    for code in re.findall(r"^```python\n(.*?)^```$", file.read_text(encoding="utf-8"), re.M | re.S)
    if re.search(r"^import (numpy|torch)_rnn", code, re.M)
]
OPTIONAL = '# mypy: disable-error-code="index, union-attr"\n'  # whether a bias or its gradient is None
TRAIN = dedent("""\
    import numpy as np
    import PACKAGE as rnn

    params = rnn.initial_parameters(1, 6, 1)
    x = rnn.from_numpy(np.zeros((20, 1, 1), np.float32))
    h_0 = rnn.from_numpy(np.zeros((1, 6), np.float32))
    for update in rnn.train(params, x, x, h_0, k1=1, k2=2, learning_rate=0.1, epochs=1, momentum=0.9):
        reveal_type(update.parameters.W_hh)
""")
ARRAYS = {"numpy_rnn": "numpy.ndarray[", "torch_rnn": "torch.Tensor"}
MISTAKES = {
    "a keyword of no step": ("momentum=0.9", "momentun=0.9", 'Unexpected keyword argument "momentun"'),
    "an unknown nonlinearity": ("momentum=0.9", 'nonlinearity="gelu"', r"expected \"Literal\['tanh', 'relu', 'sigmo"),
    "a number for a flag": ("momentum=0.9", "nesterov=2", 'expected "bool"'),
    "no k2": ("k2=2, ", "", 'Missing named argument "k2"'),
    "an array for the parameters": ("rnn.train(params", "rnn.train(params.W_hh", r"expected \"Parameters\["),
    "a field that no update has": ("update.parameters", "update.params", 'has no attribute "params"'),
}

# What torch_rnn names of torch, as stubs: the thousands of files of torch itself take most of a minute to read.
STUB = "from typing import Any\nclass Tensor: ...\ndef __getattr__(name: str) -> Any: ...\n"
STUBS = ("torch/__init__.pyi", "torch/autograd/__init__.pyi", "torch/autograd/graph.pyi")


@pytest.mark.types
def test_programs_type_check_and_mistakes_in_them_are_reported(tmp_path):
    """What mypy --strict prints about all programs, which are read by one run."""
    api = pytest.importorskip("mypy.api")
    programs = {f"document_{n}": (OPTIONAL + program, "") for n, program in enumerate(PROGRAMS)}
    for package, array in ARRAYS.items():
        programs[f"of_{package}"] = TRAIN.replace("PACKAGE", package), rf'note: Revealed type is "{re.escape(array)}'
    for n, (right, wrong, message) in enumerate(MISTAKES.values()):
        assert right in TRAIN
        programs[f"mistake_{n}"] = TRAIN.replace("PACKAGE", "numpy_rnn").replace(right, wrong), message
    files = {f"{name}.py": program for name, (program, _) in programs.items()}
    for name, text in (files | dict.fromkeys(STUBS, STUB)).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = "--strict", "--follow-imports=silent", f"--cache-dir={os.devnull}"
    out, errors, _ = api.run([*options, *(str(tmp_path / name) for name in files)])
    assert not errors
    for name, (_, message) in programs.items():
        report = "\n".join(line for line in out.splitlines() if f"{name}.py:" in line)
        assert re.search(message, report) if message else not report, (name, report)
        assert name.startswith("mistake") or "error" not in report
