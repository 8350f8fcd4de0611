"""Made-up times in; every table cell and sentence of the report out, checked by hand-computed values."""

import json
import re

from made_up_results import DEFAULT, LARGE, MACHINE, SMALL, made_up

from benchmarks.plan import COLD, IMPORT
from benchmarks.rows import AGAIN, CALLS, GEMMS, JAX, MODULES, OTHER, OURS, STEP
from benchmarks.store import FINDINGS
from benchmarks.summary import from_json, report, to_json
from benchmarks.timing_tables import table

STEP_HEAD = [STEP, "numpy_rnn, ms"]
EXPECTED = {
    "How fast it is, and how far from what the machine can do": [
        ["", "this run"],
        ["CPU", "a processor, 2 cores, AVX-512"],
        ["Caches", "L2 1024K"],
        ["Frequency governor", "performance"],
        ["System", "a system, Python 3"],
        ["Packages", "numpy 2"],
        ["OpenBLAS of NumPy", "1.2, Haswell kernels (AVX2), 1 thread"],
        ["Variables that force kernels", "OPENBLAS_CORETYPE=Haswell"],
        ["Commit", "abc"],
        ["Load at the start", "other processes took 0.25 cores, other virtual machines 0.05 cores"],
        ["Thread pools, as measured", "openblas 1.2 Haswell kernels: 1"],
    ],
    "The default experiment": [
        ["default experiment, 5 epochs", "µs per point", "row / numpy_rnn", "seconds to compile"],
        [GEMMS, "1.40 [0.400, 2.40]", "0.400 [0.400, 0.400]", ""],
        [JAX, "1.50 [0.500, 3.75]", "0.500 [0.250, 0.750]", "0.3"],
        [CALLS, "2.80 [0.800, 4.80]", "0.800 [0.800, 0.800]", ""],
        [AGAIN, "3.35 [1.00, 6.00]", "1.00 [0.900, 1.20]", ""],
        [OURS, "3.50 [1.00, 6.00]", "1.00 [1.00, 1.00]", ""],
        [OTHER, "4.05 [0.900, 7.20]", "1.20 [0.900, 1.30] (a tie)", ""],
        [MODULES, "10.0 [3.00, 25.0]", "3.00 [2.00, 5.00]", ""],
    ],
    "Sliding windows": [
        ["ns per point", "k2=1", "k2=5"],
        [OURS, "3500", "350"],
        [OTHER, "4050", "405"],
        [MODULES, "10000", "1000"],
        [JAX, "1500", "150"],
        [AGAIN, "3350", "335"],
        [CALLS, "2800", "280"],
        [GEMMS, "1400", "140"],
    ],
    "Character model": [
        [
            *("character model, float64, 2 updates", "µs per update", "updates per second"),
            *("row / numpy_rnn", "seconds to compile"),
        ],
        [JAX, "150 [50.0, 375]", "7500 [2667, 20000]", "0.500 [0.250, 0.750]", "1.3"],
        [AGAIN, "335 [100, 600]", "3102 [1667, 10000]", "1.00 [0.900, 1.20]", ""],
        [OURS, "350 [100, 600]", "2917 [1667, 10000]", "1.00 [1.00, 1.00]", ""],
        [MODULES, "1000 [300, 2500]", "1042 [400, 3333]", "3.00 [2.00, 5.00]", ""],
    ],
    "Ensembles, 1 thread": [
        ["ns per point and network", "1 network", "10 networks"],
        *([OURS, "3500", "3.50"], [OTHER, "4050", "4.05"], [MODULES, "10000", ""], [JAX, "1500", "1.50"]),
        *([AGAIN, "3350", "3.35"], [CALLS, "2800", "2.80"], [GEMMS, "1400", "1.40"]),
    ],
    "Gradient and update, 1 thread": [
        [*STEP_HEAD, *(f"{row} / numpy_rnn" for row in (OTHER, MODULES, JAX, CALLS, GEMMS)), "JAX, s to compile"],
        [SMALL.name, "3.50 [1.00, 6.00]", "1.20 =", "3.00", "0.500", "0.800", "0.400", "12.3"],
        [LARGE.name, "7.00 [2.00, 12.0]", "", "3.00", "0.500", "0.800", "0.400", ""],
    ],
    "Ensembles, 2 threads": [["ns per point and network", "1 network", "10 networks"], [OURS, "", "1.75"]],
    "Gradient and update, 2 threads": [
        [*STEP_HEAD, f"{MODULES} / numpy_rnn"],
        [SMALL.name, "1.75 [0.500, 3.00]", "3.00"],
    ],
    "Cold start: the default experiment in a fresh process": [
        [COLD, "ms of the whole process"],
        [JAX, "150 [50.0, 375]"],
        [OURS, "350 [100, 600]"],
        [MODULES, "1000 [300, 2500]"],
    ],
    "Imports": [[IMPORT, "ms in a fresh process"], ["numpy", "35.0 [10.0, 60.0]"], [OURS, "40.5 [9.00, 72.0]"]],
    "Memory": [["memory"], ["1"]],
    "Where the time goes: default experiment": [
        ["line of numpy_rnn", "µs", "share", "code"],
        ["`a.py:3`", "3.00", "75%", "`dot()  # (F1)`"],
        ["`b.py:4`", "1.00", "25%", "`f()`"],
    ],
    "Agreement": [
        ["row", "cases that agree", "largest difference / bound", "cases that do not", "not supported"],
        [JAX, "0", "", "1", ""],
        [OURS, "2", "0.50", "1", ""],
        [MODULES, "0", "", "0", "one network only"],
    ],
}


def tables(text):
    """By title: the rows of each table of a report, as lists of cells."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("|") and not re.fullmatch(r"[|:-]+", line):
            found.setdefault(title, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_every_cell_of_every_table():
    found = tables(report(made_up()))
    assert list(found) == list(EXPECTED)
    for title, lines in EXPECTED.items():
        assert found[title] == lines, title


def test_every_sentence_of_a_report():
    lines = report(made_up()).splitlines()
    for sentence in (
        "Noise floor: numpy_rnn takes 1.00 to 1.00 times as long as itself (95 % of the cases; 1 without noise).",
        "- pass: a claim",
        "- open: another",
        "- FAIL: a third",
        "A point takes 2.00 µs; the sum of its lines, measured one by one, is 4.00 µs. By equation: F1 75%,"
        " no equation 25%.",
        f"- run, numpy_rnn, {DEFAULT.name}, 1 thread disagrees and is not timed: the reason",
        f"- run, JAX, {DEFAULT.name}, 1 thread crashes and is not timed: an error",
        "- a piece crashed",
        "The model of min-char-rnn: H = 100, 65 characters, chunks of 25 steps with carried state, two biases,"
        " cross-entropy, gradients clipped by value at 5, Adagrad with rate 0.1. The text is random: each character is"
        " followed by one of 4. The time is that of a training from the initial weights, per update.",
        "- numpy_rnn: as it is written",
        "![a caption](time.png)",
    ):
        assert sentence in lines, sentence
    assert any(line.startswith("Written by `the command`, 6 rounds.") for line in lines)


def test_results_that_were_measured_with_forced_kernels_say_so():
    """Above the claims and above every table of times; a run that chose its kernels has no such line."""
    sentence = "**Kernels are forced by OPENBLAS_CORETYPE=Haswell.**"
    findings, titles = made_up(), [title for title in EXPECTED if title not in ("Agreement",)][1:-1]
    parts = report(findings).split("\n## ")
    assert [part.split("\n")[0] for part in parts if sentence in part] == ["Claims", *titles]
    own = findings._replace(machine=MACHINE._replace(forcing={}, removed=MACHINE.forcing))
    assert "Kernels are forced" not in report(own)
    (forcing,) = (value for name, value in own.machine.rows() if name == "Variables that force kernels")
    assert forcing == "none; removed by --own-kernels: OPENBLAS_CORETYPE=Haswell"


def test_numbers_are_aligned_to_the_right_and_text_to_the_left():
    assert table(["a | b", "number", "text"], [["x", "1.50 [1, 2] =", "2 cores"], ["yy", "-3%", ""]]) == [
        "| a \\| b |        number | text    |",
        "|--------|--------------:|---------|",
        "| x      | 1.50 [1, 2] = | 2 cores |",
        "| yy     |           -3% |         |",
    ]


def test_a_report_is_made_again_from_its_results():
    findings = made_up()
    runs = {
        key.to_text(): [{"values": [value], "metadata": {"round": n}} for n, value in values.items()]
        for key, values in findings.times.items()
    }
    suite = {"benchmarks": [{"metadata": {"name": name}, "runs": of_name} for name, of_name in runs.items()]}
    suite = json.loads(json.dumps(suite | {FINDINGS: to_json(findings)}))
    assert report(from_json(suite)) == report(findings)
