"""Files of arrays: bitwise back, written whole or not at all, read without pickle (refusals: test_bad_files)."""

import errno
import io
import os
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from cases import bits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from in_process import command, contents

import numpy_rnn
from numpy_rnn import InputError, Parameters
from numpy_rnn.app.storage import check_can_write, load_arrays, load_parameters, save_parameters, written_whole


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@st.composite
def parameters(draw):
    """Parameters of any sizes, with every finite float of either dtype, -0.0 and subnormals among them."""
    D, H, O = (draw(st.integers(1, 4)) for _ in range(3))
    E = draw(st.lists(st.integers(1, 3), max_size=2))
    dtype, width = draw(st.sampled_from([("float32", 32), ("float64", 64)]))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=width)
    shapes = [(*E, D, H), (*E, H, H), (*E, H, O), *([(*E, H), (*E, O)] if draw(st.booleans()) else [])]
    return Parameters(*(draw(hnp.arrays(dtype, shape, elements=finite)) for shape in shapes))


@given(params=parameters())
def test_parameters_come_back_bitwise(tmp_path_factory, params):
    path = tmp_path_factory.getbasetemp() / f"{os.getpid()}.npz"
    save_parameters(path, params)
    loaded = load_parameters(path)
    assert type(loaded) is Parameters
    assert bits(loaded) == bits(params)


def test_the_names_in_the_file_are_those_of_parameters():
    save_parameters("w.npz", numpy_rnn.initial_parameters(bias=True))
    with np.load("w.npz", allow_pickle=False) as archive:
        assert archive.files == ["W_xh", "W_hh", "W_hy", "b_h", "b_y"]
    save_parameters("w.npz", numpy_rnn.initial_parameters())
    assert list(load_arrays("w.npz", "weights file")) == ["W_xh", "W_hh", "W_hy"]


def test_what_savez_compressed_wrote_is_read_too():
    params = numpy_rnn.initial_parameters(bias=True)
    np.savez_compressed("w.npz", **{name: p for name, p in params._asdict().items() if p is not None})
    assert bits(load_parameters("w.npz")) == bits(params)


def test_the_file_is_written_beside_its_place_and_moved_there_whole(monkeypatch):
    os.mkdir("folder")
    Path("folder/w.npz").write_text("old")
    moved = []

    def replace(source, target):
        moved.append((os.path.dirname(source), os.path.realpath(target)))
        assert Path("folder/w.npz").read_text() == "old"
        assert load_parameters(source)  # whole already
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    save_parameters("folder/w.npz", numpy_rnn.initial_parameters())
    assert moved == [(os.path.realpath("folder"), os.path.realpath("folder/w.npz"))]
    assert os.listdir("folder") == ["w.npz"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_the_permissions_follow_the_umask(mask):
    former = os.umask(mask)
    try:
        save_parameters("w.npz", numpy_rnn.initial_parameters())
        assert stat.S_IMODE(os.stat("w.npz").st_mode) == 0o666 & ~mask
        assert os.umask(mask) == mask
    finally:
        os.umask(former)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions(mode):
    Path("w.npz").write_text("old")
    os.chmod("w.npz", mode)
    os.symlink("w.npz", "link.npz")
    for name in ("w.npz", "link.npz"):
        save_parameters(name, numpy_rnn.initial_parameters())
        assert stat.S_IMODE(os.stat("w.npz").st_mode) == mode
    assert os.path.islink("link.npz")
    assert os.stat("w.npz").st_uid == os.getuid()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner():
    Path("w.npz").write_text("old")
    os.chown("w.npz", 12345, 12346)
    save_parameters("w.npz", numpy_rnn.initial_parameters())
    assert (os.stat("w.npz").st_uid, os.stat("w.npz").st_gid) == (12345, 12346)


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_and_what_it_points_to_is_written(dangling):
    os.mkdir("folder")
    if not dangling:
        Path("folder/w.npz").write_text("old")
    os.symlink("folder/w.npz", "link.npz")
    check_can_write("link.npz", "--save")
    save_parameters("link.npz", numpy_rnn.initial_parameters())
    assert os.path.islink("link.npz")
    assert sorted(map(str, contents())) == ["folder/w.npz", "link.npz"]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAULTS = [FULL, KeyboardInterrupt(), ValueError("a fault of NumPy")]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_write_that_fails_midway_leaves_everything_as_it_was(monkeypatch, fault, exists):
    if exists:
        Path("w.npz").write_text("old")
    before = contents()

    def savez(file, **_):
        file.write(b"PK\x03\x04 the first half")
        file.flush()
        assert len(contents()) == len(before) + 1
        raise fault

    monkeypatch.setattr(np, "savez", savez)
    expected = InputError if fault is FULL else type(fault)
    with pytest.raises(expected) as raised:
        save_parameters("w.npz", numpy_rnn.initial_parameters())
    assert contents() == before
    if fault is FULL:
        assert str(raised.value) == "w.npz cannot be written: No space left on device; choose another place"


@pytest.mark.parametrize("name", ["chmod", "replace", "fsync"])
def test_every_step_of_writing_may_fail(monkeypatch, name):
    Path("w.npz").write_text("old")

    def refuse(*_):
        raise FULL

    monkeypatch.setattr(os, name, refuse)
    with pytest.raises(InputError, match=r"w\.npz cannot be written: No space left"):
        save_parameters("w.npz", numpy_rnn.initial_parameters())
    assert contents() == {Path("w.npz"): b"old"}


@pytest.mark.parametrize("option", ["--save", "--trace"])
def test_a_disk_that_is_full_after_the_run_is_one_line(rnn, capsys, monkeypatch, option):
    Path("w.npz").write_text("old")

    def savez(file, **_):
        file.write(b"half")
        raise FULL

    monkeypatch.setattr(np, "savez", savez)
    ended = command(rnn, capsys, "--epochs", 1, option, "w.npz", "--no-plot")
    assert ended.status == 2
    assert ended.err == f"{rnn.__name__}: w.npz cannot be written: No space left on device; choose another place\n"
    assert "free-running" in ended.out  # what was computed is not lost
    assert contents() == {Path("w.npz"): b"old"}


def test_the_check_before_the_run_changes_nothing():
    Path("w.npz").write_text("old")
    check_can_write("w.npz", "--save")
    check_can_write("new.npz", "--save")
    assert contents() == {Path("w.npz"): b"old"}


def test_pickle_is_switched_off(monkeypatch):
    switched = []
    load = np.load

    def spy(file, **options):
        switched.append(options["allow_pickle"])
        return load(file, **options)

    monkeypatch.setattr(np, "load", spy)
    save_parameters("w.npz", numpy_rnn.initial_parameters())
    load_parameters("w.npz")
    assert switched == [False]


@given(cut=st.integers(0, 933), flips=st.lists(st.tuples(st.integers(0, 932), st.integers(1, 255)), max_size=3))
def test_no_damage_raises_anything_but_an_input_error(tmp_path_factory, cut, flips):
    file = io.BytesIO()
    np.savez(file, **{k: v for k, v in numpy_rnn.initial_parameters()._asdict().items() if v is not None})
    damaged = bytearray(file.getvalue())
    for place, change in flips:
        damaged[place] ^= change
    path = tmp_path_factory.getbasetemp() / f"{os.getpid()}.npz"
    path.write_bytes(damaged[:cut])
    with suppress(InputError):
        load_parameters(path)


def test_another_writer_that_fails_leaves_nothing_either():
    def write():
        with written_whole("a.txt") as temporary:
            temporary.write_text("half")
            assert os.listdir() == [temporary.name]
            raise EOFError

    with pytest.raises(EOFError):
        write()
    assert os.listdir() == []
