"""A failing case as a file, which --elman-dump writes and --elman-replay reads, for a debugger in any language.

Its arrays have the names of `Port.window_update`, as x, params.W_xh and velocity.W_xh. What was computed from them has
those of a report after "reported.", what is right after "expected.", and the difference allowed after "allowed.".
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import load_arrays, save_arrays, save_json, to_jsonable
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.ports.protocol import PortFault, port_arguments
from numpy_rnn.conformance.random_cases import Recipe

ENDINGS = (".json", ".npz")


def save_case(path: str, test: str, check: Any, place: Any) -> None:
    """Write the case at a place, a recipe or the seed of a run. test: the name of the test that it fails."""
    arrays: dict[str, Any] = {}
    with contextlib.suppress(PortFault):  # then there is a case, and no report
        case, report = check.answered(place)
        for name, (_, expected, allowed) in check.found(case, report).items():
            parts = {"reported": report[name], "expected": expected, "allowed": allowed}
            arrays |= {
                f"{part}.{name}": np.broadcast_to(array, np.shape(report[name])) for part, array in parts.items()
            }
    if arrays or not isinstance(place, int):
        for name, value in port_arguments(case if arrays else place.case()).items():
            arrays |= (
                {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
            )
    if path.endswith(".json"):
        save_json(path, {"test": test, "place": place, **arrays})
    else:
        kept = {name: value for name, value in arrays.items() if value is not None}
        save_arrays(path, {"test": test, "place": json.dumps(to_jsonable(place)), **kept})


def load_case(path: str) -> tuple[str, Any]:
    """The test and the place in the file. Raises InputError if it is no such file."""
    try:
        if path.endswith(".npz"):
            arrays = load_arrays(path, "--elman-replay")
            test, place = str(arrays["test"]), json.loads(str(arrays["place"]))
        else:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            test, place = values["test"], values["place"]
        if isinstance(place, int):
            return test, place
        step = place["step"] and Step(**place["step"])
        return test, Recipe(**place | {"objective": Objective(**place["objective"]), "step": step})
    except OSError as error:
        raise InputError(f"--elman-replay {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise error if isinstance(error, InputError) else InputError(
            f"--elman-replay {path} is no case: expected a file that --elman-dump wrote") from None  # fmt: skip
