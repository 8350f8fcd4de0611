"""The item matrix, its masks, what truncations cost, and the numbers and figures made of them."""

import json
import math

import numpy as np
import pytest
from study_settings import ROUNDING, SETTINGS, bounds_of_items, bounds_of_sums, initial_state, named_setting

import numpy_rnn
from numpy_rnn import Gradients, InputError, Parameters
from numpy_rnn.study.figures.labels import moved_apart, step_ticks
from numpy_rnn.study.items.explorer import explorer, items_of
from numpy_rnn.study.items.items import flat, item_matrix, norms
from numpy_rnn.study.items.masks import chunks, mask, masked_sum, pairs, sliding, weights
from numpy_rnn.study.items.measure import measure, sum_over_epoch
from numpy_rnn.study.items.plain import plain
from numpy_rnn.study.items.tables import tables
from numpy_rnn.study.items.truncation import by_lag, cost, reach
from numpy_rnn.study.items.witness import MOST, check_items, items_by_complex_step
from numpy_rnn.study.setting import Snapshot


@pytest.fixture(params=SETTINGS, scope="session")
def setting(request):
    return named_setting(request.param)


@pytest.fixture(scope="session")
def found(setting):
    """The findings of this part, and those of the explorer, as they come back from JSON."""
    return json.loads(json.dumps({"items": measure(setting), "explorer": explorer(setting)}, allow_nan=False))


# -- the items --------------------------------------------------------------------------------------------------------


def test_the_items_of_two_steps_are_those_worked_out_by_hand():
    """DERIVATION.md, section 4.1: a_1 = 3, a_2 = 7, both errors 1."""
    one = np.ones((1, 1))
    params = Parameters(one, 2 * one, one)
    x, target = np.ones((2, 1, 1)), np.array([2.0, 6.0]).reshape(2, 1, 1)
    items = item_matrix(params, x, target, one, "relu")
    assert items.gradients.W_hh[..., 0, 0].tolist() == [[1, 0], [2, 3]]  # h_0 da_1; h_0 da_1, h_1 da_2: 6 in all
    assert items.gradients.W_xh[..., 0, 0].tolist() == [[1, 0], [2, 1]]
    assert items.gradients.W_hy[..., 0, 0].tolist() == [[3, 0], [0, 7]]
    assert items.dh[..., 0, 0].tolist() == [[1, 0], [2, 1]]
    assert items.losses.tolist() == [0.5, 0.5]
    assert norms(items.gradients)[1].tolist() == [math.sqrt(8), math.sqrt(9 + 1 + 49)]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_item_is_its_derivative_by_complex_step_and_by_balls(name):
    """Balls: |item − value| ≤ E. The imaginary part of a complex product is a sum of twice as many terms, so each γ_n
    of its pass is γ_2n ≤ 2γ_n (1 + tiny), hence its own error is 2E at most, and the two are 3E apart at most.
    """
    setting = named_setting(name)
    for params in (setting.start, setting.end):
        items, (E, cases) = items_of(setting, params), bounds_of_items(setting, params)
        T, h_0, phi = len(setting.x), initial_state(setting, params), setting.configuration.nonlinearity
        for t, balls in enumerate(cases, start=1):
            for tensor in ("dh", "da"):
                value, bound = balls[tensor]
                off = np.abs(value.difference(getattr(items, tensor)[t - 1, :t]))
                assert (off <= bound + value.radius).all()
        G, allowed = flat(items.gradients), 3 * flat(E)
        everything = np.arange(G.shape[-1])
        for s in range(1, T + 1):
            checked = items_by_complex_step(params, setting.x, setting.target, h_0, phi, s, everything)
            assert (np.abs(checked - G[:, s - 1]) <= allowed[:, s - 1]).all(), s
            assert not checked[: s - 1].any()
        there = G != 0
        assert np.mean(np.abs(G[there]) > 1e3 * allowed[there]) > 0.9  # so that the bounds say something


def test_the_check_of_the_items_finds_one_wrong_element():
    setting = named_setting("everything")
    items, h_0 = items_of(setting, setting.end), initial_state(setting, setting.end)
    arguments = setting.end, setting.x, setting.target, h_0, "tanh"
    right = check_items(items, *arguments)
    assert right["elements"] == right["of"] == 15 * flat(items.gradients).shape[-1]
    wrong = Gradients(*(theta.copy() for theta in items.gradients))
    wrong.b_h[3, 1, 2] *= 1.001
    found = check_items(items._replace(gradients=wrong), *arguments)
    assert found["at"] == {"t": 4, "s": 2}
    assert found["difference"] > 1e6 * right["difference"]


def test_of_many_parameters_a_sample_is_checked():
    setting = named_setting("sine")
    wide = setting.start._replace(W_xh=np.full((1, 30), 0.1), W_hh=np.eye(30) / 2, W_hy=np.full((30, 1), 0.1))
    h_0 = np.zeros((1, 30))
    items = item_matrix(wide, setting.x, setting.target, h_0)
    found = check_items(items, wide, setting.x, setting.target, h_0, "tanh")
    assert wide.W_hh.size > MOST
    assert 0 < found["elements"] <= MOST * len(setting.x) < found["of"] == 210 * 960
    again = check_items(items, wide, setting.x, setting.target, h_0, "tanh")
    assert again == found
    broken = items._replace(gradients=items.gradients._replace(W_hh=items.gradients.W_hh * 1.5))
    assert check_items(broken, wide, setting.x, setting.target, h_0, "tanh")["difference"] > 0.1


# -- the masks --------------------------------------------------------------------------------------------------------


def definition(T, k1, k2):
    """design.md, section 4, transcribed: (t, s) of the items that are kept, and K of the update that counts t."""
    e, n, kept, counted = {0: 0}, 0, set(), {}
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        for t in range(e[n - 1] + 1, e[n] + 1):
            counted[t] = e[n] - e[n - 1]
            kept |= {(t, s) for s in range(s_n + 1, t + 1)}
    return kept, counted


@pytest.mark.parametrize("T", [1, 2, 3, 6, 7])
def test_masks_and_weights_are_the_definition(T):
    for k1, k2 in [*pairs(T), (1, T + 3), (T + 1, T + 1)]:
        kept, counted = definition(T, k1, k2)
        at = [[(t, s) for s in range(1, T + 1)] for t in range(1, T + 1)]
        assert mask(T, k1, k2).tolist() == [[float(item in kept) for item in row] for row in at], (k1, k2)
        mean = [[(item in kept) / (counted[item[0]] * 6) for item in row] for row in at]
        assert weights(T, k1, k2, "mean", 2, 3).tolist() == mean, (k1, k2)


def test_the_masks_of_the_derivation():
    def rows(k1, k2):
        return ["".join(".x"[int(v)] for v in row) for row in mask(6, k1, k2)]

    assert rows(1, 1) == ["x.....", ".x....", "..x...", "...x..", "....x.", ".....x"]
    assert rows(2, 2) == ["x.....", "xx....", "..x...", "..xx..", "....x.", "....xx"]
    assert rows(1, 3) == ["x.....", "xx....", "xxx...", ".xxx..", "..xxx.", "...xxx"]
    assert rows(2, 4) == ["x.....", "xx....", "xxx...", "xxxx..", "..xxx.", "..xxxx"]
    assert rows(6, 6) == ["x.....", "xx....", "xxx...", "xxxx..", "xxxxx.", "xxxxxx"]


def test_masks_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="smaller than k1"):
        mask(5, 3, 2)
    with pytest.raises(InputError, match="unknown reduction"):
        weights(5, 1, 2, "median")


def test_the_truncations_are_all_there():
    assert pairs(3) == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]
    assert (len(pairs(20)), chunks(2), sliding(2)) == (210, [(1, 1), (2, 2)], [(1, 1), (1, 2)])


class Sums:
    """For one setting: masked sums beside those of `bptt`, and how far apart the two may be."""

    def __init__(self, setting, params):
        self.setting, self.params = setting, params
        self.items = items_of(setting, params).gradients
        self.E, _ = bounds_of_items(setting, params)
        self.reduction = setting.configuration.reduction
        self.of_windows = bounds_of_sums(setting, params, self.reduction)

    def ratio(self, k1, k2, weights):
        """The largest |masked sum − Σ bptt| in units of what is allowed: E of every item and of every window, and γ_n
        of the sum over n items, a weight that is rounded, and the product with it; the same for the sum of windows.
        """
        T, worst = len(self.setting.x), 0.0
        parts = zip(
            masked_sum(self.items, weights),
            sum_over_epoch(self.setting, self.params, k1, k2),
            masked_sum(Gradients(*(None if theta is None else abs(theta) for theta in self.items)), weights),
            masked_sum(self.E, weights),
            self.of_windows(k1, k2),
        )
        for own, summed, terms, of_items, of_windows in parts:
            if own is not None:
                allowed = of_items + of_windows + ROUNDING.gamma(T * T + 2 + T) * (terms + of_items)
                worst = max(worst, float(np.max(np.abs(own - summed) / (allowed + np.finfo(float).tiny))))
        return worst


@pytest.fixture(scope="session")
def sums(setting):
    return Sums(setting, setting.end)


def right_weights(sums, k1, k2):
    return weights(len(sums.setting.x), k1, k2, sums.reduction, 1, sums.setting.target.shape[-1])


def test_the_masked_sum_is_what_bptt_returns_for_every_truncation(sums):
    every = pairs(len(sums.setting.x))
    assert len(every) in (210, 15, 21, 6)
    for k1, k2 in every:
        assert sums.ratio(k1, k2, right_weights(sums, k1, k2)) <= 1, (k1, k2)


MISTAKES = {
    "one step more": lambda k1, k2: (k1, k2 + 1),
    "one step fewer": lambda k1, k2: (min(k1, max(1, k2 - 1)), max(1, k2 - 1)),
    "chunks for sliding": lambda k1, k2: (k2, k2),
    "sliding for chunks": lambda k1, k2: (1, k2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_another_mask_is_not_what_bptt_returns(sums, mistake):
    T, seen = len(sums.setting.x), 0
    for k1, k2 in pairs(T):
        right, wrong = (right_weights(sums, *k) for k in ((k1, k2), MISTAKES[mistake](k1, k2)))
        if ((right - wrong) * norms(sums.items)).any() and k2 <= 4:  # items of dead relu units are zero
            assert sums.ratio(k1, k2, wrong) > 1e3, (k1, k2)
            seen += 1
    assert seen > 1 or T == 3  # there chunks and a sliding window of two are the same


def test_a_single_item_more_or_less_is_seen(sums):
    right = right_weights(sums, 1, 2)
    for at in ((1, 0), (2, 0), (2, 1)):
        wrong = right.copy()
        wrong[at] = 0 if right[at] else 1
        assert norms(sums.items)[at] > 0
        assert sums.ratio(1, 2, wrong) > 1e3, at


# -- what truncations cost --------------------------------------------------------------------------------------------


def test_the_cost_of_a_truncation_by_hand():
    """Items of two parameters over two steps: the full gradient is (3, 4), one step keeps (0, 4)."""
    G = np.zeros((2, 2, 2))
    G[0, 0], G[1, 0], G[1, 1] = (-1, 3), (3, 0), (1, 1)
    cosine, bias = cost(G, [(1, 1), (2, 2), (1, 2)])
    assert cosine.tolist() == [4 * 4 / (4 * 5), 1, 1]
    assert bias.tolist() == [3 / 5, 0, 0]


def test_the_cost_is_not_defined_without_a_gradient():
    G = np.zeros((2, 2, 1))
    cosine, bias = cost(G, [(1, 1)])
    assert np.isnan([*cosine, *bias]).all()
    G[1, 0] = 2  # a gradient of which one step keeps nothing
    cosine, bias = cost(G, [(1, 1)])
    assert np.isnan(cosine).all()
    assert bias.tolist() == [1]


def test_lags_and_reach_by_hand():
    held = np.array([[8.0, 0, 0], [4, 4, 0], [1, 2, 5]])
    assert [norm.tolist() for norm in by_lag(held)] == [[8, 4, 5], [4, 2], [1]]
    assert reach(held, 0.5) == [1, 1, 1]
    assert reach(held, 0.75) == [1, 2, 2]
    assert reach(held, 1.0) == [1, 2, 3]
    assert reach(np.zeros((2, 2)), 0.5) == [0, 0]


# -- the findings -----------------------------------------------------------------------------------------------------


def test_the_findings_hold_what_the_functions_say(setting, found):
    items = found["items"]
    T, every = len(setting.x), items_of(setting, setting.end)
    G = flat(every.gradients)
    assert items["steps"] == T
    assert items["parameters"] == G.shape[-1] == sum(theta.size for theta in setting.end if theta is not None)
    assert items["heat"]["end"] == plain(norms(every.gradients))
    assert items["truncation"]["end"]["all"]["chunks"]["cosine"] == plain(cost(G, chunks(T)).cosine)
    assert items["truncation"]["end"]["all"]["sliding"]["bias"] == plain(cost(G, sliding(T)).bias)
    W_hh = every.gradients.W_hh.reshape(T, T, -1)
    assert items["truncation"]["end"]["W_hh"]["sliding"]["cosine"] == plain(cost(W_hh, sliding(T)).cosine)
    along = items["along"]
    assert along["epochs"] == [snapshot.epoch for snapshot in setting.snapshots]
    assert along["k"][-1] == T
    for place, k in enumerate(along["k"]):
        assert along["chunks"]["cosine"][place][-1] == items["truncation"]["end"]["all"]["chunks"]["cosine"][k - 1]
        assert along["sliding"]["bias"][place][0] == items["truncation"]["start"]["all"]["sliding"]["bias"][k - 1]
    assert items["sums"]["start"]["truncations"] == T * (T + 1) // 2
    for shown in items["masks"]:
        assert shown["kept"] == len(definition(T, shown["k1"], shown["k2"])[0])
    assert items["masks"][-1]["end"]["share"] == 1
    worst = items["truncation"]["end"]["worst"]
    of_all = items["truncation"]["end"]["all"]
    assert worst["cosine"] == min(value for of in of_all.values() for value in of["cosine"] if value is not None)
    assert worst["cosine"] == of_all[worst["kind"]]["cosine"][worst["k"] - 1]
    assert items["truncation"]["end"]["wrong_way"] == (worst["cosine"] < 0)


def test_reach_grows_with_the_share_and_stays_within_the_series(setting, found):
    for end in ("start", "end"):
        half, most, nearly = found["items"]["reach"][end].values()
        assert 1 <= half <= most <= nearly <= (len(setting.x) + 1) / 2


@pytest.mark.parametrize("name", ["everything", "three steps, untrained"])
def test_a_network_without_a_gradient_is_no_trouble(name):
    """All weights zero, and zero targets: every item is zero."""
    setting = named_setting(name)
    zero = Parameters(*(None if theta is None else np.zeros_like(theta) for theta in setting.end))
    snapshots = tuple(Snapshot(snapshot.epoch, zero) for snapshot in setting.snapshots)
    setting = setting._replace(target=np.zeros_like(setting.target), snapshots=snapshots)
    findings = {"items": measure(setting), "explorer": explorer(setting)}
    assert json.dumps(findings, allow_nan=False)
    assert findings["items"]["truncation"]["start"]["worst"] is None
    assert findings["items"]["reach"]["start"]["90"] == 0
    assert all("None" not in cell for table in tables(findings) for row in table.rows for cell in row)


def test_plain_numbers():
    assert plain(np.array([[1.23456789, -2e-300], [np.nan, np.inf]])) == [[1.234568, -2e-300], [None, None]]
    assert plain(np.float64(1e9 / 3), 3) == 3.33e8
    assert plain(None) is None
    assert plain(np.array(3)) == 3
    assert plain(True) is True


# -- the explorer -----------------------------------------------------------------------------------------------------

HALF_A_DIGIT = 0.5e-6  # relative: a number of seven significant digits is off by half a unit of the last, at most


def test_the_explorer_has_the_shapes_that_the_page_reads(setting, found):
    seen = found["explorer"]
    T, B, D, H, O = (seen["sizes"][letter] for letter in "TBDHO")
    assert setting.x.shape == (T, B, D)
    assert setting.start.W_hy.shape == (H, O)
    assert seen["nonlinearity"] == setting.configuration.nonlinearity
    assert seen["reduction"] == setting.configuration.reduction
    assert 1 <= seen["k1"] <= seen["k2"] <= T
    assert [snapshot["epoch"] for snapshot in seen["snapshots"]] == [s.epoch for s in setting.snapshots]
    assert np.shape(seen["x"]) == (T, D)
    assert np.shape(seen["target"]) == (T, O)
    shapes = {"a": (T, H), "h": (T + 1, H), "y": (T, O), "losses": (T,), "dy": (T, O)}
    of_parameters = {"W_xh": (D, H), "W_hh": (H, H), "W_hy": (H, O), "b_h": (H,), "b_y": (O,), "h_0": (H,)}
    for snapshot in seen["snapshots"]:
        assert {name: np.shape(snapshot[name]) for name in shapes} == shapes
        for name, shape in of_parameters.items():
            value, given = snapshot["parameters"][name], getattr(setting.start, name)
            assert (value is None) == (given is None)
            assert value is None or np.shape(value) == shape
        for name in ("dh", "da"):
            assert [np.shape(row) for row in snapshot[name]] == [(t, H) for t in range(1, T + 1)]
        assert [len(row) for row in snapshot["norm"]] == list(range(1, T + 1))
        for name in ("cosine", "bias"):
            assert [len(row) for row in snapshot[name]] == list(range(T, 0, -1))
    assert seen["biases"] == (setting.start.b_h is not None)
    assert seen["learned_h_0"] == (setting.start.h_0 is not None)


def test_a_window_is_put_together_from_the_explorers_numbers(setting, found):
    """dh and da of every window that `train` records while nothing moves, as the page adds them up."""
    choices = setting.configuration
    for snapshot, seen in zip(setting.snapshots, found["explorer"]["snapshots"]):
        params = snapshot.params
        h_0 = setting.h_0 if params.h_0 is None else None
        run = {"k1": choices.k1, "k2": choices.k2, "learning_rate": 0.0, "epochs": 1, "record": True}
        options = {"nonlinearity": choices.nonlinearity, "reduction": choices.reduction}
        for update in numpy_rnn.train(params, setting.x, setting.target, h_0, **run, **options):
            start, loss_start, stop = update.window
            N = update.window.loss_steps * setting.target.shape[-1] if choices.reduction == "mean" else 1
            for name in ("dh", "da"):
                recorded = getattr(update.adjoints, name)[:, 0]
                for s in range(start + 1, stop + 1):
                    parts = np.array([seen[name][t - 1][s - 1] for t in range(max(s, loss_start + 1), stop + 1)])
                    off = np.abs(parts.sum(0) / N - recorded[s - start - 1])
                    # The digits that were cut; 1.01 for roundings of double precision, which are a 10⁹th of them.
                    assert (off <= 1.01 * HALF_A_DIGIT * np.abs(parts).sum(0) / N).all(), (name, s)


def test_the_explorers_costs_and_norms_are_those_of_the_items(setting, found):
    for snapshot, seen in zip(setting.snapshots, found["explorer"]["snapshots"]):
        items = items_of(setting, snapshot.params)
        G, T = flat(items.gradients), len(setting.x)
        assert seen["losses"] == plain(items.losses)
        assert seen["loss"] == plain(items.losses.sum())
        assert seen["gradient_norm"] == plain(np.linalg.norm(np.tensordot(mask(T, T, T), G, 2)))
        assert [len(row) for row in seen["norm"]] == list(range(1, T + 1))
        assert seen["norm"][-1] == plain(norms(items.gradients)[-1])
        for k1, k2 in ((1, 1), (1, T), (2, 2), (2, 3), (T, T)):
            one = cost(G, [(k1, k2)])
            # Sums in another order: T² terms of either.
            for name, value in (("cosine", one.cosine[0]), ("bias", one.bias[0])):
                given = seen[name][k1 - 1][k2 - k1]
                slack = ROUNDING.gamma(4 * T * T) * np.abs(G).sum() / np.linalg.norm(np.tensordot(mask(T, T, T), G, 2))
                assert abs(given - value) <= 1.01 * HALF_A_DIGIT * abs(value) + slack, (name, k1, k2)


# -- tables and figures -----------------------------------------------------------------------------------------------


def test_the_tables_are_whole(found):
    made = tables(found)
    assert [table.name for table in made] == ["items_check", "truncation_cost", "reach", "starts"]
    for table in made:
        assert table.rows
        assert all(len(row) == len(table.head) for row in table.rows), table.name
        assert all(isinstance(cell, str) and cell and "None" not in cell for row in table.rows for cell in row)


@pytest.mark.slow
@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("name", ["everything", "three steps, untrained"])
def test_every_figure_is_drawn_within_its_borders_and_said_in_words(name):
    from matplotlib.figure import Figure

    from numpy_rnn.study.figures.style import style
    from numpy_rnn.study.items.drawings import DRAWINGS

    found = {"items": measure(named_setting(name))}
    for drawing in DRAWINGS:
        with style():
            figure = Figure(figsize=drawing.size)
            drawing.draw(figure, found)
            figure.draw_without_rendering()
            drawn = figure.get_tightbbox()  # of all that is visible, in inches
        pixel = 1 / figure.dpi
        assert min(drawn.x0, drawn.y0) >= -pixel, drawing.name
        assert drawn.x1 <= drawing.size[0] + pixel, drawing.name
        assert drawn.y1 <= drawing.size[1] + pixel, drawing.name
        assert any(axes.get_xlabel() for axes in figure.axes), drawing.name
        assert any(axes.get_ylabel() for axes in figure.axes), drawing.name
        for words in (drawing.caption(found), drawing.alternative(found)):
            assert len(words) > 40
            assert "None" not in words
            assert "nan" not in words


def test_names_beside_curves_keep_apart_and_in_their_order():
    assert moved_apart([1.0, 5.0, 9.0], 2.0, 0.0, 10.0) == [1, 5, 9]
    assert moved_apart([4.0, 4.0], 2.0, 0.0, 10.0) == [3, 5]
    assert moved_apart([9.5, 10.0], 2.0, 0.0, 10.0) == [8, 10]
    assert moved_apart([0.0, 0.5, 9.0], 2.0, 0.0, 10.0) == [0, 2, 9]
    assert moved_apart([5.0] * 3, 2.0, 0.0, 10.0) == [3, 5, 7]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1]), (3, [1, 2, 3]), (6, [1, 2, 3, 4, 5, 6]), (7, [1, 3, 5, 7]), (20, [1, 5, 10, 15, 20])],
)
def test_steps_are_marked_at_round_numbers(steps, expected):
    assert step_ticks(steps) == expected
    assert len(step_ticks(steps)) <= 7
