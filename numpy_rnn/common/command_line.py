"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import importlib.util
import os
import sys

from numpy_rnn.common import plots, report
from numpy_rnn.common.arguments import configuration_of, parser, picture_name
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
    return path, arguments.show


def train(rnn, arguments) -> None:
    """The command `train`."""
    configuration = configuration_of(arguments)
    path, show = picture_of(arguments, rnn.__name__)
    _check_files({"--data": arguments.data, "--save": arguments.save, "--trace": arguments.trace, "--plot": path})
    experiment = prepare(configuration)
    recorder = None
    if arguments.trace is not None:
        check_size(experiment, configuration)
        recorder = Recorder(experiment, configuration)

    def on_epoch(epoch, loss):
        if report.is_logged(epoch, arguments.log_every, configuration.epochs):
            print(report.loss_row(epoch, loss), flush=True)

    print(report.heading([rnn.__name__], experiment, configuration))
    print(report.loss_heading(experiment.params.W_hh.shape[:-2]))
    result = run(rnn, experiment, configuration, arguments.generate, on_epoch, recorder and recorder.append)
    _note_divergence(rnn.__name__, result)
    print(report.series_table(experiment, result))
    if arguments.save is not None:
        save_parameters(arguments.save, result.params)
        print(f"weights written to {arguments.save}")
    if recorder is not None:
        recorder.save(arguments.trace)
        print(f"trace of {recorder.updates} updates written to {arguments.trace}")
    _draw(experiment, {rnn.__name__: result}, path=path, show=show)


def compare(rnn, arguments) -> int:
    """The command `compare`; returns 1 when the two do not agree."""
    from numpy_rnn.conformance.comparison import command  # everything else runs without the equivalence suite

    path, show = picture_of(arguments, rnn.__name__)
    _check_files({"--data": arguments.data, "--json": arguments.json, "--plot": path})
    return command.run(rnn, arguments, lambda *drawn: _draw(*drawn, path=path, show=show))


def _check_files(files):
    """Raise InputError when one of the named files could not be written, or two of them are one."""
    options: dict[str, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        if option != "--data":
            check_can_write(path, option)
        first = options.setdefault(os.path.realpath(path), option)
        if first != option:
            raise InputError(f"{first} and {option} both name {path}: expected different files")


def _note_divergence(name, result):
    if (note := report.divergence(result)) is not None:
        print(f"{name}: {note}", file=sys.stderr)


def _draw(experiment, results, drift=None, *, path, show):
    if path is not None or show:
        plots.draw(experiment, results, path, show, drift)
    if path is not None:
        print(f"picture written to {path}")


def main(rnn, arguments=None) -> int:
    """Run the command line with the backend `rnn`. Returns the exit status.

    0 when all went well; 2 when the input could not be used or the output not be written; 1 when two implementations
    do not agree, or when the reader of the output has gone, as in `| head`; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0].startswith("-"):
        arguments.insert(0, "train")
    try:
        try:
            parsed = parser(rnn.__name__).parse_args(arguments)
            return {"train": train, "compare": compare}[parsed.command](rnn, parsed) or 0
        finally:
            print(end="", flush=True)
    except InputError as error:
        return _end(rnn, 2, str(error))
    except MemoryError as error:
        return _end(rnn, 2, f"not enough memory ({error}): choose fewer hidden units, networks or rows")
    except KeyboardInterrupt:
        return _end(rnn, 130, "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return _end(rnn, 2, f"the output cannot be written: {error.strerror or error}")


def _end(rnn, status, message):
    print(f"{rnn.__name__}: {' '.join(message.split())}", file=sys.stderr)
    return status


def _discard_output():
    """Let Python's own flush at exit succeed, which would complain otherwise."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
