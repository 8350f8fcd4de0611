"""The command `train`: train a network, and write what is asked."""

import json
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import prepare_experiment, save_run
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.outputs import check_files, plot_target
from numpy_rnn.app.plots import draw_result, write_figure
from numpy_rnn.app.run import TextRun, Trainer, heading
from numpy_rnn.app.tables import write_csv
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import pluralize, printable


@np.errstate(all="ignore")  # what is not finite is reported as a divergence
def run(rnn: Any, options: Configuration) -> int:
    """Train a network, print its losses and predictions, and write the files.

    Parameters
    ----------
    rnn : module
        The package that trains.
    options : Configuration
        The run and its files.

    Returns
    -------
    int
        The exit status, 0.

    Raises
    ------
    InputError
        If the input cannot be used, or a file not be written.
    Diverged
        If no network has a finite loss. Nothing is written then.
    KeyboardInterrupt, BrokenPipeError
        After Ctrl-C, and where the reader of the output is gone. With --save the
        latest weights are saved first.
    """
    if options.text is not None and options.plot is not None:
        raise InputError("--text and --plot are both given: leave one of them out")
    name = rnn.__name__
    plot = plot_target(options, name)
    check_files(options, plot)
    experiment = prepare_experiment(options)
    kind = TextRun if experiment.alphabet else Trainer
    trainer = kind(rnn, experiment, options)
    print(heading(name, experiment, options), trainer.heading(), sep="\n", flush=True)
    try:
        for _ in trainer:
            for line in trainer.lines():
                print(line, flush=True)
        print(*trainer.final(), sep="\n")
    except (KeyboardInterrupt, BrokenPipeError) as error:
        updates = pluralize(trainer.updates, "update")
        raise type(error)(f"interrupted after {updates}; {saved(trainer)}") from None
    if options.save is not None:
        print(saved(trainer))
    if options.output is not None:
        write_csv(options.output, experiment, trainer.losses, trainer.result)
        print(f"results saved to {printable(options.output)}")
    result = trainer.result
    if plot is not None and result is not None:
        write_figure(plot, lambda figure: draw_result(figure, experiment, name, result))
    return 0


def saved(trainer: Trainer) -> str:
    """Save the weights if that is asked. Returns what to say."""
    options = trainer.options
    if options.save is None:
        return "nothing was saved: --save FILE keeps the run"
    save_run(
        options.save,
        *trainer.weights(),
        alphabet=trainer.experiment.alphabet,
        adagrad=options.adagrad,
        configuration=json.dumps(options.given),
    )
    return f"weights saved to {printable(options.save)}"
