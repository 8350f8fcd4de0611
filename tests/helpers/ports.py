"""Ports for the tests: the package's, a definition's, one that is changed, and a layer
by hand.
"""

import functools
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.ports.abilities import CAPABILITIES
from numpy_rnn.conformance.ports.port import PackagePort, stated_port
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    format_error,
    port_arguments,
)
from numpy_rnn.conformance.ports.user_code import call_port
from numpy_rnn.conformance.runs.run_sources import PackageSource
from numpy_rnn.conformance.suite import check_port
from tests.helpers.windows import window

RIGHT = PackagePort(numpy_rnn)
PACKAGE_SOURCE = PackageSource(RIGHT)
SMALL_FIELDS: dict[str, Any] = dict(
    zip("TBDHOK", (4, 2, 2, 3, 1, 3)),
    bias=True,
    scale=1.0,
    objective=Objective(),
    step=Step(0.1),
    class_inputs=False,
    velocity=False,
)
CASE = window(5, "float32", **SMALL_FIELDS)
STEP = Step(0.1, 0.9, 0.3, weight_decay=0.01, max_norm=0.5)
FULL = window(5, "float32", **SMALL_FIELDS | {"step": STEP, "velocity": True})


class DefinitionPort:
    """A definition as a port; a black box without the capability "intermediates"."""

    name = "a definition"
    dtypes: tuple[str, ...] = ("float64",)

    def __init__(self, definition=DEFINITION, *lacks, has=CAPABILITIES, sizes=()):
        self.definition = definition
        self.lacks = lacks
        self.capabilities = has
        self.sizes = sizes

    def window_update(self, params, x, target, h_0, *, velocity=None, **options):
        objective = {n: options.pop(n) for n in Objective._fields if n in options}
        case = cases.WindowCase(
            cases.parameters_from(params),
            x,
            target,
            h_0,
            Objective(**objective),
            Step(**options) if options else None,
            cases.parameters_from(velocity) if velocity else None,
        )
        with np.errstate(all="ignore"):
            report = window_update(case, definition=self.definition)
        seen = report.keys()
        if "intermediates" not in self.capabilities:
            seen -= {*cases.INTERMEDIATES}
        if "input_gradients" not in self.capabilities:
            seen -= {*cases.INPUT_GRADIENTS}
        return {name: report[name] for name in seen}


def right_report(case=CASE):
    """Return the package's report of a case."""
    arguments = port_arguments(case)
    return RIGHT.window_update(arguments.pop("params"), **arguments)


def verdict_on(port, case=CASE):
    """Return the fault of a port's answer in one line; None if none but in numbers."""
    try:
        report = call_port(stated_port(port), case)
    except PortFault as fault:
        return str(fault) if "\n" not in str(fault) else "more than one line"
    return format_error(case, report) or None


class Port:
    """A right port, unless something is done to what it is given before, or to its
    report after.
    """

    name = "a port"
    dtypes: tuple[str, ...] = ("float32", "float64")

    def __init__(
        self,
        before=lambda arguments: None,
        after=lambda report: report,
        capabilities=CAPABILITIES,
    ):
        self.before = before
        self.after = after
        self.capabilities = capabilities

    def window_update(self, params, **arguments):
        self.before({"params": params, **arguments})
        return self.after(RIGHT.window_update(params, **arguments))


class Layer(DefinitionPort):
    """A layer with tanh, in both dtypes. It refuses to be asked for what it lacks."""

    name, dtypes = "a layer", ("float32", "float64")

    def __init__(self, *lacks, has=("intermediates",), **equations):
        super().__init__(Definition(**equations), "relu", "mean", *lacks, has=has)

    def window_update(self, p, x, target, h_0, **options):
        lacks = {*self.lacks}
        assert ("learning_rate" not in options) == ("step" in lacks)
        assert "h_0" not in lacks or not h_0.any()
        assert "sgd_options" in self.capabilities or "velocity" not in options
        assert "bias" not in lacks or "b_h" not in p
        assert "older steps" not in lacks or len(x) == len(target)
        assert "many losses" not in lacks or len(target) == 1
        assert not any(options.get(name) for name in lacks & {*cases.SGD_OPTIONS})
        return super().window_update(p, x, target, h_0, **options)


MUTANTS_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
TRANSPOSE_FORGOTTEN = MUTANTS_BY_NAME["W_hh used without its transpose"]
Untransposed = functools.partial(Layer, **TRANSPOSE_FORGOTTEN.with_number(1.0))


def check_levels(port, dtype, examples=5):
    """Check a port at every level that it has, with few windows and runs; not with
    large outputs, where most code by hand overflows.
    """
    if "intermediates" in port.capabilities:
        check_port(port, "L1", dtype, examples=examples)
    check_port(port, "L2", dtype, examples=examples)
    check_port(port, "L3", dtype, examples=examples)
