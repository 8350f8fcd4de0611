"""What a port is asked and what it owes: the form of a report, and what comes with an option."""

import numpy as np
import pytest
from test_local_bounds import PLAIN, RECIPE, report_of

from numpy_rnn import Parameters
from numpy_rnn.conformance.case import INTERMEDIATES, format_errors, required_outputs


def test_form_faults_name_what_is_wrong():
    case = RECIPE.case()
    right = report_of(case)

    def faults(intermediates=True, input_gradients=True, **changes):
        report = {name: array for name, array in (right | changes).items() if array is not None}
        return format_errors(case, report, intermediates, input_gradients)

    assert faults() == []
    assert faults(dW_hh=None) == ["dW_hh is missing"]
    assert faults(extra=np.zeros(3)) == ["extra is not an expected name"]
    assert faults(dW_hy=right["dW_hy"].T) == ["dW_hy has shape (5, 6): expected (6, 5)"]
    assert faults(loss=np.float32(1)) == ["loss is float32: expected float64"]
    assert faults(loss=1.0) == ["loss is a float: expected a NumPy array"]
    bad = right["b_y"].copy()
    bad[2] = np.inf
    assert faults(b_y=bad) == ["b_y[2] is inf: expected a finite number"]
    assert format_errors(case, None, True) == ["the report is a NoneType: expected a dict of arrays by name"]
    without = dict.fromkeys(INTERMEDIATES)
    assert faults(intermediates=False, **without) == []
    assert faults(**without) == [f"{name} is missing" for name in INTERMEDIATES]
    assert faults(dx=None) == ["dx is missing"]
    assert faults(input_gradients=False, dx=None) == []
    assert faults(input_gradients=False, dx=right["dx"][1:]) == ["dx has shape (3, 3, 2): expected (4, 3, 2)"]


OPTIONAL = {
    "biases": ({"bias": False}, ("db_h", "db_y", "vb_h", "vb_y", "b_h", "b_y")),
    "momentum": (
        {"momentum": 0.0, "nesterov": False},
        ("vW_xh", "vW_hh", "vW_hy", "vb_h", "vb_y", "vh_0"),
    ),
    "a learned state": ({"learned": False}, ("vh_0", "h_0")),
}


@pytest.mark.parametrize(("left_out", "names"), OPTIONAL.values(), ids=OPTIONAL)
def test_what_comes_with_an_option_is_owed_exactly_with_it(left_out, names):
    with_it, without = RECIPE.case(), RECIPE._replace(**left_out).case()
    report = report_of(without)
    assert format_errors(without, report, True, True) == []
    assert format_errors(with_it, report, True, True) == [f"{name} is missing" for name in names]
    for name in names:
        extra = {name: report_of(with_it)[name]}
        assert format_errors(without, report | extra, True, True) == [f"{name} is not an expected name"]


def test_the_gradient_of_a_state_is_owed_where_it_is_learned_or_input_gradients_are():
    for learned in (True, False):
        case = RECIPE._replace(learned=learned).case()
        for input_gradients in (True, False):
            assert ("dh_0" in required_outputs(case, False, input_gradients)) == (learned or input_gradients)
            assert ("dx" in required_outputs(case, False, input_gradients)) == input_gradients


def test_a_port_is_given_the_options_of_the_step_only_where_there_are_some():
    assert PLAIN.case().options == {"nonlinearity": "tanh", "reduction": "mean"}
    options = RECIPE._replace(max_norm=None).case().options
    assert {name: options[name] for name in ("momentum", "dampening", "nesterov", "weight_decay", "max_norm")} == {
        "momentum": 0.9, "dampening": 0.0, "nesterov": True, "weight_decay": 0.01, "max_norm": None,
    }  # fmt: skip
    assert list(options["velocity"]) == list(Parameters._fields)
    assert RECIPE._replace(velocity=False).case().options["velocity"] is None
    case = RECIPE.case()
    not_entered = case._replace(params=case.params._replace(h_0=None))
    assert list(not_entered.options["velocity"]) == list(Parameters._fields[:-1])
