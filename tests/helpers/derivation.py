"""The text of DERIVATION.md, and the ids of its equations."""

import re
from pathlib import Path

import numpy_rnn

DOCUMENT = (Path(numpy_rnn.__file__).parent / "DERIVATION.md").read_text("utf-8")
ID = re.compile(r"\(([A-Z][1-9][0-9]?)\)")
DEFINED = re.findall(rf"\*\*{ID.pattern}\*\*", DOCUMENT)
