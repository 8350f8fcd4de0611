"""Options, markers, Hypothesis profiles and the backends under test.

`pytest` tests both backends, and a missing torch is an error. `pytest --packages
numpy_rnn` tests NumPy alone. `pytest -m "not slow"` leaves out what starts processes,
compiles or takes seconds. HYPOTHESIS_PROFILE is default (10 examples of each property,
the same in every run), random (10, others in every run), few (5, not shrunk), or long
(5,000 random ones, with --timeout 0).

TEST_SEED is the seed of the random cases that are others in every run. It is drawn
unless it is set, and printed in the header of the run, and again after a failure: set
it to repeat that run.
"""

import importlib
import importlib.util
import os
import secrets
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from threadpoolctl import threadpool_limits

PACKAGES = ("numpy_rnn", "torch_rnn")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

pytest.register_assert_rewrite("tests.helpers")

# In the environment, from which the workers of pytest-xdist have the same one.
os.environ.setdefault("TEST_SEED", str(secrets.randbelow(2**32)))

# The first example of a run may pay for the import of torch, which is not slowness of
# the data.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SAME: Any = {"derandomize": True, "database": None}
NOT_SHRUNK = (Phase.explicit, Phase.generate)
settings.register_profile("default", COMMON, max_examples=10, **SAME)
settings.register_profile("random", COMMON, max_examples=10, print_blob=True)
settings.register_profile("few", COMMON, max_examples=5, phases=NOT_SHRUNK, **SAME)
settings.register_profile("long", COMMON, max_examples=5000, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)


def pytest_addoption(parser):
    names = " ".join(PACKAGES)
    parser.addoption(
        "--packages", default=names, help=f"backends to test; default: {names!r}"
    )


def packages(config):
    return config.getoption("--packages").split()


def pytest_configure(config):
    if not os.environ["TEST_SEED"].isdecimal():
        raise pytest.UsageError(
            f"TEST_SEED is {os.environ['TEST_SEED']!r}: expected a whole number"
        )
    # Children run in other folders, and Ctrl-C reaches them also if pytest is in the
    # background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if folders := os.environ.get("PYTHONPATH"):
        paths = map(os.path.abspath, folders.split(os.pathsep))
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    # A plugin may have loaded NumPy before.
    threads = int(os.environ["OPENBLAS_NUM_THREADS"])
    threadpool_limits(threads, "blas")
    if "torch_rnn" in packages(config) and importlib.util.find_spec("torch") is None:
        raise pytest.UsageError(
            "torch is not installed: install it, or test NumPy alone by "
            "`--packages numpy_rnn`"
        )


def pytest_report_header():
    return f"TEST_SEED={os.environ['TEST_SEED']}"


def pytest_terminal_summary(terminalreporter):
    """Print the seed of a failed run once more: -q leaves out the header."""
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(
            f"To repeat this run, set TEST_SEED={os.environ['TEST_SEED']}"
        )


def pytest_ignore_collect(collection_path, config):
    """Leave out the tests of the audit, which import torch, without torch_rnn."""
    if collection_path.name == "audit" and "torch_rnn" not in packages(config):
        return True
    return None


def pytest_collection_modifyitems(config, items):
    if "torch_rnn" not in packages(config):
        marks = "needs_torch", "needs_matplotlib"
        unwanted = {item for item in items if any(map(item.get_closest_marker, marks))}
        config.hook.pytest_deselected(items=list(unwanted))
        items[:] = [item for item in items if item not in unwanted]


def pytest_generate_tests(metafunc):
    if "rnn" in metafunc.fixturenames:
        names = packages(metafunc.config)
        if metafunc.definition.get_closest_marker("with_reference"):
            names.insert(1, "numpy_rnn.reference")
        metafunc.parametrize("rnn", names, indirect=True, scope="module")


@pytest.fixture(scope="session")
def rnn(request):
    """Return the backend under test: numpy_rnn (train is the engine's) or torch_rnn.

    Tests that are marked `with_reference` test the reference's plain loop too.
    """
    return importlib.import_module(request.param)


@pytest.fixture(scope="session", autouse=True)
def _threads_of_torch(pytestconfig):
    if "torch_rnn" in packages(pytestconfig):
        threads = int(os.environ["OMP_NUM_THREADS"])
        importlib.import_module("torch").set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _outside_of_the_checkout(tmp_path_factory):
    """Leave the checkout, where `python -m` would find its packages, also before the
    fixtures of a module.
    """
    os.chdir(tmp_path_factory.mktemp("outside"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    """Run each test in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
