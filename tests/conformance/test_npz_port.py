"""A program that takes and gives its arrays as .npz files is right, and what it may do wrong is one line."""

import sys

import pytest
from hypothesis import Phase, settings
from port_cases import EVERYTHING, verdict_on

from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.properties import check_port_global, check_port_lockstep, profile

pytestmark = pytest.mark.slow
FEW = settings(profile("default"), max_examples=10, derandomize=True, phases=[Phase.generate])
PROGRAM = """
import io, json, sys
import numpy as np
from numpy_rnn import reference
from numpy_rnn.conformance.ports.backends import PackagePort
port = PackagePort(reference)
def answer(line, payload=b""):
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\\n" + payload)
    sys.stdout.buffer.flush()
for line in sys.stdin.buffer:
    request = json.loads(line)
    if request["type"] == "hello":
        answer({"type": "hello", "protocol": 1, "name": "npz", "dtypes": list(port.dtypes), "npz": True,
                "capabilities": [name for name in port.capabilities if name != "intermediates"]})
        continue
    arrays = dict(np.load(io.BytesIO(sys.stdin.buffer.read(request["npz"]))))
    velocity = {n.removeprefix("velocity.v"): v for n, v in arrays.items() if n.startswith("velocity.v")} or None
    params = {n.removeprefix("params."): v for n, v in arrays.items() if n.startswith("params.")}
    given = {n: arrays[n] for n in ("x", "target", "h_0", "weights") if n in arrays}
    if request.pop("learned_h_0", False):
        params["h_0"] = given["h_0"]
    options = {n: v for n, v in request.items() if n not in ("type", "id", "dtype", "sizes", "npz", "velocity")}
    options = {n: float.fromhex(v) if isinstance(v, str) and "0x" in v else v for n, v in options.items()}
    report = port.window_update(params, **given, **options, velocity=velocity)
    report = {n: v for n, v in report.items() if n not in ("a", "h", "y", "dy", "dh", "da")}
    file = io.BytesIO()
    np.savez(file, **report)
    payload = file.getvalue()
    CHANGE
    answer({"id": request["id"], "npz": len(payload)}, payload)
"""
MISTAKES = {
    "answer({'id': request['id'], 'npz': len(payload)}, payload + b'x'); continue": "after its arrays comes 'x'",
    "payload = payload[:99]": "answers what is not a .npz file of arrays: ",
    "answer({'id': request['id'], 'npz': 'many'}); continue": "expected id and npz, a number of bytes up to ",
    "answer({'id': request['id'], 'npz': 9}, b'short'); sys.exit(3)": "ends with exit status 3 and without an answer",
    "answer({'id': request['id'], 'error': 'too large'}); continue": "answers with an error: too large",
    "file = io.BytesIO(); np.savez(file, loss=np.array([{}])); payload = file.getvalue()": "is not a .npz file",
}  # fmt: skip


def program(tmp_path, change="pass"):
    path = tmp_path / "npz_port.py"
    path.write_text(PROGRAM.replace("CHANGE", change), encoding="utf-8")
    return ProgramPort(f"{sys.executable} {path}", timeout=60)


def test_npz_port_is_right(tmp_path):
    with program(tmp_path) as port:
        for dtype in port.dtypes:
            for check in (check_port_global, check_port_lockstep):
                check(port, dtype, FEW, timeout=60)


@pytest.mark.parametrize(("change", "message"), MISTAKES.items())
def test_mistake_in_the_format_is_one_line(tmp_path, change, message):
    with program(tmp_path, change) as port:
        verdict = verdict_on(port, EVERYTHING._replace(velocity=None))
    assert message in verdict
    assert "\n" not in verdict
