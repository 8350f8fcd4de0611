"""The figures of this part."""

from numpy_rnn.study.figures import (
    along_training,
    heat_map,
    jacobians,
    masks,
    norm_by_lag,
    trajectories,
    truncation_cost,
)
from numpy_rnn.study.records import Drawing

DRAWINGS = (
    Drawing("heat_map", (8.4, 4.2), heat_map.draw, heat_map.caption, heat_map.alternative),
    Drawing("masks", (10, 3.2), masks.draw, masks.caption, masks.alternative),
    Drawing("cosine_bias", (8.4, 5), truncation_cost.draw, truncation_cost.caption, truncation_cost.alternative),
    Drawing("along_training", (8.4, 3.6), along_training.draw, along_training.caption, along_training.alternative),
    Drawing("norm_by_lag", (7, 3.6), norm_by_lag.draw, norm_by_lag.caption, norm_by_lag.alternative),
    Drawing("jacobians", (7, 3.8), jacobians.draw, jacobians.caption, jacobians.alternative),
    Drawing(
        "recurrence",
        (8.4, 3.4),
        along_training.draw_recurrence,
        along_training.caption_recurrence,
        along_training.alternative_recurrence,
    ),
    Drawing("trajectories", (10, 3.2), trajectories.draw, trajectories.caption, trajectories.alternative),
)
