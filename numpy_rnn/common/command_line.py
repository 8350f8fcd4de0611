"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import importlib
import importlib.util
import sys

from numpy_rnn.common import plots, report
from numpy_rnn.common.arguments import COMMANDS, configuration_of, parser, picture_name
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.experiment import prepare, run
from numpy_rnn.common.storage import check_can_write, save_parameters
from numpy_rnn.common.trace import Recorder, check_size


def picture_of(arguments, name):
    """(file or None, window or not), after making sure that the picture can be drawn.

    Without matplotlib and without a picture being asked for, the run goes on without one, and says so.
    """
    if arguments.no_plot:
        if arguments.plot is not None or arguments.show:
            raise InputError("--no-plot and a picture (--plot or --show) are both asked for: choose one of the two")
        return None, False
    path = arguments.plot
    if path is None and not arguments.show:
        path = picture_name(name, arguments.command)
        if importlib.util.find_spec("matplotlib") is None:
            print(f"{name}: no picture, as matplotlib is not installed", file=sys.stderr)
            return None, False
    plots.check_can_draw(path, arguments.show)
    if path is not None:
        check_can_write(path, "--plot")
    return path, arguments.show


def train(rnn, arguments) -> None:
    """The command `train`."""
    configuration = configuration_of(arguments)
    for option in ("save", "trace"):
        if getattr(arguments, option) is not None:
            check_can_write(getattr(arguments, option), f"--{option}")
    path, show = picture_of(arguments, rnn.__name__)
    experiment = prepare(configuration)
    recorder = None
    if arguments.trace is not None:
        check_size(experiment, configuration)
        recorder = Recorder(experiment, configuration)

    def on_epoch(epoch, loss):
        if report.is_logged(epoch, arguments.log_every, configuration.epochs):
            print(report.loss_row(epoch, loss), flush=True)

    print(report.heading([rnn.__name__], experiment, configuration))
    print(report.loss_heading(configuration.networks))
    result = run(rnn, experiment, configuration, arguments.generate, on_epoch, recorder and recorder.append)
    if arguments.save is not None:
        save_parameters(arguments.save, result.params)
        print(f"weights written to {arguments.save}")
    if recorder is not None:
        recorder.save(arguments.trace)
        print(f"trace of {len(recorder.updates)} updates written to {arguments.trace}")
    print(report.series_table(experiment, result))
    _draw(experiment, {rnn.__name__: result}, path, show)


def compare(rnn, arguments) -> None:
    """The command `compare`."""
    configuration = configuration_of(arguments)
    other = backend(arguments.other)
    path, show = picture_of(arguments, rnn.__name__)
    experiment = prepare(configuration)
    names = [rnn.__name__, other.__name__]
    if names[0] == names[1]:
        raise InputError(f"{names[0]} is this package itself: expected another one to compare it with")
    print(report.heading(names, experiment, configuration))
    results = {each.__name__: run(each, experiment, configuration, arguments.generate) for each in (rnn, other)}
    print(report.comparison_table(results, arguments.log_every))
    _draw(experiment, results, path, show)


def _draw(experiment, results, path, show):
    if path is not None or show:
        plots.draw(experiment, results, path, show)
    if path is not None:
        print(f"picture written to {path}")


def backend(name: str):
    """The package of this name. Raises InputError when it cannot be imported or is no backend."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{name!r} cannot be imported ({error}): expected a package such as numpy_rnn or torch_rnn"
        ) from None
    missing = [needed for needed in ("from_numpy", "to_numpy", "forward", "train") if not hasattr(module, needed)]
    if missing:
        raise InputError(f"{name!r} has no {', '.join(missing)}: expected a package such as numpy_rnn or torch_rnn")
    return module


def main(rnn, arguments=None) -> int:
    """Run the command line with the backend `rnn`. Returns the exit status, 2 when the input could not be used."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] not in (*COMMANDS, "-h", "--help"):
        arguments.insert(0, "train")
    try:
        parsed = parser(rnn.__name__).parse_args(arguments)
        {"train": train, "compare": compare}[parsed.command](rnn, parsed)
    except InputError as error:
        print(f"{rnn.__name__}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        sys.stderr.close()
        return 1
    return 0
