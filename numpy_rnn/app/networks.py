"""Networks of a package that are used, not trained: outputs and states of series."""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Nonlinearity, NumpyArray, Parameters


class Networks(NamedTuple):
    """One network or an ensemble, with the package that computes it."""

    rnn: ModuleType
    params: Parameters[Any]  # arrays of the package
    nonlinearity: Nonlinearity

    @classmethod
    def from_arrays(
        cls, rnn: ModuleType, params: Parameters[Any], nonlinearity: Nonlinearity
    ) -> "Networks":
        """Make networks of NumPy arrays."""
        return cls(rnn, rnn.from_numpy(params), nonlinearity)

    def initial_state(self) -> NumpyArray:
        """Return the state zero, (1, H), in the dtype of the weights."""
        W_hh = self.rnn.to_numpy(self.params.W_hh)
        return np.zeros((1, W_hh.shape[-1]), W_hh.dtype)

    def forward(self, x: NumpyArray, h_0: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """Return the outputs and the states, as NumPy arrays."""
        window = self.rnn.forward(
            self.params,
            *self.rnn.from_numpy((x, h_0)),
            nonlinearity=self.nonlinearity,
        )
        y, h = self.rnn.to_numpy((window.y, window.h))
        return y, h
