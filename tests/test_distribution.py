"""The distribution: it has every file, what is installed works in an empty folder, and is what is tested."""

import importlib
import importlib.util
import json
import re
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from importlib.util import spec_from_file_location

import installed
import pytest
from children import run
from installed import PACKAGES, ROOT

SOURCES = (
    "README.md",
    "pyproject.toml",
    ".ci/run",
    ".github/CONTRIBUTING.md",
    "benchmarks/results.json",
    "tests/cases.py",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source distribution, built from this checkout."""
    folder = tmp_path_factory.mktemp("built")
    done = run([sys.executable, "-m", "hatchling", "build", "--directory", folder], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_wheel_has_the_packages_and_nothing_else(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        found = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == {name: (ROOT / name).read_bytes() for name in installed.files()}


@pytest.mark.slow
def test_source_distribution_has_the_packages_their_tests_and_documents(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert names >= {*installed.files(), *SOURCES}


def metadata(built, file):
    """The text of a file of the wheel's metadata."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(f".dist-info/{file}"))
        return wheel.read(name).decode()


@pytest.mark.slow
def test_text_of_a_package_index_needs_no_repository(built):
    """Relative links and pictures lead nowhere there. The modules and extras that it names exist."""
    fields, _, text = metadata(built, "METADATA").partition("\n\n")
    assert "Description-Content-Type: text/markdown" in fields
    assert re.findall(r"\]\((?!https:)", text) == []
    commands = re.findall(r"(?:python -m|--pyargs) ([\w.]+)", text)
    assert len(commands) == 4
    assert all(importlib.util.find_spec(name) for name in commands)
    extras = re.findall(r"\[([\w,]+)\]", text)
    assert {*",".join(extras).split(",")} <= {*re.findall("^Provides-Extra: (.*)$", fields, re.M)}


@pytest.mark.slow
def test_entry_points_can_be_loaded(built):
    points = ConfigParser()
    points.read_string(metadata(built, "entry_points.txt"))
    assert {*points.sections()} == {"console_scripts", "pytest11"}
    for group in points.values():
        for point in group.values():
            module, _, function = point.partition(":")
            loaded = importlib.import_module(module)
            assert not function or callable(getattr(loaded, function))


IMPORTS = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
        print(module.name)
import torch, torch_rnn
x, h_0 = torch.zeros(3, 1, 1), torch.zeros(1, 6)
list(torch_rnn.train(torch_rnn.initial_parameters(), x, x, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1))
assert "torch._dynamo" not in sys.modules  # its import takes as long as that of torch
"""


@pytest.mark.slow
@pytest.mark.needs_torch
@pytest.mark.needs_matplotlib
def test_every_module_is_imported_in_an_empty_folder(tmp_path):
    done = run([sys.executable, "-W", "error", "-c", IMPORTS, *PACKAGES], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in installed.files()
               if name.endswith(".py")}  # fmt: skip
    assert {*done.stdout.split()} == modules - {*PACKAGES}


# -- what is installed is what is tested ------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A checkout and an installation of it, each of two files, and how to choose which of them Python finds."""
    checkout, site = tmp_path / "checkout", tmp_path / "site"
    for folder in (checkout, site):
        for package in PACKAGES:
            (folder / package).mkdir(parents=True)
            (folder / package / "__init__.py").write_text("")
    monkeypatch.delenv("PYTHONPATH", raising=False)

    def find(folder, direct=None):
        specs = {
            name: spec_from_file_location(name, folder / name / "__init__.py") for name in PACKAGES
        }
        distribution = type("", (), {"read_text": lambda *_: direct})()
        monkeypatch.setattr("importlib.util.find_spec", specs.get)
        monkeypatch.setattr("importlib.metadata.distribution", lambda _: distribution)
        monkeypatch.setattr("importlib.metadata.distributions", lambda **_: [distribution])
        return lambda: installed.place(checkout)

    return checkout, site, find


def test_installed_packages_are_those_of_the_checkout(folders):
    checkout, site, find = folders
    place = find(site)
    assert place() == site
    (checkout / "torch_rnn/py.typed").write_text("")
    with pytest.raises(
        pytest.UsageError,
        match=re.escape(f"torch_rnn/py.typed is not in {site}: the wheel lacks it"),
    ):
        place()
    (site / "torch_rnn/py.typed").write_text("another")
    with pytest.raises(
        pytest.UsageError, match=r"torch_rnn/py\.typed in .* is not that of this checkout: run pip"
    ):
        place()


def test_checkout_is_tested_where_it_is_asked_for(folders, monkeypatch):
    checkout, site, find = folders
    place = find(checkout)
    with pytest.raises(
        pytest.UsageError, match="not the installed ones: run pytest, not python -m pytest"
    ):
        place()
    monkeypatch.setenv("PYTHONPATH", f"{site}:{checkout}")
    assert place() == checkout
    monkeypatch.delenv("PYTHONPATH")
    assert find(checkout, json.dumps({"dir_info": {"editable": True}}))() == checkout
    monkeypatch.setattr("importlib.metadata.distributions", lambda **_: [])
    with pytest.raises(pytest.UsageError, match="not installed: run pip install"):
        place()
