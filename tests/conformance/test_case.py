"""What a port is asked and what it owes: the form of a report, and what comes with an option."""

import numpy as np
import pytest
from port_cases import CASE, EVERYTHING, RIGHT, report_of, with_options

from numpy_rnn import Parameters
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.case import INTERMEDIATES, format_errors, required_outputs


def test_form_faults_name_what_is_wrong():
    right = report_of(RIGHT, EVERYTHING)

    def faults(intermediates=True, input_gradients=True, **changes):
        report = {name: array for name, array in (right | changes).items() if array is not None}
        return format_errors(EVERYTHING, report, intermediates, input_gradients)

    assert faults() == []
    assert faults(dW_hh=None) == ["dW_hh is missing"]
    assert faults(extra=np.zeros(3)) == ["extra is not an expected name"]
    assert faults(dW_hy=right["dW_hy"].T) == ["dW_hy has shape (1, 3): expected (3, 1)"]
    assert faults(loss=np.float64(1)) == ["loss is float64: expected float32"]
    assert faults(loss=1.0) == ["loss is a float: expected a NumPy array"]
    for bad in (np.inf, np.nan):
        assert faults(b_h=np.array([0, 0, bad], np.float32)) == [f"b_h[2] is {bad}: expected a finite number"]
    assert format_errors(EVERYTHING, None, True) == ["the report is a NoneType: expected a dict of arrays by name"]
    without = dict.fromkeys(INTERMEDIATES)
    assert faults(intermediates=False, **without) == []
    assert faults(**without) == [f"{name} is missing" for name in INTERMEDIATES]
    assert faults(dx=None) == ["dx is missing"]
    assert faults(input_gradients=False, dx=None) == []
    assert faults(input_gradients=False, dx=right["dx"][1:]) == ["dx has shape (3, 2, 2): expected (4, 2, 2)"]


MOMENTUM = with_options(CASE, momentum=0.9)
OPTIONAL = {
    "biases": (
        with_options(CASE._replace(params=Parameters(*CASE.params[:3])), momentum=0.9),
        ("db_h", "db_y", "vb_h", "vb_y", "b_h", "b_y"),
    ),
    "momentum": (
        MOMENTUM._replace(sgd=SgdOptions(), velocity=None),
        ("vW_xh", "vW_hh", "vW_hy", "vb_h", "vb_y", "vh_0"),
    ),
    "a learned state": (
        MOMENTUM._replace(params=CASE.params, velocity=MOMENTUM.velocity._replace(h_0=None)),
        ("vh_0", "h_0"),
    ),
}


@pytest.mark.parametrize(("without", "names"), OPTIONAL.values(), ids=OPTIONAL)
def test_what_comes_with_an_option_is_owed_exactly_with_it(without, names):
    report, full = report_of(RIGHT, without), report_of(RIGHT, MOMENTUM)
    assert format_errors(without, report, True, True) == []
    assert format_errors(MOMENTUM, report, True, True) == [f"{name} is missing" for name in names]
    for name in names:
        extra = report | {name: full[name]}
        assert format_errors(without, extra, True, True) == [f"{name} is not an expected name"]


def test_the_gradient_of_a_state_is_owed_where_it_is_learned_or_input_gradients_are():
    for case in (CASE, MOMENTUM):
        for input_gradients in (True, False):
            owed = required_outputs(case, False, input_gradients)
            assert ("dh_0" in owed) == (case is MOMENTUM or input_gradients)
            assert ("dx" in owed) == input_gradients


def test_a_port_is_given_the_options_of_the_step_only_where_there_are_some():
    assert CASE.options == {"nonlinearity": "tanh", "reduction": "sum"}
    options = EVERYTHING.options
    assert {name: options[name] for name in ("momentum", "dampening", "nesterov", "weight_decay", "max_norm")} == {
        "momentum": 0.9, "dampening": 0.3, "nesterov": False, "weight_decay": 0.01, "max_norm": 0.5,
    }  # fmt: skip
    assert set(options) == {*CASE.options, *SgdOptions._fields, "velocity"} - {"max_value", "adagrad"}
    assert list(options["velocity"]) == list(Parameters._fields)
    assert EVERYTHING._replace(velocity=None).options["velocity"] is None
    not_entered = EVERYTHING._replace(params=CASE.params)
    assert list(not_entered.options["velocity"]) == list(Parameters._fields[:-1])
