"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import contextlib
import importlib.util
import os
import sys

from numpy_rnn.app import plots, report, results_file
from numpy_rnn.app.checkpoint import Saver, check_goes_on, load_checkpoint, place_of
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.format import one_line
from numpy_rnn.app.options import configuration_of, parser, picture_name, resumed_configuration
from numpy_rnn.app.predictions import MOST_GENERATED
from numpy_rnn.app.run import Hooks, run
from numpy_rnn.app.storage import check_can_write, save_parameters
from numpy_rnn.app.terminal import heeded, printing_anything, progress, quiet, signal_of, terminable
from numpy_rnn.app.trace import Recorder, check_size
from numpy_rnn.common.errors import Diverged, InputError, Interrupted, shortened

SAVE_EVERY = 30.0  # seconds


def picture_of(arguments, name, note=True):
    """(file or None, window or not), after making sure that the picture can be drawn.

    Without matplotlib and without a picture being asked for, there is none; `note`: say so.
    """
    if arguments.no_plot:
        if arguments.plot is not None or arguments.show:
            raise InputError("--no-plot and a picture (--plot or --show) are both asked for: choose one of the two")
        return None, False
    path = arguments.plot
    if path is None and not arguments.show:
        path = picture_name(name, arguments.command)
        if not _can_have_pictures():
            if note:
                _note_no_picture(name)
            return None, False
    plots.check_can_draw(path, arguments.show)
    return path, arguments.show


def _can_have_pictures():
    return importlib.util.find_spec("matplotlib") is not None


def _note_no_picture(name):
    print(f"{name}: no picture, as matplotlib is not installed", file=sys.stderr)


def train(rnn, arguments, saver: Saver | None) -> None:
    """The command `train`."""
    resumed, configuration = _what_to_run(arguments)
    path, show = picture_of(arguments, rnn.__name__)
    outputs = {"--save": arguments.save, "--trace": arguments.trace, "--output": arguments.output, "--plot": path}
    _check_files({"--data": configuration.data, **outputs})
    if arguments.output is not None:
        results_file.check_ending(arguments.output)
    generate = arguments.generate
    if generate is None:
        generate = min(configuration.held_out, MOST_GENERATED) or 20
    experiment = prepare(configuration, None if resumed is None else resumed.state.parameters, generate)
    if resumed is not None:
        try:
            check_goes_on(resumed, experiment.trained())
        except InputError as error:
            raise InputError(f"run file {arguments.resume}: {error}") from None
    recorder = None
    if arguments.trace is not None:
        check_size(experiment.trained(), configuration)
        recorder = Recorder(experiment.trained(), configuration)

    print(report.heading([rnn.__name__], experiment, configuration))
    if resumed is not None:
        print(f"goes on with {arguments.resume}, after epoch {resumed.state.epoch}, update {resumed.state.number}")
    print(report.loss_heading(experiment.params.W_hh.shape[:-2], experiment.rates), flush=True)
    shown = _progress(rnn, arguments, experiment, configuration, resumed)
    with heeded(saver is not None) as interrupts, shown as bar:
        hooks = _hooks(rnn, arguments, experiment, configuration, recorder, saver, interrupts, bar)
        result = run(rnn, experiment, configuration, generate, hooks, resumed)
    _note_divergence(rnn.__name__, result)
    print(report.series_table(experiment, result))
    if configuration.data is not None:
        print(report.error_table(experiment, result))
    if saver is not None:
        if saver.saved is None and saver.error is None:  # no update has been made
            save_parameters(arguments.save, result.params)
        if saver.error is None:
            print(f"weights written to {arguments.save}")
    if recorder is not None:
        recorder.save(arguments.trace)
        print(f"trace of {recorder.updates} updates written to {arguments.trace}")
    if arguments.output is not None:
        results_file.save_results(arguments.output, rnn.__name__, experiment, configuration, result)
        print(f"losses and predictions written to {arguments.output}")
    held = f"; {arguments.save} holds the run" if saver is not None and saver.error is None else ""
    _draw(experiment, {rnn.__name__: result}, path=path, show=show, held=held)
    if saver is not None and saver.error is not None:
        raise saver.error


def _saver(arguments):
    if arguments.save is not None:
        return Saver(arguments.save, SAVE_EVERY if arguments.save_every is None else arguments.save_every)
    if arguments.save_every is not None:
        raise InputError("--save-every is given and --save is not: expected --save FILE beside it")
    return None


def _what_to_run(arguments):
    """(the checkpoint to go on from or None, the configuration)."""
    if arguments.resume is None:
        return None, configuration_of(arguments)
    if arguments.trace is not None:
        raise InputError("--trace and --resume are both given: a trace holds a whole run; leave one of them out")
    resumed = load_checkpoint(arguments.resume)
    configuration = resumed_configuration(arguments, resumed.configuration)
    if arguments.data is None and configuration.data is not None and not _is_there(configuration.data):
        raise InputError(
            f"run file {arguments.resume} is of a run on {configuration.data}, which does not exist here: expected the"
            " same series; say by --data FILE where it is"
        )
    if configuration.epochs < resumed.state.epoch:
        raise InputError(
            f"the run in {arguments.resume} is in epoch {resumed.state.epoch}: expected --epochs"
            f" {resumed.state.epoch} or more"
        )
    return resumed, configuration


def _is_there(data):
    return data == "-" or os.path.exists(data)


def _hooks(rnn, arguments, experiment, configuration, recorder, saver, interrupts, bar):
    def on_epoch(epoch, loss):
        if report.is_logged(epoch, arguments.log_every, configuration.epochs):
            with bar.aside():
                print(report.loss_row(epoch, loss, experiment.rates), flush=True)

    def on_divergence(divergence):
        with bar.aside():
            print(f"{rnn.__name__}: {divergence}; the others go on", file=sys.stderr)

    hooks = Hooks(
        on_epoch=on_epoch,
        on_update=recorder and recorder.append,
        on_progress=bar.update,
        on_divergence=on_divergence,
        stopped=interrupts,
    )
    if saver is None:
        return hooks
    return hooks._replace(save=saver, is_time=saver.is_time, at_once=1 if saver.every == 0 else None)


def _progress(rnn, arguments, experiment, configuration, resumed):
    an_epoch = -(-(len(experiment.x) - configuration.held_out) // configuration.k1)
    done = 0 if resumed is None else (resumed.state.epoch - 1) * an_epoch + resumed.state.number
    return progress(rnn.__name__, configuration.epochs * an_epoch, done, not (arguments.no_progress or arguments.quiet))


def compare(rnn, arguments) -> int:
    """The command `compare`; returns 1 when the two do not agree."""
    from numpy_rnn.conformance.comparison import (
        run as run_comparison,  # everything else runs without the equivalence suite
    )

    path, show = picture_of(arguments, rnn.__name__, note=False)
    _check_files({"--data": arguments.data, "--json": arguments.json, "--plot": path})

    def draw(*drawn):
        if not (arguments.no_plot or _can_have_pictures()):
            _note_no_picture(rnn.__name__)
        _draw(*drawn, path=path, show=show)

    return run_comparison(rnn, arguments, draw)


def study(rnn, arguments) -> None:
    """The command `study`."""
    from numpy_rnn.study.study import run  # everything else runs without the study

    run(rnn, arguments)


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


def _draw(experiment, results, drift=None, *, path, show, held=""):
    """held: what to say of the run where its picture cannot be drawn, which may fail in any way."""
    try:
        if path is not None or show:
            plots.draw(experiment, results, path, show, drift)
    except InputError as error:
        raise InputError(f"{error}{held}") from None
    except Exception as error:
        why = shortened(f"{type(error).__name__}: {error}")
        raise InputError(f"the picture cannot be drawn ({why}): use --no-plot{held}") from None
    if path is not None:
        print(f"picture written to {path}")


def main(rnn, arguments=None) -> int:
    """Run the command line with the backend `rnn`. Returns the exit status.

    0 when all went well; 2 when the input could not be used or the output not be written; 3 when the numbers of the run
    went out of range; 1 when two implementations do not agree, or when the reader of the output has gone, as in
    `| head`; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    with printing_anything():
        return _main(rnn, list(sys.argv[1:] if arguments is None else arguments))


def _main(rnn, arguments):
    if not arguments or arguments[0].startswith("-"):
        arguments.insert(0, "train")
    try:
        try:
            with terminable():
                parsed = parser(rnn.__name__).parse_args(arguments)
                with quiet() if parsed.quiet else contextlib.nullcontext():
                    return _run(rnn, parsed)
        finally:
            print(end="", flush=True)
    except InputError as error:
        return _end(rnn, 2, str(error))
    except MemoryError as error:
        return _end(rnn, 2, f"not enough memory ({error}): choose fewer hidden units, networks or rows")
    except KeyboardInterrupt as error:
        return _end(rnn, 128 + signal_of(error), "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return _end(rnn, 2, f"the output cannot be written: {error.strerror or error}")


def _run(rnn, parsed):
    if parsed.command != "train":
        try:
            return {"compare": compare, "study": study}[parsed.command](rnn, parsed) or 0
        except Diverged as error:
            return _end(rnn, 3, str(error))
    saver = _saver(parsed)
    try:
        try:
            train(rnn, parsed, saver)
            return 0
        except Diverged as error:
            return _end(rnn, 3, f"{error}{_kept(saver, error.checkpoint, 'the last finite weights')}")
        except Interrupted as error:
            return _end(rnn, 128 + error.signal, f"interrupted{_kept(saver, error.checkpoint, 'the run so far')}")
    except KeyboardInterrupt as error:  # at once, whatever was under way
        return _end(rnn, 128 + signal_of(error), f"interrupted{_already_kept(saver)}")


def _kept(saver, checkpoint, what):
    """Save what is left of a run that ended early, and say what became of it."""
    if saver is None:
        return "; --save FILE would have kept " + what
    if checkpoint is None:
        return "; there was no update to save"
    saver(checkpoint)
    if saver.error is not None:
        return f"; {what} could not be saved: {saver.error}"
    path = saver.path
    if checkpoint.diverged and len(checkpoint.diverged) == checkpoint.partial.size:
        return f"; {path} holds {what}, and --weights {path} starts anew from them"
    return f"; {path} holds {what}, after {place_of(checkpoint)}, and --resume {path} goes on from there"


def _already_kept(saver):
    """What to say of the file of a run that ended at once."""
    if saver is None:
        return ""
    if saver.saved is None:
        return "; nothing was saved"
    return f"; {saver.path} holds the run after {saver.saved}, and --resume {saver.path} goes on from there"


def _end(rnn, status, message):
    print(f"{rnn.__name__}: {one_line(message)}", file=sys.stderr)
    return status


def _discard_output():
    """Let Python's own flush at exit succeed, which would complain otherwise."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
