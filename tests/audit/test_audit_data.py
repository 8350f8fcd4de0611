"""What the data of passes say, of passes and targets that are made up."""

from types import SimpleNamespace
from weakref import ref

import pytest
import torch
from torch.nn import functional as F

from torch_rnn.loop_audit.data_evidence import DataEvidence
from torch_rnn.loop_audit.origins import Graph, KnownStates, initial_kind, keys
from torch_rnn.loop_audit.records import DataPlace, Network, Origin, Stream

pytestmark = pytest.mark.needs_torch
RNN = torch.nn.RNN(2, 3)  # the records have weak references
T, B = 12, 3
WORDS, NUMBERS = torch.randint(0, 9, (40, B)), torch.randn(40, B, 2)


def network():
    net = Network(1, RNN, "rnn", "a.py:1")
    net.is_in_loss = True
    return net


def passed(data, net, number, x, initial="carried", origin="before", source=0):
    at = Origin(number, "a.py:1", 0, len(x), x.shape[1], True, True, DataPlace(0), Stream())
    data.forward(
        x,
        torch.zeros(1, B, 3),
        SimpleNamespace(net=net, at=at, initial=initial, origin=origin),
        source,
    )


def rows(values, apart):
    """Three sequences that start so many steps after each other, as (12, 3, ...)."""
    return torch.stack([values[apart * n : apart * n + T] for n in range(B)], 1)


EQUAL, DIFFERS, SWAPPED = "target equals the input", "target differs", "time and batch swapped"


@pytest.mark.parametrize(
    ("x", "target", "found"),
    [
        (NUMBERS[:T], NUMBERS[:T], {EQUAL}),
        (NUMBERS[:T], NUMBERS[1 : T + 1], {DIFFERS}),
        (torch.ones(T, B, 2), torch.ones(T, B, 2), {DIFFERS}),  # of a constant nothing is sure
        (NUMBERS[:T], NUMBERS[:T, :, 0], set()),  # one of two columns
        (NUMBERS[:T], NUMBERS[: T - 1], set()),
        (F.one_hot(WORDS[:T], 9).float(), WORDS[:T], {EQUAL}),
        (F.one_hot(WORDS[:T], 9).float() * 2, WORDS[:T], set()),  # no one-hot rows
        (F.one_hot(WORDS[:T], 9).float(), WORDS[1 : T + 1], {DIFFERS}),
        (F.one_hot(WORDS[:T], 9).float(), WORDS[:T].roll(-1, 1), {DIFFERS, SWAPPED}),
        (F.one_hot(WORDS[:T, :2], 9).float(), WORDS[:T, :2].roll(-1, 1), {DIFFERS, SWAPPED}),
        (F.one_hot(WORDS[:3], 9).float(), WORDS[:3].roll(-1, 1), {DIFFERS}),  # 6 equal numbers are too few
        (F.one_hot(WORDS[:4], 9).float(), WORDS[:4].roll(-1, 1), {DIFFERS, SWAPPED}),
        (NUMBERS[:T], NUMBERS[:T].roll(-1, 1), {DIFFERS}),  # numbers may be those of the next window
        (F.one_hot(WORDS[:T, [0, 0, 0]], 9).float(), WORDS[:T, [0, 0, 1]], {DIFFERS}),  # all rows are alike
    ],
)  # fmt: skip
def test_target_is_compared_with_the_input(x, target, found):
    data, net = DataEvidence(), network()
    passed(data, net, 1, x)
    data.loss(target, "a.py:2")
    assert {kind for kind, seen in net.evidence.items() if seen} == found


def test_numbers_of_the_next_row_are_swapped_if_a_loader_says_so():
    data, net = DataEvidence(), network()
    passed(data, net, 1, NUMBERS[:T])
    data.shape = (T, B, 2)
    data.loss(NUMBERS[:T].roll(-1, 1), "a.py:2")
    assert net.evidence[SWAPPED] == [
        ("a.py:1", "the target is the input of the next sequence", net.layout, T, B)
    ]


@pytest.mark.parametrize(
    ("first", "second", "later"),
    [
        (NUMBERS[:T], NUMBERS[4 : T + 4], 4),
        (NUMBERS[:T], NUMBERS[T : 2 * T], None),
        (rows(NUMBERS[:, 0], 2), rows(NUMBERS[7:, 0], 2), 7),
        (rows(NUMBERS[:, 0], 5), rows(NUMBERS[15:, 0], 5), 15),  # the rows of a batch overlap, and the batches
        (rows(NUMBERS[:, 0], 5), rows(NUMBERS[16:, 0], 5), None),
        (rows(NUMBERS[:, 0], 4), rows(NUMBERS[12:, 0], 4), None),  # each row goes on
        (NUMBERS[:T], NUMBERS[4 : T + 3], None),  # another number of steps
    ],
)  # fmt: skip
def test_overlapping_windows_are_seen(first, second, later):
    for source, origin in ((1, "before"), (0, "before"), (1, "older")):
        data, net = DataEvidence(), network()
        passed(data, net, 1, first, "zeros", "")
        passed(data, net, 2, second, source=source, origin=origin)
        is_seen = later is not None and (source, origin) == (1, "before")
        assert net.evidence["state: overlap"] == ([("a.py:1", later, T)] if is_seen else [])


BASE, OTHER = torch.zeros(40), torch.zeros(40)
HERE = DataPlace(0, (20, 1, 0), ref(BASE), 20, 25)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({}, 1), ({"identity": (20, 2, 0)}, 0), ({"identity": None}, 0), ({"base": None}, 0), ({"base": ref(OTHER)}, 0),
        ({"start": 21}, 0), ({"end": 26}, 0), ({"places": {(0, 5), (10, 15), (20, 25)}}, 0),
        ({"places": {(0, 5), (10, 15), (21, 25), (30, 35)}}, 0),
        ({"places": {(0, 5), (10, 15), (16, 20), (30, 35)}}, 0),
        ({"places": {(0, 5), (10, 15), (16, 21), (30, 35)}}, 1), ({"trained": OTHER}, 0),
    ],
)  # fmt: skip
def test_changed_training_data_are_seen(changes, seen):
    data, net = DataEvidence(), network()
    places = changes.pop("places", {(0, 5), (10, 15), (20, 25), (30, 35)})
    data.trained[id(BASE)] = ref(changes.pop("trained", BASE)), places
    data.look_for_writes(net, HERE._replace(**changes), "a.py:1")
    assert not net.evidence["data overwritten"]
    data.look_for_writes(net, HERE._replace(identity=(20, 2, 0)), "a.py:1")
    assert len(net.evidence["data overwritten"]) == seen


def at(number, update, start=None, identity=None, *, base=BASE, graph=True, batch=B, drawn=0):
    place = DataPlace(
        drawn, identity, None if start is None else ref(base), start or 0, (start or 0) + 5
    )
    return Origin(number, "a.py:1", update, 5, batch, graph, True, place, Stream())


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([(at(1, 0, 0, 7), at(2, 1, 5, 8))], "before"),
        ([(at(1, 0, 0, 7, graph=False), at(2, 1, 5, 8))], "no gradient"),
        ([(at(1, 0, 0, 7), at(2, 1, 5, 3))], "epoch"),
        ([(at(1, 0, 0, 7), at(2, 0, 5, 3))], "before"),  # of the same update
        ([(at(1, 0, 0, 7), at(2, 1, 5, 6))], "before"),
        ([(at(1, 0, 0, 7), at(2, 1, 5, 8, batch=2))], "batch"),
        ([(at(1, 0, 0, 7), at(2, 0, 5, 8, batch=2))], "before"),
        ([(at(1, 0, 0, 7), at(2, 1, 5, 8)), (at(1, 0, 0, 7), at(3, 2, 10, 9))], "older"),
        (
            [(at(1, 0, 0, 7), at(2, 1, 5, 8)), (at(1, 0, 0, 7), at(3, 2, 5, 8))],
            "before",
        ),  # the same data again
        ([(at(1, 0, 0, 7), at(2, 1, 5, 8, drawn=1))], "elsewhere"),
        (
            [(at(1, 0, 0, 7), at(2, 1, 10, 8)), (at(2, 1, 10, 8), at(3, 2, 20, 9))],
            "before",
        ),  # the distance is the same
        ([(at(1, 0, 0, 7), at(2, 1, 5, 8)), (at(2, 1, 5, 8), at(3, 2, 20, 9))], "elsewhere"),
        ([(at(1, 0, 0, 7), at(2, 1, 20, 8)), (at(2, 1, 20, 8), at(3, 2, 25, 9))], "before"),
        (
            [(at(1, 0, None, 7), at(2, 1, None, 8)), (at(3, 2, None, 7), at(4, 3, None, 9))],
            "elsewhere",
        ),
        (
            [(at(1, 0, None, 7), at(2, 1, None, 8)), (at(3, 2, None, 7), at(4, 3, None, 8))],
            "before",
        ),
        (
            [(at(1, 0, None, None), at(2, 1, None, 8)), (at(3, 2, None, None), at(4, 3, None, 9))],
            "before",
        ),
        (
            [(at(1, 0, None, 7), at(2, 1, None, None)), (at(3, 2, None, 7), at(4, 3, None, 9))],
            "before",
        ),
    ],
)
def test_origin_of_a_state_is_told_by_the_data(pairs, kind):
    net = network()
    net.resets = [(1, 3), (9, 6)]  # the data start with 3
    known = KnownStates(net)
    assert [known.origin_of((source, 5), here) for source, here in pairs][-1] == kind


def place(x, *, tokens=None, module=RNN, follows=False, data=None):
    data = DataEvidence() if data is None else data
    data.drawn = 5
    data.look_up(None, tokens)
    return data.place(Network(1, module, "rnn", ""), x, *x.shape[:2], follows)


def test_place_of_the_data_of_a_pass():
    """Enough numbers are an identity by themselves; few are one in the same tensor."""
    series, whole = torch.randn(40, 2), torch.arange(40.0)
    view = place(series[8:13].view(5, 1, 2))
    assert (view.drawn, view.base(), view.start, view.end) == (5, series, 16, 26)
    assert view.identity[0] == 16
    assert view.identity[2] == 0
    assert (
        view.identity
        == place(series[8:13].view(5, 1, 2)).identity
        != place(series[10:15].view(5, 1, 2)).identity
    )
    copies = [place(series[start : start + 5].clone()[:, None].clone()) for start in (8, 8, 10)]
    assert [copy.base for copy in copies] == [None] * 3
    assert copies[0].identity == copies[1].identity != copies[2].identity
    assert None not in [copy.identity for copy in copies]
    for numbers, is_enough in (
        (whole[:16], True), (whole[:15], False), (series[:2].ravel(), True), (series[0], False), (torch.ones(20), False)
    ):  # fmt: skip
        assert (place(numbers.clone().reshape(-1, 1, 1).clone()).identity is not None) == is_enough
    data, other = DataEvidence(), whole.clone()
    found = [place(of[3:5].view(2, 1, 1), data=data).identity for of in (whole, other, whole)]
    assert found[0] == found[2] != found[1]
    assert found[0][:2] == found[1][:2]
    assert place((series * torch.ones(1, requires_grad=True))[:, None]) == DataPlace(5)
    batch_first = torch.nn.RNN(2, 3, batch_first=True)
    rows = torch.randn(3, 20, 2)
    assert (place(rows[:, 5:9], module=batch_first).start, place(rows[:, 5:9]).start) == (10, 10)
    net = Network(1, batch_first, "rnn", "")
    assert DataEvidence().place(net, rows[:, 5:9], 4, 3, False).end == 10 + 4 * 2


def test_place_of_classes_and_of_cells():
    words, cell = torch.randint(0, 9, (30,)), torch.nn.RNNCell(2, 3)
    found = place(torch.randn(5, 1, 4), tokens=words[10:15])
    assert (found.base(), found.start, found.end) == (words, 10, 15)
    assert place(torch.randn(5, 2, 4), tokens=words[10:15]).base is None  # classes of another input
    steps = torch.randn(6, 2, 2)
    one = DataEvidence().place(Network(1, cell, "", ""), steps[3], 1, 2, False)
    assert (one.base(), one.start, one.end, one.identity[0]) == (steps, 12, 12, 12)
    next_one = DataEvidence().place(Network(1, cell, "", ""), steps[3], 1, 2, True)
    assert next_one == DataPlace(0, None, ref(steps), 12, 12)
    assert DataEvidence().place(
        Network(1, cell, "", ""), steps[3].clone(), 1, 2, False
    ) == DataPlace(0)
    data = DataEvidence()
    for at_place in (one, next_one._replace(end=20), DataPlace(0)):
        data.reached(SimpleNamespace(at=SimpleNamespace(data=at_place)))
    assert {key: (base(), places) for key, (base, places) in data.trained.items()} == {
        id(steps): (steps, {(12, 13), (12, 20)})
    }


X, Y = torch.zeros(8, 5, 2), torch.zeros(8)


@pytest.mark.parametrize(
    ("batch", "shuffles", "collates", "expected"),
    [
        ((X, Y), True, True, (1, (8, 5, 2), True)),
        ([X, Y], False, True, (0, (8, 5, 2), True)),  # a target for each sample
        ({"x": X, "y": X}, False, True, (0, (8, 5, 2), False)),
        ({"x": X, "y": X}, True, True, (1, (8, 5, 2), True)),
        ((X, X, Y[:, None]), False, True, (0, (8, 5, 2), True)),
        (X, False, True, (0, (8, 5, 2), False)),
        ((X, Y), True, False, (1, (), True)),
        (("a", torch.tensor(1.0)), False, True, (0, (), False)),
    ],
)
def test_batches_of_a_loader(batch, shuffles, collates, expected):
    data, sampler = DataEvidence(), torch.utils.data.RandomSampler([1, 2]) if shuffles else object()
    data.draw(
        batch,
        SimpleNamespace(_index_sampler=SimpleNamespace(sampler=sampler), _auto_collation=collates),
    )
    assert (data.drawn, data.shape, data.is_by_sample) == expected
    net = network()
    assert data.is_by_batch(net, 8, 5) == bool(data.shape)
    assert [data.is_by_batch(net, *sizes) for sizes in ((8, 8), (8, 1), (5, 8), (8, 3))] == [
        False
    ] * 4
    net.batch_first = True
    assert not data.is_by_batch(net, 8, 5)
    net.batch_first = False
    passed(data, net, 1, torch.randn(8, 5, 2))
    assert bool(net.evidence[SWAPPED]) == (bool(data.shape) and expected[2])


def test_state_is_known_by_the_first_numbers_of_its_rows():
    state = torch.arange(2 * 6 * 10.0).reshape(2, 6, 10)
    rows = [tuple(row[:8].tolist()) for row in state[1, :4]]
    assert keys(state) == keys(state[1]) == rows
    assert keys(state[1, 2]) == rows[2:3]
    net = network()
    known, origin = KnownStates(net), at(1, 0, 0, 7)
    out = state[:, :3]
    known.add(origin, {"h": state[1:], "out": out}, out)
    assert known.find(state[:, 2:]) == (origin, 5)
    assert known.find(out[:1, :1, :]) == (origin, 1)  # after the first step
    assert known.find(state[1:], "c") is None
    assert known.find(torch.zeros(1, 6, 10)) is None
    without = at(2, 0, 0, 7, graph=False)
    known.add(without, {"h": state[1:]}, None)
    assert known.find(state) == (origin, 5)  # the same numbers without a gradient say nothing new
    known.add(without._replace(update=1), {"h": state[1:]}, None)
    assert known.find(state)[0].update == 1
    assert not known.find(state)[0].has_graph


def test_kinds_of_initial_states():
    zeros, ones, parameter = (
        torch.zeros(1, 2),
        torch.ones(1, 2),
        torch.nn.Parameter(torch.zeros(1, 2)),
    )
    leaf, found = torch.ones(1, 2, requires_grad=True), (at(1, 0), 5)
    for states, origin, kind in (
        ([zeros], None, "zeros"), ([], None, "zeros"), ([zeros, ones], None, "constant"), ([ones], found, "carried"),
        ([parameter * 1], None, "learned"), ([parameter], found, "learned"), ([leaf * 2], None, "computed"),
        ([leaf], found, "carried"),
    ):  # fmt: skip
        assert initial_kind(origin, states, Graph(states)) == kind
