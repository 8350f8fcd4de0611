"""The runs by which mistakes are shown: the configured one first, and then others in which more of them can be seen."""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import Judgement, judge
from numpy_rnn.study.setting import Setting
from numpy_rnn.study.training.courses import drawn
from numpy_rnn.study.training.variants import OVERLAP

SHORT = 2  # epochs: the second shows what is carried over from the first
MOST_UPDATES = 1000  # of a run that shows a mistake: there are many of them


class Shown(NamedTuple):
    """One run: what is other than in the configured one, and how its networks are drawn."""

    name: str
    changes: dict[str, Any]  # of the configuration
    bias: bool | None = None  # None: as configured
    dtype: str | None = None  # None: as configured
    together: bool = False  # the networks as one ensemble, and not one by one
    learned: bool = False  # whether h_0 is

    def configuration(self, setting: Setting) -> Configuration:
        """In full, but for at most so many updates."""
        changed = setting.configuration.changed(**self.changes)
        updates = -(-len(setting.x) // changed.k1)
        return changed.changed(epochs=min(changed.epochs, max(1, MOST_UPDATES // updates)))

    def networks(self, setting: Setting, number: int) -> list[Parameters]:
        """So many networks: one by one, or as one ensemble."""
        params = drawn(setting, number, self.bias, self.dtype)
        if self.learned and params.h_0 is None:
            params = params._replace(h_0=np.zeros((number, *setting.h_0.shape), params.W_hh.dtype))
        if self.together:
            return [params]
        return [Parameters(*(None if v is None else v[n] for v in params)) for n in range(number)]


def runs(setting: Setting) -> tuple[Shown, ...]:
    """In the order in which they are tried."""
    steps, configuration = len(setting.x), setting.configuration
    sliding = {"k1": 1, "k2": min(OVERLAP, steps)}
    chunks = {"k1": min(3, steps), "k2": min(OVERLAP, steps)}
    momentum = {"momentum": 0.5, "dampening": 0.25, "nesterov": False, "weight_decay": 0.001, "max_norm": 0.5}
    rate = {"learning_rate": 0.2 * np.asarray(configuration.learning_rate).item()}
    return (
        Shown("as configured", {}),
        Shown("k1 = 1, k2 = {k2}, biases".format(**sliding), sliding, True),
        Shown(
            "float64, k1 = 1, k2 = {k2}, biases, max_norm".format(**sliding),
            sliding | {"max_norm": 0.5},
            True,
            "float64",
        ),
        Shown("k1 = {k1}, k2 = {k2}, mean".format(**chunks), chunks | {"reduction": "mean"}, True),
        Shown("k1 = {k1}, k2 = {k2}, sum".format(**chunks), chunks | {"reduction": "sum"}, True),
        Shown("relu, k1 = 1, k2 = {k2}".format(**sliding), sliding | rate | {"nonlinearity": "relu"}, True),
        Shown("momentum, dampening, decay, max_norm, learned h₀", sliding | rate | momentum, True, learned=True),
        Shown("nesterov", sliding | rate | {"momentum": 0.5, "dampening": 0.0, "nesterov": True}, True),
        Shown("an ensemble, max_norm", {"max_norm": 0.5}, together=True),
    )


def short_judgement(rnn: Any, shown: Shown, setting: Setting) -> Judgement:
    """The equivalence suite's verdict on the first epochs of such a run of `rnn`.

    Raises InputError when it makes no update at all, as there is nothing to judge then.
    """
    configuration = shown.configuration(setting)
    configuration = configuration.changed(epochs=min(SHORT, max(1, configuration.epochs)))
    params = shown.networks(setting, 2 if shown.together else 1)[0]
    dtype = params.W_hh.dtype
    x, target, h_0 = (v.astype(dtype) for v in (setting.x, setting.target, setting.h_0))
    experiment = setting.experiment._replace(
        x=x, target=target, h_0=h_0 if params.h_0 is None else params.h_0, params=params
    )
    configuration = configuration.changed(learn_initial_state=params.h_0 is not None)
    with np.errstate(all="ignore"):
        trace = trace_of(rnn, experiment, configuration)
        if "epoch" not in trace:
            raise InputError(f"{rnn.__name__} has made no update: expected one to be judged")
        return judge(trace)
