"""Options, markers, Hypothesis profiles and the backends under test.

`pytest` tests both backends, and a missing torch is an error. `pytest --packages numpy_rnn` tests NumPy alone: what
needs torch or matplotlib is deselected. The environment variable HYPOTHESIS_PROFILE is default (random), ci
(repeatable, without a database) or long (thousands of examples).
"""

import importlib
import importlib.metadata
import importlib.util
import os

import pytest
from hypothesis import HealthCheck, settings

PACKAGES = "numpy_rnn torch_rnn"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# The first example of a run may pay for the import of torch, which is not slowness of the data.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", COMMON, max_examples=100)
settings.register_profile("ci", COMMON, max_examples=200, derandomize=True, database=None)
settings.register_profile("long", COMMON, max_examples=5000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)


def pytest_addoption(parser):
    parser.addoption("--packages", default=PACKAGES, help=f"the backends to test, by name; default: {PACKAGES!r}")


def packages(config):
    return config.getoption("--packages").split()


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_torch: uses torch or both backends; deselected without torch_rnn")
    config.addinivalue_line("markers", "needs_matplotlib: draws; deselected without torch_rnn")
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    if "torch_rnn" in packages(config) and importlib.util.find_spec("torch") is None:
        raise pytest.UsageError("torch is not installed: install it, or test NumPy alone by `--packages numpy_rnn`")


def pytest_collection_modifyitems(config, items):
    if "torch_rnn" in packages(config):
        return
    unwanted = [item for item in items if item.get_closest_marker("needs_torch") or _draws(item)]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in set(unwanted)]


def _draws(item):
    return item.get_closest_marker("needs_matplotlib") is not None


def pytest_generate_tests(metafunc):
    if "rnn" in metafunc.fixturenames:
        metafunc.parametrize("rnn", packages(metafunc.config), indirect=True, scope="session")


@pytest.fixture(scope="session")
def rnn(request):
    """The backend under test: the module numpy_rnn, then the module torch_rnn."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread(pytestconfig):
    if "torch_rnn" in packages(pytestconfig):
        importlib.import_module("torch").set_num_threads(1)


def pytest_report_header(config):
    numpy = importlib.import_module("numpy")
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    threads = ", ".join(f"{variable}={os.environ[variable]}" for variable in ONE_THREAD)
    torch = f"torch {importlib.metadata.version('torch')}, 1 thread" if "torch_rnn" in packages(config) else "no torch"
    return [
        f"packages: {' '.join(packages(config))}; Hypothesis profile: {PROFILE}",
        f"numpy {numpy.__version__}, BLAS {blas.get('name')} {blas.get('version')}; {torch}; {threads}",
    ]
