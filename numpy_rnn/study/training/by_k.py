"""Loss curves by the length of the truncation: chunks (k, k) and sliding windows (1, k), over many seeds."""

import numpy_rnn
from numpy_rnn.study.setting import Setting
from numpy_rnn.study.training.courses import course, drawn, summary

LENGTHS = (1, 2, 3, 5, 10)  # and all steps of the series


def lengths(steps: int) -> list[int]:
    """The k that are run: some short ones, and the whole series."""
    return sorted({k for k in LENGTHS if k < steps} | {steps})


def by_k(setting: Setting) -> dict:
    """For every k, TBPTT(k, k) and TBPTT(1, k) of the same networks, with the run's other options."""
    params = drawn(setting, setting.seeds)
    ks = lengths(len(setting.x))

    def train(k1, k2):
        configuration = setting.configuration.changed(k1=k1, k2=k2)
        return {"k1": k1, "k2": k2, "k": k2} | summary(course(numpy_rnn, params, setting, configuration))

    chunks = [train(k, k) for k in ks]
    sliding = [chunks[0] if k == 1 else train(1, k) for k in ks]
    configuration = setting.configuration
    return {
        "ks": ks,
        "steps": len(setting.x),
        "seeds": setting.seeds,
        "first_seed": configuration.seed,
        "epochs": configuration.epochs,
        "learning_rate": configuration.learning_rate,
        "reduction": configuration.reduction,
        "mean": configuration.reduction == "mean",
        "from_file": configuration.weights is not None,
        "chunks": chunks,
        "sliding": sliding,
        "best_chunks": _best(chunks),
        "best_sliding": _best(sliding),
        "any_diverged": any(run["diverged"] for run in chunks + sliding),
        "diverged": _diverged(chunks, sliding),
    }


def _best(runs):
    """The k with the lowest median final loss, of those whose median network did not diverge; None: there is none."""
    finite = [run for run in runs if run["final_median"] is not None]
    return min(finite, key=lambda run: run["final_median"])["k"] if finite else None


def _diverged(chunks, sliding):
    runs = [(run, "chunks") for run in chunks] + [(run, "sliding window") for run in sliding if run["k"] > 1]
    return [{"kind": kind, "k": run["k"], "diverged": run["diverged"]} for run, kind in runs if run["diverged"]]
