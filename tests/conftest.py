"""Options, markers, Hypothesis profiles and the backends under test.

`pytest` tests both backends, and a missing torch is an error. `pytest --packages numpy_rnn` tests NumPy alone: what
needs torch or matplotlib is deselected. `pytest -m "not slow"` leaves out what starts processes, compiles or takes
seconds; every numeric test is in the rest. `pytest --perturb SEED` computes as on another BLAS kernel. The environment
variable HYPOTHESIS_PROFILE is default (20 examples of each property, the same in every run), random (30, others in
every run: for .ci, and for those who develop), few (20, not shrunk), or long (5,000 random ones, with --timeout 0).
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from typing import Any

import installed
import pytest
from children import default_interrupts
from hypothesis import HealthCheck, Phase, settings

sys.path.append(
    str(installed.ROOT)
)  # the benchmarks are not installed; last, so that the packages are
PACKAGES = " ".join(installed.PACKAGES)
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# The first example of a run may pay for the import of torch, which is not slowness of the data.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SAME: Any = {"derandomize": True, "database": None}
settings.register_profile("default", COMMON, max_examples=20, **SAME)
settings.register_profile("random", COMMON, max_examples=30, print_blob=True)
settings.register_profile(
    "few", COMMON, max_examples=20, phases=(Phase.explicit, Phase.generate), **SAME
)
settings.register_profile("long", COMMON, max_examples=5000, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)


def pytest_addoption(parser):
    parser.addoption(
        "--packages", default=PACKAGES, help=f"the backends to test, by name; default: {PACKAGES!r}"
    )
    parser.addoption(
        "--perturb", type=int, metavar="SEED", help="compute as on another BLAS kernel, by seed"
    )


def packages(config):
    return config.getoption("--packages").split()


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs_torch: uses torch or both backends; deselected without torch_rnn"
    )
    config.addinivalue_line("markers", "needs_matplotlib: draws; deselected without torch_rnn")
    config.addinivalue_line(
        "markers", "slow: starts processes, compiles or takes seconds; `-m 'not slow'` is fast"
    )
    config.addinivalue_line(
        "markers", "with_reference: tests numpy_rnn.reference too, whose train is the plain loop"
    )
    config.addinivalue_line(
        "markers", "no_perturb: sees what --perturb changes, or its hooks; deselected by it"
    )
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    if importlib.util.find_spec(
        "threadpoolctl"
    ):  # a plugin has loaded NumPy before: its BLAS did not see the variable
        importlib.import_module("threadpoolctl").threadpool_limits(
            int(os.environ["OPENBLAS_NUM_THREADS"]), "blas"
        )
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist has the path of this process
        installed.place()
    if "torch_rnn" in packages(config) and importlib.util.find_spec("torch") is None:
        raise pytest.UsageError(
            "torch is not installed: install it, or test NumPy alone by `--packages numpy_rnn`"
        )


def pytest_ignore_collect(collection_path, config):
    """Leave out the tests of the audit, which import torch, without torch_rnn."""
    return True if collection_path.name == "audit" and "torch_rnn" not in packages(config) else None


def pytest_collection_modifyitems(config, items):
    unwanted = [item for item in items if _is_unwanted(item)]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in set(unwanted)]


def _is_unwanted(item):
    marks = set()
    if "torch_rnn" not in packages(item.config):
        marks |= {"needs_torch", "needs_matplotlib"}
    if item.config.getoption("--perturb") is not None:
        marks.add("no_perturb")
    return any(item.get_closest_marker(mark) for mark in marks)


def pytest_generate_tests(metafunc):
    if "rnn" in metafunc.fixturenames:
        names = packages(metafunc.config)
        if metafunc.definition.get_closest_marker("with_reference"):
            names.insert(1, "numpy_rnn.reference")
        metafunc.parametrize("rnn", names, indirect=True, scope="module")


@pytest.fixture(scope="session")
def rnn(request):
    """The backend under test: the module numpy_rnn, whose train is the engine's, then the module torch_rnn.

    Tests that are marked `with_reference` test the reference's plain loop too.
    """
    return importlib.import_module(request.param)


@pytest.fixture(scope="session", autouse=True)
def _threads_and_kernel(pytestconfig):
    """torch has as many threads as BLAS, one by default."""
    with_torch = "torch_rnn" in packages(pytestconfig)
    if with_torch:
        importlib.import_module("torch").set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    seed = pytestconfig.getoption("--perturb")
    if seed is not None:
        importlib.import_module("other_kernel").simulate(seed, with_torch)


@pytest.fixture(autouse=True)
def _interrupts_are_heard():
    """Also where the tests run in the background, which ignores them."""
    with default_interrupts():
        yield


@pytest.fixture(scope="session", autouse=True)
def _outside_of_the_checkout(tmp_path_factory):
    """A process that a test starts by `python -m` does not find the packages of the checkout in its folder."""
    os.chdir(tmp_path_factory.mktemp("outside"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(request):
    """Every test of the application runs in an empty folder of its own."""
    if request.path.parent.name == "app":
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))


def pytest_report_header(config):
    numpy = importlib.import_module("numpy")
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    features = importlib.import_module("numpy._core._multiarray_umath")
    simd = [name for name in features.__cpu_dispatch__ if features.__cpu_features__[name]]
    seed = config.getoption("--perturb")
    return [
        f"packages: {' '.join(packages(config))}, of {installed.place()}; Hypothesis profile: {PROFILE}",
        f"numpy {numpy.__version__}, SIMD {' '.join(simd) or 'of the baseline'}; BLAS {blas.get('name')}"
        f" {blas.get('version')}, {_kernel()}"
        + ("" if seed is None else f"; products perturbed by seed {seed}"),
        ", ".join(
            [_torch(config), *(f"{variable}={os.environ[variable]}" for variable in ONE_THREAD)]
        ),
    ]


def _kernel():
    if importlib.util.find_spec("threadpoolctl") is None:
        return "kernel unknown without threadpoolctl"
    found = importlib.import_module("threadpoolctl").threadpool_info()
    kernels = [
        f"kernel {b.get('architecture')}, threads: {b['num_threads']}"
        for b in found
        if b["user_api"] == "blas"
    ]
    return "; ".join(kernels) or "kernel not seen by threadpoolctl"


def _torch(config):
    if "torch_rnn" not in packages(config):
        return "no torch"
    capability = importlib.import_module("torch").backends.cpu.get_cpu_capability()
    return f"torch {importlib.metadata.version('torch')}, kernels {capability}"
