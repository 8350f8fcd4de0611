"""The mutation tool changes code, and reports what no test sees."""

import ast

import pytest
from mutation import Edits, survivors

TOY = '''\
def larger(a, b):
    """The larger number."""
    if a < 0:
        raise ValueError("below 0")
    return a if a > b else b
'''
TEST = "from toy import larger\ndef test_larger():\n    assert (larger(1, 2), larger(3, 2)) == (2, 3)\n"


def test_changes_are_small_and_compile():
    sources = [TOY[:start] + text + TOY[stop:] for start, stop, text in Edits(TOY).found]
    assert len(sources) == len(set(sources)) > 5
    for changed in sources:
        ast.parse(changed)
        assert '"""The larger number."""' in changed
        assert '"below 0"' in changed or "raise" not in changed


@pytest.mark.slow
def test_survivors_are_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TEST)
    alive = survivors(tmp_path, ["toy.py"], "test_toy.py", n=99, seed="1")
    printed = capsys.readouterr().out
    assert printed.count("SURVIVED") == alive > 0
    assert "-    return a if a > b else b\n+    return a if a >= b else b" in printed  # equivalent
    assert "killed\n--- toy.py\n+++ toy.py\n@@ -4,2 +4,2 @@" in printed
    assert (tmp_path / "toy.py").read_text() == TOY
