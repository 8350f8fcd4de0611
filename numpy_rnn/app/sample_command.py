"""The command `sample`: draw a text from a model of characters that was saved."""

from types import ModuleType

import numpy as np

from numpy_rnn.app.model_file import load_model
from numpy_rnn.app.networks import Networks
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import Progress
from numpy_rnn.app.text_model import classes_of, draw_text
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import checked_integer
from numpy_rnn.common.texts import printable


@np.errstate(all="ignore")  # what is not finite is reported
def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Draw a text, and print it after the start."""
    path = str(options.model)
    model = load_model(path)
    seed = checked_integer("--seed", options.seed, 0)
    if not model.alphabet:
        raise InputError(
            f"{path} is no model of characters: expected one that train --text saved;"
            " use predict for a series"
        )
    # Files of earlier versions do not say it; then it is the default of a text.
    nonlinearity = options.nonlinearity
    if model.options is not None:
        nonlinearity = model.options.objective.nonlinearity
    networks = Networks.from_arrays(rnn, model.params, nonlinearity)
    generator = np.random.default_rng(seed)
    start = classes_of(options.start, model.alphabet)
    if not len(start):
        start = generator.integers(len(model.alphabet), size=(1, 1))
    progress = Progress(options.length, "character")
    text = options.start + draw_text(
        networks,
        model.alphabet,
        start,
        options.length,
        options.temperature,
        generator,
        progress,
    )
    progress.clear()
    # Control characters could command a terminal.
    print(*map(printable, text.split("\n")), sep="\n")
    return 0
