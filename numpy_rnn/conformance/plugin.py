"""The options of `pytest --pyargs numpy_rnn.conformance --elman-backend module:object`, and the report file.

A plugin by entry point, as pytest reads no options from the conftest of an installed package. It is loaded in every
pytest run: all its options begin with --elman-, and nothing heavy is imported until one of them names a port.

Under pytest-xdist the controller and every worker make a port of their own; the controller gathers what the workers
found.
"""

import json
from pathlib import Path
from typing import Any

import pytest

STRICT_TANH_ULPS = 8
LEVEL_OF = {"test_local": "L1", "test_global": "L2", "test_lockstep": "L3"}
NAME_ONE = "name the port to hold: --elman-backend module:object, or --elman-command 'program'"


def seconds(text):
    """A parser of finite numbers of seconds above 0."""
    from numpy_rnn.app.options import positive

    return positive(text)


def pytest_addoption(parser):
    """Add the options."""
    group = parser.getgroup("elman", "equivalence suite (numpy_rnn.conformance)")
    add = group.addoption
    add("--elman-backend", metavar="PORT", help="the port to hold: module:object, or a package such as torch_rnn")
    add("--elman-command", metavar="COMMAND", help="the port to hold: a program that speaks the protocol")
    add("--elman-level", choices=(*LEVEL_OF.values(), "all"), default="all", help="which level to hold it to (all)")
    add("--elman-profile", choices=("default", "ci", "long"), default="default", help="how many cases (default)")
    add("--elman-timeout", type=seconds, default=10.0, metavar="SECONDS", help="for one answer (10)")
    add("--elman-xfail", metavar="FILE", help="tests that are known to fail, as test_local[float32], one a line")
    add("--elman-report", metavar="FILE", help="write the worst ratio of every tensor, and its case, as JSON")


class Held:
    """The port that is held, its worst ratios, and the tests that are known to fail."""

    def __init__(self, port, tally, known_failures=()):
        self.port, self.tally, self.known_failures = port, tally, known_failures
        self.report_error: str | None = None  # why the report could not be written


def pytest_configure(config):
    """Make the port that is named, before anything is collected."""
    where, command = config.getoption("elman_backend", None), config.getoption("elman_command", None)
    asked = config.getoption("pyargs", False) and any(arg.startswith("numpy_rnn.conformance") for arg in config.args)
    if asked and (where is None) == (command is None):
        raise pytest.UsageError(NAME_ONE)
    if where is not None or command is not None:
        try:
            config.elman_suite = _held(config, where, command)
        except ModuleNotFoundError as error:
            raise pytest.UsageError(
                f"{error.name} is not installed: the equivalence suite needs it;"
                " run pip install 'elman-twice[conformance]'"
            ) from None


def _held(config, where, command):
    """The port of this name or command, after making sure of all that can be known before the tests."""
    from numpy_rnn.app.storage import check_can_write
    from numpy_rnn.common.errors import InputError
    from numpy_rnn.common.packages import backend, is_package
    from numpy_rnn.conformance.bounds.oracle import load_flint
    from numpy_rnn.conformance.ports.backends import port_of
    from numpy_rnn.conformance.ports.port import PortFault, ProgramPort, load_python_port
    from numpy_rnn.conformance.ports.program import kill_programs_on_signal
    from numpy_rnn.conformance.properties import Tally

    port: Any
    report, level = config.getoption("elman_report"), config.getoption("elman_level")
    try:
        if report is not None:
            check_can_write(report, "--elman-report")
        if command is not None:
            held = kill_programs_on_signal()
            held.__enter__()
            config.add_cleanup(lambda: held.__exit__(None, None, None))
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
    return Held(port, Tally(), () if path is None else known_failures(path, test_names(port, level)))


def test_names(port, level) -> list[str]:
    """The tests that hold this port to this level, or to all that it can be held to."""
    held = [test for test in LEVEL_OF if _is_wanted(port, level, test)]
    return [f"{test}[{dtype}]" for test in held for dtype in port.dtypes]


def _is_wanted(port, level, test) -> bool:
    of = LEVEL_OF[test]
    return level in (of, "all") and (of != "L1" or "intermediates" in port.capabilities)


def known_failures(path, names) -> list[str]:
    """The names in an xfail file, without comments and empty lines. Raises UsageError unless all are among `names`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise pytest.UsageError(f"--elman-xfail {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise pytest.UsageError(f"--elman-xfail {path} is not text: expected the name of a test per line") from None
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    known = [line for line in lines if line]
    unknown = sorted(set(known) - set(names))
    if unknown:
        raise pytest.UsageError(f"--elman-xfail {path} names no test: {unknown[0]!r}: expected {', '.join(names)}")
    return known


def pytest_collection_modifyitems(config, items):
    """Leave out the levels that are not asked for or cannot be held; mark the known failures."""
    held = getattr(config, "elman_suite", None)
    if held is None:
        return
    level, path = config.getoption("elman_level"), config.getoption("elman_xfail")
    tests = {item: item.name.split("[")[0] for item in items}
    left_out = [i for i, test in tests.items() if test in LEVEL_OF and not _is_wanted(held.port, level, test)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.name in held.known_failures:
            item.add_marker(pytest.mark.xfail(reason=f"named in {path}", strict=True))


def pytest_report_header(config):
    """Say what is held, and what is not."""
    held = getattr(config, "elman_suite", None)
    if held is None:
        return []
    from numpy_rnn.conformance.properties import PROFILES, runs_for

    port, profile = held.port, config.getoption("elman_profile")
    ulps = port.tanh_ulps or STRICT_TANH_ULPS
    strict = "" if ulps <= STRICT_TANH_ULPS else f", over {STRICT_TANH_ULPS}: no strict pass"
    lines = [f"port: {port.name}, {' and '.join(port.dtypes)}, tanh within {ulps:g} ulps{strict}"]
    if "intermediates" not in port.capabilities:
        lines.append("level L1 is left out: the port reports no intermediate values")
    if port.lacks:
        lines.append(f"left out, as the port lacks it: {', '.join(port.lacks)}")
    if held_too := _has(port, True):
        lines.append(f"held too, as the port says that it has it: {', '.join(held_too)}")
    if others := _has(port, False):
        lines.append(f"left out, as the port does not say that it has it: {', '.join(others)}")
    lines.append(
        f"each test: {PROFILES[profile]} windows, or for L3 {runs_for(PROFILES[profile])} runs of up to 24 windows;"
        f" {config.getoption('elman_timeout'):g} s at most for each answer"
    )
    return lines


def _has(port, said):
    """The capabilities that the port has or has not said, but for the one that level L1 depends on."""
    from numpy_rnn.conformance.ports.protocol import CAPABILITIES

    return [name for name in CAPABILITIES[1:] if (name in port.capabilities) == said]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Under xdist: take over what a worker found."""
    found = getattr(node, "workeroutput", {}).get("elman_worst")
    held = getattr(node.config, "elman_suite", None)
    if found is not None and held is not None:
        held.tally.merge(json.loads(found))


def pytest_sessionfinish(session):
    """Write the report file, or hand over to the controller of xdist."""
    config = session.config
    held, path = getattr(config, "elman_suite", None), config.getoption("elman_report", None)
    if held is None or path is None:
        return
    if hasattr(config, "workeroutput"):
        config.workeroutput["elman_worst"] = json.dumps(held.tally.worst, default=float)
        return
    from numpy_rnn.common.errors import InputError
    from numpy_rnn.conformance.plain_json import save_json

    try:
        save_json(path, {"port": held.port.name, "tanh_ulps": held.port.tanh_ulps, "levels": held.tally.worst})
    except InputError as error:
        held.report_error = f"--elman-report {error}"
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter, config):
    """Say that the report could not be written."""
    held = getattr(config, "elman_suite", None)
    if held is not None and held.report_error is not None:
        terminalreporter.write_line(f"ERROR: {held.report_error}", red=True)
