"""The suite as a plugin of pytest: the port under test, its header, and its verdict."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.coverage import Coverage
from numpy_rnn.conformance.ports.port import StatedPort
from numpy_rnn.conformance.ports.program import FIRST_TIMES, ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.ports.user_code import find_port
from numpy_rnn.conformance.suite import (
    WrongPort,
    check_port,
    pass_verdict,
    tested_levels,
)
from numpy_rnn.conformance.verdicts import notes


class Suite:
    """The port under test, as a plugin of pytest.

    Raises pytest.UsageError on unusable options.
    """

    def __init__(self, config: pytest.Config):
        if config.getoption("numprocesses", None):  # of pytest-xdist
            raise pytest.UsageError("the suite needs one process: add -n 0")
        self.config = config
        self.coverage = Coverage()
        self.fault = ""  # the first one; the tests after it are skipped
        self.verdict = ""
        seed = self.option("seed")
        self.seed = secrets.randbelow(2**32) if seed is None else seed
        try:
            self.port = self._port()
        except (InputError, PortFault) as error:
            raise pytest.UsageError(str(error)) from None
        self.levels, self.dtypes = tested_levels(self.port)

    def option(self, name: str) -> Any:
        """Return the value of an option of the suite."""
        return self.config.getoption(f"elman_{name}")

    def _port(self) -> StatedPort:
        """Return the port of the options, with its sizes and its time limit."""
        command = self.option("command")
        timeout = self.option("timeout") or 10
        statements = dict[str, Any]()
        if sizes := self.option("sizes"):
            statements["sizes"] = sizes
        if command is None:
            port = find_port(self.option("backend"), **statements)
            port.timeout = FIRST_TIMES * timeout
            return port
        try:
            program = ProgramPort(command, timeout)
        except PortFault as fault:
            name = f"--elman-command {one_line(command, 80)}"
            raise PortFault(f"{name}: {fault}") from None
        self.config.add_cleanup(program.close)
        return StatedPort(program, **statements)

    def check(self, level: str, dtype: str) -> None:
        """Check the port at a level. The first failure is told, without a traceback."""
        if self.fault:
            pytest.skip(f"not run, as {self.fault} fails")
        examples = self.option("examples")
        try:
            coverage = check_port(self.port, level, dtype, self.seed, examples)
        except (WrongPort, PortFault) as error:
            self.fault = f"{level} in {dtype}"
            self.verdict = str(error).partition("\n")[0]
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        self.coverage.add(coverage)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize the test of the suite over the levels and dtypes of the port."""
        if metafunc.module.__name__ == "numpy_rnn.conformance.test_port":
            metafunc.parametrize("level", self.levels)
            metafunc.parametrize("dtype", self.dtypes)

    def pytest_report_header(self) -> list[str]:
        """Return one line: the port, the error of its tanh, and the seed."""
        port = self.port
        ulps = port.tanh_ulps or STRICT_TANH_ULPS
        accuracy = f"tanh within {ulps:g} ulps"
        if ulps > STRICT_TANH_ULPS:
            accuracy += " (not a strict pass)"
        dtypes = " and ".join(port.abilities.dtypes)
        name = port.name
        if port.layout_text:
            name += f", {port.layout_text}"
        return [f"port: {name}, {dtypes}, {accuracy}; seed {self.seed}"]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Report what was estimated, wide or ill-conditioned."""
        for line in notes(self.coverage):
            terminalreporter.write_line(line)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        """Write the verdict as the last lines, after pytest's own summary."""
        yield
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if not self.fault and self.coverage.sizes:
            self.verdict = pass_verdict(self.port, self.coverage)
        if reporter is not None and self.verdict:
            reporter.write_line(self.verdict)
