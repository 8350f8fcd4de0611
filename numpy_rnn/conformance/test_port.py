"""The suite itself: pytest --pyargs numpy_rnn.conformance --elman-backend module:object"""


def pytest_generate_tests(metafunc):
    """Parametrize every test over the dtypes of the port."""
    metafunc.parametrize("dtype", metafunc.config.elman_suite.port.dtypes)


def test_exact(request, dtype):
    """Level L0: every number of cases in which nothing rounds, to the last bit."""
    request.config.elman_suite.check("L0", dtype, request.node.name)


def test_local(request, dtype):
    """Level L1: every stage within its own rounding."""
    request.config.elman_suite.check("L1", dtype, request.node.name)


def test_global(request, dtype):
    """Level L2: loss, gradients and updated parameters within what rounding allows of a whole window."""
    request.config.elman_suite.check("L2", dtype, request.node.name)


def test_lockstep(request, dtype):
    """Level L3: several updates in a row, each checked from its actual start."""
    request.config.elman_suite.check("L3", dtype, request.node.name)
