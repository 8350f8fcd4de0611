"""A right program answers as the package does, with arrays as JSON or as .npz files; a mistake in these is one line."""

import shlex
import sys

import numpy as np
import program_port
import pytest
from port_cases import CASE, RIGHT, a_case, inputs, report_of, verdict_on, with_options

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import format_errors, required_outputs
from numpy_rnn.conformance.ports.port import ProgramPort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES

pytestmark = pytest.mark.slow


def program(*arguments):
    command = shlex.join([sys.executable, program_port.__file__, *arguments])
    return ProgramPort(command, timeout=60)


def cases_of_every_kind(dtype):
    """With every option of the loss and the step, and one that is larger than what a pipe holds."""
    case = a_case(dtype, O=3)
    (T, B, D), (K, _, O) = case.x.shape, case.target.shape
    bare = case._replace(params=Parameters(*case.params[:3]), nonlinearity="relu", reduction="mean")
    classes = {"x": np.arange(T * B).reshape(T, B) % D, "target": np.arange(K * B).reshape(K, B) % O}
    weights = np.linspace(0, 1, K * B, dtype=dtype).reshape(K, B)
    return (
        a_case(dtype, H=100),
        bare,
        case._replace(nonlinearity="sigmoid"),
        with_options(case, momentum=0.9, dampening=0.3, weight_decay=0.01, max_norm=0.5),
        with_options(bare, momentum=0.5, nesterov=True)._replace(velocity=None),
        with_options(case, adagrad=True)._replace(velocity=None),
        with_options(case, max_value=0.1)._replace(**classes, loss="cross_entropy", weights=weights),
    )


@pytest.mark.parametrize("form", ["json", "npz"])
def test_a_right_program_answers_what_the_package_does_to_the_last_bit(form):
    with program(form) as port:
        assert (port.name, port.dtypes, port.tanh_ulps) == ("a program", ("float32", "float64"), 1.5)
        assert port.capabilities == CAPABILITIES
        for case in (case for dtype in port.dtypes for case in cases_of_every_kind(dtype)):
            report, expected = report_of(port, case), RIGHT.window_update(**inputs(case))
            assert format_errors(case, report, intermediates=True, input_gradients=True) == []
            assert set(report) == set(expected) == set(required_outputs(case, True, True))
            assert all(np.array_equal(report[name], expected[name]) for name in expected)
            assert all((ratio <= 1).all() for ratio in check_local(case, report).values())  # it got every option


MISTAKES = {
    "answer({'id': 1, 'npz': 1}, b'zx')": "after its arrays comes 'x'",
    "answer({'id': 1, 'npz': 2}, b'PK')": "answers what is not a .npz file of arrays: ",
    "answer({'id': 1, 'npz': 'many'})": "expected id and npz, a number of bytes up to ",
    "answer({'id': 1, 'npz': 10**9})": "expected id and npz, a number of bytes up to ",
    "answer({'id': 1, 'npz': 1, 'loss': '0x1p0'}, b'z')": "expected id and npz, a number of bytes up to ",
    "answer({'id': 1, 'npz': 9}, b'short'); sys.exit(3)": "ends with exit status 3 and without an answer",
    "answer({'id': 1, 'error': 'too large'})": "answers with an error: too large",
    "import numpy; answer_npz(1, {'loss': numpy.array([{}])})": "is not a .npz file",  # an object
}


@pytest.mark.parametrize(("mistake", "message"), MISTAKES.items())
def test_a_mistake_in_a_file_of_arrays_is_one_line(mistake, message):
    with program("npz", "1", mistake) as port:
        verdict = verdict_on(port, CASE)
    assert message in verdict
    assert "\n" not in verdict
