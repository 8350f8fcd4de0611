"""Which packages the tests import: those that are installed, or those of the checkout where somebody has asked for it.

Python finds a checkout before any installation if it is run in that folder as `python -m`. Then a file that the wheel
lacks is missed by no test. So the tests refuse packages of the checkout, unless it is installed by `pip install
--editable` or PYTHONPATH names it, and an installation whose files are not those of the checkout.
"""

import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION, PACKAGES = "elman-twice", ("numpy_rnn", "torch_rnn")
INSTALL = 'pip install ".[torch,plot,test]"'


def files(root: Path = ROOT) -> Iterator[str]:
    """The files of the packages in a checkout, by their names in it."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix()


def is_asked_for(root: Path) -> bool:
    """Whether PYTHONPATH names the checkout, or the installation is the checkout itself."""
    named = map(os.path.realpath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    direct = (
        importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        if is_installed()
        else None
    )
    return str(root) in named or bool(
        json.loads(direct or "{}").get("dir_info", {}).get("editable")
    )


def is_installed() -> bool:
    """Whether there is an installation, of whatever files."""
    return any(importlib.metadata.distributions(name=DISTRIBUTION))


def place(root: Path = ROOT) -> Path:
    """The folder from which the packages are imported. Raises pytest.UsageError if the tests must not use it."""
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    folders = {Path(str(spec.origin)).resolve().parents[1] for spec in specs if spec is not None}
    if None in specs or len(folders) > 1 or not (is_installed() or is_asked_for(root)):
        raise pytest.UsageError(f"{' and '.join(PACKAGES)} are not installed: run {INSTALL}")
    folder = folders.pop()
    if folder == root:
        if not is_asked_for(root):
            raise pytest.UsageError(
                f"the packages would be those of {root}, not the installed ones: run pytest, not python -m pytest; "
                "or set PYTHONPATH to this folder, or install it by pip install --editable"
            )
        return folder
    for name in files(root):
        if not (folder / name).is_file():
            raise pytest.UsageError(
                f"{name} is not in {folder}: the wheel lacks it, or is older: run {INSTALL}"
            )
        if (folder / name).read_bytes() != (root / name).read_bytes():
            raise pytest.UsageError(
                f"{name} in {folder} is not that of this checkout: run {INSTALL} again"
            )
    return folder
