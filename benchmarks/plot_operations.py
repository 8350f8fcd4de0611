"""The figure of a profile."""

from collections.abc import Sequence

from benchmarks.profile import Profile, by_equation

LEAST_SHARE = 0.012  # a letter, where a name has room


def draw_operations(profiles: Sequence[Profile]):
    """A bar a case, in shares."""
    import matplotlib.pyplot as plt

    if not profiles:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.9 * len(profiles)), layout="constrained")
    palette = plt.get_cmap("tab20")(range(20))
    names = list(dict.fromkeys(name for profile in profiles for name in by_equation(profile)))
    for row, profile in enumerate(reversed(profiles)):
        whole, left = sum(line.seconds for line in profile.lines), 0.0
        for name, spent in by_equation(profile).items():
            share = spent / whole
            axes.barh(row, share, left=left, color=palette[names.index(name) % len(palette)], edgecolor="white")
            if share > LEAST_SHARE * len(name):
                axes.text(left + share / 2, row, name, ha="center", va="center", fontsize=7)
            left += share
    axes.set_yticks(range(len(profiles)), [f"{p.case}\n{p.seconds * 1e6:.3g} µs a point" for p in reversed(profiles)])
    axes.set(xlim=(0, 1), xlabel="share of the time")
    return figure
