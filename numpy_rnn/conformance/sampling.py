"""The windows on which a port is checked: random ones, and those of its own data."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.case import (
    WindowCase,
    loss_kind,
    parameters_from,
    present,
)
from numpy_rnn.conformance.ports.port import StatedPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import (
    MAX_LOGIT,
    PLAIN,
    CaseSpec,
    RandomDraw,
    large_spec,
    random_spec,
    without_unsupported,
)

EXAMPLES = 100  # windows per test
LARGE_OUTPUTS_SHARE = 5  # of so many windows, one whose outputs overflow exponentials
LARGE_EVERY = 6  # one of so many windows is large
LARGE = "THBDO"  # in turn
CHOICES_PER_WINDOW = 2  # of the options, for a window of a port's own data
MAX_WORK = 8e7  # of the windows of a test, in products: fewer where they are large
MIN_WINDOWS = 5  # whatever their work is


class NamedCase(NamedTuple):
    """A case, and the spec that makes it; None for the port's own data."""

    case: WindowCase
    spec: CaseSpec | None
    name: str  # the call that makes the case


def named_case(spec: CaseSpec) -> NamedCase:
    """Return the case of a spec, with the spec as its name."""
    return NamedCase(spec.case(), spec, repr(spec))


def port_cases(port: StatedPort, dtype: str, seed: int) -> Iterator[NamedCase]:
    """Yield the windows of the port's own data, under random choices of its options."""
    stated = port.abilities
    for number, data in enumerate(port.cases):
        for name in ("x", "target"):
            if data.get(name) is None:
                expected = "expected x, target, and if you like h_0 and params"
                raise PortFault(f"cases[{number}] has no {name}: {expected}")
        sizes = sizes_of_data(data)
        for choice in range(CHOICES_PER_WINDOW):
            draw = RandomDraw(seed, number, choice)
            spec = random_spec(draw, dtype, stated)
            spec = spec._replace(**sizes, **PLAIN)
            if data.get("params"):
                spec = spec._replace(bias="b_h" in data["params"])
            spec = without_unsupported(spec, stated)
            name = f"cases[{number}] with {spec!r}"
            yield NamedCase(case_of_data(spec.case(), data, dtype), None, name)


def sizes_of_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of a window of a port's own data, as far as its arrays have
    them.
    """
    x = np.asarray(data["x"])
    target = np.asarray(data["target"])
    sizes: dict[str, Any] = {"T": len(x), "B": x.shape[1], "K": len(target)}
    for letter, array in (("D", x), ("O", target)):
        if is_integer(array):
            sizes[letter] = int(array.max()) + 1  # classes are numbers below it
        else:
            sizes[letter] = array.shape[-1]
    if data.get("h_0") is not None:
        sizes["H"] = np.shape(data["h_0"])[-1]
    if params := data.get("params"):
        sizes["D"], sizes["H"] = np.shape(params["W_xh"])
        sizes["O"] = np.shape(params["W_hy"])[1]
    return sizes


def case_of_data(case: WindowCase, data: Mapping[str, Any], dtype: str) -> WindowCase:
    """Return the case with a port's own data, and with zeros for h_0 if there is
    none.
    """

    def in_dtype(value: Any) -> NumpyArray:
        """Return an array of this dtype, or one of classes as it is."""
        array = np.asarray(value)
        return array if is_integer(array) else array.astype(dtype)

    h_0 = data.get("h_0")
    if h_0 is not None:
        h_0 = in_dtype(h_0)
    elif case.h_0 is not None:
        h_0 = np.zeros_like(case.h_0)
    params = present(case.params)
    for name, theta in (data.get("params") or {}).items():
        params[name] = in_dtype(theta)
    return case._replace(
        params=parameters_from(params),
        x=in_dtype(data["x"]),
        target=in_dtype(data["target"]),
        h_0=h_0,
    )


def work_of(sizes: Mapping[str, Any]) -> float:
    """Return the number of products of a window of these sizes."""
    T, B, D, H, O = (sizes[letter] for letter in "TBDHO")
    return float(T * B * H * (D + H + O))


def sampled_cases(
    port: StatedPort, dtype: str, seed: int, examples: int | None
) -> Iterator[NamedCase]:
    """Yield the port's own windows and random ones; fewer where they are large.

    Those whose outputs overflow exponentials are left out.
    """
    yield from port_cases(port, dtype, seed)
    stated = port.abilities
    work = 0.0
    for number in range(examples or EXAMPLES):
        draw = RandomDraw(seed, number)
        if number % LARGE_EVERY == LARGE_EVERY - 1:
            letter = LARGE[number // LARGE_EVERY % len(LARGE)]
            spec = large_spec(draw, letter, dtype, stated)
        else:
            spec = random_spec(draw, dtype, stated)
        work += work_of(spec._asdict())
        if examples is None and number >= MIN_WINDOWS and work > MAX_WORK:
            return
        if spec.logits != MAX_LOGIT:
            yield named_case(spec)


def large_output_cases(
    port: StatedPort, dtype: str, seed: int, examples: int | None
) -> Iterator[NamedCase]:
    """Yield random windows of a cross-entropy whose outputs overflow exponentials.

    Those that have learnt come last: they may hide which tensor is wrong.
    """
    count = max(1, (examples or EXAMPLES) // LARGE_OUTPUTS_SHARE)
    specs = list[CaseSpec]()
    for number in range(max(examples or 0, EXAMPLES)):  # half or more have classes
        spec = random_spec(RandomDraw(seed, number), dtype, port.abilities)
        if loss_kind(spec.objective).has_classes:
            specs.append(spec._replace(logits=MAX_LOGIT))
    work = 0.0
    for spec in sorted(specs[:count], key=lambda spec: spec.learnt):
        yield named_case(spec)
        work += work_of(spec._asdict())
        if examples is None and work > MAX_WORK:
            return


def smaller(spec: CaseSpec, port: StatedPort) -> Iterator[CaseSpec]:
    """Yield the same with small sizes, if the port has all sizes."""
    stated = port.abilities
    if stated.sizes:
        return
    O = 2 if loss_kind(spec.objective).has_classes else 1
    plain = spec._replace(**PLAIN, scale=1.0, gain=1.0, B=1, D=1, H=2, O=O)
    for T in (1, 2, 3, spec.T):
        yield without_unsupported(plain._replace(T=T, K=T), stated)
