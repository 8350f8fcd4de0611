"""The command `train`: train a network on a series or on a text, and write what is
asked.
"""

from types import ModuleType

import numpy as np

from numpy_rnn.app.experiment import Experiment, prepare_experiment
from numpy_rnn.app.figures import write_figure
from numpy_rnn.app.forecast import check_forecast
from numpy_rnn.app.model_file import SavedModel, save_model
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import Progress, check_outputs, describe_runs
from numpy_rnn.app.result_files import write_losses, write_predictions
from numpy_rnn.app.series import Series
from numpy_rnn.app.text_data import Text
from numpy_rnn.app.text_report import TextReport, held_out_text_loss
from numpy_rnn.app.train_plot import Drawing, draw_result
from numpy_rnn.app.train_report import Report, SeriesReport, held_out_loss_of
from numpy_rnn.app.training import Training
from numpy_rnn.common.texts import pluralize, printable


@np.errstate(all="ignore")  # what is not finite is reported as a divergence
def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Train a network, print its losses and predictions, and write the files.

    Of a run that diverges nothing is written.
    """
    name = rnn.__name__
    experiment = prepare_experiment(options)
    training, report = make_training(rnn, experiment, options)
    plot = check_outputs(options, name)
    origin = f"seed {options.seed}"
    if options.weights is not None:
        origin = f"weights from {printable(options.weights)}"
    description = describe_runs([name], experiment.data.name, [training.run])
    found = []
    if isinstance(experiment.data, Series) and experiment.data.description:
        found = [experiment.data.description, *experiment.data.notes]
    print(*found, f"{description}, {origin}", sep="\n")
    print(report.heading(), flush=True)
    total = training.updates_per_epoch * training.run.options.schedule.epochs
    progress = Progress(total, "update")
    try:
        for update in training:
            lines = report.after(update)
            if lines:
                progress.clear()
            for line in lines:
                print(line, flush=True)
            progress.show(training.updates_made)
        progress.clear()
        for line in report.result():
            print(line)
    except KeyboardInterrupt:
        progress.clear()
        outcome = f"interrupted after {training.updates_made} updates"
        if options.save is not None:
            outcome += f"; {save(options.save, training, experiment, is_whole=False)}"
        raise KeyboardInterrupt(outcome) from None
    write_results(training, experiment, report, options)
    if plot is not None and isinstance(report, SeriesReport):
        title = f"{name}: {experiment.data.name}, one step ahead"
        write_figure(plot, draw_result, drawing_of(report), title)
    return 0


def make_training(
    rnn: ModuleType, experiment: Experiment, options: CommandOptions
) -> tuple[Training, Report]:
    """Return the training of an experiment, and the report on it."""
    data, run, scaling, seeds = experiment
    held_out_loss = None
    reduction = run.options.objective.reduction
    if isinstance(data, Text):
        if data.held_out and options.losses is not None:
            held_out_loss = held_out_text_loss(data, reduction)
        training = Training(rnn, run, seeds, held_out_loss)
        return training, TextReport(training, experiment, options)
    check_forecast(data, options.forecast)
    if data.held_out:
        assert scaling is not None
        held_out_loss = held_out_loss_of(data, scaling, reduction)
    training = Training(rnn, run, seeds, held_out_loss)
    return training, SeriesReport(training, experiment, options)


def write_results(
    training: Training,
    experiment: Experiment,
    report: Report,
    options: CommandOptions,
) -> None:
    """Write the model, the predictions and the losses that are asked for."""
    if options.save is not None:
        print(save(options.save, training, experiment))
    if options.predictions is not None:
        assert isinstance(report, SeriesReport)
        assert report.predictions is not None
        predictions = report.predictions
        asked = predictions._replace(forecast=predictions.forecast[: options.forecast])
        print(write_predictions(options.predictions, report.series, asked))
    if options.losses is not None:
        losses = training.alive_losses(training.losses)
        held_out = training.alive_losses(training.held_out_losses)
        print(write_losses(options.losses, losses, held_out))


def drawing_of(report: SeriesReport) -> Drawing:
    """Return what is drawn of a result."""
    training = report.training
    assert report.predictions is not None
    is_sum = training.run.options.objective.reduction == "sum"
    losses = training.alive_losses(training.losses)
    held_out = training.alive_losses(training.held_out_losses)
    series = report.series
    per_step = is_sum and bool(series.held_out)
    if per_step:  # sums over different numbers of steps cannot be compared
        losses = losses / series.border
        held_out = held_out / series.held_out
    return Drawing(series, report.predictions, losses, held_out, per_step)


def save(
    path: str, training: Training, experiment: Experiment, is_whole: bool = True
) -> str:
    """Save the model, and return a line that says so.

    is_whole: whether the training has ended; else the model is that of the last whole
    epoch, or if there is none, of the last update.
    """
    kept = training.snapshot() if is_whole else training.kept()
    data, run, scaling, seeds = experiment
    step = run.options.step
    model = SavedModel(
        training.survivors(kept.params),
        training.survivors(kept.velocity),
        adagrad=step.adagrad,
        options=run.options,
        seeds=[seed for seed, alive in zip(seeds, training.is_alive) if alive],
    )
    if isinstance(data, Series):
        model = model._replace(
            columns=data.columns, target_columns=data.target_columns, scaling=scaling
        )
    else:
        model = model._replace(alphabet=data.alphabet)
    save_model(path, model)
    line = f"weights saved to {printable(path)}"
    if not is_whole and kept.updates:
        line += f", those of {pluralize(kept.updates, 'update')}"
        if training.finished is not None:
            line += f", {pluralize(kept.epoch, 'epoch')}"
    return line
