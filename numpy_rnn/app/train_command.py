"""The command `train`: train a network on a series or on a text, and write what is
asked.
"""

from types import ModuleType

import numpy as np

from numpy_rnn.app.experiment import Training, prepare_experiment
from numpy_rnn.app.figures import write_figure
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import check_outputs, describe_runs
from numpy_rnn.app.train_plot import draw_result
from numpy_rnn.app.train_report import SeriesReport, TextReport
from numpy_rnn.app.weights_file import SavedRun, save_run
from numpy_rnn.common.texts import printable


@np.errstate(all="ignore")  # what is not finite is reported as a divergence
def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Train a network, print its losses and predictions, and write the files.

    Of a run that diverges nothing is written.
    """
    name = rnn.__name__
    plot = check_outputs(options, name)
    data, start = prepare_experiment(options)
    training = Training(rnn, start)
    kind = TextReport if data.alphabet else SeriesReport
    report = kind(training, data, options)
    origin = f"seed {options.seed}"
    if options.weights is not None:
        origin = f"weights from {printable(options.weights)}"
    description = describe_runs([name], data.name, [training.run])
    print(f"{description}, {origin}", report.heading(), sep="\n", flush=True)
    try:
        for update in training:
            for line in report.after(update):
                print(line, flush=True)
        for line in report.result():
            print(line)
    except KeyboardInterrupt:
        outcome = f"interrupted after {training.updates_made} updates"
        if options.save is not None:
            outcome += f"; {save(options.save, training, data.alphabet)}"
        raise KeyboardInterrupt(outcome) from None
    if options.save is not None:
        print(save(options.save, training, data.alphabet))
    if plot is not None:
        title = f"{name}: {data.name}, one step ahead"
        write_figure(plot, draw_result, data, title, report.curves)
    return 0


def save(path: str, training: Training, alphabet: str) -> str:
    """Save the latest weights, and return a line that says so."""
    params, velocity = training.rnn.to_numpy((training.params, training.velocity))
    adagrad = training.run.options.step.adagrad
    save_run(path, SavedRun(params, velocity, alphabet, adagrad))
    return f"weights saved to {printable(path)}"
