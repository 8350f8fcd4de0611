"""Runs of ports, which are called once per update, and the drift of free-running implementations.

Over thousands of updates no rigorous bound is useful: some initial weights amplify rounding enormously, because
training is chaotic and not because of a fault. So the free-running drift of two implementations is compared with the
spread of reference runs whose initial weights differ by one unit in the last place, up or down at random.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters, Run, Step, WindowCase
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import GIVEN_DY, RateInVelocity, TwoBiases, is_classes, present
from numpy_rnn.conformance.definition import train, update, window_update
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import abilities, validated_report
from numpy_rnn.conformance.ports.protocol import LACKS, SGD_LACKS, Abilities
from numpy_rnn.conformance.traces.divergence import expected_windows
from numpy_rnn.conformance.traces.recorder import RecordedRun, record

REFERENCES = 16
# A choice, not a bound. Between numpy_rnn and torch_rnn the ratio was at most 1.0 in 400 runs of 30 epochs (those of
# `random_cases.random_run`), and 1.7 in longer ones; a learning rate that is off by 0.1 % makes it more than a million.
ALARM = 8.0
FLOOR = 4  # units of roundoff of the loss, because the spread may be 0 in the first epochs
MAX_MAGNITUDE = 1e12  # its square is still far from float32's largest number, 3e38


class Drift(NamedTuple):
    """By epoch: the largest difference so far from the first loss curve, of the others and of the references."""

    drift: np.ndarray  # (epochs,)
    spread: np.ndarray  # (epochs,)

    @property
    def ratio(self) -> float:
        """The largest drift / spread; above ALARM, rounding does not explain the drift."""
        with np.errstate(over="ignore"):
            return float(np.max(self.drift / self.spread, initial=0.0))


def measure(losses: np.ndarray, others: list[np.ndarray], run: Run, seed: int = 0) -> Drift:
    """The drift between the losses (epochs,) of a run of one network and those of other runs of the same kind."""
    curves = reference_losses(run, seed)
    spread = np.abs(curves[:, 1:] - curves[:, :1]).max(axis=1)
    limits, terms = np.finfo(run.params.W_hh.dtype), run.target.size
    floor = FLOOR * (
        limits.eps / 2 * np.abs(curves[:, 0]) + terms * limits.tiny
    )  # every square may underflow
    drift = np.abs(np.asarray(losses) - np.asarray(others)).max(axis=0)
    return Drift(np.maximum.accumulate(drift), np.maximum.accumulate(np.maximum(spread, floor)))


def reference_losses(run: Run, seed: int) -> np.ndarray:
    """The losses of the run, and of runs whose initial weights are moved by an ulp: (epochs, 1 + REFERENCES)."""
    generator, run = np.random.default_rng(seed), cases.second_bias_as_input(run)

    def epochs(params):
        """The last update of every epoch."""
        series, options = (run.x, run.target, run.h_0), run.options.keywords()
        return numpy_rnn.train(params, *series, weights=run.weights, yield_every="epoch", **options)

    with np.errstate(all="ignore"):
        *_, last = epochs(run.params)
        moved: dict[str, Any] = dict.fromkeys(Parameters._fields)
        for name, theta in present(run.params).items():
            # Moved by an ulp of the number before or after the run, whichever is larger: an update rounds to that size.
            copies, end = (
                np.repeat(theta[None], REFERENCES + 1, axis=0),
                getattr(last.parameters, name),
            )
            signs = generator.choice([-1, 1], copies[1:].shape).astype(theta.dtype)
            copies[1:] += signs * np.spacing(np.maximum(np.abs(theta), np.abs(end)))
            moved[name] = copies
        return np.stack(
            [summed_losses(update.losses, run) for update in epochs(Parameters(**moved))]
        )


def summed_losses(losses: npt.ArrayLike, run: Run) -> np.ndarray:
    """The loss of an epoch from those of its updates: their sum; under "mean", the mean over its points."""
    losses = np.asarray(losses, np.float64)
    if run.options.objective.reduction == "mean":
        windows = expected_windows(len(run.x), run.options.schedule)
        losses = (losses.T * [window.loss_steps / len(run.x) for window in windows]).T
    return losses.sum(axis=0)


def epoch_losses(recorded: RecordedRun) -> np.ndarray:
    """The loss of every whole epoch, (epochs, *E)."""
    per_epoch = len(expected_windows(len(recorded.run.x), recorded.run.options.schedule))
    losses = recorded.updates["loss"]
    epochs = len(losses) // per_epoch
    rows = losses[: epochs * per_epoch].reshape(epochs, per_epoch, *losses.shape[1:])
    return np.array([summed_losses(row, recorded.run) for row in rows]).reshape(
        epochs, *losses.shape[1:]
    )


def is_bounded(run: Run) -> bool:
    """Whether numpy_rnn's run stays far within the range of float32, so that no run of a correct port diverges."""
    updates = PackagePort(numpy_rnn).trace(run).updates
    return all(
        (np.abs(array) < MAX_MAGNITUDE).all()
        for array in updates.values()
        if array.dtype.kind == "f"
    )


def trace_port(port: Any, run: Run, timeout: float = 10.0) -> RecordedRun:
    """The run of a port that is called for every window of the schedule.

    A window starts from the state that the port reported in the window before, or that its parameters give.

    Raises InputError on a run that the port does not support; PortFault, with the epoch and update, if the port fails.
    """
    check_port_run(port, run)
    run = with_second_bias(run, abilities(port))
    if "rate_in_velocity" in abilities(port).capabilities:
        run = run._replace(options=run.options._replace(step=RateInVelocity(*run.options.step)))
    updates, per_epoch = itertools.count(), len(expected_windows(len(run.x), run.options.schedule))

    def compute(case):
        epoch, number = divmod(next(updates), per_epoch)
        return _answer(port, case, timeout, f"epoch {epoch + 1}, update {number + 1}")

    return record(run, train(run, compute))


def with_second_bias(run: Run, *those: Abilities) -> Run:
    """The run with a second hidden bias of zeros, if it has biases and one of those ports has two."""
    b_h, has_two = run.params.b_h, any("two_biases" in each.capabilities for each in those)
    if b_h is None or not has_two or isinstance(run.params, TwoBiases):
        return run
    two: Any = TwoBiases(*run.params, b_hh=np.zeros_like(b_h))
    return run._replace(params=two)


def _answer(
    port: Any, case: WindowCase, timeout: float, where: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The report on a case, with the same names in every update, and the states of its window.

    The dy, loss, dh_0 or step that a port does not have is computed here, the step from the port's gradients.
    """
    has, lacks, _ = abilities(port)
    no_step: Any = None
    computed = (
        window_update(case._replace(step=no_step)) if "given_dy" in has or "h_0" in lacks else {}
    )
    asked = case
    if "given_dy" in has:
        dy, objective = computed["dy"][-len(case.target) :], case.objective._replace(loss=GIVEN_DY)
        asked = case._replace(target=dy, objective=objective, weights=None)
    asked = asked._replace(h_0=None) if "h_0" in lacks else asked
    report = validated_report(
        port, asked._replace(step=no_step) if "step" in lacks else asked, timeout, where
    )
    report = {name: computed[name] for name in ("loss", "dh_0") if name in computed} | report
    if "step" in lacks:
        gradients = {name: report["d" + name] for name in present(case.params)}
        report |= update(
            Floats(case.params.W_hh.dtype), present(case.params), gradients, {}, case.step
        )
    is_seen = "intermediates" in has
    states = report["h"] if is_seen else window_update(case._replace(step=no_step))["h"]
    # Under given_dy, dy is not from the port's y.
    names = cases.required_outputs(
        case, is_seen and "given_dy" not in has, "input_gradients" in has
    )
    return {name: report[name] for name in names}, states


def check_port_run(port: Any, run: Run) -> None:
    """Raise InputError unless the port supports this run."""
    has, lacks, shapes = abilities(port)
    dtype = run.params.W_hh.dtype
    if run.params.W_hh.ndim > 2:
        raise InputError("a port takes one network at a time: expected a run without --seeds")
    if str(dtype) not in port.dtypes:
        raise InputError(
            f"{port.name} does not support {dtype}: choose --dtype {' or '.join(port.dtypes)}"
        )
    for name, is_needed in _needs(run).items():
        is_missing = name in lacks if name in LACKS else name not in has
        if is_needed and is_missing and not ("given_dy" in has and name in OF_LOSS):
            verb = "lacks" if name in LACKS else "does not declare"
            raise InputError(f"{port.name} {verb} {name!r}: choose a run without it")
    (D, H), O = run.params.W_xh.shape, run.params.W_hy.shape[-1]
    sizes = {"B": run.x.shape[1], "D": D, "H": H, "O": O}
    if shapes and not any(all(sizes.get(k, n) == n for k, n in shape.items()) for shape in shapes):
        raise InputError(
            f"{port.name} has the sizes {list(map(dict, shapes))}: expected them in the run, not {sizes}"
        )


OF_LOSS = ("mean", "squared_error", "distributions", "cross_entropy", "loss_weights")


def _needs(run: Run) -> dict[str, bool]:
    """The names of LACKS and CAPABILITIES, and whether the run needs them of a port."""
    (_, objective, step), windows = run.options, expected_windows(len(run.x), run.options.schedule)
    h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
    used = {name: getattr(step, name) != default for name, default in Step._field_defaults.items()}
    clips_values, is_cross_entropy = used.pop("max_value"), objective.loss == "cross_entropy"
    return {
        objective.nonlinearity: True,
        objective.reduction: True,
        "bias": run.params.b_h is not None,
        "no biases": run.params.b_h is None,
        "plain SGD": not step.adagrad,
        **used,
        "h_0": bool(h_0.any() or any(window.start > 0 for window in windows)),
        "older steps": any(window.loss_start > window.start for window in windows),
        "many losses": any(window.loss_steps > 1 for window in windows),
        "vector_inputs": not is_classes(run.x),
        "squared_error": not is_cross_entropy,
        "distributions": is_cross_entropy and not is_classes(run.target),
        "batch": h_0.shape[-2] > 1,
        "sgd_options": any(used[name] for name in SGD_LACKS),
        "learned_h_0": run.params.h_0 is not None,
        "two_biases": getattr(run.params, "b_hh", None) is not None,
        "clip_by_value": clips_values,
        "cross_entropy": is_cross_entropy,
        "class_inputs": is_classes(run.x),
        "loss_weights": run.weights is not None,
    }
