"""check_equivalent: right pairs pass, mistakes are found and named, and what cannot be
compared is refused in one line.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from benchmarks.equivalence import bugs
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance import check_equivalent

ROOT = Path(__file__).parents[2]


def chain(params, x):
    """Return the states of h_t = tanh(U h_{t-1} + x_t), as a list."""
    h, states = 0 * x[0], []
    for x_t in x:
        h = np.tanh(params["U"] @ h + x_t)
        states.append(h)
    return states


def other_chain(params, x):
    """Return the same as one array, by exponentials."""
    h = np.zeros((len(x) + 1, x.shape[1]), x.dtype)
    for t, x_t in enumerate(x):
        z = np.exp(-2 * (x_t + np.einsum("ij,j->i", params["U"], h[t])))
        h[t + 1] = (1 - z) / (1 + z)
    return h[1:]


def chain_case(H=4, steps=6, gain=1.0, dtype="float64"):
    random = np.random.default_rng(0)
    U = gain * random.normal(size=(H, H))
    return {"U": U.astype(dtype)}, random.normal(size=(steps, H)).astype(dtype)


def different_report(f, g, *arguments, **options):
    """Return the report of functions that differ."""
    with pytest.raises(AssertionError) as raised:
        check_equivalent(f, g, *arguments, **options)
    (report,) = raised.value.args
    assert not report
    return report


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_code_passes(dtype):
    report = check_equivalent(chain, other_chain, *chain_case(dtype=dtype))
    assert report
    assert str(report).startswith("PASS result: equal within rounding\ntested")
    assert "6 steps (axis 0 of data[0]); params.U (4, 4)" in " ".join(
        str(report).split()
    )


def test_report_names_what_was_not_tested():
    def f(params, x):
        return {"y": x @ params["U"], "zero": 0 * x, "extra": x}

    def g(params, x):
        return {"y": x @ params["U"], "zero": 0 * x, "more": [x, x]}

    words = " ".join(str(check_equivalent(f, g, *chain_case())).split())
    assert "PASS y, zero: equal" in words
    assert "not tested extra, which f alone returns; more[0], more[1], which g" in words
    assert "zero: 0 with these data; other values and sizes; float32" in words


BUGS = [(cell, bug) for cell, table in bugs.EXPECTED.items() for bug in table]


@pytest.mark.parametrize(("cell", "bug"), BUGS)
def test_bug_is_found_and_its_diagnosis_is_right_or_silent(cell, bug):
    arguments = bugs.arguments(cell, np.random.default_rng(5))
    right, wrong = bugs.network(cell), bugs.network(cell, bug)
    assert check_equivalent(right, right, *arguments)
    report = different_report(right, wrong, *arguments)
    expected = bugs.EXPECTED[cell][bug]
    if expected:
        assert re.search(expected, report.diagnosis)
        assert f"\n  all agree {report.diagnosis}\n" in str(report)
    else:
        assert report.diagnosis == ""
        assert "all agree" not in str(report)


def scaled(f, change):
    """Return a function whose result is changed."""
    return lambda *arguments: change(np.array(f(*arguments)))


def at(index, number):
    def change(h):
        h[index] *= number
        return h

    return change


def test_first_difference_is_told_with_its_step():
    g = scaled(chain, at(np.s_[3:, 2], 1 + 1e-6))
    report = different_report(chain, g, *chain_case())
    first, step, axis, count, *_ = str(report).splitlines()
    number = r"-?\d\.\d+(e-\d+)?"
    pattern = (
        rf"DIFFERENT result: \[3, 2\] is {number} in f, {number} in g; they differ"
    )
    assert re.match(pattern + rf" by {number}, rounding explains {number}$", first)
    assert step == "  first wrong step: 3 (axis 0), last: 5, of 6"
    assert axis == "  in 1 of 4 indices of axis 1 (2)"
    assert count == "  in 3 of 24 elements"


def test_relative_error_of_one_element_is_found():
    report = different_report(
        chain, scaled(chain, at((1, 1), 1 + 1e-12)), *chain_case()
    )
    assert report.tensors("different") == ["result"]


def test_part_in_float32_is_no_rounding_of_float64():
    def single(params, x):
        return chain({"U": params["U"].astype("float32").astype(float)}, x)

    report = different_report(chain, single, *chain_case())
    assert max(check.allowed.max() for check in report.checks) < 1e-13
    different_report(single, chain, *chain_case())


def test_part_in_float16_is_no_rounding_of_float32():
    def half(params, x):
        h = np.array(chain(params, x))
        return h.astype("float16").astype("float32") if h.dtype == "float32" else h

    report = different_report(chain, half, *chain_case(dtype="float32"))
    assert "in g in float64" in str(report)
    assert "in g in float32" in str(report)
    assert not report.diagnosis


def single_chain(params, x):
    """Return the states of code for float32."""
    assert params["U"].dtype == "float32"
    return np.array(chain(params, x))


def test_code_that_takes_float32_alone_is_compared_there():
    report = check_equivalent(chain, single_chain, *chain_case(dtype="float32"))
    assert report.dtypes[0] == "f float64"
    wrong = scaled(single_chain, at((2, 1), 1 + 1e-4))
    different_report(chain, wrong, *chain_case(dtype="float32"))

    def lowered(params, x):
        return np.float32(chain(params, x))

    report = check_equivalent(chain, lowered, *chain_case())
    assert report.dtypes == ("f float64", "g float32")
    both = check_equivalent(lowered, lowered, *chain_case())
    assert both.dtypes == ("float32",)
    assert "not tested  other values and sizes; float64" in str(both)


def test_chaotic_network_is_not_judged_and_no_agreement():
    report = check_equivalent(
        chain, other_chain, *chain_case(H=20, steps=150, gain=3.0)
    )
    assert not report
    assert re.match(r"NOT JUDGED result: rounding may change it by .*\n", str(report))
    assert str(report).endswith("not judged  result")


def test_empty_tensor_is_not_judged():
    def f(params, x):
        return x, x[:0]

    report = check_equivalent(f, f, *chain_case())
    assert not report
    assert "NOT JUDGED [1]: it has no elements" in str(report)


class Pair(NamedTuple):
    W: np.ndarray
    rest: list


def test_trees_are_matched_by_key_or_by_position():
    params = {"layers": [Pair(np.eye(3), [np.ones(3)]), Pair(np.eye(3), [np.ones(3)])]}
    x = np.linspace(-1, 1, 6).reshape(2, 3)

    def f(params, x, text, nothing):
        for layer in params["layers"]:
            assert isinstance(layer, Pair)
            x = np.tanh(x @ layer.W + layer.rest[0])
        return {"y": x, "sums": {"a": x.sum(), "b": x.prod()}}

    def adapted(layers, x, text, nothing):
        assert (text, nothing) == ("text", None)
        y = x
        for W, b in layers:
            y = np.tanh((W @ y.T).T + b)
        return y, [y.sum(), y.prod()]

    def by_name(*arguments):
        y, (a, b) = adapted(*arguments)
        return {"sums": {"b": b, "a": a}, "y": y}

    def adapt(params):
        return [(layer.W.T, layer.rest[0]) for layer in params["layers"]]

    for g in (adapted, by_name):
        assert check_equivalent(f, g, params, x, "text", None, adapt=adapt)


def test_arguments_are_copies_and_the_callers_stay():
    params, x = chain_case()
    before = params["U"].copy(), x.copy()

    def g(params, x):
        return chain(params, x) if params["U"].base is None else None

    assert check_equivalent(chain, g, params, x)
    np.testing.assert_array_equal(params["U"], before[0])
    np.testing.assert_array_equal(x, before[1])


def test_integers_are_compared():
    def f(params, x):
        return (x @ params["U"]).argmax(axis=1)

    assert check_equivalent(f, f, *chain_case())
    different_report(f, lambda p, x: f(p, x) + 1, *chain_case())


def counting(params, x, calls=[0.0]):  # noqa: B006
    calls[0] += 1
    return x + calls[0]


def remembering(params, x, known={}):  # noqa: B006
    """Add the parameters of the last call that had others."""
    h = x @ params["U"]
    known.setdefault("U", params["U"])
    if params["U"][0, 0] != known["U"][0, 0]:
        known["elsewhere"] = True
    return h + ("elsewhere" in known)


def changing(params, x):
    params["U"] += 1
    return x @ params["U"]


REFUSALS = [
    (counting, "g is not deterministic: two equal calls return other result"),
    (remembering, "g is not deterministic: .* start from the same state"),
    (changing, "g changes params.U: expected arguments that stay"),
    (lambda p, x: x / 0, "g returns nan or inf in 24 of 24 elements of result"),
    (lambda p, x: {"a": {}}, "g returns no array"),
    (lambda p, x: {"a": "text"}, "g returns a of builtins.str"),
    (lambda p, x: x.astype("float16"), "g returns result in float16: expected float32"),
    (lambda p, x: {"a": x, "b": x}, "f returns .*, g returns a, b: expected the same"),
]


@pytest.mark.parametrize(("g", "words"), REFUSALS)
def test_refusal(g, words):
    with pytest.raises(InputError, match=words) as raised:
        check_equivalent(lambda p, x: x @ p["U"], g, *chain_case())
    assert "\n" not in str(raised.value)


def test_parameters_must_be_arrays_of_floating_point_numbers():
    with pytest.raises(InputError, match="params: expected at least one array"):
        check_equivalent(chain, chain, {"U": np.eye(3, dtype=int)}, np.ones((2, 3)))


def test_exception_of_the_function_is_passed_on():
    with pytest.raises(KeyError, match="missing"):
        check_equivalent(chain, lambda p, x: p["missing"], *chain_case())


def test_shapes_are_compared():
    g = scaled(chain, np.transpose)
    report = different_report(other_chain, g, *chain_case())
    first, *_ = str(report).splitlines()
    assert first == "DIFFERENT result: its shape is (6, 4) in f, (4, 6) in g"
    assert report.diagnosis == "if f's results are rearranged: result transposed"


def test_factor_of_two_sizes_is_told():
    def mean(params, x):
        return np.square(x * params["w"]).mean()

    def total(params, x):
        return np.square(x * params["w"]).sum()

    report = different_report(mean, total, {"w": np.ones(3)}, np.ones((5, 4, 3)))
    shape = "data[0].shape[0] × data[0].shape[1] × data[0].shape[2]"
    assert report.diagnosis.endswith(f": result × 60 (60 is {shape})")


PROGRAM = """
from numpy_rnn.conformance import check_equivalent
from tests.conformance.test_check_equivalent import at, chain, chain_case, scaled

def test_port():
    wrong = scaled(chain, at(2, 1.5))
    assert check_equivalent(chain, wrong, *chain_case())
"""


@pytest.mark.slow
def test_pytest_shows_the_whole_report(tmp_path):
    path = tmp_path / "test_port.py"
    path.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", path]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    output = ended.stdout
    assert ended.returncode == 1, ended.stderr
    report = different_report(chain, scaled(chain, at(2, 1.5)), *chain_case())
    for line in str(report).splitlines():
        assert line in output
    assert "check.py" not in output  # no line of ours


@pytest.mark.needs_torch
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_examples_of_the_document_run(library, capsys):
    pytest.importorskip(library)
    text = (ROOT / "numpy_rnn/conformance/README.md").read_text(encoding="utf-8")
    section = text.partition("## Two implementations")[2].partition("\n## ")[0]
    blocks = re.findall(r"```py(?:thon)?\n(.*?)```", section, re.DOTALL)
    (code,) = (block for block in blocks if ("jax" in block) == (library == "jax"))
    names: dict[str, Any] = {}
    exec(code, names)
    if library == "jax":
        names["test_port"]()
    else:
        assert capsys.readouterr().out in section


def test_time_axis_is_found_by_dependence():
    def f(params, x):
        return {"d": params["U"], "y": np.array(chain(params, x[:, 0]))[:, None]}

    params, x = chain_case()
    report = check_equivalent(f, f, params, x[:, None])
    assert report.time_axis == ("data[0]", 0, 6)

    def batch_first(params, x):
        return np.array([chain(params, sequence) for sequence in x])

    batch = np.stack([x, 2 * x, 3 * x, x, x, -x])  # as many sequences as steps
    report = check_equivalent(batch_first, batch_first, params, batch)
    assert report.time_axis == ("data[0]", 1, 6)

    def rows(params, x):
        return x @ params["U"]

    assert check_equivalent(rows, rows, params, x).time_axis is None


def test_limit_is_what_the_report_says():
    """Errors of half of the limit pass, of twice the limit do not."""
    params, x = chain_case()
    (first,) = check_equivalent(chain, other_chain, params, x).checks
    limit = first.allowed[3, 1]
    for factor, is_equal in ((0.5, True), (2.0, False)):

        def g(params, x, factor=factor):
            h = other_chain(params, x)
            h[3, 1] += factor * limit
            return h

        if is_equal:
            assert check_equivalent(chain, g, params, x)
        else:
            different_report(chain, g, params, x)
