"""The two packages are one program written twice: the same names, files and signatures, and few imports between."""

import ast
import difflib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import engine, reference

SOURCE = Path(numpy_rnn.__file__).parents[1]


# What only one of the packages has, and why.
ONLY_NUMPY = {
    "DERIVATION.md": "the equations are derived once, beside the code that is written from them",
    "app": "the command line and its runs serve both",
    "common": "what both packages share is written once",
    "engine": "the same equations once more, in place: the NumPy code that is fast",
    "reference.py": "the plain loop, where numpy_rnn.train is the engine's; that of torch_rnn is its only one",
    "conformance": "the suite for any port serves both",
    "figures": "what is drawn for README.md is the network of both",
    "study": "the study of the gradients serves both",
}
ONLY_TORCH = {
    "modules.py": "torch.nn.RNN and torch.nn.Linear are torch's own",
    "README.md": "what each function is called in torch.nn and torch.optim",
}

# Functions whose docstrings differ, and why; those of all others are word for word the same.
OWN_DOCSTRINGS = {
    "bptt": "numpy_rnn states the equations it codes, torch_rnn what autograd needs",
    "adjoints": "the same",
    "from_numpy": "the tensors of torch_rnn require a gradient",
}


def shared_functions():
    return [name for name in numpy_rnn.__all__ if inspect.isfunction(getattr(numpy_rnn, name))]


# -- names and files ------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
def test_all_export_the_same_names():
    import torch_rnn

    assert torch_rnn.__all__ == numpy_rnn.__all__ == reference.__all__ == engine.__all__ == sorted(numpy_rnn.__all__)
    for package in (numpy_rnn, torch_rnn, reference):
        assert all(hasattr(package, name) for name in package.__all__)
        public = {name for name in vars(package) if not name.startswith("_")}
        not_exported = public - set(package.__all__)
        assert all(inspect.ismodule(getattr(package, name)) for name in not_exported), not_exported


@pytest.mark.needs_torch
def test_the_same_functions_have_the_same_signatures_and_docstrings():
    import torch_rnn

    names = shared_functions()
    of_network = {"forward", "half_squared_error", "bptt", "adjoints"}
    assert of_network | {
        "clip_by_global_norm",
        "direction",
        "sgd",
        "train",
        "train_stream",
        "initial_parameters",
    } <= set(names)
    for name in names:
        ours, theirs = getattr(reference, name), getattr(torch_rnn, name)
        of_engine = getattr(numpy_rnn, name)
        assert inspect.signature(ours) == inspect.signature(theirs) == inspect.signature(of_engine), name
        assert of_engine.__doc__
        assert ours.__doc__
        assert (ours.__doc__ != theirs.__doc__) == (name in OWN_DOCSTRINGS), name


@pytest.mark.needs_torch
def test_the_records_and_the_error_are_one_and_the_same():
    import torch_rnn

    records = set(numpy_rnn.__all__) - set(shared_functions())
    assert {"Activations", "Adjoints", "Gradients", "InputError", "Parameters", "State", "Update", "Window"} <= records
    for name in records:
        assert getattr(numpy_rnn, name) is getattr(torch_rnn, name), name


def test_a_run_of_either_is_a_training_of_common(rnn):
    from numpy_rnn.common.training import Training

    x, h_0 = (rnn.from_numpy(np.zeros((1, 1, 1), "float32")), rnn.from_numpy(np.zeros((1, 6), "float32")))
    options = {"k1": 1, "k2": 1, "learning_rate": 0.1}
    run = rnn.train(rnn.initial_parameters(), x, x, h_0, **options, epochs=1)
    stream = rnn.train_stream(rnn.initial_parameters(), [(x[0], x[0])], h_0, **options)
    for training in (run, stream):
        assert type(training) is Training
        assert type(next(training)) is numpy_rnn.Update
        assert type(training.state()) is numpy_rnn.State


def test_both_packages_have_the_same_files_but_for_the_listed_ones():
    ours, theirs = (
        {path.name for path in (SOURCE / package).iterdir() if path.name != "__pycache__"}
        for package in ("numpy_rnn", "torch_rnn")
    )
    assert ours - theirs <= set(ONLY_NUMPY), "a file that torch_rnn has not, and no reason why"
    assert theirs - ours == set(ONLY_TORCH)
    assert not theirs & set(ONLY_NUMPY)


def definitions(package, file):
    """The public functions and classes that a file defines, but not those of its imports."""
    tree = ast.parse((SOURCE / package / file).read_text(encoding="utf-8"))
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [name for name in found if name in numpy_rnn.__all__]


FILES = ["bptt", "clipping", "elman", "loss", "momentum", "parameters", "sgd", "tbptt"]


@pytest.mark.parametrize("file", [f"{name}.py" for name in FILES])
def test_each_exported_function_is_in_the_file_of_the_same_name(file):
    """And in the same order."""
    assert definitions("numpy_rnn", file) == definitions("torch_rnn", file) != []


# -- line by line ---------------------------------------------------------------------------------------------------

# What is spelled otherwise for torch: a pattern, and what it becomes.
SPELLINGS = [
    (r"import numpy as np", "import torch"),
    (r"\bnp\b", "torch"),
    (r"\baxis=", "dim="),
    (r"numpy_rnn\.(?!common)", "torch_rnn."),
]
DECORATORS = ("@torch.no_grad()", "@np.errstate(")  # of torch and of NumPy: what is computed is the same

# The lines that differ beside, of numpy_rnn and of torch_rnn, and why. All others are the same, in all these files.
DIFFERENCES = {
    "elman": [
        (["def relu(a: Array) -> Array:", '"""max(a, 0)"""', "return torch.maximum(a, 0)"], [], "NumPy has no relu"),
        (
            [
                "def sigmoid(a: Array) -> Array:",
                '"""The logistic function',
                "return 0.5 * (1 + torch.tanh(0.5 * a))",
            ],
            [],
            "NumPy has no logistic function",
        ),
        (["relu=relu, sigmoid=sigmoid"], ["relu=torch.relu, sigmoid=torch.sigmoid"], "the same"),
        (
            ["torch.equal(classes[..., None], torch.arange(size)).astype(dtype)"],
            ["torch.eq(classes[..., None], torch.arange(size)).to(dtype)"],
            "torch's names",
        ),
        (
            [],
            [
                "x, h_0 = differentiable(x), differentiable(h_0)",
                "def differentiable(array: Array) -> Array:",
                '"""The array as one that requires a gradient; the caller\'s is not changed."""',
                "return array if array.requires_grad else array.detach().requires_grad_()",
            ],
            "autograd differentiates with respect to what requires a gradient",
        ),
    ],
    "loss": [
        (["* log_softmax(y))"], ["* torch.log_softmax(y, dim=-1))"], "NumPy has no softmax"),
        (
            [
                "def log_softmax(y: Outputs) -> Outputs:",
                '"""log p of every row.',
                "shifted = y - y.max(dim=-1, keepdims=True)",
                "log_p: Outputs = shifted -",
                "return log_p",
                "def softmax(y: Outputs) -> Outputs:",
                '"""p of every row"""',
                "p: Outputs = torch.exp(log_softmax(y))",
                "return p",
            ],
            [],
            "the same, and autograd needs no p",
        ),
    ],
    "clipping": [
        (
            ["torch.minimum(1, float(max_norm) / (norm(gradients) + SMALL))"],
            ["(float(max_norm) / (norm(gradients) + SMALL)).clamp(max=1)"],
            "torch.minimum takes no numbers",
        ),
    ],
    "momentum": [
        (['v = g.copy("K") if'], ["v = g.clone() if"], "torch's keeps the order in memory"),
    ],
    "sgd": [
        (
            ["theta - expand_to(rate, theta) * delta_theta  # (U1)"],
            ["(theta - expand_to(rate, theta) * delta_theta).requires_grad_()  # (U1)"],
            "autograd differentiates with respect to what requires a gradient",
        ),
    ],
    "tbptt": [],
}


def is_import(line):
    return line.startswith(("import ", "from "))


def differing_lines(name):
    """The lines of a pair that differ once they are spelled alike, without their indentation and with imports in one
    order: ours, theirs.
    """
    ours, theirs = (
        [
            line.strip()
            for line in (SOURCE / package / f"{name}.py").read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.strip().startswith(DECORATORS)
        ]
        for package in ("numpy_rnn", "torch_rnn")
    )
    for pattern, spelling in SPELLINGS:
        ours = [re.sub(pattern, spelling, line) for line in ours]
    ours, theirs = (sorted(lines, key=lambda line: line if is_import(line) else "~") for lines in (ours, theirs))
    changes = list(difflib.ndiff(ours, theirs))
    return [[line[2:] for line in changes if line.startswith(sign)] for sign in "-+"]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_pair_of_files_differs_in_the_listed_lines_alone(name):
    """But for spellings and decorators, each differing line holds a listed one, and each listed one differs."""
    for of_file, side in zip(differing_lines(name), (0, 1)):
        listed = [line for difference in DIFFERENCES[name] for line in difference[side]]
        assert len(of_file) == len(listed), of_file
        assert all(line in found for line, found in zip(listed, of_file)), of_file


def test_both_loops_are_compared():
    files = {path.stem for path in (SOURCE / "torch_rnn").glob("*.py")} - {"__init__", "__main__", "modules"}
    assert files - set(DIFFERENCES) == {"bptt", "parameters"}  # by hand and by autograd; NumPy's arrays and torch's


MAX_STATEMENTS = 200  # statements: forward, loss, gradient, step and TBPTT loop, without the options of the step


def statements(name):
    """Of a file: all but imports, docstrings, refusals, and the calls of checks, whose results are not used."""
    tree = ast.parse((SOURCE / "numpy_rnn" / f"{name}.py").read_text(encoding="utf-8"))
    left_out = ast.Import, ast.ImportFrom, ast.Expr, ast.Raise
    kept = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not isinstance(node, left_out)]
    return [node for node in kept if not (isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise))]


def test_the_reference_is_small():
    counts = {name: len(statements(name)) for name in ("elman", "loss", "bptt", "sgd", "tbptt")}
    assert sum(counts.values()) <= MAX_STATEMENTS, counts
