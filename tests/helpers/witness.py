"""The witness of windows and runs.

It is the suite's definition with proven bounds on the rounding of a correct program. It
shares no line with the packages, and tests/conformance proves it: the backward
equations by complex steps, the step by torch.optim, and the bounds by roundings of
correct code.
"""

from numpy_rnn.conformance.case import SHAPES, required_outputs
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import RecordedRun, stack_columns
from numpy_rnn.conformance.runs.run_sources import columns_of
from numpy_rnn.conformance.window_checks import checks_at
from tests.helpers.random_runs import as_case


def assert_format(case, report, rows, updates=()):
    """Fail unless a report has all arrays of the case.

    rows: the length of the axis of steps. updates: the axes of updates, of the others.
    """
    networks = () if case.params.networks is None else (case.params.networks,)
    required = required_outputs(case, intermediates=True, input_gradients=True)
    assert required.keys() == report.keys() & SHAPES.keys()
    for name, shape in required.items():
        expected = (*updates, *networks, *shape)
        if SHAPES[name].startswith("T"):
            expected = (rows, *networks, *shape[1:])
        assert (report[name].shape, report[name].dtype) == (expected, case.dtype), name


def assert_right_window(case, report):
    """Fail unless every array is right up to the rounding, from those that it is
    computed of.
    """
    assert_format(case, report, len(case.x))
    ratios = {
        check.tensor: check.ratio.max() for check in checks_at("L1", case, report)
    }
    assert max(ratios.values()) <= 1, ratios


def assert_right_run(run, updates):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2).

    That is, the windows, their initial states to the bit, and each update as a window,
    from the parameters, the velocity and the state that the run reports.
    """
    recorded = RecordedRun(run, stack_columns(columns_of(updates)))
    rows = sum(update.window.steps for update in updates)
    assert_format(as_case(run), recorded.updates, rows, (len(updates),))
    assert judge(recorded).first is None
