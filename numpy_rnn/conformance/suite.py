"""The suite in pytest: the port under test, the choice of tests, the report and the output file.

Under pytest-xdist the controller and every worker create their own port; the controller merges the workers' results.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.files import check_can_write, save_json, to_jsonable, written_whole
from numpy_rnn.common.packages import backend, is_package
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import abilities, load_python_port
from numpy_rnn.conformance.ports.program import ProgramPort, kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import (
    CAPABILITIES,
    HELLO,
    PortFault,
    encode_request,
    port_arguments,
)
from numpy_rnn.conformance.properties import (
    Violation,
    WorstRatios,
    check_port,
    checks,
    profile,
    run_count,
)
from numpy_rnn.conformance.random_cases import Recipe, has_exact_cases, restricted

TESTS = {"test_exact": "L0", "test_local": "L1", "test_global": "L2", "test_lockstep": "L3"}
# A process that outlives this one, and says which case a port computed that ended it.
WATCHER = """import sys
last = ""
for last in sys.stdin: pass
what = "ERROR: the port ends the process of the suite, or does not end by its time limit, in"
if last.strip(): print(what, last.strip(), file=sys.stderr)
"""


def load_case(path: str) -> tuple[str, Any]:
    """The test and the place, a recipe or the seed of a run, of a case that was dumped. Raises InputError."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        test, place = values["test"], values["place"]
        if isinstance(place, int):
            return test, place
        step = place["step"] and Step(**place["step"])
        return test, Recipe(**place | {"objective": Objective(**place["objective"]), "step": step})
    except OSError as error:
        raise InputError(f"--elman-replay {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"--elman-replay {path} is no case: expected a file that --elman-dump wrote"
        ) from None


class Suite:
    """The port under test and its worst ratios; a plugin of pytest. Raises pytest.UsageError on unusable options."""

    def __init__(self, config: pytest.Config):
        self.config, self.worst = config, WorstRatios(self.watch)
        self.output, self.dump_to, replay = map(self.option, ("output", "dump", "replay"))
        self.timeout, self.profile = (
            self.option("timeout"),
            profile(self.option("profile"), self.option("examples")),
        )
        self.watcher: Any = None
        self.replayed: Any = None
        try:
            for path, option in ((self.output, "--elman-output"), (self.dump_to, "--elman-dump")):
                if path is not None:
                    check_can_write(path, option, (".json",))
            test = None
            if replay is not None:
                test, self.replayed = load_case(replay)
            self.port = self._port(self.option("backend"), self.option("command"))
            self.port.sizes = self.option("sizes") or getattr(self.port, "sizes", ())
            self.abilities = abilities(self.port)
            if isinstance(self.replayed, Recipe):
                self.replayed = restricted(self.replayed, self.abilities)
        except (InputError, PortFault) as error:
            raise pytest.UsageError(str(error)) from None
        chosen, seen = self.option("level"), "intermediates" in self.abilities.capabilities
        absent = {"L0": not has_exact_cases(self.abilities), "L1": not seen}
        levels = {
            n: level
            for n, level in TESTS.items()
            if chosen in (level, "all") and not absent.get(level)
        }
        names = [f"{name}[{dtype}]" for name in levels for dtype in self.port.dtypes]
        self.only = names if test is None else [test]
        if test is not None and test not in names:
            raise pytest.UsageError(
                f"--elman-replay {replay} has {test}: expected one of {', '.join(names)}"
            )

    def option(self, name: str) -> Any:
        """The value of --elman-NAME."""
        return self.config.getoption(f"elman_{name}")

    def _port(self, where: str | None, command: str | None) -> Any:
        cleanup = contextlib.ExitStack()
        self.config.add_cleanup(cleanup.close)
        if command is not None:
            cleanup.enter_context(kill_programs_on_signal())
            try:
                return cleanup.enter_context(ProgramPort(command, self.timeout))
            except PortFault as fault:
                raise PortFault(f"--elman-command {one_line(command, 80)}: {fault}") from None
        assert where is not None
        if is_package(where):
            return PackagePort(backend(where))
        manager = self.config.pluginmanager.getplugin("capturemanager")
        with (
            manager.global_and_fixture_disabled() if manager else contextlib.nullcontext()
        ):  # it has the terminal
            arguments = [sys.executable, "-S", "-c", WATCHER]
            self.watcher = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, start_new_session=True, text=True
            )
        cleanup.callback(self.watcher.communicate, "\n")
        self.watch("its import")
        return load_python_port(where)

    def check(self, level: str, dtype: str, test: str) -> None:
        """Check the port at a level. A failure is one line without a traceback; the first one is dumped."""
        try:
            check_port(
                level, self.port, dtype, self.profile, self.timeout, self.worst, self.replayed
            )
        except (Violation, PortFault) as error:
            fault = error
        else:
            return
        if self.dump_to is not None:
            self.save_case(level, test, fault)
            self.dump_to = None
        message = str(fault)
        if self.replayed is not None and isinstance(fault, Violation) and (hints := fault.hints()):
            message += f"; looks like: {', or '.join(hints)}"
        pytest.fail(message, pytrace=False)

    def save_case(self, level: str, test: str, fault: Violation | PortFault) -> None:
        """Write the failing case as JSON, for --elman-replay and for a debugger in any language.

        Its arrays have the names of `Port.window_update`, as x, params.W_xh and velocity.W_xh; those of the report come
        after "reported.", what is right after "expected.", and the difference allowed after "allowed.". A file of the
        same name with the ending .jsonl has the lines that the port protocol writes for it, the hello and the request.
        """
        arrays, place = dict[str, Any](), self.worst.latest
        case = place.case() if fault.case is None and isinstance(place, Recipe) else fault.case
        if isinstance(fault, Violation):
            place = fault.place
            for name, check in checks(level, fault.case, fault.report, self.port).items():
                parts = {
                    "reported": fault.report[name],
                    "expected": check.expected,
                    "allowed": check.allowed,
                }
                for part, array in parts.items():
                    arrays[f"{part}.{name}"] = np.broadcast_to(array, np.shape(fault.report[name]))
        if case is not None:
            for name, value in port_arguments(case).items():
                arrays |= (
                    {f"{name}.{k}": v for k, v in value.items()}
                    if isinstance(value, dict)
                    else {name: value}
                )
            lines = HELLO, encode_request(case, 1, getattr(self.port, "numbers", "") == "decimal")
            with written_whole(os.path.splitext(self.dump_to)[0] + ".jsonl") as path:
                path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        save_json(self.dump_to, {"test": test, "place": place, **arrays})

    def watch(self, where: str) -> None:
        """Tell the watcher the case."""
        if self.watcher is not None:
            with contextlib.suppress(BrokenPipeError):
                self.watcher.stdin.write(one_line(where) + "\n")
                self.watcher.stdin.flush()

    def pytest_collection_modifyitems(self, config, items):
        """Deselect the levels that are not wanted."""
        unwanted = [
            item
            for item in items
            if item.name.split("[")[0] in TESTS and item.name not in self.only
        ]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]

    def pytest_report_header(self) -> Iterator[str]:
        """Say what is tested and what is not."""
        port, (has, lacks, sizes) = self.port, self.abilities
        ulps, absolute = (
            getattr(port, "tanh_ulps", None) or STRICT_TANH_ULPS,
            getattr(port, "tanh_absolute_ulps", None),
        )
        strict = (
            "" if ulps <= STRICT_TANH_ULPS else f", above {STRICT_TANH_ULPS}: not a strict pass"
        )
        yield f"port: {port.name}, {' and '.join(port.dtypes)}, tanh within {ulps:g} ulps{strict}"
        windows = self.profile.max_examples
        shapes = "; ".join(
            " ".join(f"{letter}={size}" for letter, size in shape.items()) for shape in sizes
        )
        more, absent = (
            [name for name in CAPABILITIES[1:] if (name in has) == given] for given in (True, False)
        )
        lines = {
            f"tanh may be off by {absolute} more ulps of 1: a small h may have a large relative error, and all bounds"
            " after it are wider: not a strict pass": absolute,
            "level L0 is not checked: its exact cases need relu, the squared error and plain SGD": not has_exact_cases(
                self.abilities
            ),
            "level L1 is not checked: the port reports no intermediate values": "intermediates"
            not in has,
            f"not tested, because the port lacks it: {', '.join(lacks)}": lacks,
            f"tested with the sizes {shapes} alone": sizes,
            "the port is given dy in place of a target, and its loss is not tested": "given_dy"
            in has,
            f"tested too, because the port declares it: {', '.join(more)}": more,
            f"not tested, because the port does not declare it: {', '.join(absent)}": absent,
            f"only one case, of --elman-replay: {self.replayed}": self.replayed is not None,
            f"each test: {windows} windows, or for L3 {run_count(windows)} runs of up to 24 windows;"
            f" {self.timeout:g} s at most per answer": self.replayed is None,
        }
        yield from (line for line, is_so in lines.items() if is_so)

    def pytest_sessionfinish(self, session):
        """Under xdist: send the results of a worker to the controller."""
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["elman_results"] = json.dumps(
                to_jsonable([self.worst.worst, self.worst.sizes])
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Under xdist: merge the results of a worker."""
        results = getattr(node, "workeroutput", {}).get("elman_results")
        if results is not None:
            self.worst.merge(*json.loads(results))

    def pytest_terminal_summary(self, terminalreporter):
        """Report the sizes of the checked windows, and write the output file."""
        if self.worst.sizes:
            ranges = (
                f"{letter} {low} to {high}"
                for letter, (low, high) in sorted(self.worst.sizes.items())
            )
            terminalreporter.write_line(f"sizes of the checked windows: {', '.join(ranges)}")
        if estimated := self.worst.total("estimated"):
            lost = self.worst.total("lost")
            terminalreporter.write_line(
                f"{estimated - lost} checks of large windows are estimated by Monte Carlo arithmetic, not proven;"
                f" {lost} tensors are lost to rounding and not checked"
            )
        if self.output is not None:
            tanh_ulps = getattr(self.port, "tanh_ulps", None)
            try:
                save_json(
                    self.output,
                    {"port": self.port.name, "tanh_ulps": tanh_ulps, "levels": self.worst.worst},
                )
            except InputError as error:
                pytest.exit(f"ERROR: --elman-output {error}", pytest.ExitCode.USAGE_ERROR)
