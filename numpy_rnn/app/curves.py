"""Values of networks by time, which are predicted, plotted and written."""

from typing import NamedTuple

from numpy_rnn.common.records import NumpyArray

BAND = (50, 10, 90)  # percentiles of an ensemble


class Curve(NamedTuple):
    """Values of N networks at consecutive times."""

    first: int  # the time of the first values
    values: NumpyArray  # (n, N, D)

    def of_networks(self, chosen: NumpyArray) -> "Curve":
        """Return the curve of some of the networks, (N,) bool."""
        return self._replace(values=self.values[:, chosen])
