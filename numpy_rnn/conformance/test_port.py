"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend
module:object
"""


def pytest_generate_tests(metafunc):
    """Parametrize every test over the dtypes of the port, the one with more digits
    first.
    """
    dtypes = metafunc.config.elman_suite.port.dtypes
    metafunc.parametrize("dtype", sorted(dtypes, reverse=True))


def test_local(request, dtype):
    """Level L1: every stage within its own rounding."""
    request.config.elman_suite.check("L1", dtype)


def test_global(request, dtype):
    """Level L2: every result within what rounding allows of a whole window."""
    request.config.elman_suite.check("L2", dtype)


def test_lockstep(request, dtype):
    """Level L3: several updates in a row, each checked from its actual start."""
    request.config.elman_suite.check("L3", dtype)
