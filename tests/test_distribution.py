"""The distribution: the wheel has every file of the packages, and entry points that exist."""

import importlib
import re
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT, PACKAGES = Path(__file__).parents[1], ("numpy_rnn", "torch_rnn")
SOURCES = {"README.md", "pyproject.toml", ".ci/run", "benchmarks/results.json", "tests/conftest.py"}


def files():
    """Paths of the files of the packages in the checkout."""
    paths = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    return {p.relative_to(ROOT).as_posix() for p in paths if "__pycache__" not in p.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source distribution, built from this checkout."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_wheel_has_the_packages_and_nothing_else(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        found = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == {name: (ROOT / name).read_bytes() for name in files()}


@pytest.mark.slow
def test_source_distribution_has_the_tests_and_documents(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert names >= files() | SOURCES


@pytest.mark.slow
def test_metadata_names_what_exists(built):
    """Entry points can be loaded, and the text of a package index has no relative links."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        texts = {
            n.rpartition("/")[2]: wheel.read(n).decode() for n in wheel.namelist() if "-info" in n
        }
    points = ConfigParser()
    points.read_string(texts["entry_points.txt"])
    assert {*points.sections()} == {"console_scripts", "pytest11"}
    for point in [point for group in points.values() for point in group.values()]:
        module, _, function = point.partition(":")
        assert not function or callable(getattr(importlib.import_module(module), function))
    fields, _, text = texts["METADATA"].partition("\n\n")
    assert not re.findall(r"\]\((?!https:)", text)
    extras = {name for found in re.findall(r"\[([\w,]+)\]", text) for name in found.split(",")}
    assert extras <= {*re.findall("^Provides-Extra: (.*)$", fields, re.M)}
    for module in re.findall(r"(?:python -m|--pyargs) ([\w.]+)", text):
        assert importlib.util.find_spec(module)
