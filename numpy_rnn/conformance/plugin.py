"""The options of `pytest --pyargs numpy_rnn.conformance --elman-backend module:object`, and the report file.

It is an entry-point plugin, because pytest reads no options from the conftest of an installed package. It is loaded in
every pytest run: so all its options start with --elman-, and nothing large is imported until one of them names a port.

Under pytest-xdist the controller and every worker create their own port; the controller merges the workers' results.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

LEVEL_OF = {"test_local": "L1", "test_global": "L2", "test_lockstep": "L3"}
NAME_ONE = "no implementation to test: expected --elman-backend module:object or --elman-command 'program'"


def seconds(text):
    """A positive, finite number of seconds."""
    from numpy_rnn.app.options import positive

    return positive(text)


def pytest_addoption(parser):
    """Add the options."""
    group = parser.getgroup("elman", "equivalence suite (numpy_rnn.conformance)")
    add = group.addoption
    add("--elman-backend", metavar="PORT", help="implementation under test: module:object, or a package as torch_rnn")
    add("--elman-command", metavar="COMMAND", help="implementation under test: a program that speaks the port protocol")
    add("--elman-level", choices=(*LEVEL_OF.values(), "all"), default="all", help="level to check (all)")
    add("--elman-profile", choices=("default", "ci", "long"), default="default", help="number of cases (default)")
    add("--elman-timeout", type=seconds, default=10.0, metavar="SECONDS", help="time limit of one answer (10)")
    add("--elman-xfail", metavar="FILE", help="file of expected failures, one per line, as test_local[float32]")
    add("--elman-report", metavar="FILE", help="write the worst ratio of every tensor and its case as JSON")


class SuiteState:
    """The port under test, its worst ratios, and the tests that are expected to fail."""

    def __init__(self, port: Any, worst: Any, expected_failures: Sequence[str] = ()):
        self.port, self.worst, self.expected_failures = port, worst, expected_failures
        self.report_error: str | None = None  # if the report could not be written


def pytest_configure(config):
    """Create the named port before the collection."""
    where, command = config.getoption("elman_backend", None), config.getoption("elman_command", None)
    asked = config.getoption("pyargs", False) and any(arg.startswith("numpy_rnn.conformance") for arg in config.args)
    if asked and (where is None) == (command is None):
        raise pytest.UsageError(NAME_ONE)
    if where is not None or command is not None:
        try:
            config.elman_suite = _create_state(config, where, command)
        except ModuleNotFoundError as error:
            raise pytest.UsageError(
                f"{error.name} is not installed: the equivalence suite needs it;"
                " run pip install 'elman-twice[conformance]'"
            ) from None


def _create_state(config, where, command):
    """The state for the port of this name or command; options are validated first."""
    from numpy_rnn.app.storage import check_can_write
    from numpy_rnn.common.errors import InputError
    from numpy_rnn.common.packages import backend, is_package
    from numpy_rnn.conformance.bounds.oracle import load_flint
    from numpy_rnn.conformance.ports.backends import port_of
    from numpy_rnn.conformance.ports.port import PortFault, ProgramPort, load_python_port
    from numpy_rnn.conformance.ports.program import kill_programs_on_signal
    from numpy_rnn.conformance.properties import WorstRatios

    port: Any
    report, level = config.getoption("elman_report"), config.getoption("elman_level")
    try:
        if report is not None:
            check_can_write(report, "--elman-report")
        if command is not None:
            killing = kill_programs_on_signal()
            killing.__enter__()
            config.add_cleanup(lambda: killing.__exit__(None, None, None))
            port = ProgramPort(command, config.getoption("elman_timeout"))
            config.add_cleanup(port.close)
        elif is_package(where):
            port = port_of(backend(where))
        else:
            port = load_python_port(where)
        if level in ("L2", "all") or "intermediates" not in port.capabilities:
            load_flint()  # the oracle needs it
    except (InputError, PortFault) as error:
        raise pytest.UsageError(str(error)) from None
    path = config.getoption("elman_xfail")
    return SuiteState(port, WorstRatios(), () if path is None else expected_failures(path, test_names(port, level)))


def test_names(port: Any, level: str) -> list[str]:
    """The tests of this port at this level, or at every level that applies to it."""
    tests = [test for test in LEVEL_OF if _is_wanted(port, level, test)]
    return [f"{test}[{dtype}]" for test in tests for dtype in port.dtypes]


def _is_wanted(port, level, test) -> bool:
    of = LEVEL_OF[test]
    return level in (of, "all") and (of != "L1" or "intermediates" in port.capabilities)


def expected_failures(path: str, names: list[str]) -> list[str]:
    """The test names in the file, without comments and empty lines. Raises UsageError unless all are in `names`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise pytest.UsageError(f"--elman-xfail {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise pytest.UsageError(f"--elman-xfail {path} is not text: expected one test name per line") from None
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    expected = [line for line in lines if line]
    unknown = sorted(set(expected) - set(names))
    if unknown:
        raise pytest.UsageError(f"--elman-xfail {path} names no test: {unknown[0]!r}: expected {', '.join(names)}")
    return expected


def pytest_collection_modifyitems(config, items):
    """Deselect the levels that were not requested or do not apply; mark the expected failures."""
    state = getattr(config, "elman_suite", None)
    if state is None:
        return
    level, path = config.getoption("elman_level"), config.getoption("elman_xfail")
    tests = {item: item.name.split("[")[0] for item in items}
    left_out = [i for i, test in tests.items() if test in LEVEL_OF and not _is_wanted(state.port, level, test)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.name in state.expected_failures:
            item.add_marker(pytest.mark.xfail(reason=f"named in {path}", strict=True))


def pytest_report_header(config):
    """Report what is tested and what is not."""
    state = getattr(config, "elman_suite", None)
    if state is None:
        return []
    from numpy_rnn.conformance.bounds.local_bounds import STRICT_TANH_ULPS
    from numpy_rnn.conformance.ports.protocol import GIVEN_DY
    from numpy_rnn.conformance.properties import PROFILES, runs_for

    port, profile = state.port, config.getoption("elman_profile")
    ulps = port.tanh_ulps or STRICT_TANH_ULPS
    strict = "" if ulps <= STRICT_TANH_ULPS else f", above {STRICT_TANH_ULPS}: not a strict pass"
    lines = [f"port: {port.name}, {' and '.join(port.dtypes)}, tanh within {ulps:g} ulps{strict}"]
    if absolute := getattr(port, "tanh_absolute_ulps", None):
        lines.append(
            f"tanh may be off by {absolute:g} ulps of 1 besides: a small h may have a large relative error,"
            " and all bounds after it are wider: not a strict pass"
        )
    if "intermediates" not in port.capabilities:
        lines.append("level L1 is not checked: the port reports no intermediate values")
    if port.lacks:
        lines.append(f"not tested, because the port lacks it: {', '.join(port.lacks)}")
    if GIVEN_DY in port.capabilities:
        lines.append("the port is given dy in place of a target, and its loss is not tested")
    if declared := _optional_capabilities(port, True):
        lines.append(f"tested too, because the port declares it: {', '.join(declared)}")
    if others := _optional_capabilities(port, False):
        lines.append(f"not tested, because the port does not declare it: {', '.join(others)}")
    lines.append(
        f"each test: {PROFILES[profile]} windows, or for L3 {runs_for(PROFILES[profile])} runs of up to 24 windows;"
        f" {config.getoption('elman_timeout'):g} s at most per answer"
    )
    return lines


def _optional_capabilities(port, declared):
    """The capabilities that the port declares, or those that it does not, without the one that level L1 needs."""
    from numpy_rnn.conformance.ports.protocol import CAPABILITIES

    return [name for name in CAPABILITIES[1:] if (name in port.capabilities) == declared]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Under xdist: merge the results of a worker."""
    results = getattr(node, "workeroutput", {}).get("elman_results")
    state = getattr(node.config, "elman_suite", None)
    if results is not None and state is not None:
        state.worst.merge(*json.loads(results))


def pytest_sessionfinish(session):
    """Write the report file, or send the results to the controller of xdist."""
    config = session.config
    state, path = getattr(config, "elman_suite", None), config.getoption("elman_report", None)
    if state is None:
        return
    if hasattr(config, "workeroutput"):
        config.workeroutput["elman_results"] = json.dumps([state.worst.worst, state.worst.sizes], default=float)
        return
    if path is None:
        return
    from numpy_rnn.app.storage import save_json
    from numpy_rnn.common.errors import InputError

    try:
        save_json(path, {"port": state.port.name, "tanh_ulps": state.port.tanh_ulps, "levels": state.worst.worst})
    except InputError as error:
        state.report_error = f"--elman-report {error}"
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter, config):
    """Report the sizes of the checked windows, and that the report file could not be written."""
    state = getattr(config, "elman_suite", None)
    if state is not None and state.worst.sizes:
        ranges = (f"{letter} {low} to {high}" for letter, (low, high) in sorted(state.worst.sizes.items()))
        terminalreporter.write_line(f"sizes of the checked windows: {', '.join(ranges)}")
    if state is not None and state.report_error is not None:
        terminalreporter.write_line(f"ERROR: {state.report_error}", red=True)
