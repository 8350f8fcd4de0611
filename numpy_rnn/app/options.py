"""The options of all commands: one table, their defaults, and their values."""

from argparse import ArgumentTypeError, BooleanOptionalAction
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from numpy_rnn.app.table_file import DECIMALS, DELIMITERS, INTERPOLATE
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import checked_integer, checked_positive
from numpy_rnn.common.option_checks import checked_schedule
from numpy_rnn.common.records import (
    DTYPES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    Dtype,
    LossName,
    Nonlinearity,
    Objective,
    Reduction,
    RunOptions,
    Schedule,
    Step,
)

# The commands that have an option, as words.
TRAINING = "train compare"
ALL_RUNS = "train compare study"
READING = "train compare study predict"
RESULTS = "train predict"

MISSING_WAYS = (INTERPOLATE,)
# Options that say how a table is read.
OPTIONS_OF_TABLES = (
    *("columns", "target", "time", "where"),
    *("missing", "delimiter", "decimal", "header"),
)

# The headings of --help, each above the option of this name.
HEADINGS = {
    "epochs": "run",
    "learning_rate": "update, as in torch.optim.SGD",
    "data": "series",
    "text": "text",
    "weights": "files and output",
    "predictions": "results",
}


def option(
    default: Any, description: str, commands: str = ALL_RUNS, **parsing: Any
) -> Any:
    """Declare an option as a field of `CommandOptions`.

    Parameters
    ----------
    default : object
        The value without the option. Its type is that of the values; None stands for
        text.
    description : str
        What --help says.
    commands : str
        The commands that have the option, as words.
    **parsing
        Keywords of argparse's `add_argument`, where the default does not give them.

    Returns
    -------
    dataclasses.Field
        The field, which type checkers see as its default.
    """
    if isinstance(default, bool):
        parsing.setdefault("action", BooleanOptionalAction)
    elif default is not None:
        parsing.setdefault("type", type(default))
    parsing["help"] = description
    return field(default=default, metadata={"commands": commands, "parsing": parsing})


def number_or_none(text: str) -> float | None:
    """Convert the value of an option that "none" turns off."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no number: expected a number or none"
        ) from None


@dataclass(frozen=True)
class CommandOptions:
    """The options of a command, and their values, as `make_options` makes them."""

    command: str
    others: Sequence[str]  # what `compare` compares
    given: Mapping[str, object]  # the values that were given
    model: str | None = None  # the file that `predict` and `sample` read
    loss: LossName = "squared_error"  # --text chooses it

    epochs: int = option(300, "passes over the series")
    hidden_size: int = option(6, "hidden units")
    k1: int = option(1, "new steps per update")
    k2: int = option(1, "steps that the gradient covers: --k1 or more")
    nonlinearity: Nonlinearity = option(
        "tanh", "of the units", choices=NONLINEARITY_NAMES
    )
    reduction: Reduction = option("sum", "of the losses", choices=REDUCTION_NAMES)
    bias: bool = option(False, "train biases")
    dtype: Dtype = option("float32", "of numbers", choices=DTYPES)
    seed: int = option(
        0, "seed of the initial weights, or of a sample", "train compare study sample"
    )
    seeds: int = option(
        1, "networks, with consecutive seeds from --seed; 32 in a study"
    )

    learning_rate: float = option(0.1, "learning rate")
    momentum: float = option(0.0, "momentum factor")
    dampening: float = option(0.0, "dampening of the momentum")
    nesterov: bool = option(False, "use Nesterov momentum")
    weight_decay: float = option(0.0, "L2 penalty")
    max_norm: float | None = option(
        None, "largest norm of a gradient, or none", type=number_or_none
    )
    max_value: float | None = option(
        None,
        "clip each number of the gradient to ± this, or none",
        TRAINING,
        type=number_or_none,
    )
    adagrad: bool = option(
        False,
        "divide by the root of the sum of squares so far",
        TRAINING,
    )

    data: str | None = option(
        None,
        "table of numbers, a row per time step (the sine wave); - is standard input",
        READING,
    )
    columns: str | None = option(
        None,
        "inputs: names, or numbers from 1, with commas (all but the time)",
        READING,
    )
    target: str | None = option(
        None, "columns that are predicted (the inputs)", "train compare"
    )
    time: str | None = option(
        None, "column with the time of the rows, or none (found)", READING
    )
    where: str | None = option(
        None, "COLUMN=VALUE: read only the rows with this value", READING
    )
    missing: str | None = option(
        None, "what to do with missing numbers (refuse)", READING, choices=MISSING_WAYS
    )
    delimiter: str | None = option(
        None, "between columns (found)", READING, choices=tuple(DELIMITERS)
    )
    decimal: str | None = option(
        None, "mark of decimals (found)", READING, choices=DECIMALS
    )
    header: bool | None = option(
        None,
        "the first line has names, or numbers (found)",
        READING,
        action=BooleanOptionalAction,
    )
    standardize: bool = option(False, "train on (value - mean) / deviation")
    held_out: int = option(
        0,
        "rows, or characters of a text, at the end to predict, but not to train on",
        "train",
    )
    forecast: int = option(
        0,
        "steps to predict after the last row, each from the predictions before",
        RESULTS,
    )
    steps: int | None = option(
        None,
        "first steps to study (all, up to 40) or to compare (up to 1000)",
        "study compare",
        type=int,
    )
    text: Sequence[str] | None = option(
        None,
        "train a character model of a text; several in this order; - is standard input",
        TRAINING,
        action="append",
        metavar="FILE",
    )
    sample: int = option(
        200,
        "characters of a sample of the model",
        "train",
    )
    temperature: float = option(
        1.0,
        "divides the outputs of the model",
        "train sample",
    )
    start: str = option("", "text that is continued (none)", "sample")
    length: int = option(200, "characters", "sample")

    weights: str | None = option(
        None, "start from the weights and velocity of a file that train saved"
    )
    save: str | None = option(
        None, "save the model as .npz, also after Ctrl-C", "train"
    )
    predictions: str | None = option(
        None, "write the predictions and the forecast as .csv", RESULTS
    )
    losses: str | None = option(None, "write the loss of each epoch as .csv", "train")
    plot: str | None = option(
        None,
        "file of the plot (PACKAGE.png, or compare.png; of predict none)",
        "train compare predict",
    )
    no_plot: bool = option(False, "do not plot", TRAINING, action="store_true")
    log_every: int = option(
        10,
        "epochs, or updates of a text, between printed lines",
        "train",
    )
    quiet: bool = option(
        False,
        "print nothing but errors",
        "train compare study predict",
        action="store_true",
    )
    timeout: float = option(
        10.0,
        "seconds for an answer of a program; a port in Python has 6 times that",
        "compare",
    )
    folder: str = option("study", "folder of the pages", "study")

    def run_options(self) -> RunOptions:
        """Return the options of `train`, each of which has a field of its name here."""
        names = (*Schedule._fields, *Objective._fields, *Step._fields)
        return RunOptions.from_keywords(**{name: getattr(self, name) for name in names})


DEFAULTS_OF_COMMAND: dict[str, dict[str, object]] = {
    "study": {"seeds": 32},
    "compare": {"steps": 1000},  # judging a text takes a while
}
# Defaults of a text, those of min-char-rnn, and of data.
DEFAULTS_OF: dict[str, dict[str, object]] = {
    "text": {
        "hidden_size": 100,
        "loss": "cross_entropy",
        "k1": 25,
        "k2": 25,
        "bias": True,
        "max_value": 5.0,
        "adagrad": True,
        "epochs": 100,
        "log_every": 1000,
    },
    "data": {
        "standardize": True,
        "hidden_size": 8,
        "bias": True,
        "reduction": "mean",
        "k1": 10,
        "k2": 10,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "max_norm": 1.0,
        "epochs": 200,
    },
}
RECORDED_EPOCHS = {"text": 1, "data": 10}  # of `compare`, which keeps all numbers
# Refusals, by the names of options.
LEAST = {  # whole numbers
    "sample": 0,
    "steps": 1,
    "seeds": 1,
    "log_every": 1,
    "forecast": 0,
    "length": 0,
}
POSITIVE = ("temperature", "timeout")
NOT_WITH = {
    "weights": ("hidden_size", "bias", "dtype", "seeds"),  # the file has them
    "text": ("data", "standardize", "seeds", "plot", "forecast", "predictions"),
    "plot": ("no_plot",),
}
ALLOWED = {("study", "seeds"), ("compare", "plot")}  # with any option
ONLY_WITH = {"sample": "text", "temperature": "text"}
ONLY_WITH.update(dict.fromkeys(OPTIONS_OF_TABLES, "data"))


def declarations_of(command: str) -> dict[str, dict[str, Any]]:
    """Return the keywords of argparse's `add_argument` of each option of a command.

    The help of an option ends with its default; if a series or a text of one's own has
    another one, with that too.
    """
    names = []
    for declared in fields(CommandOptions):
        if command in declared.metadata.get("commands", "").split():
            names.append(declared.name)
    sources = [source for source in ("data", "text") if source in names]
    declarations = {}
    for declared in fields(CommandOptions):
        if declared.name not in names:
            continue
        parsing = dict(declared.metadata["parsing"])
        plain = default_values(command, {}).get(declared.name, declared.default)
        is_off = plain is None or plain is False or plain == ""
        words = [] if is_off else [shown(plain)]
        for source in sources:
            values = default_values(command, {source: ""})
            value = values.get(declared.name, declared.default)
            if value != plain:
                words.append(f"--{source}: {shown(value)}")
        if words:
            parsing["help"] += f" ({'; '.join(words)})"
        declarations[declared.name] = parsing
    return declarations


def shown(value: object) -> str:
    """Return a default as help shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def option_name(name: str) -> str:
    """Return the option of a field, such as --hidden-size."""
    return "--" + name.replace("_", "-")


def option_words(name: str, value: object) -> str:
    """Return an option and its value as they are typed."""
    if isinstance(value, bool):
        return option_name(name if value else f"no_{name}")
    shown = "none" if value is None else value
    return f"{option_name(name)} {shown}"


def make_options(
    command: str = "train",
    others: Sequence[str] = (),
    **given: object,
) -> CommandOptions:
    """Make the options of a command from those that are given.

    Parameters
    ----------
    command : str
        The command.
    others : sequence of str
        What `compare` compares.
    **given
        The values that are given, by the names of the fields.

    Returns
    -------
    CommandOptions
        The values of all options.

    Raises
    ------
    InputError
        If options do not go together. `train` checks the others of the run.
    """
    check_together(command, given)
    values = default_values(command, given)
    options = CommandOptions(command, others, given, **(values | given))
    for name, least in LEAST.items():
        checked_integer(option_name(name), given.get(name, least), least)
    for name in POSITIVE:
        checked_positive(option_name(name), getattr(options, name))
    checked_schedule(options.run_options().schedule)
    return options


def check_together(command: str, given: Mapping[str, object]) -> None:
    """Raise InputError if one option excludes another, or needs one that is absent."""
    for name, excluded in NOT_WITH.items():
        for other in excluded:
            if given.keys() >= {name, other} and (command, other) not in ALLOWED:
                raise InputError(
                    f"{option_name(name)} and {option_name(other)} are both given:"
                    " leave one of them out"
                )
    for name, needed in ONLY_WITH.items():
        if name in given and needed not in given and command != "sample":
            raise InputError(
                f"{option_name(name)} is given without {option_name(needed)}: give both"
            )


def default_values(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that are not those of `CommandOptions`.

    Parameters
    ----------
    command : str
        The command.
    given : mapping of str to object
        The options that are given: a text and data have defaults of their own, a
        momentum turns adagrad off, and one of k1 and k2 limits the other.

    Returns
    -------
    dict of str to object
        The values by the names of the fields.
    """
    values: dict[str, Any] = {"k1": CommandOptions.k1}
    values.update(DEFAULTS_OF_COMMAND.get(command, {}))
    for source, defaults in DEFAULTS_OF.items():
        if source in given and command != "study":
            values.update(defaults)
            if command == "compare":
                values["epochs"] = RECORDED_EPOCHS[source]
    if given.get("momentum"):  # which adagrad has not
        values["adagrad"] = False
    if "k1" in given:
        values["k2"] = given["k1"]
    if "k2" in given:
        values["k1"] = max(1, min(values["k1"], given["k2"]))
    return values
