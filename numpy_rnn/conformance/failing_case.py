"""A failing case as JSON, which --elman-dump writes and --elman-replay reads, for a debugger in any language.

Its arrays have the names of `Port.window_update`, as x, params.W_xh and velocity.W_xh. What was computed from them has
those of a report after "reported.", what is right after "expected.", and the difference allowed after "allowed.".
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import save_json
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.ports.protocol import PortFault, port_arguments
from numpy_rnn.conformance.random_cases import Recipe


def save_case(path: str, test: str, check: Any, place: Any) -> None:
    """Write the case at a place, a recipe or the seed of a run. test: the name of the test that it fails."""
    arrays: dict[str, Any] = {}
    case = None if isinstance(place, int) else place.case()
    with contextlib.suppress(PortFault):  # then there is no report
        case, report = check.answered(place)
        for name, (_, expected, allowed) in check.found(case, report).items():
            for part, array in {"reported": report[name], "expected": expected, "allowed": allowed}.items():
                arrays[f"{part}.{name}"] = np.broadcast_to(array, np.shape(report[name]))
    for name, value in ({} if case is None else port_arguments(case)).items():
        arrays |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    save_json(path, {"test": test, "place": place, **arrays})


def load_case(path: str) -> tuple[str, Any]:
    """The test and the place in the file. Raises InputError if it is no such file."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        test, place = values["test"], values["place"]
        if isinstance(place, int):
            return test, place
        step = place["step"] and Step(**place["step"])
        return test, Recipe(**place | {"objective": Objective(**place["objective"]), "step": step})
    except OSError as error:
        raise InputError(f"--elman-replay {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"--elman-replay {path} is no case: expected a file that --elman-dump wrote") from None
