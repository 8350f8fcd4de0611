"""Make traces: of packages that train by themselves, and of ports that are driven an update at a time."""

import numpy as np

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.trace import Recorder
from numpy_rnn.common.windows import windows
from numpy_rnn.conformance.case import Case, form_faults
from numpy_rnn.conformance.ports.faults import PortFault
from numpy_rnn.conformance.ports.python_port import guarded
from numpy_rnn.elman import forward

TAME = 1e12  # its square is still far from float32's largest number, 3e38


def trace_of(rnn, experiment, configuration) -> dict:
    """The trace of a run of a package with the functions of numpy_rnn; its numbers may leave the dtype's range."""
    recorder = Recorder(experiment, configuration)
    x, target, h_0, params = map(rnn.from_numpy, experiment[1:])
    with np.errstate(all="ignore"):
        for update in rnn.train(params, x, target, h_0, **configuration.train_options(), record=True):
            recorder.append(rnn.to_numpy(update))
    return recorder.arrays()


def is_tame(experiment, configuration) -> bool:
    """Whether numpy_rnn's run stays far within the range of float32, so that every right port's does.

    A run may diverge without anybody's fault, and then there is nothing to compare.
    """
    trace = trace_of(numpy_rnn, experiment, configuration)
    floats = (array for array in trace.values() if array.dtype.kind == "f")
    return all((np.abs(array) < TAME).all() for array in floats)


def trace_of_port(port, experiment, configuration, timeout: float = 10.0) -> dict:
    """The trace of a port that is driven over the schedule, window after window.

    The state that enters is the port's own of the window before; where the port does not report its states, what
    numpy_rnn computes with the port's parameters of then.

    Raises InputError on a dtype that the port does not have and on an ensemble; PortFault, naming epoch and update,
    when the port fails or its report has not the form that is owed.
    """
    if experiment.params.W_hh.ndim > 2:
        raise InputError("a port takes one network at a time: expected a run without --seeds")
    dtype = experiment.params.W_hh.dtype
    if str(dtype) not in port.dtypes:
        raise InputError(f"{port.name} has no {dtype}: choose --dtype {' or '.join(port.dtypes)}")
    asked = (configuration.nonlinearity, configuration.reduction, "bias" if experiment.params.b_h is not None else "")
    for option in asked:
        if option in port.lacks:
            raise InputError(f"{port.name} says that it lacks {option!r}: choose a run without it")
    intermediates = "intermediates" in port.capabilities
    recorder = Recorder(experiment, configuration)
    params = experiment.params
    for epoch in range(1, configuration.epochs + 1):
        states, first = experiment.h_0[None], 0
        for number, window in enumerate(windows(len(experiment.x), configuration.k1, configuration.k2), start=1):
            case = Case(
                params,
                experiment.x[window.start : window.stop],
                experiment.target[window.counted_from : window.stop],
                states[window.start - first],
                configuration.learning_rate,
                configuration.nonlinearity,
                configuration.reduction,
            )
            report = checked_report(port, case, intermediates, timeout, f"epoch {epoch}, update {number}")
            recorder.append_report(epoch, number, window, case.h_0, report)
            later = report["h"] if intermediates else _states(case)
            states, first = np.concatenate((case.h_0[None], later)), window.start
            params = Parameters(*(report.get(name) for name in Parameters._fields))
    return recorder.arrays()


def checked_report(port, case, intermediates, timeout, where) -> dict:
    """A port's report on a case, in the form that is owed. Raises PortFault otherwise, saying where."""
    report, verdict = guarded(port, case, timeout)
    if report is None:
        raise PortFault(f"{port.name}, {where}: {verdict}")
    faults = form_faults(case, report, intermediates)
    if faults:
        raise PortFault(f"{port.name}, {where}: {faults[0]}")
    return report


def _states(case):
    return forward(case.params, case.x, case.h_0, nonlinearity=case.nonlinearity).h[1:]
