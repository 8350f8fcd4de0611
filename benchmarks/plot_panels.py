"""Panels side by side, and the names of lines at their ends."""

NAME_HEIGHT = 8  # points


def panels_of(count, label):
    """A figure and its panels, which share the vertical axis of this label."""
    import matplotlib.pyplot as plt

    size = (3.8 * count + 0.8, 4.4)
    figure, grid = plt.subplots(1, count, figsize=size, sharey=True, squeeze=False, layout="constrained")
    grid[0, 0].set_ylabel(label)
    return figure, grid[0]


def mark_sizes(axes, sizes):
    """A tick at every size."""
    axes.set_xticks(sizes, map(str, sizes), fontsize=7)
    axes.minorticks_off()


def name_ends(figure, ends):
    """Each line's name beside its end, as far from the others as they need to be read."""
    for axes in dict.fromkeys(axes for axes, *_ in ends):
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.4)  # room for the names, beside the ends
    axes = figure.axes[0]  # whose vertical axis is that of all
    low, high = axes.get_ylim()
    more = high * (high / low) ** 0.07 if axes.get_yscale() == "log" else high + 0.07 * (high - low)
    axes.set_ylim(low, more)  # and above
    figure.canvas.draw()  # only now it is known where the ends are
    for axes in dict.fromkeys(axes for axes, *_ in ends):
        mine = [(axes.transData.transform(end)[1], end, name, colour) for a, end, name, colour in ends if a is axes]
        mine.sort(key=lambda item: (item[0], item[2]))
        heights = spread([height for height, *_ in mine], NAME_HEIGHT * figure.dpi / 72)
        for (height, end, name, colour), at in zip(mine, heights):
            shift = (at - height) * 72 / figure.dpi
            offset = {"xytext": (6, shift), "textcoords": "offset points", "va": "center"}
            axes.annotate(name, end, **offset, color=colour, fontsize=NAME_HEIGHT - 1)


def spread(heights: list[float], least: float) -> list[float]:
    """Heights in rising order, moved apart to `least`: clusters that would overlap are centred where they were."""
    clusters: list[list[float]] = []
    for height in heights:
        clusters.append([height])
        while len(clusters) > 1 and _bottom(clusters[-1], least) - _top(clusters[-2], least) < least:
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    return [_bottom(cluster, least) + n * least for cluster in clusters for n in range(len(cluster))]


def _bottom(cluster, least):
    return sum(cluster) / len(cluster) - (len(cluster) - 1) / 2 * least


def _top(cluster, least):
    return sum(cluster) / len(cluster) + (len(cluster) - 1) / 2 * least
