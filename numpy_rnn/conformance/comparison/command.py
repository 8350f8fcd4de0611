"""The command `compare`: run this package and another implementation on one configuration, and judge both."""

from numpy_rnn.common.arguments import configuration_of
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files.trace import check_size
from numpy_rnn.common.output.report import heading
from numpy_rnn.common.runs.experiment import prepare
from numpy_rnn.conformance.comparison import report as comparison_report
from numpy_rnn.conformance.comparison.comparing import compare, package_source, source
from numpy_rnn.conformance.plain_json import save_json
from numpy_rnn.conformance.ports.faults import PortFault
from numpy_rnn.conformance.ports.program import killed_with_this_process


def run(rnn, arguments, draw) -> int:
    """Compare the package `rnn` with `arguments.other` and print what came of it.

    draw(experiment, results, drift) makes the picture. Returns the exit status: 0 when they agree, 1 when one of them
    is wrong or fails. Raises InputError when the input cannot be used.
    """
    try:
        with killed_with_this_process():
            return _compare(rnn, source(arguments.other, arguments.port_timeout), arguments, draw)
    except PortFault as fault:
        print(fault)
        return 1


def _compare(rnn, other, arguments, draw):
    if other.name == rnn.__name__:
        raise InputError(f"{other.name} is this package itself: expected another implementation to compare it with")
    experiment, configuration = other.start or (None, configuration_of(arguments))
    experiment = experiment or prepare(configuration)
    check_size(experiment, configuration)
    print(heading([rnn.__name__, other.name], experiment, configuration))
    if other.start is not None:
        print(f"configuration, series and initial weights are those of {other.name}")
    compared = compare(package_source(rnn), other, experiment, configuration, arguments.generate)
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
