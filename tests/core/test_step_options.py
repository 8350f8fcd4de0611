"""Every field of `Step` changes a run of the definition and of the command line.

The values are made from the fields' defaults, so a new field is tested as soon as it is
there. The packages have a number worked by hand for each, in test_equations.py.
"""

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.option_checks import checked_step
from numpy_rnn.common.records import Step
from numpy_rnn.conformance import definition
from tests.helpers.command_line import succeed
from tests.helpers.random_runs import OPTIONS, made_run

FIELDS = pytest.mark.parametrize("name", Step._fields)
BASES = Step(0.1, momentum=0.5), Step(0.1)  # adagrad is refused with momentum


def other_value(name):
    """Return a value that is not the default of this field."""
    default = Step._field_defaults.get(name, 0.1)
    if isinstance(default, bool):
        return not default
    return 0.01 if default is None else default + 0.25


def two_steps(name):
    """Return two valid steps that differ in this field."""
    for base in BASES:
        other = base._replace(**{name: other_value(name)})
        try:
            checked_step(other)
        except InputError:
            continue
        return base, other
    raise AssertionError(f"no valid step with {name} = {other_value(name)}")


def run_of(step):
    return made_run(OPTIONS._replace(step=step))


@FIELDS
def test_field_changes_a_run_of_the_definition(name):
    *_, first = definition.train(run_of(two_steps(name)[0]))
    *_, second = definition.train(run_of(two_steps(name)[1]))
    is_other = first.report["W_hh"] != second.report["W_hh"]
    assert is_other.any(), f"conformance/definition.py ignores {name}"


@FIELDS
def test_field_changes_a_run_of_the_command_line(name, capsys):
    for step, file in zip(two_steps(name), ("first.npz", "second.npz")):
        options = ["--epochs", "2", "--save", file, "--no-plot"]
        for field, value in step._asdict().items():
            if value != Step._field_defaults.get(field):
                options.append(f"--{field.replace('_', '-')}={value}")
        words = [word.removesuffix("=True") for word in options]
        succeed(numpy_rnn, capsys, "train", *words)
    first, second = (np.load(file)["W_hh"] for file in ("first.npz", "second.npz"))
    assert (first != second).any(), f"app/options.py ignores {name}"
