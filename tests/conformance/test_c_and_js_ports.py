"""The ports in C and in JavaScript pass the suite.

That in C is built plainly and as fast as the compiler dares; that in JavaScript answers with decimal numbers.
"""

import itertools
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import Phase, settings

import numpy_rnn
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.properties import check_port, profile

PORTS = Path(numpy_rnn.__file__).parent / "conformance" / "ports"
STRICT = "-std=c99 -Wall -Wextra -pedantic"
FAST = "-O2 -ftree-vectorize -march=native -ffast-math"
SANITIZED = "-g -O0 -fsanitize=address,undefined -fno-sanitize-recover=all"
SOME = settings(profile("repeatable"), max_examples=12, phases=[Phase.generate])

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
        command = ["cc", *STRICT.split(), *options.split(), "-o", str(program), str(PORTS / "elman_port.c"), "-lm"]
        made = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert (made.returncode, made.stderr) == (0, "")  # there is nothing to warn of
        return program

    try:
        plain = compiled(SANITIZED)
        subprocess.run([plain], input=protocol.HELLO + "\n", capture_output=True, text=True, check=True)
    except (AssertionError, subprocess.CalledProcessError):
        plain = compiled("-O0")
    return {"plain": plain, "fast": compiled(FAST)}


@pytest.mark.parametrize(("kind", "levels"), [("plain", ("L1", "L3")), ("fast", ("L1", "L2"))])
def test_c_port_passes(built, kind, levels):
    """With -ffast-math the processor reads subnormal numbers as zero."""
    with ProgramPort(shlex.quote(str(built[kind]))) as port:
        assert port.capabilities == ("intermediates", "input_gradients", "sgd_options", "learned_h_0")
        assert 1 <= port.tanh_ulps <= 8  # over 8 it is no strict pass
        for dtype, level in itertools.product(port.dtypes, levels):
            check_port(level, port, dtype, SOME)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node`: the JavaScript port is not run")
def test_javascript_port_passes():
    with ProgramPort(f"node {shlex.quote(str(PORTS / 'elman_port.js'))}") as port:
        for level in ("L1", "L3"):
            check_port(level, port, "float64", SOME)
