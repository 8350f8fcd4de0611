"""The arrays of the protocol as .npz files over the pipes: for large cases, and for languages that read .npy files.

A program whose answer to the hello has "npz": true gets its cases, and answers them, in this form. A request is a line
as in `protocol.py`, but without its arrays. It has "npz": N instead, and exactly N bytes follow the line end: a .npz
file, which is a zip of .npy arrays without compression, by these names:

    params.W_xh, params.W_hh and so on; x, target or dy, h_0; weights; velocity.vW_xh and so on

Their shapes are those of the protocol, (T, B, D) and so on, their dtype is that of the case, and classes are int64. The
answer is a line {"id": 1, "npz": N}, and then N bytes in the same format: the arrays of the report by name, in the
dtype of the case; the loss has the shape (). Objects, which .npy files store by pickling, are refused. An error is a
line as in the protocol, {"id": 1, "error": "why"}, without an array.
"""

import io
import json
from typing import Any

import numpy as np

from numpy_rnn.common.errors import one_line
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.ports.protocol import PortFault, answer_to, request_of


def encode_npz_request(case: Case, case_id: int) -> tuple[str, bytes]:
    """The request for this case: its line, without a line end, and the bytes that follow."""
    request: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, value in request_of(case, case_id).items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif name in ("params", "velocity") and value:
            arrays |= {f"{name}.{of}": array for of, array in value.items()}
        else:
            request[name] = value
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # mypy takes names for options of savez
    return json.dumps(request | {"npz": len(file.getvalue())}), file.getvalue()


def payload_length(line: str, case_id: int, max_length: int) -> int:
    """How many bytes follow this answer. Raises PortFault unless it answers this case, or if they are too many."""
    answer = answer_to(line, case_id)
    if "error" in answer:
        raise PortFault(f"answers with an error: {one_line(str(answer['error']))}")
    length = answer.get("npz")
    if type(length) is not int or not 0 < length <= max_length or set(answer) != {"id", "npz"}:
        raise PortFault(f"answers {one_line(line, 80)}: expected id and npz, a number of bytes up to {max_length}")
    return length


def decode_npz_report(payload: bytes) -> dict[str, np.ndarray]:
    """The arrays by name. Raises PortFault unless the bytes are a .npz file without objects."""
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever zipfile and NumPy raise on bytes that are something else
        raise PortFault(f"answers what is not a .npz file of arrays: {one_line(str(error), 80)}") from None
