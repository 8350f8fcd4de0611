"""The command `train`: train a network, and write what is asked."""

from typing import Any

import numpy as np

from numpy_rnn.app.experiment import prepare_experiment, save_run
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.outputs import check_files, plot_target
from numpy_rnn.app.plots import draw_result, write_figure
from numpy_rnn.app.predictions import write_csv
from numpy_rnn.app.run import TextRun, Trainer, describe_runs
from numpy_rnn.common.texts import printable


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
    KeyboardInterrupt
        After Ctrl-C. With --save the latest weights are saved first.
    BrokenPipeError
        If the reader of the output is gone. Nothing is written then.
    """
    plot = plot_target(options, rnn.__name__)
    check_files(options, plot)
    experiment = prepare_experiment(options)
    kind = TextRun if experiment.alphabet else Trainer
    trainer = kind(rnn, experiment, options)
    name, start = rnn.__name__, f"seed {options.seed}"
    if options.weights is not None:
        start = f"weights from {printable(options.weights)}"
    described = describe_runs([name], experiment.name, [trainer.run])
    print(f"{described}, {start}", trainer.heading(), sep="\n", flush=True)
    try:
        for _ in trainer:
            for line in trainer.lines():
                print(line, flush=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted after {trainer.updates} updates; {saved(trainer)}"
        ) from None
    curves = trainer.curves()
    print(*trainer.final(curves), sep="\n")
    if options.save is not None:
        print(saved(trainer))
    if options.output is not None:
        write_csv(options.output, experiment.columns, curves)
        print(f"results saved to {printable(options.output)}")
    if plot is not None:
        title = f"{name}: {experiment.name}, one step ahead"
        write_figure(
            plot, lambda figure: draw_result(figure, experiment, title, curves)
        )
    return 0


def saved(trainer: Trainer) -> str:
    """Save the weights if that is asked. Returns what to say."""
    options = trainer.options
    if options.save is None:
        return "nothing was saved: --save FILE keeps the run"
    save_run(
        options.save,
        *map(trainer.rnn.to_numpy, (trainer.params, trainer.velocity)),
        alphabet=trainer.experiment.alphabet,
        adagrad=options.adagrad,
    )
    return f"weights saved to {printable(options.save)}"
