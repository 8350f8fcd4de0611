"""The figures of this part of the study, and what they say."""

from numpy_rnn.study.figures.disagreements import (
    draw_disagreement_masks,
    draw_disagreement_steps,
    draw_disagreements,
)
from numpy_rnn.study.figures.loss_by_k import draw_final_by_k, draw_loss_by_k
from numpy_rnn.study.figures.mistakes import draw_mistake_curves, draw_mistakes, shown
from numpy_rnn.study.records import Drawing, Findings


def loss_by_k_caption(findings: Findings) -> str:
    """For the curves by k."""
    by_k = findings["training"]["by_k"]
    return (
        f"Loss along training by k, the median of {by_k['seeds']} networks and the band from the 10th to the 90th"
        f" percentile, at learning rate {by_k['learning_rate']:g}. Left, a window that slides by one step and reaches"
        " back over k of them; right, chunks of k steps. Look at how much a longer reach buys in either." + _gone(by_k)
    )


def final_by_k_caption(findings: Findings) -> str:
    """For the final losses by k."""
    by_k = findings["training"]["by_k"]
    return (
        f"The same runs in the end: a dot a network, {by_k['seeds']} for every k, and their medians joined. One network"
        " may end above or below nearly any other: only the medians and the spread of the dots say something about k."
        + _gone(by_k)
    )


def _gone(by_k):
    if not by_k["any_diverged"]:
        return ""
    gone = ", ".join(f"{one['diverged']} with {one['kind']} of k = {one['k']}" for one in by_k["diverged"])
    return f" Of each {by_k['seeds']} networks some diverged: {gone}; they count as the worst ones."


def _final_losses(findings: Findings) -> str:
    by_k = findings["training"]["by_k"]
    parts = []
    for kind, name in (("sliding", "sliding windows"), ("chunks", "chunks")):
        medians = (
            f"{run['final_median']:.2g} at k = {run['k']}" if run["final_median"] else f"diverged at k = {run['k']}"
            for run in by_k[kind]
        )
        parts.append(f"{name}: " + ", ".join(medians))
    return "Median final losses. " + "; ".join(parts) + "."


def disagreements_caption(findings: Findings) -> str:
    """For the small multiples."""
    found = findings["training"]["disagreements"]
    networks = found[0]["wrong"]["networks"]
    return (
        f"Each way of computing it (dashed) beside the definition (solid), from the same {networks} initial weights:"
        " median and band from the 10th to the 90th percentile, and the median over the networks of the final loss"
        " divided by that of the definition. Two curves that lie in each other's bands are hard to tell by their"
        " losses, and still are two algorithms."
    )


def _ratios(findings: Findings) -> str:
    parts = (
        f"{one['name']}, {one['ratio']['median']:.2g}" if one["ratio"]["median"] else f"{one['name']}, diverged"
        for one in findings["training"]["disagreements"]
    )
    return "Final loss over that of the definition: " + "; ".join(parts) + "."


def masks_caption(findings: Findings) -> str:
    """For the masks."""
    found = {one["key"]: one for one in findings["training"]["disagreements"]}["added_up"]
    most = max(max(row) for row in found["counts"])
    return (
        "How often an epoch counts the item ∂ℓ_t/∂θ_s: by the definition each in the band once. One step more widens"
        " the band; chunks cut it into triangles; where state gradients add up over the windows, an item counts up to"
        f" {most:g} times, by the binomial coefficients of their lag t − s."
    )


def steps_caption(findings: Findings) -> str:
    """For the differences along training."""
    return (
        "How different the steps of one epoch are when both ways start from the same weights, at several moments of the"
        " right run: root mean square over the updates, relative to the length of the right steps, median over the"
        " networks. What looks like a small disagreement before training need not stay one."
    )


def _steps(findings: Findings) -> str:
    parts = (
        f"{one['name']}: {one['steps']['of_step'][0]:.2g} to {one['steps']['of_step'][-1]:.2g}"
        for one in findings["training"]["disagreements"]
        if one["steps"]["of_step"] and one["steps"]["of_step"][0] and one["steps"]["of_step"][-1]
    )
    return "Relative difference of a step, from the first epoch to the last. " + "; ".join(parts) + "."


def mistakes_caption(findings: Findings) -> str:
    """For the dots."""
    training = findings["training"]
    counts, limits = training["counts"], training["limits"]
    return (
        f"The final loss with each of {len(shown(findings))} known mistakes, relative to the right run (line at 1)."
        f" {counts['learns']} of them end at no more than {limits['learns']:g} times the right loss,"
        f" {counts['same']} of these within a percent of it: the loss does not find them."
    )


def curves_caption(findings: Findings) -> str:
    """For the small curves."""
    networks = findings["training"]["limits"]["networks"]
    return (
        "The loss curve of each mistake (coloured as in the figure before) over that of the right run (grey), the"
        f" median of {networks} networks, in the same order from the lowest final loss to the highest. Cover the grey"
        " curves: how many would you call wrong?"
    )


def _outcomes(findings: Findings) -> str:
    names: dict[str, list[str]] = {}
    for one in shown(findings):
        names.setdefault(one["verdict"], []).append(one["name"])
    return "What becomes of them. " + " ".join(f"{verdict}: {'; '.join(of_it)}." for verdict, of_it in names.items())


DRAWINGS = (
    Drawing("loss_by_k", (9, 4), draw_loss_by_k, loss_by_k_caption, _final_losses),
    Drawing("final_by_k", (7, 4.2), draw_final_by_k, final_by_k_caption, _final_losses),
    Drawing("disagreements", (9, 7.5), draw_disagreements, disagreements_caption, _ratios),
    Drawing("disagreement_masks", (9.5, 2.9), draw_disagreement_masks, masks_caption, masks_caption),
    Drawing("disagreement_steps", (8, 4.2), draw_disagreement_steps, steps_caption, _steps),
    Drawing("mistakes", (8.5, 11), draw_mistakes, mistakes_caption, _outcomes),
    Drawing("mistake_curves", (9.5, 11), draw_mistake_curves, curves_caption, _outcomes),
)
