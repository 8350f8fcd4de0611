"""The command `compare`: run this package and other implementations on one configuration, and judge all of them."""

from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of
from numpy_rnn.app.report import heading
from numpy_rnn.app.trace import check_trace_size
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.comparison import report as comparison_report
from numpy_rnn.conformance.comparison.comparing import compare, package_source, source
from numpy_rnn.conformance.plain_json import save_json
from numpy_rnn.conformance.ports.faults import PortFault
from numpy_rnn.conformance.ports.program import killed_with_this_process


def run(rnn, arguments, draw) -> int:
    """Compare the package `rnn` with all of `arguments.others` and print what came of it.

    draw(experiment, results, drift) makes the picture. Returns the exit status: 0 when they agree, 1 when one of them
    is wrong or fails. Raises InputError when the input cannot be used.
    """
    try:
        with killed_with_this_process():
            others = [source(other, arguments.port_timeout) for other in arguments.others]
            return _compare(rnn, others, arguments, draw)
    except PortFault as fault:
        print(fault)
        return 1


def _compare(rnn, others, arguments, draw):
    names = [rnn.__name__, *(other.name for other in others)]
    if rnn.__name__ in names[1:]:
        raise InputError(f"{rnn.__name__} is this package itself: expected another implementation to compare it with")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice: expected different implementations")
    of_traces = [other for other in others if other.start is not None]
    if len(of_traces) > 1:
        raise InputError(
            f"{of_traces[0].name} and {of_traces[1].name} are traces: expected one at most, which is run again"
        )
    experiment, configuration = of_traces[0].start if of_traces else (None, configuration_of(arguments))
    experiment = experiment or prepare(configuration)
    check_trace_size(experiment, configuration)
    print(heading(names, experiment, configuration))
    if of_traces:
        print(f"configuration, series and initial weights are those of {of_traces[0].name}")
    compared = compare([package_source(rnn), *others], experiment, configuration, arguments.generate)
    print(comparison_report.text(compared, arguments.log_every))
    if arguments.json is not None:
        save_json(arguments.json, comparison_report.values(compared))
        print(f"numbers written to {arguments.json}")
    D, O = experiment.x.shape[-1], experiment.target.shape[-1]
    if D != O:
        print(f"no picture: it shows outputs beside inputs, and here are {O} and {D}")
    else:
        draw(experiment, {side.name: side.result for side in compared.sides}, compared.drift)
    return 0 if compared.passed else 1
