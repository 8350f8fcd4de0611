"""The ports in C and in JavaScript stay within every bound.

That in C is built plainly and as fast as the compiler dares; that in JavaScript answers with decimal numbers.
"""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from windows import huge_window, tiny_window

import numpy_rnn
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import format_errors, required_outputs
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.port import call_port, tanh_error
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import Abilities
from numpy_rnn.conformance.random_cases import RandomDraw, large_recipe, random_recipe, random_run
from numpy_rnn.conformance.traces.drive import trace_port
from numpy_rnn.conformance.traces.judge import judge

PORTS = Path(numpy_rnn.__file__).parent / "conformance" / "ports"
SOURCE = PORTS / "elman_port.c"
DTYPES = ("float32", "float64")
ABILITIES = Abilities(("intermediates", "input_gradients", "sgd_options", "learned_h_0"))
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


def random_case(seed, dtype):
    return random_recipe(RandomDraw(seed), dtype, ABILITIES).case()


def within_its_abilities(window):
    """Windows of this kind that the port can compute."""

    def made(seed, dtype):
        case = window(seed, dtype)
        is_plain = case.objective.loss == "squared_error" and case.x.dtype.kind == "f" and case.weights is None
        step = case.step._replace(adagrad=False, max_value=None)
        objective = case.objective._replace(nonlinearity="relu" if case.objective.nonlinearity == "relu" else "tanh")
        velocity = case.velocity if step.has_velocity else None
        return case._replace(step=step, objective=objective, velocity=velocity) if is_plain else None

    return made


def judged(port, cases):
    """The number of cases whose answer is within every bound; of the others a number is out of range."""
    count = 0
    for number, case in enumerate(cases):
        report, verdict = call_port(port, case)
        assert verdict is None
        if not format_errors(case, report, True, "input_gradients" in port.capabilities):
            count += 1
            for check in (check_local, check_global):
                for name, ratio in check(case, report, tanh_error(port)).items():
                    assert (ratio <= 1).all(), (number, name)
    return count


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [random_case, tiny_window, huge_window])
def test_c_port_stays_within_every_bound(port, window, dtype):
    """With -ffast-math the processor reads subnormal numbers as zero; and the square of a large norm overflows."""
    assert (port.name, port.dtypes, port.capabilities) == ("elman_port.c", DTYPES, ABILITIES.capabilities)
    assert 1 <= port.tanh_ulps <= 8  # over 8 it is no strict pass
    made = window if window is random_case else within_its_abilities(window)
    cases = [case for case in (made(seed, dtype) for seed in range(120)) if case is not None][:10]
    found = judged(port, cases)
    assert found == 10 if window is random_case else found > len(cases) / 2


def test_runs_of_the_c_port_are_judged_right(port):
    for seed in range(4):
        run = random_run(RandomDraw(seed), abilities=ABILITIES)
        judgement = judge(trace_port(port, run), tanh_error(port))
        assert judgement.passed, judgement.first


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node`: the JavaScript port is not run")
def test_javascript_port_stays_within_every_bound():
    plain = Abilities(("intermediates",))
    recipes = [random_recipe(RandomDraw(seed), "float64", plain) for seed in range(15)]
    recipes += [large_recipe(RandomDraw(seed), "float64", plain) for seed in range(5)]
    with ProgramPort(f"node {shlex.quote(str(PORTS / 'elman_port.js'))}") as port:
        assert judged(port, (recipe.case() for recipe in recipes)) == 20


def test_order_of_keys_and_white_space_do_not_matter(built):
    everything = {"bias": True, "step": Step(0.1, 0.9, max_norm=1.0), "velocity": True, "learned": True}
    case = random_recipe(RandomDraw(21), None, ABILITIES)._replace(**everything).case()
    request = json.loads(protocol.encode_request(case, 1))
    assert {"velocity", "learned_h_0", "max_norm"} <= set(request)
    backwards = {key: request[key] for key in reversed(request)}
    backwards["params"] = {key: request["params"][key] for key in reversed(request["params"])}
    spaced = json.dumps(backwards, separators=(" ,\t", " : "))
    narrow = json.dumps({"unknown": {"deep": [1, [None, "x"]]}} | request, separators=(",", ":"))
    text = "\n".join((json.dumps(request), spaced, narrow + "\r"))  # the last line without an end
    run = subprocess.run([built["plain"]], input=text, capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    first, *others = map(json.loads, run.stdout.splitlines())
    assert set(first) == {"id", *required_outputs(case, intermediates=True, input_gradients=True)}
    assert others == [first, first]
