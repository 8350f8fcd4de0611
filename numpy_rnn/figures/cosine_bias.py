"""Draw what truncation costs, over many seeds: python -m numpy_rnn.figures.cosine_bias FILE"""

import sys
from pathlib import Path

import numpy as np

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import run
from numpy_rnn.app.storage import written_whole
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.components.matrix import chunks, component_matrix, cost, flat, sliding
from numpy_rnn.study.figures.style import BAND, step_ticks, style
from numpy_rnn.study.figures.truncation_figures import KINDS, ROWS

SEEDS = 32
PERCENTILES = (10, 50, 90)
TRUNCATIONS = {"chunks": chunks, "sliding": sliding}


def measure(seeds: int = SEEDS) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Cosine and relative bias of the gradient of an epoch, truncated to k steps, of the default experiment.

    Returns, by "start" and "end" of training, "chunks" and "sliding", "cosine" and "bias": an array (seeds, T), whose
    element [n, k - 1] belongs to seed n and windows of k steps. The networks are trained in float32; the gradients are
    computed in float64.
    """
    configuration = Configuration(networks=seeds)
    experiment = prepare(configuration)
    trained = run(numpy_rnn, experiment, configuration).params
    return {end: _of(params, experiment) for end, params in (("start", experiment.params), ("end", trained))}


def draw(path, seeds: int = SEEDS) -> None:
    """Write the drawing: median and band over the seeds, cosine above and bias below, before and after training."""
    measured = measure(seeds)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 5))
        grid = figure.subplots(2, 2, sharex=True, sharey="row")
        for axes, (end, part) in zip(grid.flat, ((end, part) for part in ROWS for end in measured)):
            for kind, (name, color, marker) in KINDS.items():
                low, median, high = np.percentile(measured[end][kind][part], PERCENTILES, axis=0)
                k = np.arange(1, len(median) + 1)
                axes.plot(k, median, color=color, marker=marker, markersize=3.5, label=name)
                axes.fill_between(k, low, high, color=color, alpha=BAND, linewidth=0)
            axes.axhline(1 if part == "cosine" else 0, color="black", linewidth=0.6)
            axes.set_xticks(step_ticks(len(k)))
        for axes, label in zip(grid[:, 0], ROWS.values()):
            axes.set_ylabel(label)
        for axes, title in zip(grid[0], ("before training", f"after {Configuration().epochs} epochs")):
            axes.set_title(f"{title}, {seeds} seeds")
        for axes in grid[-1]:
            axes.set_xlabel("k, the steps of a window")
        grid[-1, 0].legend(loc="upper right")
        kind = Path(path).suffix.lstrip(".")
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _of(params, experiment):
    """The costs of all networks of an ensemble, on one series."""
    x, target, h_0 = (array.astype(np.float64) for array in (experiment.x, experiment.target, experiment.h_0))
    result: dict[str, list] = {kind: [] for kind in TRUNCATIONS}
    for n in range(len(params.W_hh)):
        network = Parameters(*(None if theta is None else theta[n].astype(np.float64) for theta in params))
        components = flat(component_matrix(network, x, target, h_0).gradients)
        for kind, truncations in TRUNCATIONS.items():
            result[kind].append(cost(components, truncations(len(x)))._asdict())
    return {
        kind: {part: np.array([of[part] for of in costs]) for part in ("cosine", "bias")}
        for kind, costs in result.items()
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one argument: the file to draw to, .svg or .png")
    draw(sys.argv[1])
