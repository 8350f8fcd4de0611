"""Packages and ports by name: nothing is imported to find out what a name is."""

import importlib
import sys
from pathlib import Path

import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import is_package


def test_looks_up_names_without_running_code(monkeypatch, tmp_path):
    Path("package").mkdir()
    for path in ("file.py", "package/__init__.py", "package/part.py"):
        Path(path).write_text("raise SystemExit('it runs')")
    Path("program.py").touch(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    for name in ("file", "package", "package.part", "numpy_rnn.reference"):
        assert is_package(name), name
    for name in ("file.part", "package.none", "none", ".", "", "a b.py", "./program.py", "file:x"):
        assert not is_package(name), name
    for name in ("file.py", "./file.py", "folder/file.py"):
        with pytest.raises(InputError, match="as module:object, such as file:port"):
            is_package(name)
    assert "file" not in sys.modules
