"""The command `compare`: run this package and another implementation on one configuration, and judge both."""

import json

from numpy_rnn.common.arguments import configuration_of
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files.storage import written_whole
from numpy_rnn.common.files.trace import check_size
from numpy_rnn.common.output.report import heading
from numpy_rnn.common.runs.experiment import prepare
from numpy_rnn.conformance.comparison import report as comparison_report
from numpy_rnn.conformance.comparison.comparing import compare, package_source, source
from numpy_rnn.conformance.ports.faults import PortFault


def run(rnn, arguments, draw) -> int:
    """Compare the package `rnn` with `arguments.other` and print what came of it.

    draw(experiment, results, drift) makes the picture. Returns the exit status: 0 when they agree, 1 when one of them
    is wrong or fails. Raises InputError when the input cannot be used.
    """
    other = source(arguments.other)
    if other.name == rnn.__name__:
        raise InputError(f"{other.name} is this package itself: expected another implementation to compare it with")
    experiment, configuration = other.start or (None, configuration_of(arguments))
    experiment = experiment or prepare(configuration)
    check_size(experiment, configuration)
    print(heading([rnn.__name__, other.name], experiment, configuration))
    if other.start is not None:
        print(f"configuration, series and initial weights are those of {other.name}")
    try:
        compared = compare(package_source(rnn), other, experiment, configuration, arguments.generate)
    except PortFault as fault:
        print(fault)
        return 1
    print(comparison_report.text(compared, arguments.log_every))
    if arguments.json is not None:
        with written_whole(arguments.json) as temporary:
            temporary.write_text(json.dumps(comparison_report.values(compared), indent=1), encoding="utf-8")
        print(f"numbers written to {arguments.json}")
    draw(experiment, {side.name: side.result for side in compared.sides}, compared.drift)
    return 0 if compared.passed else 1
