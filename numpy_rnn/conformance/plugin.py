"""The options of `pytest --pyargs numpy_rnn.conformance --backend module:object`, and the report file.

A plugin by entry point, as pytest reads no options from the conftest of an installed package.
"""

import json
from pathlib import Path

import pytest

STRICT_TANH_ULPS = 8
LEVEL_OF = {"test_local": "L1", "test_global": "L2", "test_lockstep": "L3"}


def pytest_addoption(parser):
    """Add the options."""
    group = parser.getgroup("elman", "equivalence suite (numpy_rnn.conformance)")
    group.addoption("--backend", metavar="PORT", help="the port to hold: module:object, or a package such as torch_rnn")
    group.addoption("--backend-cmd", metavar="COMMAND", help="the port to hold: a program that speaks the protocol")
    group.addoption(
        "--port-level", choices=(*LEVEL_OF.values(), "all"), default="all", help="which level to hold it to (all)"
    )
    group.addoption(
        "--port-profile", choices=("default", "ci", "long"), default="default", help="how many cases (default)"
    )
    group.addoption("--port-timeout", type=float, default=10.0, metavar="SECONDS", help="for one answer (10)")
    group.addoption(
        "--port-xfail", metavar="FILE", help="tests that are known to fail, as test_local[float32], one a line"
    )
    group.addoption(
        "--port-report", metavar="FILE", help="write the worst ratio of every tensor, and its case, as JSON"
    )


def pytest_configure(config):
    """Make the port that is named, before anything is collected."""
    where, command = config.getoption("--backend", None), config.getoption("--backend-cmd", None)
    asked = config.getoption("pyargs", False) and any(arg.startswith("numpy_rnn.conformance") for arg in config.args)
    if asked and (where is None) == (command is None):
        raise pytest.UsageError("name the port to hold: --backend module:object, or --backend-cmd 'program'")
    if where is not None or command is not None:
        config.elman_port = port_and_tally(where, command, config.getoption("--port-timeout"))


def port_and_tally(where, command, timeout):
    """The port of this name or command, and where its worst ratios are kept."""
    from numpy_rnn.common.errors import (
        InputError,
    )  # the plugin is loaded in every pytest run: nothing heavy before this
    from numpy_rnn.common.packages import backend, is_package
    from numpy_rnn.conformance.ports.backends import PackagePort
    from numpy_rnn.conformance.ports.python_port import PortFault, ProgramPort, load_python_port
    from numpy_rnn.conformance.properties import Tally

    try:
        if command is not None:
            return ProgramPort(command, timeout), Tally()
        if is_package(where):
            return PackagePort(backend(where)), Tally()
        return load_python_port(where), Tally()
    except (InputError, PortFault) as error:
        raise pytest.UsageError(str(error)) from None


def known_failures(path) -> list[str]:
    """The names in an xfail file, without comments and empty lines."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def pytest_collection_modifyitems(config, items):
    """Leave out the levels that are not asked for or cannot be held; mark what the xfail file names."""
    left_out = [item for item in items if not _is_wanted(config, item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    path = config.getoption("--port-xfail")
    if path is None:
        return
    try:
        names = known_failures(path)
    except OSError as error:
        raise pytest.UsageError(f"--port-xfail {path} cannot be read: {error.strerror}") from None
    unknown = set(names) - {item.name for item in items}
    if unknown:
        raise pytest.UsageError(f"--port-xfail {path} names no test: {', '.join(sorted(unknown))}")
    for item in items:
        if item.name in names:
            item.add_marker(pytest.mark.xfail(reason=f"named in {path}", strict=True))


def _is_wanted(config, item) -> bool:
    level = LEVEL_OF.get(item.nodeid.split("::")[-1].split("[")[0])
    held = getattr(config, "elman_port", None)
    if level is None or held is None:
        return True
    return config.getoption("--port-level") in (level, "all") and (
        level != "L1" or "intermediates" in held[0].capabilities
    )


def pytest_report_collectionfinish(config):
    """Say what is held, and what is not."""
    held = getattr(config, "elman_port", None)
    if held is None:
        return []
    port = held[0]
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
    return lines


def _has(port, said):
    """The capabilities that the port has or has not said, but for the one that level L1 hangs on."""
    from numpy_rnn.conformance.ports.faults import CAPABILITIES

    return [name for name in CAPABILITIES[1:] if (name in port.capabilities) == said]


def pytest_sessionfinish(session):
    """Write the report file."""
    path = session.config.getoption("--port-report", None)
    held = getattr(session.config, "elman_port", None)
    if path is not None and held is not None:
        port, tally = held
        values = {"port": port.name, "tanh_ulps": port.tanh_ulps, "levels": tally.worst}
        text = json.dumps(values, indent=1).replace("Infinity", "null")  # JSON has no infinity
        Path(path).write_text(text, encoding="utf-8")
