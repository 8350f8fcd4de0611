"""Parts of the audit that need no loop: comparison with a replay, names and places."""

import os
import sys
import sysconfig

import pytest
import torch
from torch import nn

from torch_rnn.loop_audit import places
from torch_rnn.loop_audit.data_evidence import mixing_view, shift
from torch_rnn.loop_audit.places import is_named, is_script, named, parts, place, shown
from torch_rnn.loop_audit.replay import changed, compared

pytestmark = pytest.mark.needs_torch
EPS = torch.finfo(torch.float32).eps


def check(difference, spread=0.0, size=1.0, **options):
    """The check of a number that is this far from its replay, whose copies in float32 are that far."""
    made = []

    def make(dtype, generator):
        made.append(dtype)
        return {"W": torch.tensor([size + spread * (dtype == torch.float32)], dtype=torch.float64)}

    found = compared({"W": torch.tensor([size + difference], dtype=torch.float32)}, make, **options)
    assert made in ([torch.float64], [torch.float64, *[torch.float32] * 4])
    return found


@pytest.mark.parametrize("allowed", [16, 2])
def test_difference_of_some_units_of_rounding_is_right(allowed):
    assert check(allowed * EPS, units=allowed) == (allowed * EPS, True, "", "W")
    assert check((allowed + 1) * EPS, units=allowed) == ((allowed + 1) * EPS, False, "", "W")


def test_difference_of_some_spreads_is_right():
    spread = 2.0**-12
    assert check(16 * spread, spread) == (16 * spread, True, "", "W")
    assert check(17 * spread, spread) == (17 * spread, False, "", "W")
    lost = "rounding alone changes W by more than a hundredth"
    assert check(2**-6, 2**-9) == (None, True, lost, "")
    assert check(2**-7, 2**-9).is_right
    assert check(2**-7, 2**-9).error == 2**-7
    assert check(0.0, size=0.0).error == 0
    assert check(0.5, size=0.0) == (float("inf"), False, "", "W")
    errors = {"a": 0.5, "b": 0.25, "c": 0.0}
    values = {name: torch.tensor([1 + error]) for name, error in errors.items()}
    found = compared(
        values, lambda dtype, generator: dict.fromkeys(values, torch.ones(1, dtype=dtype))
    )
    assert found == (0.5, False, "", "a")


def test_a_copy_is_an_ulp_away():
    value = torch.full((64,), 2.0)
    copy = changed(value, torch.float32, torch.Generator().manual_seed(1))
    assert {*copy.tolist()} == {2 - 2 * EPS, 2 + 2 * EPS}
    assert torch.equal(changed(value, torch.float64), value.double())


def test_overlap_is_found_where_it_is_sure():
    data, some = torch.randn(40, 2, 1), torch.arange(40.0).reshape(-1, 1, 1)
    constant, periodic = torch.zeros(40, 1, 1), some % 4
    parted = torch.cat((some[1:5], constant[:8], some[5:9]))
    for values, steps, expected in (
        (data, 4, 4), (some, 4, 4), (some, 5, 0), (some, 30, 0), (some, 0, 0), (constant, 4, 0), (periodic, 4, 0),
        (parted, 4, 0),
    ):  # fmt: skip
        assert shift(values[:12], values[steps : steps + 12]) == expected
    assert shift(some[:12], some[:0]) == 0


def test_view_mixes_rows_where_it_exchanges_sizes():
    base = torch.zeros(4, 6, 1)
    assert mixing_view(base.view(6, 4, 1)) == ((4, 6, 1), (6, 4, 1))
    assert mixing_view(torch.zeros(4, 6).view(6, 4, 1)) == ((4, 6), (6, 4, 1))
    for view in (
        base, base.transpose(0, 1), base.view(4, 6, 1), base.view(3, 8, 1), torch.zeros(4, 4, 1).view(4, 4, 1),
        torch.zeros(1, 6, 1).view(6, 1, 1), torch.zeros(4, 6, 2).view(6, 4, 2)[..., :1], base.view(6, 4),
        torch.zeros(6, 4, 1).transpose(0, 1).contiguous().view(4, 6, 1), torch.zeros(4, 3, 2).view(3, 8, 1),
    ):  # fmt: skip
        assert mixing_view(view) is None


def test_places_are_lines_of_the_script(monkeypatch, tmp_path):
    own, library = os.path.dirname(places.__file__), sysconfig.get_path("stdlib")
    for file, expected in {
        "/home/a/train.py": True, "train.py": True, "<stdin>": True, "<string>": True, "<ipython-input-1>": True,
        "<frozen runpy>": False, f"{own}/watch.py": False, f"{library}/runpy.py": False, torch.__file__: False,
    }.items():  # fmt: skip
        assert is_script(file) == expected, file
    monkeypatch.chdir(tmp_path)
    shown.cache_clear()
    assert shown(str(tmp_path / "a/train.py")) == "a/train.py"
    assert shown(str(tmp_path.parent / "train.py")) == str(tmp_path.parent / "train.py")
    assert shown("<stdin>") == "<stdin>"
    line = sys._getframe().f_lineno + 1
    assert place() == f"{shown(__file__)}:{line}"


class Holder:
    def __init__(self, **attributes):
        vars(self).update(attributes)

    def names(self):
        return [
            (name, root is self.inner)
            for _, name, root in named(nn.Module)
            if name.startswith("Holder")
        ]


def test_modules_have_the_names_of_their_variables():
    inner = nn.Linear(1, 1)
    assert parts({"a": 1, 2: 3}) == {"['a']": 1, "[2]": 3}
    assert parts([4]) == parts((4,)) == {"[0]": 4}
    assert (len(parts([0] * 1000)), parts([0] * 1001), parts(inner.weight), parts(Holder)) == (
        1000,
        {},
        {},
        {},
    )
    assert parts(Holder(a=1, _b=2)) == {".a": 1}
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    held, several = Holder(net=model, more=[inner], deep=Holder(last=inner)), {"one": model}  # noqa: F841
    found = [name for module, name, _ in named(nn.Module) if module in (inner, model[0])]
    expected = {
        "inner",
        "model.0",
        "held.net.0",
        "held.more[0]",
        "held.deep.last",
        "several['one'].0",
    }
    assert {name for name in found if not name.startswith("found")} == expected
    assert {name for _, name, _ in named(nn.Parameter) if name.startswith("model")} == {
        "model.0.weight",
        "model.0.bias",
    }
    assert {*Holder(inner=inner).names()} == {("Holder.inner", True)}


def test_state_has_a_name_if_a_frame_holds_it():
    """The values are asked for outside of assert, which keeps parts of its expression as variables."""
    state = torch.randn(1, 2, 3)
    found = [is_named(state.clone()), is_named(state + 1), is_named(state[0])]
    pair = (state, torch.zeros(1))
    found += [is_named(pair[0].clone()), is_named(pair[1].clone())]
    _hidden = pair[0]
    del state, pair
    found.append(is_named(_hidden.clone()))
    assert found == [True, False, False, True, False, False]
