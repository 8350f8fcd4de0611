"""The command `predict`: predict and forecast a series by a model that was saved."""

from types import ModuleType

import numpy as np

from numpy_rnn.app.figures import write_figure
from numpy_rnn.app.forecast import check_forecast, errors_of, predict
from numpy_rnn.app.model_file import SavedModel, load_model
from numpy_rnn.app.networks import Networks
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import check_outputs
from numpy_rnn.app.result_files import write_predictions
from numpy_rnn.app.series import check_range, make_series
from numpy_rnn.app.train_plot import Drawing, draw_result
from numpy_rnn.app.train_report import error_table, forecast_lines, verdicts
from numpy_rnn.app.training import Diverged
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import pluralize, printable

ALL_STEPS = "predicted"  # the part of all steps: nothing is trained on


@np.errstate(all="ignore")  # what is not finite is reported
def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Predict a series by a model, print the errors and the forecast, and write the
    files.
    """
    path = str(options.model)
    model = load_model(path)
    run_options, scaling = model.options, model.scaling
    if run_options is None or scaling is None:
        raise unusable(path, model)
    if options.data is None:
        raise InputError("--data is missing: name the series to predict")
    series = make_series(options, model.series_columns())
    check_forecast(series, options.forecast)
    check_range(series, scaling, model.params.W_hh.dtype)
    plot = check_outputs(options, rnn.__name__)
    nonlinearity = run_options.objective.nonlinearity
    networks = Networks.from_arrays(rnn, model.params, nonlinearity)
    predictions = predict(
        networks.forward, networks.initial_state(), series, scaling, options.forecast
    )
    if not np.isfinite(predictions.one_step).all():
        raise Diverged(
            "the predictions are not finite: the series has values that are"
            " far from those that the model was trained on"
        )
    print(series.description, *series.notes, sep="\n")
    count = model.params.networks
    print(
        f"{rnn.__name__} predict: {series.name}, {pluralize(series.steps, 'step')}, by"
        f" {pluralize(count, 'network') if count else 'the network'} of"
        f" {printable(path)}"
    )
    # No autoregression: its coefficients are not in the file.
    errors = errors_of(series, predictions.one_step, lags=0)
    errors = [row._replace(part=ALL_STEPS) for row in errors]
    lines = [*error_table(errors), *verdicts(errors)]
    lines += forecast_lines(series, predictions.forecast)
    print(*lines, sep="\n")
    if options.predictions is not None:
        print(write_predictions(options.predictions, series, predictions, ALL_STEPS))
    if plot is not None:
        title = f"{rnn.__name__}: {series.name}, one step ahead"
        write_figure(plot, draw_result, Drawing(series, predictions), title)
    return 0


def unusable(path: str, model: SavedModel) -> InputError:
    """Return the error of a model that has no series."""
    if model.alphabet:
        return InputError(
            f"{path} is a model of characters: expected one of a series; use sample"
        )
    return InputError(
        f"{path} has no scaling and columns, as files of earlier versions: save it"
        f" again by train --weights {path} --data FILE --epochs 0 --save new.npz"
    )
