"""The suite in pytest: the port under test, the choice of tests, the report and the output file.

Under pytest-xdist the controller and every worker create their own port; the controller merges the workers' results.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import check_can_write, save_json
from numpy_rnn.common.packages import backend, is_package
from numpy_rnn.conformance.bounds.local_bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.bounds.oracle import load_flint
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import abilities, load_python_port
from numpy_rnn.conformance.ports.program import ProgramPort, kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault
from numpy_rnn.conformance.properties import PROFILES, WorstRatios, run_count

TESTS = {"test_local": "L1", "test_global": "L2", "test_lockstep": "L3"}


class Suite:
    """The port under test, its worst ratios, and the tests that are expected to fail; a plugin of pytest.

    Raises pytest.UsageError on options that cannot be used.
    """

    def __init__(self, config: pytest.Config):
        self.config, self.worst = config, WorstRatios()
        self.level, self.output = config.getoption("elman_level"), config.getoption("elman_output")
        self.output_error: str | None = None
        try:
            if self.output is not None:
                check_can_write(self.output, "--elman-output", (".json",))
            self.port = self._port(config.getoption("elman_backend"), config.getoption("elman_command"))
            self.abilities = abilities(self.port)
            if self.level in ("L2", "all") or "intermediates" not in self.abilities.capabilities:
                load_flint()  # the oracle needs it
        except (InputError, PortFault) as error:
            raise pytest.UsageError(str(error)) from None
        path = config.getoption("elman_xfail")
        self.expected_failures = [] if path is None else self._expected_failures(path)

    def _port(self, where: str | None, command: str | None) -> Any:
        if command is not None:
            cleanup = contextlib.ExitStack()
            self.config.add_cleanup(cleanup.close)
            cleanup.enter_context(kill_programs_on_signal())
            port = ProgramPort(command, self.config.getoption("elman_timeout"))
            cleanup.callback(port.close)
            return port
        assert where is not None
        return PackagePort(backend(where)) if is_package(where) else load_python_port(where)

    def _is_wanted(self, test: str) -> bool:
        level = TESTS[test]
        return self.level in (level, "all") and (level != "L1" or "intermediates" in self.abilities.capabilities)

    def _expected_failures(self, path: str) -> list[str]:
        """The test names in the file, without comments and empty lines."""
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise pytest.UsageError(f"--elman-xfail {path} cannot be read: {error.strerror}") from None
        names = [f"{test}[{dtype}]" for test in TESTS if self._is_wanted(test) for dtype in self.port.dtypes]
        listed = [line.partition("#")[0].strip() for line in text.splitlines()]
        if unknown := [name for name in listed if name and name not in names]:
            raise pytest.UsageError(f"{path} names no test: {unknown[0]!r}: expected {', '.join(names)}")
        return [name for name in listed if name]

    def pytest_collection_modifyitems(self, config, items):
        """Deselect the levels that are not wanted, and mark the tests that are expected to fail."""
        tests = {item: item.name.split("[")[0] for item in items}
        unwanted = [item for item, test in tests.items() if test in TESTS and not self._is_wanted(test)]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]
        for item in items:
            if item.name in self.expected_failures:
                item.add_marker(pytest.mark.xfail(reason="named in the file of --elman-xfail", strict=True))

    def pytest_report_header(self):
        """Say what is tested and what is not."""
        port, (has, lacks) = self.port, self.abilities
        ulps = getattr(port, "tanh_ulps", None) or STRICT_TANH_ULPS
        strict = "" if ulps <= STRICT_TANH_ULPS else f", above {STRICT_TANH_ULPS}: not a strict pass"
        yield f"port: {port.name}, {' and '.join(port.dtypes)}, tanh within {ulps:g} ulps{strict}"
        if absolute := getattr(port, "tanh_absolute_ulps", None):
            yield (
                f"tanh may be off by {absolute:g} more ulps of 1: a small h may have a large relative error, and all"
                " bounds after it are wider: not a strict pass"
            )
        if "intermediates" not in has:
            yield "level L1 is not checked: the port reports no intermediate values"
        if lacks:
            yield f"not tested, because the port lacks it: {', '.join(lacks)}"
        if "given_dy" in has:
            yield "the port is given dy in place of a target, and its loss is not tested"
        for words, declared in (
            ("tested too, because the port declares", True),
            ("not tested, because the port does not declare", False),
        ):
            if names := [name for name in CAPABILITIES[1:] if (name in has) == declared]:
                yield f"{words} it: {', '.join(names)}"
        windows = PROFILES[self.config.getoption("elman_profile")]
        yield (
            f"each test: {windows} windows, or for L3 {run_count(windows)} runs of up to 24 windows;"
            f" {self.config.getoption('elman_timeout'):g} s at most per answer"
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Under xdist: merge the results of a worker."""
        results = getattr(node, "workeroutput", {}).get("elman_results")
        if results is not None:
            self.worst.merge(*json.loads(results))

    def pytest_sessionfinish(self, session):
        """Write the output file, or send the results to the controller of xdist."""
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["elman_results"] = json.dumps([self.worst.worst, self.worst.sizes], default=float)
        elif self.output is not None:
            tanh_ulps = getattr(self.port, "tanh_ulps", None)
            try:
                save_json(self.output, {"port": self.port.name, "tanh_ulps": tanh_ulps, "levels": self.worst.worst})
            except InputError as error:
                self.output_error = f"--elman-output {error}"
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter):
        """Report the sizes of the checked windows, and that the output file could not be written."""
        if self.worst.sizes:
            ranges = (f"{letter} {low} to {high}" for letter, (low, high) in sorted(self.worst.sizes.items()))
            terminalreporter.write_line(f"sizes of the checked windows: {', '.join(ranges)}")
        if self.output_error is not None:
            terminalreporter.write_line(f"ERROR: {self.output_error}", red=True)
