"""JSON of what the suite finds."""

import json
from math import isfinite
from typing import Any

import numpy as np

from numpy_rnn.app.storage import written_whole


def save_json(path, values) -> None:
    """Write values as JSON, whole or not at all. Raises InputError when the file cannot be written."""
    text = json.dumps(plain(values), indent=1, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite become None, NumPy's become Python's."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not isfinite(value) else value
