"""What a run on a text prints, as min-char-rnn: a smoothed loss, and samples."""

from typing import Any

import numpy as np

from numpy_rnn.app.data import Text
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.predictions import Curve
from numpy_rnn.app.training import REMEDIES, Diverged, Training
from numpy_rnn.common.records import Update
from numpy_rnn.common.texts import printable

SMOOTHING = 0.999  # of the smoothed loss, at each update


class TextReport:
    """The report on a run: rows of its smoothed loss, with samples."""

    def __init__(self, training: Training, text: Text, options: Configuration):
        self.training = training
        self.text = text
        self.options = options
        steps = options.k1 if options.reduction == "sum" else 1
        self.smoothed = steps * float(np.log(len(text.alphabet)))

    def heading(self) -> str:
        """Describe the text, and return the heading of the rows."""
        return (
            f"{len(self.text.alphabet)} different characters, {self.training.per_epoch}"
            f" updates per epoch; the loss at random is {self.smoothed:.3f}\n"
            "  update   epoch   smoothed loss"
        )

    def after(self, update: Update[Any]) -> list[str]:
        """Smooth the loss of an update. Returns its row, if it is printed, and a
        sample; `final` has the last.
        """
        loss = float(update.loss)
        self.smoothed = SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        training = self.training
        is_last = training.updates == training.per_epoch * self.options.epochs
        if is_last or training.updates % self.options.log_every:
            return []
        return self.final({})

    def curves(self) -> dict[str, Curve]:
        """Return the losses."""
        return {"loss": self.training.loss_curve()}

    def final(self, curves: dict[str, Curve]) -> list[str]:
        """Return the row of the latest update, and a sample between two rules."""
        training = self.training
        lines = [f"{training.updates:8d}{training.epoch:8d}{self.smoothed:16.6f}"]
        drawn = self.sample(self.options.sample)
        if drawn:
            lines += ["----", *map(printable, drawn.split("\n")), "----"]
        return lines

    def sample(self, length: int) -> str:
        """Draw a text: each character from softmax(y / temperature), the next input.

        Parameters
        ----------
        length : int
            Number of characters.

        Returns
        -------
        str
            The text.

        Raises
        ------
        Diverged
            If an output is not finite.
        """
        training = self.training
        options = self.options
        rnn = training.rnn
        params = training.params
        generator = np.random.default_rng((options.seed, training.updates))
        h = rnn.from_numpy(training.run.h_0)
        x = self.text.x[:1]
        drawn = ""
        for _ in range(length):
            x = rnn.from_numpy(x)
            made = rnn.forward(params, x, h, nonlinearity=options.nonlinearity)
            h = made.h[-1]
            y = rnn.to_numpy(made.y)[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(f"a sample cannot be drawn: y is not finite; {REMEDIES}")
            p = np.exp((y - y.max()) / options.temperature)
            x = generator.choice(len(p), (1, 1), p=p / p.sum())
            drawn += self.text.alphabet[x.item()]
        return drawn
