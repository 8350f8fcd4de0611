"""Processes that the tests start import the checkout, see Ctrl-C and end."""

import signal
import subprocess
import sys

import pytest
from children import ROOT, default_interrupts, run, start

import numpy_rnn

pytestmark = pytest.mark.slow


def test_a_child_imports_this_checkout(tmp_path):
    imported = run([sys.executable, "-c", "import numpy_rnn; print(numpy_rnn.__file__)"], cwd=tmp_path, check=True)
    assert imported.stdout.strip() == numpy_rnn.__file__
    assert imported.stdout.startswith(str(ROOT))


def test_a_child_has_the_default_action_of_ctrl_c_even_in_the_background():
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run([sys.executable, "-S", "-c", code]).stdout == "True\n"
        with start([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
            assert process.communicate(timeout=60)[0] == b"True\n"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt), default_interrupts():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)


def test_no_child_outlives_its_test():
    with start([sys.executable, "-S", "-c", "import time; time.sleep(1000)"]) as process:
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-S", "-c", "import time; time.sleep(1000)"], timeout=0.1)
