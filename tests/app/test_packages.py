"""Packages and ports by name: nothing is imported to find out what a name is."""

import importlib
import sys
from pathlib import Path

from numpy_rnn.common.packages import is_package


def test_looks_up_names_without_running_code(monkeypatch, tmp_path):
    Path("package").mkdir()
    for path in ("file.py", "package/__init__.py", "package/part.py"):
        Path(path).write_text("raise SystemExit('it runs')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    for name in ("file", "package", "package.part", "numpy_rnn.reference"):
        assert is_package(name), name
    for name in ("file.part", "file.py", "./file.py", "package.none", "none", "", "a b.py", "x:y"):
        assert not is_package(name), name
    assert "file" not in sys.modules
