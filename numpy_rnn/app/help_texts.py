"""What --help says beside the options: what the commands do, and examples in which every option occurs."""

import shlex
import shutil
import textwrap

COMMANDS = {
    "train": "train a network and predict the series; the default where no command is given",
    "compare OTHER": "check this package and other implementations against each other, update by update",
    "study": "make a page on how the gradient comes about",
}
ABOUT = {
    "train": """\
An Elman network learns to predict the next row of a series. Without options: a sine wave, one point at a time, 300
epochs over 20 points, six hidden units.""",
    "compare": """\
Run this package and other implementations on the same configuration: their loss columns, every update of each held to
its rounding bounds, the first divergence with what it looks like, and the drift of all left to run freely. Exit status
1 when one of them is wrong.""",
    "study": """\
The derivation of the gradient, executed on one run: every equation beside independent witnesses, the item matrix and
what each truncation keeps of it, what truncation costs, why gradients vanish or explode, where implementations
disagree, and what the known mistakes do. Makes a folder with a page, study.html, that needs no network and can be
explored, its figures as SVG and PNG, and its numbers as JSON. Needs matplotlib; torch and python-flint are witnesses
where they are installed.""",
}
STATUS = """\
Exit status: 0; 2 for input that cannot be used; 3 for a run whose numbers went out of range; 130 after Ctrl-C, 143
after SIGTERM, 129 after SIGHUP."""
RESULTS = """\
--output writes the numbers of the run in full precision, in units of the series. A .csv has one row per value, with the
columns kind, epoch, time, column, network, learning_rate and value, empty where one does not apply; kind is loss,
actual, predicted (one step ahead) or free-running. A .json has the keys format, package, version, series, columns,
configuration, epochs, losses, times, actual, predicted, free_running_times and free_running; its arrays have the axes
epoch or time, then learning rate and network where there are several, then column."""
OTHER = (
    "a package such as {other} or numpy_rnn.reference, a Python port as module:object, a program that speaks the"
    " protocol, or a trace file"
)
EXAMPLES = {
    "train": (
        ("", "the default experiment"),
        ("--epochs 1000 --log-every 100", "longer, and every hundredth epoch printed"),
        ("--k1 1 --k2 5", "gradients that reach five steps back"),
        ("--k1 20 --reduction mean", "one update an epoch, by the mean loss"),
        ("--hidden-size 12 --nonlinearity relu --bias --dtype float64", "another network"),
        ("--seed 7 --generate 100", "other initial weights; the network runs on freely for 100 steps"),
        ("--seeds 100", "100 initial weights at once: median and band"),
        ("--learning-rate 0.01,0.03,0.1", "a network for every rate, in one run"),
        ("--learning-rate 0.01,0.03 --seeds 20", "20 for every rate"),
        ("--momentum 0.9 --nesterov --learning-rate 0.02", "Nesterov momentum, with a smaller rate"),
        ("--momentum 0.9 --dampening 0.9", "a running mean of the gradients"),
        ("--k1 20 --k2 20 --max-norm 0.1", "full BPTT, with clipping so that it does not diverge"),
        ("--learn-initial-state", "the state that every epoch starts from is learned too"),
        ("--save run.npz --save-every 10", "keep the weights, and the run; also after Ctrl-C"),
        ("--resume run.npz --epochs 600 --save run.npz", "continue that run to epoch 600, and save it"),
        ("--weights run.npz --no-plot", "start anew from its weights; no picture"),
        ("--output run.csv --quiet", "losses and predictions as a table for other programs; nothing printed"),
        ("--trace trace.npz --epochs 10", "everything of every update, in one file"),
        ("--data series.csv --columns 2", "a series of your own, a row a time step: its second column"),
        (
            "--data SN_y_tot_V2.0.csv --columns 2 --standardize --held-out 50 --hidden-size 8 --bias --reduction mean"
            " --k1 10 --k2 10 --learning-rate 0.01 --momentum 0.9 --weight-decay 1e-3 --max-norm 1 --epochs 100",
            "the yearly sunspot numbers as SILSO publishes them, the last 50 years kept from training",
        ),
        ("--plot sine.svg --show", "the picture as a file, and in a window"),
        ("--no-progress --seeds 1000", "no progress bar"),
    ),
    "compare": (
        ("compare {other}", "the same run in both packages, every update judged"),
        ("compare {other} --momentum 0.9 --learning-rate 0.01", "with these options, or any others of the run"),
        ("compare {other} --json found.json --plot compare.pdf", "what was found, as numbers and as a picture"),
        ("compare my_rnn:port", "the same against an implementation of your own"),
        ("compare {other} my_rnn:port", "all three at once"),
        ("compare trace.npz", "a trace, from --trace or from any other program"),
    ),
    "study": (
        ("study", "of the default experiment, into the folder study"),
        ("study --k1 1 --k2 5 --bias --seed 7 --folder sliding", "of another run"),
        (
            "study --nonlinearity relu --reduction mean --hidden-size 4 --dtype float64 --learn-initial-state",
            "of another network",
        ),
        (
            "study --momentum 0.9 --dampening 0.5 --weight-decay 1e-4 --max-norm 1 --learning-rate 0.01",
            "with another update",
        ),
        ("study --momentum 0.9 --nesterov --learning-rate 0.01", "and with another"),
        (
            "study --data series.csv --columns 2 --standardize --steps 30 --epochs 50 --seeds 64",
            "of the first 30 steps of your own series, on 64 networks",
        ),
        ("study --weights run.npz --quiet", "from weights that --save wrote; nothing printed"),
    ),
}


def usage(command: str, name: str) -> str:
    """How the command is called."""
    words = {"train": "[train]", "compare": "compare OTHER ..."}.get(command, command)
    return f"python -m {name} {words} [options]"


def description(command: str, commands) -> str:
    """What a command does, and for `train`, which stands for the whole program, all `commands`; wrapped."""
    parts = [_filled(ABOUT[command])]
    if command == "train":
        known = {words: about for words, about in COMMANDS.items() if words.split()[0] in commands}
        listed = (_filled(f"{words:15}{about}", "  ", " " * 17) for words, about in known.items())
        parts += ["\n".join(["commands, each with a --help of its own:", *listed]), _filled(STATUS)]
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
    return max(30, shutil.get_terminal_size().columns - 2)  # as argparse has it


def _filled(text, first="", others=None):
    indents = {"initial_indent": first, "subsequent_indent": first if others is None else others}
    return textwrap.fill(text.replace("\n", " "), _width(), break_on_hyphens=False, **indents)


def _command(words):
    """A command for a shell on as many lines as it needs; an option stays with its value."""
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
