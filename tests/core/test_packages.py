"""The two packages are one program written twice: what each imports and exports, and what differs.

numpy_rnn needs NumPy alone, every import points down, and the pairs of files differ in the listed lines.
"""

import ast
import difflib
import inspect
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from children import run

import numpy_rnn
from numpy_rnn import engine, reference

SOURCE = Path(numpy_rnn.__file__).parents[1]

# -- imports ----------------------------------------------------------------------------------------------------------

LOADED = """
import sys
import numpy_rnn as rnn
print([name for name in ("numpy", "importlib.metadata", "numpy.random", "email") if name in sys.modules])
import numpy as np, {modules}
x, h_0 = np.zeros((3, 1, 1), 'float32'), np.zeros((1, 6), 'float32')
list(rnn.train(rnn.initial_parameters(), x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1, record=True))
print([name for name in ("numpy.random", "torch", "matplotlib") if name in sys.modules])
"""


@pytest.mark.slow
def test_numpy_rnn_loads_no_torch_and_no_matplotlib_and_little_at_first():
    """The import alone leaves out what would take most of its time. Neither all modules of the core and the
    application nor a run load more than NumPy.
    """
    paths = [path for folder in ("", *LAYERS) for path in sorted((SOURCE / "numpy_rnn" / folder).glob("*.py"))]
    modules = [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    assert {"numpy_rnn", "numpy_rnn.__main__", "numpy_rnn.tbptt", "numpy_rnn.common.windows"} <= set(modules)
    ended = run([sys.executable, "-c", LOADED.format(modules=", ".join(modules))])
    assert (ended.returncode, ended.stdout) == (0, "['numpy']\n['numpy.random']\n"), ended.stderr


def imports(tree):
    """The modules that a file imports: (by any of its lines, at import time), which leaves out the bodies of functions.

    `from a import b` counts as both a and a.b, since b may be a module.
    """
    found, at_import_time, pending = set(), set(), [(tree, True)]
    while pending:
        node, at_once = pending.pop()
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found.update(names)
        at_import_time.update(names if at_once else ())
        at_once = at_once and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        pending.extend((child, at_once) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    return found, at_import_time


@cache
def imports_of(folder):
    """{file: what it imports} for every Python file below a folder."""
    files = sorted((SOURCE / folder).rglob("*.py"))
    assert files
    return {str(f.relative_to(SOURCE)): imports(ast.parse(f.read_text(encoding="utf-8"))) for f in files}


def within(module, *packages):
    return any(module == package or module.startswith(f"{package}.") for package in packages)


LAYERS = {  # what a file of each may import of the two packages, also within a function: every arrow points down
    "common": ["common"],
    "core": ["core", "common"],
    "engine": ["engine", "core", "common"],
    "app": ["app", "engine", "core", "common"],
    "torch_rnn": ["torch_rnn", "common"],
}


def layer(module):
    """The layer of a module, given as its dotted name or its path."""
    package, *parts = module.removesuffix(".py").replace("/", ".").split(".")
    folder = parts[0] if parts and package == "numpy_rnn" else package
    return folder if folder in {*LAYERS, "conformance", "study", "figures"} else "core"


def test_every_import_points_down_and_needs_nothing_but_numpy():
    """The package and `reference` name the engine, and `__main__` of both the application. At import time nothing is
    needed besides the standard library. No file of numpy_rnn imports torch or a picture then, and the core not in a
    function either: what compares backends names them, and imports them by that name.
    """
    for file, (modules, at_import_time) in {**imports_of("numpy_rnn"), **imports_of("torch_rnn")}.items():
        of, name = layer(file), Path(file).name
        if of != "torch_rnn":
            assert not [m for m in at_import_time if within(m, "torch", "torch_rnn", "matplotlib")], file
            of_backends = of in ("conformance", "study")
            assert of_backends or not [m for m in modules if within(m, "torch", "torch_rnn")], file
        if of not in LAYERS:
            continue
        needed = ("numpy", "numpy_rnn", "torch", "torch_rnn") if of == "torch_rnn" else ("numpy", "numpy_rnn")
        others = {m for m in at_import_time if m.split(".")[0] not in sys.stdlib_module_names}
        assert all(within(m, *needed) for m in others), (file, others)
        if of == "torch_rnn" or name not in ("__init__.py", "__main__.py"):
            below = ["app", "torch_rnn"] if of == "torch_rnn" and name == "__main__.py" else LAYERS[of]
            above = {m for m in modules if within(m, "numpy_rnn", "torch_rnn") and layer(m) not in below}
            assert not above, (file, above)


def test_the_reading_of_imports_sees_them():
    tree = ast.parse("class A:\n from torch.nn import RNN\n def f(self):\n  import matplotlib.pyplot, numpy as np")
    at_once = {"torch.nn", "torch.nn.RNN"}
    assert imports(tree) == (at_once | {"matplotlib.pyplot", "numpy"}, at_once)
    with pytest.raises(AssertionError, match="relative"):
        imports(ast.parse("from . import train"))


# -- names and files ------------------------------------------------------------------------------------------------

# What only one of the packages has, and why.
ONLY_NUMPY = {
    "DERIVATION.md": "the equations are derived once, next to the code that computes them",
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


@pytest.mark.needs_torch
def test_the_packages_export_the_same_names_with_the_same_signatures_and_docstrings():
    """And what is no function is one and the same: the records and the error."""
    import torch_rnn

    assert torch_rnn.__all__ == numpy_rnn.__all__ == reference.__all__ == engine.__all__ == sorted(numpy_rnn.__all__)
    for package in (numpy_rnn, torch_rnn, reference):
        public = {name for name in vars(package) if not name.startswith("_")}
        others = public - set(package.__all__)
        assert all(inspect.ismodule(getattr(package, name)) for name in others), others
    for name in numpy_rnn.__all__:
        of_engine, ours, theirs = (getattr(package, name) for package in (numpy_rnn, reference, torch_rnn))
        if not inspect.isfunction(ours):
            assert of_engine is ours is theirs, name
            continue
        assert inspect.signature(ours) == inspect.signature(theirs) == inspect.signature(of_engine), name
        assert of_engine.__doc__
        assert ours.__doc__
        assert (ours.__doc__ != theirs.__doc__) == (name in OWN_DOCSTRINGS), name


def test_both_packages_have_the_same_files_but_for_the_listed_ones():
    ours, theirs = (
        {path.name for path in (SOURCE / package).iterdir() if path.name != "__pycache__"}
        for package in ("numpy_rnn", "torch_rnn")
    )
    assert ours - theirs <= set(ONLY_NUMPY), "a file that torch_rnn has not, and no reason why"
    assert theirs - ours == set(ONLY_TORCH)
    assert not theirs & set(ONLY_NUMPY)
    pairs = {Path(name).stem for name in theirs & ours if name.endswith(".py")} - {"__init__", "__main__"}
    assert pairs - set(DIFFERENCES) == {"bptt", "parameters"}  # by hand and by autograd; NumPy's arrays and torch's


# -- line by line ---------------------------------------------------------------------------------------------------

# What is spelled otherwise for torch: a pattern, and what it becomes.
SPELLINGS = [
    (r"import numpy as np", "import torch"),
    (r"\bnp\b", "torch"),
    (r"\baxis=", "dim="),
    (r"numpy_rnn\.(?!common)", "torch_rnn."),
]
DECORATORS = ("@torch.no_grad()", "@torch.errstate(")  # of torch and of NumPy: what is computed is the same

# The other lines that differ, and why: "-" of numpy_rnn, "+" of torch_rnn, with a part of the line. All others are the
# same, in all these files.
DIFFERENCES = {
    "elman": """
        NumPy has no relu, and no logistic function.
        - def relu(a: Array) -> Array:
        - \"""max(a, 0)\"""
        - return torch.maximum(a, 0)
        - def sigmoid(a: Array) -> Array:
        - \"""The logistic function
        - return 0.5 * (1 + torch.tanh(0.5 * a))
        - relu=relu, sigmoid=sigmoid
        + relu=torch.relu, sigmoid=torch.sigmoid
        Torch's names.
        - torch.equal(classes[..., None], torch.arange(size)).astype(dtype)
        + torch.eq(classes[..., None], torch.arange(size)).to(dtype)
        Autograd differentiates with respect to what requires a gradient.
        + x, h_0 = differentiable(x), differentiable(h_0)
        + def differentiable(array: Array) -> Array:
        + \"""The array as one that requires a gradient; the caller's is not changed.\"""
        + return array if array.requires_grad else array.detach().requires_grad_()
        """,
    "loss": """
        NumPy has no softmax, and autograd needs no p.
        - * log_softmax(y))
        - def log_softmax(y: Outputs) -> Outputs:
        - \"""log p of every row.
        - shifted = y - y.max(dim=-1, keepdims=True)
        - log_p: Outputs = shifted -
        - return log_p
        - def softmax(y: Outputs) -> Outputs:
        - \"""p of every row\"""
        - p: Outputs = torch.exp(log_softmax(y))
        - return p
        + * torch.log_softmax(y, dim=-1))
        """,
    "clipping": """
        torch.minimum takes no numbers.
        - torch.minimum(1, float(max_norm) / (norm(gradients) + SMALL))
        + (float(max_norm) / (norm(gradients) + SMALL)).clamp(max=1)
        """,
    "momentum": """
        Torch's keeps the order in memory.
        - v = g.copy("K") if
        + v = g.clone() if
        """,
    "sgd": """
        Autograd differentiates with respect to what requires a gradient.
        - theta - expand_to(rate, theta) * delta_theta  # (U1)
        + (theta - expand_to(rate, theta) * delta_theta).requires_grad_()  # (U1)
        """,
    "tbptt": "",
}


def differing_lines(name):
    """The lines of a pair that differ once they are spelled alike, without their indentation and with imports in one
    order: ours, theirs.
    """
    pair = []
    for package, spellings in (("numpy_rnn", SPELLINGS), ("torch_rnn", [])):
        text = (SOURCE / package / f"{name}.py").read_text(encoding="utf-8")
        for pattern, spelling in spellings:
            text = re.sub(pattern, spelling, text)
        lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith(DECORATORS)]
        pair.append(sorted(lines, key=lambda line: line if line.startswith(("import ", "from ")) else "~"))
    changes = list(difflib.ndiff(*pair))
    return [[line[2:] for line in changes if line.startswith(sign)] for sign in "-+"]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_pair_of_files_differs_in_the_listed_lines_alone(name):
    """But for spellings and decorators, each differing line holds a listed one, and each listed one differs."""
    lines = [line.strip() for line in DIFFERENCES[name].splitlines()]
    for of_file, sign in zip(differing_lines(name), "-+"):
        listed = [line[2:] for line in lines if line.startswith(f"{sign} ")]
        assert len(of_file) == len(listed), of_file
        assert all(line in found for line, found in zip(listed, of_file)), of_file
