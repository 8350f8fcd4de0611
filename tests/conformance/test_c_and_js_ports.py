"""The ports in C and in JavaScript stay within every bound.

That in C is built plainly and as fast as the compiler dares; that in JavaScript answers with decimal numbers.
"""

import json
import re
import shlex
import shutil
import subprocess
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from port_cases import report_of
from tiny import tiny_window
from window_port import huge_window

import numpy_rnn
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import Case, format_errors, required_outputs
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.port import ProgramPort
from numpy_rnn.conformance.properties import bound_factor
from numpy_rnn.conformance.recipes import large_recipes, random_recipe, random_run
from numpy_rnn.conformance.traces.drive import trace_of_port
from numpy_rnn.conformance.traces.judge import judge

PORTS = Path(numpy_rnn.__file__).parent / "conformance" / "ports"
SOURCE = PORTS / "elman_port.c"
EQUATIONS = {"F1", "F2", "F3", "L1", "L2", *(f"B{n}" for n in range(1, 11)), *(f"U{n}" for n in range(1, 7))}
DTYPES = ("float32", "float64")
ITS_CAPABILITIES = ("intermediates", "input_gradients", "sgd_options", "learned_h_0")
STRICT = "-std=c99 -Wall -Wextra -pedantic"
FAST = "-O3 -march=native -ffast-math"
SANITIZED = "-g -O0 -fsanitize=address,undefined -fno-sanitize-recover=all"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The port in C twice: as fast as the compiler dares, and plain.

    Every access and every arithmetic operation of the plain one is watched, where the compiler can do that.
    """
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler `cc`: the C port is not built")

    def compiled(options):
        program = tmp_path_factory.mktemp("built") / "elman_port"
        command = ["cc", *STRICT.split(), *options.split(), "-o", str(program), str(SOURCE), "-lm"]
        made = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert (made.returncode, made.stderr) == (0, "")  # there is nothing to warn of
        return program

    try:
        plain = compiled(SANITIZED)
        subprocess.run([plain], input=protocol.HELLO + "\n", capture_output=True, text=True, check=True)
    except (AssertionError, subprocess.CalledProcessError):
        plain = compiled("-O0")
    return {"plain": plain, "fast": compiled(FAST)}


@pytest.fixture(scope="module", params=["plain", "fast"])
def port(request, built):
    """The port in C, running."""
    with ProgramPort(shlex.quote(str(built[request.param]))) as running:
        yield running


def random_case(seed, dtype=None) -> Case:
    return random_recipe(np.random.default_rng(seed), dtype, ITS_CAPABILITIES).case()


def judged(port, cases):
    """Of how many cases the answer is judged, and within every bound; of the others a number is out of range."""
    count = 0
    for number, case in enumerate(cases):
        report = report_of(port, case)
        if not format_errors(case, report, intermediates=True, input_gradients=True):
            count += 1
            for check in (check_local, check_global):
                for name, ratio in check(case, report, bound_factor(port)).items():
                    assert (ratio <= 1).all(), (number, name)
    return count


def test_the_source_is_short_and_names_every_equation():
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 260
    assert max(map(len, lines)) <= 120
    named = [name for line in lines for name in re.findall(r"/\* \(([A-Z]\d+)\)", line)]
    assert set(named) == EQUATIONS


def test_its_hello_says_all_that_it_can_do(port):
    assert (port.name, port.dtypes, port.capabilities) == ("elman_port.c", DTYPES, ITS_CAPABILITIES)
    assert 1 <= port.tanh_ulps <= 8  # over 8 it is no strict pass


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [random_case, tiny_window, huge_window])
def test_it_stays_within_every_bound(port, window, dtype):
    """With -ffast-math the processor reads subnormal numbers as zero; and the square of a large norm overflows."""
    found = judged(port, (window(seed, dtype) for seed in range(20)))
    assert found == 20 if window is random_case else found > 10


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node`: the JavaScript port is not run")
def test_the_port_in_javascript_stays_within_every_bound():
    recipes = [random_recipe(np.random.default_rng(seed), "float64") for seed in range(20)]
    with ProgramPort(f"node {shlex.quote(str(PORTS / 'elman_port.js'))}") as port:
        assert judged(port, (recipe.case() for recipe in (*recipes, *large_recipes(5, 3, "float64")))) == 25


def case_of_tanh(values) -> Case:
    """A window of one step whose pre-activations are these values; 64 of them in a row, so that vectors are used."""
    x = values.reshape(1, -1, 64)
    one, nothing = np.eye(64, dtype=x.dtype), np.zeros_like(x[..., :1])
    return Case(Parameters(one, 0 * one, one[:, :1]), x, nothing, np.zeros_like(x[0]), 0.1)


def ulps_of_tanh(a, h):
    """|h − tanh a| in units of the last place of tanh a; tanh by decimal arithmetic of 60 digits."""
    with localcontext(prec=60):
        exact = [1 - 2 / ((2 * Decimal(at)).exp() + 1) for at in a.tolist()]
        errors = [float(abs(Decimal(found) - tanh)) for found, tanh in zip(h.tolist(), exact, strict=True)]
    return errors / np.abs(np.spacing(np.array(exact, h.dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_its_tanh_is_as_accurate_as_it_says(port, dtype):
    """Densest where the error is largest: exhaustive over float32, every build has its worst case between 0.1 and 3."""
    few = np.array([0.3, -2.0], np.float32)
    right = np.tanh(few.astype(np.float64)).astype(np.float32)
    assert ulps_of_tanh(few, right).max() <= 0.5001  # the measure itself
    assert 4.49 <= ulps_of_tanh(few, right + np.float32(5) * np.spacing(right)).min() <= 5.5
    generator = np.random.default_rng(0)
    middle, wide = generator.uniform(0.1, 3, 3072), np.exp(generator.uniform(-20, 3, 1024))
    a = (np.concatenate((middle, wide)) * generator.choice((-1, 1), 4096)).astype(dtype)
    report = report_of(port, case_of_tanh(a))
    assert np.array_equal(report["a"].ravel(), a)
    assert ulps_of_tanh(a, report["h"].ravel()).max() <= port.tanh_ulps


def test_a_run_with_every_option_is_judged_right(port):
    for seed in range(4):
        experiment, configuration = random_run(np.random.default_rng(seed), has=ITS_CAPABILITIES)
        judgement = judge(trace_of_port(port, experiment, configuration), bound_factor(port))
        assert judgement.passed, judgement.first


# -- what it reads --------------------------------------------------------------------------------------------------


def answers(built, *lines):
    """What the plain one answers to these lines, as JSON; it must leave at the end of its input without complaint."""
    text = "\n".join(lines)  # the last line without an end
    run = subprocess.run([built["plain"]], input=text, capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_the_order_of_keys_and_white_space_do_not_matter(built):
    everything = {"bias": True, "momentum": 0.9, "velocity": True, "learned": True, "max_norm": 1.0}
    case = random_recipe(np.random.default_rng(21), None, ITS_CAPABILITIES)._replace(**everything).case()
    request = json.loads(protocol.encode_request(case, 1))
    assert {"velocity", "learned_h_0", "max_norm"} <= set(request)
    backwards = {key: request[key] for key in reversed(request)}
    backwards["params"] = {key: request["params"][key] for key in reversed(request["params"])}
    spaced = json.dumps(backwards, separators=(" ,\t", " : "))
    narrow = json.dumps({"unknown": {"deep": [1, [None, "x"]]}} | request, separators=(",", ":"))
    first, *others = answers(built, json.dumps(request), spaced, narrow + "\r")
    assert set(first) == {"id", *required_outputs(case, intermediates=True, input_gradients=True)}
    assert others == [first, first]


MISFITS = (
    (lambda request: request["params"]["W_hh"].pop(), "W_hh"),
    (lambda request: request["x"].append("0x1p0"), "x"),
    (lambda request: request["sizes"].update(K=request["sizes"]["T"] + 1), "target"),
    (lambda request: request.update(target=[], sizes=request["sizes"] | {"K": 0}), "K"),
    (lambda request: request.pop("learning_rate"), "learning_rate"),
    (lambda request: request["params"].pop("b_y"), "b_h"),
    (lambda request: request.update(velocity={"vW_hy": ["0x0p+0"]}), "vW_hy"),
    (lambda request: request.update(nonlinearity="gelu"), "nonlinearity"),
    (lambda request: request.update(reduction="max"), "reduction"),
    (lambda request: request.update(dtype="float16"), "dtype"),
)


def test_a_case_that_it_cannot_compute_is_an_error_and_the_next_one_goes_on(built):
    recipe = random_recipe(np.random.default_rng(3), None, ITS_CAPABILITIES)._replace(bias=True)
    right = protocol.encode_request(recipe.case(), 5)
    lines = []
    for change, _ in MISFITS:
        request = json.loads(right)
        change(request)
        lines += [json.dumps(request), right]
    found = answers(built, *lines)
    assert found[::2] == [{"id": 5, "error": f"{name} does not fit"} for _, name in MISFITS]
    assert all("loss" in answer for answer in found[1::2])


def test_a_line_that_is_not_whole_is_an_error_and_the_next_one_goes_on(built):
    broken = ["", "{", "}", '{"id"', '{"id":', '{"id":1', '{"x":["0x1p0"', '{"a":"', "[1", '{"x"]}']
    found = answers(built, *(line for wrong in broken for line in (wrong, protocol.HELLO)))
    assert found[::2] == [{"id": 0, "error": "not a whole JSON object"}] * len(broken)
    assert all(answer["type"] == "hello" for answer in found[1::2])
