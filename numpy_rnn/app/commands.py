"""The commands: what each one does, the options that it takes besides those of the run, and examples of all options."""

import shlex
import shutil
import textwrap
from dataclasses import dataclass

from numpy_rnn.app.configuration import FILES, OUTPUT, RUN, SERIES, option
from numpy_rnn.app.results import MAX_GENERATED

SAVE_EVERY = 30.0  # seconds
LOG_EVERY = 10  # epochs
COMMANDS = {
    "train": "train a network and predict the series; the default command",
    "compare OTHER": "check this package and other implementations against each other, update by update",
    "study": "write a page about how the gradient is computed",
}
ABOUT = {
    "train": """\
Train an Elman network to predict the next row of a series. The default experiment is a sine wave of 20 points, one
point at a time for 300 epochs, and a network of six hidden units. With --text, train a character-level language model,
which predicts the next character of a text and writes texts of its own.""",
    "compare": """\
Run this package and other implementations on the same configuration. Print the losses of all of them, check every
update against its rounding bounds, report the first divergence and the mutant it resembles, and measure how far the
free-running losses drift apart. A mutant is an implementation with one common mistake. Exit status 1 if an
implementation is wrong.""",
    "study": """\
Execute the derivation of the gradient on one run: every equation checked by independent methods, the contribution of
every time step to the gradient, what each truncation keeps of it and what truncation costs, why gradients vanish or
explode, where implementations disagree, and what common mistakes do. Write a folder with an interactive page,
study.html, that works offline, its figures as SVG and PNG, and its numbers as JSON. Requires matplotlib, jinja2 and
latex2mathml; also uses torch and python-flint if they are installed.""",
}


@dataclass
class SharedOptions:
    """The options of all commands that are not of the run."""

    quiet: bool = option(False, OUTPUT, "print only warnings and errors")


@dataclass
class PlotOptions(SharedOptions):
    """Those of the commands that print losses and draw a plot."""

    plot: str | None = option(None, OUTPUT, "save the plot to this file", "FILE", default_text="{name}.png")
    show: bool = option(False, OUTPUT, "show the plot in a window; save it only with --plot")
    no_plot: bool = option(False, OUTPUT, "do not plot")
    log_every: int | None = option(
        None,
        OUTPUT,
        "print the loss of every N-th epoch; with --text, of every N-th update, and a sample",
        "N",
        minimum=1,
        default_text=f"{LOG_EVERY}; 1000 with --text",
    )
    generate: int | None = option(
        None,
        OUTPUT,
        "free-running steps after the rows trained on",
        "N",
        minimum=0,
        maximum=MAX_GENERATED,
        default_text="20, or as --held-out",
    )


@dataclass
class TrainOptions(PlotOptions):
    """Those of `train`."""

    sample: int | None = option(
        None,
        OUTPUT,
        "with --text: characters of each sample that the network writes",
        "N",
        minimum=0,
        maximum=MAX_GENERATED,
        default_text="200",
    )
    temperature: float | None = option(
        None,
        OUTPUT,
        "with --text: divide the outputs by T before a character is drawn; below 1 the samples are less random",
        "T",
        is_positive=True,
        default_text="1",
    )
    no_progress: bool = option(False, OUTPUT, "no progress bar (shown on a terminal, if the run takes longer than 2 s)")
    save: str | None = option(
        None, FILES, "save the weights and the state of the run as .npz, also after Ctrl-C", "FILE"
    )
    save_every: float | None = option(
        None, FILES, "time between two saves during the run", "SECONDS", minimum=0, default_text=f"{SAVE_EVERY:g}"
    )
    resume: str | None = option(None, FILES, "continue the run that --save wrote", "FILE")
    trace: str | None = option(None, FILES, "record every update with all intermediate values as .npz", "FILE")
    output: str | None = option(None, FILES, "write the losses and the predictions as .csv or .json", "FILE")


@dataclass
class CompareOptions(PlotOptions):
    """Those of `compare`."""

    plot: str | None = option(None, OUTPUT, "save the plot to this file", "FILE", default_text="compare.png")
    generate: int | None = option(
        20, OUTPUT, "free-running steps after the series", "N", minimum=0, maximum=MAX_GENERATED
    )
    output: str | None = option(None, FILES, "write the results of the comparison as .json", "FILE")
    port_timeout: float = option(
        10.0, FILES, "time limit for one answer of another implementation", "SECONDS", is_positive=True
    )


@dataclass
class StudyOptions(SharedOptions):
    """Those of `study`."""

    seeds: int = option(32, RUN, "number of networks trained, for the bands", "N", minimum=2)
    steps: int | None = option(
        None, SERIES, "study only the first N steps", "N", minimum=3, default_text="all, at most 40"
    )
    folder: str = option("study", FILES, "folder for the page, its figures and its numbers", "DIR")


OPTIONS: dict[str, type] = {"train": TrainOptions, "compare": CompareOptions, "study": StudyOptions}
STATUS = """\
Exit status: 0; 2 if the input cannot be used; 3 if the run diverged; 130 after Ctrl-C, 143 after SIGTERM, 129 after
SIGHUP."""
RESULTS = """\
--output writes the results of the run in full precision, in units of the series. A .csv has one row per value and the
columns kind, epoch, time, column, network, learning_rate and value, empty where one does not apply; kind is loss,
actual, predicted (one step ahead) or free-running. A .json has the keys format, package, version, series, columns,
configuration, epochs, losses, times, actual, predicted, free_running_times and free_running; its arrays have the axes
epoch or time, then learning rate and network if there are several, then column. With --text, a .csv has the losses
only, and a .json has format, package, version, text, alphabet, configuration, epochs, losses, smoothed_loss and
sample."""
OTHER = (
    "a package such as {other} or numpy_rnn.reference, a Python port as module:object, a program that speaks the"
    " protocol, or a trace file"
)
EXAMPLES = {
    "train": (
        ("", "the default experiment"),
        ("--epochs 1000 --log-every 100", "train longer, print every hundredth epoch"),
        ("--k1 1 --k2 5", "gradients over five steps (sliding window)"),
        ("--k1 20 --reduction mean", "one update per epoch, on the mean loss"),
        ("--hidden-size 12 --nonlinearity relu --bias --dtype float64", "another network"),
        ("--seed 7 --generate 100", "other initial weights, 100 free-running steps"),
        ("--seeds 100", "100 networks at once: median and band"),
        ("--learning-rate 0.01,0.03,0.1", "one network per learning rate, in one run"),
        ("--learning-rate 0.01,0.03 --seeds 20", "20 networks per learning rate"),
        ("--momentum 0.9 --nesterov --learning-rate 0.02", "Nesterov momentum, with a smaller learning rate"),
        ("--momentum 0.9 --dampening 0.9", "a running mean of the gradients"),
        ("--k1 20 --k2 20 --max-norm 0.1", "full BPTT, with gradient clipping against divergence"),
        ("--k1 20 --k2 20 --max-value 0.05 --nonlinearity sigmoid", "clipping by value, with the logistic function"),
        ("--adagrad --learning-rate 0.05", "Adagrad, which gives every weight a step of its own length"),
        ("--learn-initial-state", "train the initial hidden state too"),
        ("--save run.npz --save-every 10", "save the weights and the run, every 10 s and after Ctrl-C"),
        ("--resume run.npz --epochs 600 --save run.npz", "continue that run up to epoch 600, and save it"),
        ("--weights run.npz --no-plot", "start a new run from its weights; do not plot"),
        ("--output run.csv --quiet", "losses and predictions as a table; print nothing"),
        ("--trace trace.npz --epochs 10", "record every update with all intermediate values"),
        ("--data series.csv --columns 2", "the second column of your own series, one row per time step"),
        (
            "--data SN_y_tot_V2.0.csv --columns 2 --standardize --held-out 50 --hidden-size 8 --bias --reduction mean"
            " --k1 10 --k2 10 --learning-rate 0.01 --momentum 0.9 --weight-decay 1e-3 --max-norm 1 --epochs 100",
            "the yearly sunspot numbers as SILSO publishes them, with the last 50 years held out",
        ),
        ("--text book.txt", "a character-level language model, as min-char-rnn trains it on the text that you name"),
        ("--text book.txt --save book.npz --log-every 500 --sample 100", "save it; more rows, shorter samples"),
        (
            "--resume book.npz --epochs 200 --temperature 0.7 --save book.npz",
            "continue that run, with samples that are less random",
        ),
        ("--data shares.csv --loss cross_entropy", "rows of shares that sum to 1, predicted as distributions"),
        ("--plot sine.svg --show", "save the plot, and show it in a window"),
        ("--no-progress --seeds 1000", "no progress bar"),
    ),
    "compare": (
        ("compare {other}", "the same run in both packages; check every update"),
        ("compare {other} --momentum 0.9 --learning-rate 0.01", "with other options of the run"),
        ("compare {other} --output results.json --plot compare.pdf", "write the results as JSON, and save the plot"),
        ("compare {other} --text book.txt --hidden-size 20", "a character-level language model in both packages"),
        ("compare my_rnn:port", "check your own implementation"),
        ("compare {other} my_rnn:port", "check both at once"),
        ("compare trace.npz", "check a trace that --trace or another program wrote"),
    ),
    "study": (
        ("study", "the default experiment, in the folder study"),
        ("study --k1 1 --k2 5 --bias --seed 7 --folder sliding", "another run, in another folder"),
        (
            "study --nonlinearity relu --reduction mean --hidden-size 4 --dtype float64 --learn-initial-state",
            "another network",
        ),
        (
            "study --momentum 0.9 --dampening 0.5 --weight-decay 1e-4 --max-norm 1 --learning-rate 0.01",
            "another update",
        ),
        ("study --momentum 0.9 --nesterov --learning-rate 0.01", "Nesterov momentum"),
        (
            "study --data series.csv --columns 2 --standardize --steps 30 --epochs 50 --seeds 64",
            "the first 30 steps of your own series, with 64 networks",
        ),
        ("study --weights run.npz --quiet", "from weights that --save wrote; print nothing"),
    ),
}


def usage(command: str, name: str) -> str:
    """The usage line of a command."""
    words = {"train": "[train]", "compare": "compare OTHER ..."}.get(command, command)
    return f"python -m {name} {words} [options]"


def description(command: str, commands) -> str:
    """What a command does, wrapped; for `train`, whose help is that of the whole program, also all `commands`."""
    parts = [_filled(ABOUT[command])]
    if command == "train":
        known = {words: about for words, about in COMMANDS.items() if words.split()[0] in commands}
        listed = (_filled(f"{words:15}{about}", "  ", " " * 17) for words, about in known.items())
        parts += ["\n".join(["commands (each has its own --help):", *listed]), _filled(STATUS)]
    return "\n\n".join(parts)


def epilog(command: str, name: str, other: str) -> str:
    """The file formats and examples of a command, wrapped."""
    lines = ["examples:"]
    for words, about in EXAMPLES[command]:
        lines += [
            _filled(f"# {about}", "  ", "  # "),
            _command(f"python -m {name} {words.format(other=other)}".split()),
        ]
    return "\n".join(([_filled(RESULTS) + "\n"] if command == "train" else []) + lines)


def _width():
    return max(30, shutil.get_terminal_size().columns - 2)  # as in argparse


def _filled(text, first="", others=None):
    indents = {"initial_indent": first, "subsequent_indent": first if others is None else others}
    return textwrap.fill(text.replace("\n", " "), _width(), break_on_hyphens=False, **indents)


def _command(words):
    """A shell command, wrapped; an option stays on one line with its value."""
    pieces: list[str] = []
    for word in map(shlex.quote, words):
        if word.startswith("--") or not pieces:
            pieces.append(word)
        else:
            pieces[-1] += " " + word
    lines = ["    " + pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) + 3 > _width():
            lines[-1] += " \\"
            lines.append("       ")
        lines[-1] += " " + piece
    return "\n".join(lines)
