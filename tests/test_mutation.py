"""The changes of `python -m tests.mutation`: their kinds, and what it says of each."""

import ast
import sys
import time

from mutation import Edits, apply, first_failure

SOURCE = '''
def step(theta, g, rate):
    """Not changed: 1 + 1."""
    rate = max(rate, 0)
    multiply(theta, g, out=g)
    theta -= rate * g
    log.append("name")
    if not g[1:]:
        raise ValueError(f"not {changed}")
    return f"{theta:.2f} of {rate + 1}"
'''
CHANGES = """
rate = min(rate, 0) | rate = max(0, rate) | rate = max(rate, 0 + 1) | pass | np.divide(theta, g, out=g)
multiply(g, theta, out=g) | theta += rate * g | theta -= rate / g | log.append('name_') | if g[1:]: | if not g[1 + 1:]:
return f' of {rate + 1}' | return f'{theta:.2f} of {rate - 1}' | return f'{theta:.2f}{rate + 1}'
return f'{theta:.2f} of '
"""


def test_changes_are_of_every_kind_and_compile():
    found = [changed for edit in Edits(SOURCE).found if (changed := apply(SOURCE, edit))]
    programs = {
        line.strip() for changed in found for line in ast.unparse(ast.parse(changed)).splitlines()
    }
    assert {
        change.strip() for change in CHANGES.replace("\n", "|").split("|") if change.strip()
    } <= programs
    assert all('"""Not changed: 1 + 1."""' in changed for changed in found)
    assert not any(
        "f'not" in line and "{changed}" not in line for line in programs
    )  # messages of errors


def test_verdicts(tmp_path, monkeypatch):
    """The copy's packages are tested; one that hangs is ended, also where a child of it hangs."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most of the time that pytest takes
    (tmp_path / "own.py").write_text("RIGHT = False")
    (tmp_path / "test_own.py").write_text(
        "import own\ndef test_one(): pass\ndef test_right(): assert own.RIGHT\n"
    )
    assert first_failure(tmp_path, "test_own.py") == "test_own.py::test_right"
    started = f"import subprocess, own\nsubprocess.run([{sys.executable!r}, '-c', 'import time; time.sleep(99)'])\n"
    (tmp_path / "test_own.py").write_text(started)
    began = time.monotonic()
    assert first_failure(tmp_path, "test_own.py", 2) == "time limit"
    assert time.monotonic() - began < 60
