"""The options of all commands: one table, their defaults, and their values."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from numpy_rnn.common.checks import check_schedule
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_positive
from numpy_rnn.common.records import (
    DTYPES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    Objective,
    RunOptions,
    Schedule,
    Step,
)

TRAINING = ("train", "compare")
RUNS = (*TRAINING, "study")


def number_or_none(text: str) -> float | None:
    """Convert the value of an option that "none" turns off."""
    return None if text == "none" else float(text)


class Option(NamedTuple):
    """An option, and the attribute of a Configuration that has its value."""

    name: str  # of the attribute, and of a record's field
    kind: Any  # a type, a tuple of choices, bool (--name, --no-name), or None, a flag
    default: Any
    help: str
    commands: tuple[str, ...] = RUNS


# By group of --help.
OPTION_GROUPS = {
    "run": [
        Option("epochs", int, 300, "passes over the series"),
        Option("hidden_size", int, 6, "hidden units"),
        Option("k1", int, 1, "new steps per update"),
        Option("k2", int, None, "steps that the gradient covers, with the new (k1)"),
        Option("nonlinearity", NONLINEARITY_NAMES, "tanh", "of the units"),
        Option("reduction", REDUCTION_NAMES, "sum", "of the losses"),
        Option("bias", bool, False, "train biases"),
        Option("dtype", DTYPES, "float32", "of numbers"),
        Option("seed", int, 0, "seed of the initial weights"),
        Option("seeds", int, None, "networks, with consecutive seeds from --seed"),
    ],
    "update, as in torch.optim.SGD": [
        Option("learning_rate", float, 0.1, "learning rate"),
        Option("momentum", float, 0.0, "momentum factor"),
        Option("dampening", float, 0.0, "dampening of the momentum"),
        Option("nesterov", bool, False, "use Nesterov momentum"),
        Option("weight_decay", float, 0.0, "L2 penalty"),
        Option("max_norm", number_or_none, None, "largest norm of a gradient, or none"),
        Option(
            "max_value",
            number_or_none,
            None,
            "clip each number of the gradient to ± this, or none",
            TRAINING,
        ),
        Option(
            "adagrad",
            bool,
            False,
            "divide by the root of the sum of squares so far",
            TRAINING,
        ),
    ],
    "series": [
        Option("data", str, None, "file of numbers, a row per step (the sine wave)"),
        Option("columns", str, None, "names or numbers from 1, with commas (all)"),
        Option("standardize", bool, False, "train on (value - mean) / deviation"),
        Option(
            "held_out",
            int,
            0,
            "rows at the end to predict, but not to train on",
            ("train",),
        ),
        Option(
            "steps",
            int,
            None,
            "first steps to study (all, up to 40) or to compare (up to 1000)",
            ("study", "compare"),
        ),
        Option("text", str, None, "train a character model of a text", TRAINING),
        Option("sample", int, 200, "characters of a sample of the model", ("train",)),
        Option("temperature", float, 1.0, "divides the outputs of it", ("train",)),
    ],
    "files and output": [
        Option("weights", str, None, "start from the weights and velocity of a file"),
        Option("save", str, None, "save them as .npz, also after Ctrl-C", ("train",)),
        Option("output", str, None, "write losses, predictions as .csv", ("train",)),
        Option("plot", str, None, "file of the plot (COMMAND.png)", TRAINING),
        Option("no_plot", None, False, "do not plot", TRAINING),
        Option(
            "log_every",
            int,
            10,
            "epochs, or updates of a text, between printed lines",
            ("train",),
        ),
        Option("timeout", float, 10.0, "seconds for an answer of a port", ("compare",)),
        Option("folder", str, "study", "folder of the pages", ("study",)),
    ],
}
ALL_OPTIONS = [option for options in OPTION_GROUPS.values() for option in options]
DEFAULTS = {option.name: option.default for option in ALL_OPTIONS}
DEFAULTS["loss"] = "squared_error"
# Defaults of a text, those of min-char-rnn, and of data.
DEFAULTS_OF = {
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
DEFAULTS_OF_COMMAND = {
    "study": {"seeds": 32},
    "compare": {"steps": 1000},  # judging a text takes a while
}
RECORDED_EPOCHS = {"text": 1, "data": 10}  # of `compare`, which keeps all numbers
EXCLUDED = {
    "weights": ("hidden_size", "bias", "dtype", "seeds"),  # the file has them
    "text": ("data", "standardize", "held_out", "seeds"),
    "plot": ("no_plot",),
    "save": ("seeds",),
}
NEEDED_WITH = {"columns": "data", "sample": "text", "temperature": "text"}


def option_name(name: str) -> str:
    """Return the option of an attribute, such as --hidden-size."""
    return "--" + name.replace("_", "-")


def option_words(name: str, value: Any) -> str:
    """Return an option and its value as they are typed."""
    if value is True:
        return option_name(name)
    if value is False:
        return option_name("no_" + name)
    shown = "none" if value is None else value
    return f"{option_name(name)} {shown}"


class Configuration(SimpleNamespace):
    """The values of all options; `given` has those that were given.

    forced: defaults that what is compared needs, in place of the usual ones. Raises
    InputError on options that do not go together. `train` checks the others of the run.
    """

    def __init__(
        self,
        command: str = "train",
        others: Sequence[str] = (),
        forced: Mapping[str, Any] | None = None,
        **given: Any,
    ):
        values = defaults_of(command, given) | dict(forced or {}) | given
        super().__init__(command=command, others=others, given=given, **values)
        for name, others in EXCLUDED.items():
            for other in others:
                is_study = command == "study" and other == "seeds"
                if given.keys() >= {name, other} and not is_study:
                    both = f"{option_name(name)} and {option_name(other)}"
                    raise InputError(f"{both} are both given: leave one of them out")
        for name, other in NEEDED_WITH.items():
            if name in given and other not in given:
                missing = option_name(other)
                raise InputError(
                    f"{option_name(name)} is given without {missing}: give both"
                )
        for name in ("temperature", "timeout", "steps", "seeds", "log_every"):
            if name in given:
                check_positive(option_name(name), given[name])
        check_schedule(self.run_options().schedule)

    def run_options(self) -> RunOptions:
        """Return the options of `train`."""
        names = (*Schedule._fields, *Objective._fields, *Step._fields)
        for name in names:
            if name not in DEFAULTS:
                raise InputError(
                    f"{name} has no option: add it to OPTION_GROUPS of app/options.py"
                )
        return RunOptions.from_keywords(**{name: getattr(self, name) for name in names})


def defaults_of(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a command.

    Parameters
    ----------
    command : str
        The command.
    given : mapping of str to object
        The options that are given: a text and data have defaults of their own, and
        one of k1 and k2 limits the other.

    Returns
    -------
    dict of str to object
        The value of every option.
    """
    values = dict(DEFAULTS)
    values |= DEFAULTS_OF_COMMAND.get(command, {})
    for source, own in DEFAULTS_OF.items():
        if source in given and command != "study":
            values |= own
            if command == "compare":
                values["epochs"] = RECORDED_EPOCHS[source]
    if "k1" in given or values["k2"] is None:
        values["k2"] = given.get("k1", values["k1"])
    values["k1"] = min(values["k1"], given.get("k2", values["k1"]))
    return values
