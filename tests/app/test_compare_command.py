"""The command `compare`: right implementations agree, wrong ones are named in the first
line.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app import compare_runs
from numpy_rnn.app.compare_command import (
    examine,
    find_sources,
    is_program,
    subject_of,
)
from numpy_rnn.app.compare_plot import SMALLEST_RATIO, draw_comparisons
from numpy_rnn.app.compare_report import (
    NO_OVERFLOW,
    ComparedRun,
    Comparison,
    comparison_report,
    faults,
    ratio_cell,
)
from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.figures import RED
from numpy_rnn.app.options import make_options
from numpy_rnn.common.records import Window
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.coverage import WHOLE_RUN, Coverage
from numpy_rnn.conformance.definition import DEFINITION, Definition, train
from numpy_rnn.conformance.ports.abilities import EVERYTHING
from numpy_rnn.conformance.runs.judge import Judgement
from numpy_rnn.conformance.runs.requirements import facts_of_run
from numpy_rnn.conformance.tested import Subject
from numpy_rnn.conformance.trace import trace_arrays
from numpy_rnn.conformance.verdicts import Finding
from tests.helpers.command_line import command, rows_of, train_options
from tests.helpers.random_runs import record

MAGNITUDES = [0.0, 5e-324, 1e-300, 1e-45, 1e-40, 1e-22, 1e-8, 1.0]  # squares underflow
MADE_PORTS = """
import numpy as np
import numpy_rnn
from numpy_rnn.app import compare_runs
from numpy_rnn.conformance.ports.port import PackagePort

class right:
    name = "my RNN"
    dtypes = ("float32",)
    capabilities = ()

    def window_update(self, p, **case):
        report = PackagePort(numpy_rnn).window_update(p, **case)
        known = {"loss", *p}
        for name in p:
            known |= {"d" + name, "v" + name}
        return {name: value for name, value in report.items() if name in known}

class wrong(right):
    def window_update(self, p, learning_rate, **case):
        report = super().window_update(p, learning_rate=learning_rate, **case)
        for name, W in p.items():
            report["d" + name] = 2 * report["d" + name]
            report[name] = W - np.float32(learning_rate) * report["d" + name]
        return report

class rows(right):  # vectors in, classes out
    capabilities = ("cross_entropy",)
    lacks = ("squared_error",)

class Alone:
    # in plain NumPy; its mistakes are attributes

    name = "alone"
    dtypes = ("float32", "float64")
    lacks = ("relu", "mean", "bias")
    recurrent = staticmethod(lambda da, W_hh: da @ W_hh.T)
    start = staticmethod(lambda h_0: h_0)

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        h = [self.start(h_0)]
        da = 0 * h_0
        loss = 0
        d = {name: 0 * W for name, W in p.items()}
        for x_t in x:
            h.append(np.tanh(x_t @ p["W_xh"] + h[-1] @ p["W_hh"]))
        for t in reversed(range(len(x))):
            k = t - len(x) + len(target)
            dy = h[t + 1] @ p["W_hy"] - target[k] if k >= 0 else 0 * target[0]
            later = self.recurrent(da, p["W_hh"])
            da = (dy @ p["W_hy"].T + later) * (1 - h[t + 1] ** 2)
            loss += (dy * dy).sum() / 2
            d["W_xh"] += x[t].T @ da
            d["W_hh"] += h[t].T @ da
            d["W_hy"] += h[t + 1].T @ dy
        rate = h_0.dtype.type(learning_rate)
        new = {name: W - rate * d[name] for name, W in p.items()}
        return {"loss": loss} | {"d" + name: dW for name, dW in d.items()} | new

class without_bptt(Alone):
    recurrent = staticmethod(lambda da, W_hh: 0)

class untransposed(Alone):
    recurrent = staticmethod(lambda da, W_hh: da @ W_hh)

class without_h_0(Alone):
    start = staticmethod(lambda h_0: 0 * h_0)

class chunks(Alone):
    name = "my chunks"
    lacks = (*Alone.lacks, "older steps")

class stateless(Alone):
    lacks = (*Alone.lacks, "h_0")
    dtypes = ("float64",)

class means(right):
    name = "means"
    lacks = ("sum", "no biases", "older steps")

class no_clip(right):
    name = "no clip"
    lacks = ()
    capabilities = ("class_inputs", "cross_entropy", "adagrad")

class long(right):
    name = "long"
    sizes = {"T": 60}

class wide(right):
    name = "wide"
    sizes = {"D": 3}

class batched(right):
    name = "batched"
    sizes = [{"B": 2, "H": 4}, {"B": 3, "H": 5, "D": 2}]

class unsafe(right):  # its exponentials overflow
    capabilities = ("cross_entropy", "class_inputs")
    lacks = ("plain SGD",)
    capabilities += ("adagrad", "clip_by_value")

    def window_update(self, p, **case):
        report = super().window_update(p, **case)
        return report | {"loss": np.float32(-np.inf)}

class ending(wrong):
    windows = 3

    def window_update(self, p, **case):
        self.windows -= 1
        if self.windows < 0:
            raise ValueError("no window any more")
        return super().window_update(p, **case)

class failing(right):
    def window_update(self, p, **case):
        raise ValueError("no window today")
"""


@pytest.fixture
def compare(capsys, tmp_path, monkeypatch):
    """Run `compare` in a folder with ports: its status, lines, and errors."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_ports.py").write_text(MADE_PORTS)

    def run(words):
        ended = command(numpy_rnn, capsys, "compare", *words.split(), "--no-plot")
        return ended.status, ended.out.splitlines(), ended.err

    return run


def recorded(words, definition=DEFINITION):
    """Return the run of these options by the definition, or by other equations."""
    run = prepare_experiment(train_options(words)).run
    return record(run, train(run, definition=definition))


@pytest.mark.needs_torch
def test_packages_agree(compare):
    """The table has a column for each of them."""
    options = "--epochs 2 --k1 3 --k2 7 --seeds 2 --momentum 0.5 --max-norm 0.05"
    status, lines, _ = compare(f"torch_rnn {options}")
    assert status == 0, lines
    assert lines[1].startswith("numpy_rnn and torch_rnn agree with the definition: ")
    assert ["tensor", "equation", "numpy_rnn", "torch_rnn"] in [
        line.split() for line in lines
    ]


@pytest.mark.parametrize("size", MAGNITUDES)
@pytest.mark.parametrize(
    "options", ["--max-norm 1e300", "--dtype float64 --bias --adagrad"]
)
def test_right_implementation_agrees_on_series_of_any_size(compare, size, options):
    """It agrees too where all losses are exactly 0, or their last digits are those of
    subnormal numbers.
    """
    np.savetxt("s.csv", np.array([1.0, 0.3, -1.0, 0.3, 0.3, 0.0, 0.0]) * size)
    plain = "--no-standardize --no-bias --reduction sum --k1 1 --learning-rate 0.1"
    words = f"--data s.csv --epochs 3 {plain} --momentum 0 --max-norm none {options}"
    status, lines, _ = compare(f"numpy_rnn.reference {words}")
    assert (status, lines[1][:41]) == (0, "numpy_rnn and numpy_rnn.reference agree w")


MISTAKES = {
    "without_bptt": "WRONG dW_xh (B4): the flow back left out",
    "untransposed": "WRONG dW_xh (B4): W_hh used without its transpose",
    "without_h_0": "WRONG loss (L1, L2): zeros for h_0",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_through_time_are_named_without_k1_and_k2(compare, name):
    """Each mistake shows only where a state or a gradient goes through time."""
    status, lines, _ = compare(f"made_ports:{name} --epochs 5")
    assert (status, lines[1]) == (1, MISTAKES[name])
    # The first windows of five steps start from h_0, as in a program without it.
    number = 6 if name == "without_h_0" else 2
    assert lines[2].startswith(f"  epoch 1, update {number}: ")
    assert lines[3] == "  in windows of 5 steps"


AGREE = "numpy_rnn and numpy_rnn.reference agree with the definition: every update is"
COVERED = f"""
numpy_rnn.reference --steps 3 → {AGREE} within its rounding bounds in 1,080 windows → go back 2 steps → 300 epochs, 600 of 1,080 windows → rate 0.1;
numpy_rnn.reference --epochs 2 --k1 7 --momentum 0.5 → {AGREE} within its rounding bounds in 6 windows → go back 6 steps → 2 epochs, 4 of 6 windows → rate 0.1, momentum;
numpy_rnn.reference --epochs 1 --k1 1 → {AGREE} within its rounding bounds in 20 windows; but no gradient went back a step: use --k2 5 → go back 0 steps → 1 epoch, 19 of 20 windows → rate 0.1;
1.npz → 1.npz agrees with the definition: every update is within its rounding bounds in 20 windows; but no gradient went back a step: record a run with k2 5 → go back 0 steps → 1 epoch, 19 of 20 windows → rate 0.1;
3.npz → 3.npz agrees with the definition: every update is within its rounding bounds in 7 windows → go back 2 steps → 1 epoch, 6 of 7 windows → rate 0.1;
"""  # noqa: E501


def test_verdict_names_what_it_covers(compare):
    """Two runs are made without --k1 and --k2. A line says if no gradient went back."""
    for k1 in (1, 3):
        np.savez(f"{k1}.npz", **trace_arrays(recorded(f"--k1 {k1} --epochs 1")))
    for words, verdict, *parts in rows_of(COVERED):
        status, lines, _ = compare(words)
        assert status == 0
        assert verdict in lines
        text = " ".join(" ".join(lines[lines.index(verdict) + 1 :]).split())
        assert text.startswith("tested ")
        for part in parts:
            assert part in text.partition("not tested")[0]


CHOSEN = """
chunks → chosen for what my chunks has: --k1 5 --k2 5
chunks --k2 4 → chosen for what my chunks has: --k1 4 --k2 4
stateless → chosen for what alone has: --dtype float64 --k1 20 --k2 20
stateless --data s.csv → chosen for what alone has: --reduction sum --no-bias --max-norm none --momentum 0.0 --dtype float64 --k1 4 --k2 4
means → chosen for what means has: --reduction mean --bias --k1 5 --k2 5
no_clip --text a.txt --hidden-size 3 → chosen for what no clip has: --max-value none
"""  # noqa: E501


def test_what_a_port_has_sets_the_defaults_of_its_run(compare):
    """The first line says what was chosen; every one of these ports is right."""
    Path("a.txt").write_text("a man, a plan, a canal: panama! " * 2)
    np.savetxt("s.csv", [1.0, 3, 2, 5, 3])
    for words, chosen in rows_of(CHOSEN):
        status, lines, error = compare(f"made_ports:{words} --epochs 1")
        assert (status, error) == (0, ""), lines
        assert lines[0] == chosen
        assert " agrees with the definition: " in lines[2]


def test_long_text_is_cut(compare):
    """A line tells both numbers of steps."""
    Path("a.txt").write_text("a man, a plan, a canal: panama! " * 40)
    words = "numpy_rnn.reference --text a.txt --hidden-size 3 --steps 50"
    status, lines, _ = compare(words)
    told = "the first 50 of 1275 steps are compared; --steps changes their number"
    assert (status, lines[0]) == (0, told)
    assert " T=50 " in lines[1]


UNFIT = """
made_ports:means --reduction sum --no-bias --k1 2 --k2 4 --seeds 3 → means has no reduction 'sum', no network without biases, no window with older steps, which have no loss, no ensemble of networks: use --reduction mean --bias --seeds 1 --k1 4 --k2 4
made_ports:stateless --dtype float32 --k1 3 --k2 5 --bias --momentum 0.5 → alone has no biases, no state that is carried from window to window, no momentum, no float32: use --no-bias --momentum 0.0 --dtype float64 --k1 20 --k2 20
made_ports:no_clip --text a.txt --max-value 5 → no clip has no clipping by value: use --max-value none
made_ports:chunks --text a.txt → my chunks has no loss 'cross_entropy', no inputs that are classes: use --data FILE
made_ports:rows --text a.txt → my RNN has other inputs or another loss: no data of `compare` fit; expected a run of the suite, pytest --pyargs numpy_rnn.conformance --elman-backend my_rnn:port
made_ports:long → long has no sizes but k1 = 60, k2 = 60: use --data FILE with more than 60 rows, as windows have 60 steps
made_ports:wide → wide has no sizes but D = 3: use --data FILE with 3 columns
made_ports:batched → batched has no sizes but B = 2, H = 4: use pytest --pyargs numpy_rnn.conformance --elman-backend my_rnn:port
made_ports:right --epochs 0 → --epochs is 0: expected a whole number, 1 or more
"""  # noqa: E501


def test_options_that_a_port_cannot_have_are_refused_in_one_message(compare):
    """The message names all options to change."""
    Path("a.txt").write_text("a man, a plan, a canal: panama! " * 2)
    for words, message in rows_of(UNFIT):
        assert compare(f"--epochs 1 {words}") == (2, [], f"numpy_rnn: {message}\n")


def test_series_is_cut_to_whole_windows(compare):
    """A port with one length of windows has none that is shorter."""
    np.savetxt("s.csv", np.sin(np.arange(130.0)))
    words = "made_ports:long --data s.csv --epochs 1"
    status, lines, _ = compare(words)
    told = "the first 120 of 129 steps are compared; --steps changes their number"
    assert (status, lines[0]) == (0, told)


def test_loss_that_overflows_has_its_advice(compare):
    Path("a.txt").write_text("a man, a plan, a canal: panama! " * 2)
    status, lines, _ = compare("made_ports:unsafe --text a.txt --hidden-size 3")
    assert status == 1
    assert lines[-1] == (
        "FAILED my RNN: loss is -inf: expected a finite number, in update 1 of the run;"
        " subtract the largest output of each row, as in log-sum-exp"
    )


def test_trace_without_its_last_window_is_described_with_its_epochs(compare):
    run = recorded("--k1 3 --epochs 2")
    np.savez("short.npz", **trace_arrays(run.upto(run.length - 1)))
    status, lines, _ = compare("short.npz")
    assert status == 1
    assert "update 7: this window is missing" in lines[2]
    assert "the loop: 2 epochs, 11 of 13 windows" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("sign", [1, -1])
def test_trace_without_velocities_is_judged_in_all_else(compare, sign):
    """What is in place of the velocities is said; a wrong update is named."""
    run = recorded("--k1 3 --epochs 2 --momentum 0.9")
    arrays = {n: v for n, v in trace_arrays(run).items() if n[:2] != "vW"}
    if sign < 0:
        before = np.concatenate((arrays["initial_W_hy"][None], arrays["W_hy"][:-1]))
        arrays["W_hy"][5:] = 2 * before[5:] - arrays["W_hy"][5:]
    np.savez("momentum.npz", **arrays)
    status, lines, _ = compare("momentum.npz")
    text = " ".join(" ".join(lines).split())
    assert "velocities, in whose place are those of the gradients" in text
    assert (status, "WRONG W_hy (U5, U1)" in text) == ((sign < 0), sign < 0)


def test_port_with_a_loss_that_no_data_have(compare, monkeypatch):
    """No option is named that would not help."""
    monkeypatch.setattr(compare_runs, "run_defaults", lambda _: {"loss": "another"})
    status, lines, error = compare("made_ports:right --epochs 1")
    assert (status, lines) == (2, [])
    assert "no data of `compare` fit" in error
    assert "FILE" not in error


TITLES = {
    "right": "my RNN: within the rounding bounds",
    "ending": "my RNN: WRONG dW_xh (B4): gradients × 2",
}


def compared(words, **options):
    """Return what `compare` finds in the source of these words."""
    options = make_options("compare", [words], **options)
    (source,) = find_sources(numpy_rnn, options)
    runs = [examine(source, prepare_experiment(options).run)]
    return Comparison(source.name, source.tau, runs, subject_of(source, runs[0].run))


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("name", TITLES)
def test_plot_has_a_bar_for_each_tensor_and_names_the_first_fault(compare, name):
    """The bars are the largest ratios; the line is at 1; the first wrong tensor alone
    has the colour of faults. The losses are beside them.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    compare(f"made_ports:{name} --epochs 1")  # the folder of the ports is searched
    found = compared(f"made_ports:{name}", epochs=2, k2=5, bias=True, momentum=0.5)
    draw_comparisons(figure := Figure(), [found])
    axes, losses = figure.axes
    worst = found.runs[0].judgement.worst
    labels = [label.get_text().split()[0] for label in axes.get_yticklabels()]
    assert {*labels} == {*worst}
    assert {"loss", "dW_hh", "vW_hh", "W_hh", "b_y"} <= {*labels}
    faults = []
    for bar in axes.patches:
        tensor = labels[round(bar.get_y() + bar.get_height() / 2)]
        assert bar.get_width() == max(worst[tensor], SMALLEST_RATIO)
        if to_rgb(bar.get_facecolor()) == to_rgb(RED):
            faults.append(tensor)
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 1]]
    assert axes.get_xlim()[1] > max(1, *worst.values())
    texts = [text.get_text() for text in axes.texts]
    if name == "right":
        assert (faults, texts) == ([], ["bound"])
    else:
        assert faults == ["dW_xh"]
        assert texts == [f"first wrong: {worst['dW_xh']:.0e}", "bound"]
    assert figure.get_suptitle() == TITLES[name]
    drawn = [line.get_ydata() for line in losses.lines]
    if name == "right":  # the other one ends within its first epoch
        drawn = [*drawn[0]]
    assert drawn == found.runs[0].losses[:, 0].tolist()


@pytest.mark.needs_matplotlib
def test_plot_has_the_width_of_a_page_whatever_is_compared(compare):
    from matplotlib.figure import Figure

    compare("made_ports:right --epochs 1")
    found = compared("made_ports:right", epochs=1, k2=5)
    for count in (1, 2, 5):
        draw_comparisons(figure := Figure(), [found] * count)
        assert figure.get_figwidth() == 8
        assert figure.get_figheight() < 12


def test_arguments_of_a_program_may_have_colons():
    assert is_program("sh -c a:b")
    assert not is_program("my_rnn:port sh")


def test_failure_of_a_port_is_one_line(compare):
    status, lines, error = compare("made_ports:failing --epochs 1")
    assert (status, error) == (1, "")
    assert lines[-1].startswith(
        "FAILED my RNN raises ValueError: no window today (made_ports.py"
    )


FAULTY = """
idle → return iter(()) → FAILED idle: train yields nothing: expected updates
broken → raise KeyError(5) → FAILED broken raises KeyError: 5 (broken.py line 3: raise KeyError(5))
"""  # noqa: E501


def test_failure_of_a_package_is_one_line(compare):
    for name, body, failure in rows_of(FAULTY):
        code = f"from numpy_rnn.reference import *\ndef train(*a, **b):\n    {body}"
        Path(f"{name}.py").write_text(code)
        status, lines, error = compare(f"{name} --epochs 1")
        assert (status, lines[1:], error) == (1, [failure], "")


def test_trace_is_judged_with_its_own_options(compare):
    """A wrong trace is told its mistake, a short one is refused, and so are options."""
    mistake = Definition(
        state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])
    )
    words = "--k1 3 --k2 5 --epochs 2"
    right = recorded(words)
    wrong = recorded(words, mistake)
    ends = {
        "right": (right, " agrees with the definition: "),
        "wrong": (wrong, "WRONG dh (B2): the flow back left out"),
        "short": (
            right.upto(9),
            "is missing: the number of updates in this epoch is 2, expected 7",
        ),
    }
    for name, (run, words) in ends.items():
        np.savez(f"{name}.npz", **trace_arrays(run))
        status, lines, _ = compare(f"{name}.npz")
        assert (status, words in lines[1] + lines[2]) == (int(name != "right"), True)
    for words in ("right.npz --k1 5", "right.npz wrong.npz"):
        status, lines, error = compare(words)
        assert (status, lines) == (2, [])
        assert "expected one trace, whose run is repeated" in error


def test_updates_before_an_overflow_are_judged(compare):
    options = "--nonlinearity relu --learning-rate 1e15 --epochs 2"
    status, lines, _ = compare(f"numpy_rnn.reference {options}")
    assert status == 0
    assert sum(" overflows after " in line for line in lines) == 4


@pytest.mark.needs_matplotlib
def test_nothing_is_shown_of_runs_without_a_judged_update(capsys):
    """There are no ratios to print or to draw, and nothing was checked."""
    words = "compare numpy_rnn.reference --epochs 1 --learning-rate 1e39 --plot p.png"
    ended = command(numpy_rnn, capsys, *words.split())
    _, *lines = ended.out.splitlines()
    update = "the first update of TBPTT(1, 1)"
    assert lines == [
        f"NOT JUDGED of {name}: {update} overflows float32; {NO_OVERFLOW}"
        for name in ("numpy_rnn", "numpy_rnn.reference")
    ]
    assert (ended.status, ended.err, os.listdir()) == (1, "", [])


@pytest.mark.needs_matplotlib
def test_each_run_has_a_judged_update(capsys, compare):
    """The first update of the second run alone overflows: the first has an update."""
    words = "compare made_ports:chunks --epochs 1 --seed 56 --learning-rate 3e38"
    ended = command(numpy_rnn, capsys, *words.split(), "--plot", "p.png")
    verdict = f"the first update of TBPTT(5, 5) overflows float32; {NO_OVERFLOW}"
    assert (ended.status, ended.err) == (1, "")
    assert f"NOT JUDGED: {verdict}" in ended.out.splitlines()
    assert "p.png" in os.listdir()


def test_report():
    """The report is that of made-up findings, word by word."""
    run = prepare_experiment(train_options("--epochs 1")).run
    worst = {"window": 0.0, "h": 0.25, "dW_hh": 0.5, "W_hh": 2.5e8}
    finding = Finding(2, 3, "W_hh", None, (0, 1), 0.5, 0.25, 1e-9, 2.5e8, "U1")
    covered = Coverage(judged=Counter({"h": 12, "W_hh": 12}), windows=12, carried=5)
    covered.note_uses(facts_of_run(run, [Window(0, 2, 3)]), run.options.step)
    wrong = Judgement(12, worst, finding._replace(hint="2e for e"), covered)
    estimated = replace(covered, estimated=Counter({"h": 3}), wide=Counter({"h": 1}))
    doubtful = Judgement(
        12, worst | {"W_hh": 0.9}, None, estimated, unjudged=("dh", "dW_hh")
    )
    losses = np.array([4.0, 2.0])
    wrong_run = ComparedRun(run, wrong, losses, False)
    doubtful_run = ComparedRun(run, doubtful, losses, False)
    subject = Subject(WHOLE_RUN, EVERYTHING, "this command")
    comparisons = [
        Comparison("one", TAU, [wrong_run], subject),
        Comparison("other", 18.0, [doubtful_run], subject),
    ]
    unexplained = wrong_run._replace(judgement=wrong._replace(first=finding))
    all_runs = Comparison("one", TAU, [unexplained, wrong_run, doubtful_run], subject)
    assert ratio_cell("W_hh", all_runs) == "2.5e+08 !"
    assert faults(all_runs, comparisons) == faults(comparisons[0], comparisons)
    lines = []
    is_of_coverage = False
    for line in comparison_report(comparisons, "").splitlines():
        is_of_coverage = line.startswith("tested") or (is_of_coverage and line != "")
        if not is_of_coverage:
            lines.append(line[:85].rstrip())
    assert (
        "\n".join(lines)
        == """\
WRONG W_hh (U1) of one: 2e for e
  epoch 2, update 3: W_hh[0, 1] is 0.5, expected 0.25; the difference is 2.5e+08 time
NOT JUDGED dW_hh of other: rounding alone changes them too much in float32; choose --

largest difference / rounding bound
tensor   equation   one         other
h        F2         0.250       0.250 ~
dW_hh    B5         0.500       not judged
W_hh     U1         2.5e+08 !   0.900
other: rounding allows over a tenth of some: h
other declares a tanh error of 9 ulps: not a strict pass\
"""
    )
