"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import contextlib
import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from numpy_rnn.app import plots, report, results
from numpy_rnn.app.checkpoint import Checkpoint, Saver, check_can_resume, load_checkpoint, position_of
from numpy_rnn.app.commands import LOG_EVERY, SAVE_EVERY
from numpy_rnn.app.compare import as_run
from numpy_rnn.app.configuration import STANDARD_INPUT, Configuration
from numpy_rnn.app.experiment import Experiment, prepare
from numpy_rnn.app.format import number_of
from numpy_rnn.app.options import configuration_of, parser, resumed_configuration
from numpy_rnn.app.plots import note_no_plot, plot_target
from numpy_rnn.app.results import MAX_GENERATED, Result
from numpy_rnn.app.run import Hooks, run
from numpy_rnn.app.storage import check_can_write, save_parameters
from numpy_rnn.app.terminal import (
    Progress,
    deferred_signals,
    exit_status,
    failed,
    printing_anything,
    progress,
    quiet,
    raised_on_termination,
    signal_of,
)
from numpy_rnn.app.text_report import check_output_options, text_report
from numpy_rnn.common.errors import Diverged, InputError, Interrupted, printable, shortened
from numpy_rnn.conformance.traces.recorder import Recorder


def main(rnn: ModuleType, arguments: list[str] | None = None, commands: Mapping[str, str] | None = None) -> int:
    """Run the command line with the backend `rnn`. Returns the exit status.

    commands: those besides `train`, name → "module:function"; the module is imported when the command is run.

    0 on success; 2 if the input cannot be used or the output cannot be written; 3 if the run diverged; 1 if two
    implementations disagree, or if the reader of the output is gone, as in `| head`; 130 after Ctrl-C, 143 after
    SIGTERM, 129 after SIGHUP.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0].startswith("-"):
        words.insert(0, "train")
    others = commands or {}

    def work() -> int:
        with raised_on_termination():
            parsed = parser(rnn.__name__, ("train", *others)).parse_args(words)
            with quiet() if parsed.quiet else contextlib.nullcontext():
                return _run(rnn, parsed, others)

    with printing_anything():
        return exit_status(rnn.__name__, work)


def _run(rnn, parsed, others):
    if parsed.command == "train":
        return _train_and_report(rnn, parsed)
    module, _, name = others[parsed.command].partition(":")
    command = getattr(importlib.import_module(module), name)
    try:
        return (compare(rnn, parsed, command) if parsed.command == "compare" else command(rnn, parsed)) or 0
    except Diverged as error:
        return failed(rnn.__name__, 3, str(error))


def compare(rnn: ModuleType, arguments: Namespace, command: Any) -> int:
    """The command `compare`: command(rnn, arguments, draw) runs it; draw(experiment, results, drift) plots."""
    path, show = plot_target(arguments, rnn.__name__, note=False)
    inputs = {"--data": arguments.data, "--text": arguments.text}
    _check_files({**inputs, "--output": arguments.output, "--plot": path})

    def draw(experiment, results, drift):
        if not (arguments.no_plot or plots.has_matplotlib()):
            note_no_plot(rnn.__name__)
        _draw(experiment, results, drift, path=path, show=show)

    return command(rnn, arguments, draw)


# -- train ----------------------------------------------------------------------------------------------------------


def _train_and_report(rnn, parsed):
    """Train; a run that ends early is saved if --save is given, and the message says where it is."""
    saver = _saver(parsed)
    name = rnn.__name__
    try:
        try:
            train(rnn, parsed, saver)
            return 0
        except Diverged as error:
            return failed(name, 3, f"{error}{_save_rest(saver, error.checkpoint, 'the last finite weights')}")
        except Interrupted as error:
            rest = _save_rest(saver, error.checkpoint, "the run so far")
            return failed(name, 128 + error.signal, f"interrupted{rest}")
    except KeyboardInterrupt as error:  # at once, whatever is being done
        return failed(name, 128 + signal_of(error), f"interrupted{_already_saved(saver)}")


def train(rnn: ModuleType, arguments: Namespace, saver: Saver | None) -> None:
    """The command `train`."""
    resumed, configuration = _configuration(arguments)
    path, show = plot_target(arguments, rnn.__name__)
    outputs = {"--save": arguments.save, "--trace": arguments.trace, "--output": arguments.output, "--plot": path}
    _check_files({"--data": configuration.data, "--text": configuration.text, **outputs})
    if arguments.output is not None:
        results.check_ending(arguments.output)
    check_output_options(arguments, configuration)
    generate = arguments.generate
    if generate is None:
        generate = min(configuration.held_out, MAX_GENERATED) or 20
    experiment = _experiment(arguments, configuration, resumed, generate)
    recorder = _recorder(arguments, experiment, configuration)
    of_text = text_report(rnn, arguments, experiment, configuration, resumed)
    _print_heading(rnn, arguments, experiment, configuration, resumed, of_text)
    shown = _progress(rnn, arguments, experiment, configuration, resumed)
    with deferred_signals(saver is not None) as signals, shown as bar:
        hooks = _hooks(rnn, arguments, experiment, configuration, recorder, saver, signals, bar)
        hooks = hooks if of_text is None else of_text.hooks(hooks, bar)
        result = run(rnn, experiment, configuration, generate, hooks, resumed)
    if of_text is None:
        _print_results(rnn, experiment, configuration, result)
    else:
        print(*of_text.final(result), sep="\n")
    _save_results(rnn, arguments, experiment, configuration, result, recorder, saver, of_text)
    where = f"; the run is saved in {arguments.save}" if saver is not None and saver.error is None else ""
    _draw(experiment, {rnn.__name__: result}, path=path, show=show, where=where, figure=of_text and of_text.figure)
    if saver is not None and saver.error is not None:
        raise saver.error


def _saver(arguments) -> Saver | None:
    if arguments.save is not None:
        return Saver(arguments.save, SAVE_EVERY if arguments.save_every is None else arguments.save_every)
    if arguments.save_every is not None:
        raise InputError("--save-every is given without --save: expected --save FILE too")
    return None


def _configuration(arguments) -> tuple[Checkpoint | None, Configuration]:
    """(checkpoint to resume from, configuration)."""
    if arguments.resume is None:
        return None, configuration_of(arguments)
    if arguments.trace is not None:
        raise InputError("--trace and --resume are both given: a trace records a whole run; leave one of them out")
    resumed = load_checkpoint(arguments.resume)
    configuration = resumed_configuration(arguments, resumed.configuration)
    for name, what in (("data", "series"), ("text", "text")):
        path = getattr(configuration, name)
        if getattr(arguments, name) is None and path not in (None, STANDARD_INPUT) and not os.path.exists(path):
            raise InputError(
                f"run file {arguments.resume} was trained on {path}, which does not exist: expected the same {what};"
                f" give its path with --{name} FILE"
            )
    if configuration.epochs < resumed.state.epoch:
        raise InputError(
            f"the run in {arguments.resume} has reached epoch {resumed.state.epoch}: expected --epochs"
            f" {resumed.state.epoch} or more"
        )
    return resumed, configuration


def _experiment(arguments, configuration, resumed, generate) -> Experiment:
    if resumed is None:
        return prepare(configuration, None, generate)
    experiment = prepare(configuration, resumed.state.parameters, generate, resumed.alphabet)
    try:
        check_can_resume(resumed, experiment.trained())
    except InputError as error:
        raise InputError(f"run file {arguments.resume}: {error}") from None
    return experiment


def _recorder(arguments, experiment, configuration) -> Recorder | None:
    if arguments.trace is None:
        return None
    return Recorder(as_run(experiment.trained(), configuration))


def _hooks(rnn, arguments, experiment, configuration, recorder, saver, signals, bar) -> Hooks:
    def on_epoch(epoch, loss):
        if report.is_logged(epoch, arguments.log_every or LOG_EVERY, configuration.epochs):
            with bar.paused():
                print(report.loss_row(epoch, loss, experiment.rates), flush=True)

    def on_divergence(divergence):
        with bar.paused():
            print(f"{rnn.__name__}: {divergence}; the other networks continue", file=sys.stderr)

    def on_progress(epoch, loss, updates):
        bar.advance(updates, lambda: {"epoch": epoch, "loss": f"{report.finite_median(loss):.3g}"})

    hooks = Hooks(
        on_epoch=on_epoch,
        on_update=recorder and recorder.append,
        on_progress=on_progress,
        on_divergence=on_divergence,
        stop_signal=signals,
    )
    if saver is None:
        return hooks
    return hooks._replace(save=saver, is_save_due=saver.is_due, yield_every=1 if saver.every == 0 else None)


def _progress(rnn, arguments, experiment, configuration, resumed) -> AbstractContextManager[Progress]:
    updates = -(-(len(experiment.x) - configuration.held_out) // configuration.k1)  # per epoch
    done = 0 if resumed is None else (resumed.state.epoch - 1) * updates + resumed.state.number
    wanted = not (arguments.no_progress or arguments.quiet)
    return progress(rnn.__name__, configuration.epochs * updates, "updates", done, wanted)


# -- output ---------------------------------------------------------------------------------------------------------


def _print_heading(rnn, arguments, experiment, configuration, resumed, of_text):
    print(report.heading([rnn.__name__], experiment, configuration))
    if resumed is not None:
        print(f"resuming from {printable(arguments.resume)} after {position_of(resumed)}")
    of_series = report.loss_heading(experiment.params.W_hh.shape[:-2], experiment.rates)
    print(of_series if of_text is None else of_text.heading(), flush=True)


def _print_results(rnn, experiment: Experiment, configuration: Configuration, result: Result):
    if (note := report.divergence(result)) is not None:
        print(f"{rnn.__name__}: {note}", file=sys.stderr)
    print(report.series_table(experiment, result))
    if configuration.data is not None:
        print(report.error_table(experiment, result))


def _save_results(rnn, arguments, experiment, configuration, result, recorder, saver, of_text):
    if saver is not None:
        if saver.saved is None and saver.error is None:  # no update was made
            save_parameters(arguments.save, result.params)
        if saver.error is None:
            print(f"weights saved to {printable(arguments.save)}")
    if recorder is not None:
        recorder.save(arguments.trace)
        print(f"trace of {number_of(recorder.updates, 'update')} saved to {printable(arguments.trace)}")
    if arguments.output is not None:
        if of_text is None:
            results.save_results(arguments.output, rnn.__name__, experiment, configuration, result)
        else:
            of_text.save(arguments.output, result)
        print(f"losses{' and predictions' if of_text is None else ''} saved to {printable(arguments.output)}")


def _save_rest(saver, checkpoint, what):
    """Save what is left of a run that ended early, and say where it is."""
    if saver is None:
        return f"; nothing was saved: --save FILE keeps {what}"
    if checkpoint is None:
        return "; nothing was saved: there was no update"
    saver(checkpoint)
    if saver.error is not None:
        return f"; {what} could not be saved: {saver.error}"
    path = saver.path
    if checkpoint.diverged and len(checkpoint.diverged) == checkpoint.partial.size:
        return f"; saved {what} to {path}: start a new run from them with --weights {path}"
    return f"; saved {what} to {path}, after {position_of(checkpoint)}: continue with --resume {path}"


def _already_saved(saver):
    """What to say about the file of a run that ended at once."""
    if saver is None:
        return ""
    if saver.saved is None:
        return "; nothing was saved"
    return f"; {saver.path} has the run after {saver.saved}: continue with --resume {saver.path}"


def _check_files(files: dict[str, str | None]) -> None:
    """Raise InputError if an output file could not be written, or if two options name the same file."""
    options: dict[str, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        if option not in ("--data", "--text"):
            check_can_write(path, option)
        first = options.setdefault(os.path.realpath(path), option)
        if first != option:
            raise InputError(f"{first} and {option} both name {path}: expected different files")


# -- plot -----------------------------------------------------------------------------------------------------------


def _draw(experiment, results, drift=None, *, path, show, where="", figure=None):
    """where: the end of the message if drawing fails, which it may in any way; figure: of a text."""
    try:
        if path is not None or show:
            plots.draw(experiment, results, path, show, drift, figure)
    except InputError as error:
        raise InputError(f"{error}{where}") from None
    except Exception as error:
        why = shortened(f"{type(error).__name__}: {error}")
        raise InputError(f"the plot cannot be drawn ({why}): use --no-plot{where}") from None
    if path is not None:
        print(f"plot saved to {printable(path)}")
