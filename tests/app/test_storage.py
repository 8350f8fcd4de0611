"""Files of arrays: read back bitwise, written completely or not at all, refused without unpickling."""

import errno
import os
import pickle
import re
import stat
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from children import LIMIT, start
from comparing import bits
from fuzz_inputs import Bomb, npy, npz, with_entry
from in_process import command, contents

import numpy_rnn
from numpy_rnn import InputError, Parameters
from numpy_rnn.app.storage import check_can_write, load_parameters, save_parameters

# -- writing --------------------------------------------------------------------------------------------------------


def save():
    save_parameters("w.npz", numpy_rnn.initial_parameters())


def test_a_file_is_written_and_synchronized_beside_its_place_and_replaces_it_whole(monkeypatch):
    os.mkdir("folder")
    Path("folder/w.npz").write_text("old")
    steps, fsync, replace = [], os.fsync, os.replace

    def whole(path):
        assert Path("folder/w.npz").read_text() == "old"
        assert os.path.dirname(path) == os.path.realpath("folder")
        return bits(load_parameters(path)) == bits(numpy_rnn.initial_parameters())

    def synchronize(descriptor):
        [temporary] = [path for path in contents() if path.name.startswith(".unfinished-")]
        steps.append(("fsync", os.path.samestat(os.fstat(descriptor), os.stat(temporary)), whole(temporary.resolve())))
        fsync(descriptor)

    def move(source, target):
        steps.append(("replace", os.path.realpath(target) == os.path.realpath("folder/w.npz"), whole(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synchronize)
    monkeypatch.setattr(os, "replace", move)
    save_parameters("folder/w.npz", numpy_rnn.initial_parameters())
    assert steps == [("fsync", True, True), ("replace", True, True)]
    assert os.listdir("folder") == ["w.npz"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_follows_the_umask_and_a_replaced_one_keeps_its_permissions_and_owner(mask):
    former, owner = os.umask(mask), os.getuid() or 12345  # only root gives files away
    try:
        save()
        assert stat.S_IMODE(os.stat("w.npz").st_mode) == 0o666 & ~mask
        for mode in (0o600, 0o666):
            os.chmod("w.npz", mode)
            save()
            assert stat.S_IMODE(os.stat("w.npz").st_mode) == mode
        assert os.umask(mask) == mask
        os.chown("w.npz", owner, -1)
        save()
        assert os.stat("w.npz").st_uid == owner
    finally:
        os.umask(former)


@pytest.mark.parametrize("dangling", [False, True])
def test_the_target_of_a_link_is_written_and_the_link_stays(dangling):
    os.mkdir("folder")
    if not dangling:
        Path("folder/w.npz").write_text("old")
    os.symlink("folder/w.npz", "w.npz")
    before = contents()
    check_can_write("w.npz", "--save")
    assert contents() == before
    save()
    assert os.path.islink("w.npz")
    assert sorted(map(str, contents())) == ["folder/w.npz", "w.npz"]


PLACES = {
    "none/a": "the folder .*none does not exist; create it first",
    "folder": "is a folder: expected the name of a file",
    "pipe": "is a device or a pipe: expected the name of a file",
    "file/a": "cannot be written: Not a directory; choose another name",
    300 * "x": "cannot be written: File name too long; choose another name",
    "protected": "cannot be written: no permission; choose another place",
    "locked/a": "cannot be written: no permission; choose another place",
}


def test_an_output_that_cannot_be_written_is_refused(monkeypatch):
    os.mkdir("folder")
    os.mkdir("locked")
    os.mkfifo("pipe")
    for name in ("file", "protected"):
        Path(name).write_text("kept")
    allowed = os.access  # root may write anywhere, so the permissions are simulated
    closed = "locked", "protected"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in closed and allowed(path, mode))
    for path, message in PLACES.items():
        with pytest.raises(InputError, match=f"^--save {path}:? {message}$"):
            check_can_write(path, "--save")


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("fault", [FULL, KeyboardInterrupt()], ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("step", ["savez", "chmod", "replace", "fsync"])
def test_a_write_that_fails_at_any_step_leaves_everything_as_it_was(monkeypatch, step, fault, exists):
    if exists:
        Path("w.npz").write_text("old")
    before = contents()

    def fail(file, *_, **__):
        if step == "savez":
            file.write(b"PK\x03\x04 the first half")
            file.flush()
            assert len(contents()) == len(before) + 1
        raise fault

    monkeypatch.setattr(np if step == "savez" else os, step, fail)
    with pytest.raises(InputError if fault is FULL else type(fault)) as raised:
        save()
    assert contents() == before
    if fault is FULL:
        assert str(raised.value) == "w.npz cannot be written: No space left on device; choose another place"


OUTPUTS = [
    ("--save", "a.npz"), ("--trace", "a.npz"), ("--output", "a.csv"), ("--output", "a.json"),
    pytest.param("--plot", "a.png", marks=pytest.mark.needs_matplotlib),
]  # fmt: skip


@pytest.mark.parametrize(("option", "name"), OUTPUTS)
def test_a_full_disk_after_the_run_is_one_line_and_the_results_are_printed(capsys, monkeypatch, option, name):
    Path(name).write_text("old")
    before = contents()
    monkeypatch.setattr(os, "replace", Mock(side_effect=FULL))
    ended = command(numpy_rnn, capsys, "--epochs", 1, option, name, *([] if option == "--plot" else ["--no-plot"]))
    assert ended.status == 2
    assert ended.err == f"numpy_rnn: {name} cannot be written: No space left on device; choose another place\n"
    assert "free-running" in ended.out
    assert contents() == before


def test_temporary_files_of_killed_writers_are_removed_and_all_others_stay():
    """A file of another machine may be in use; its processes are not known here."""
    with start(["true"]) as finished:
        finished.wait(LIMIT)
    node = os.uname().nodename
    kept = [
        f".unfinished-{node}-{os.getpid()}-a",
        f".unfinished-{node}-{os.getppid()}-a",
        f".unfinished-{node}-1-a",
        f".unfinished-{node}x-{finished.pid}-a",  # another machine
        f".unfinished-{node}-{finished.pid}-1234-a",  # a machine whose name begins with the name of this one
        f".unfinished-{node}-{10**30}-a",  # no process id
        ".unfinished-business",
    ]
    for name in (*kept, f".unfinished-{node}-{finished.pid}-a"):
        Path(name).write_text("half")
    save()
    assert set(os.listdir()) == {*kept, "w.npz"}
    Path(f".unfinished-{node}-{finished.pid}-a").mkdir()  # which cannot be unlinked; that is no error
    save()
    assert set(os.listdir()) == {*kept, f".unfinished-{node}-{finished.pid}-a", "w.npz"}


# -- files that are refused -----------------------------------------------------------------------------------------


def weights(**changed):
    params = numpy_rnn.initial_parameters()._asdict().items()
    return {name: theta for name, theta in params if theta is not None} | changed


WHOLE, COMPRESSED = npz(weights()), npz(weights(), compressed=True)
HEADERS = [match.start() + 8 for match in re.finditer(b"\x93NUMPY", WHOLE)]  # where the lengths of .npy headers are


def flipped(content, *places):
    content = bytearray(content)
    for place in places:
        content[place] ^= 0xFF
    return bytes(content)


def zip_bomb(size):
    """A small archive of an array that declares `size` bytes."""
    content = bytearray(npz({"W_xh": np.zeros(1, "f4")}, compressed=True))
    place = content.index(b"PK\x01\x02") + 24  # of the declared size in the directory
    content[place : place + 4] = size.to_bytes(4, "little")
    return bytes(content)


TEXT = with_entry(npz({}), "W_xh.npy", b"a")
ENCRYPTED = flipped(TEXT, 6, TEXT.index(b"PK\x01\x02") + 8)
NAMES = "expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as --save writes them"
BAD: dict[str, tuple] = {  # contents of which each is refused, pieces of the message
    "not an archive": (
        [b"", b"1,2,3\n", WHOLE[:3], npy(np.zeros(3)), pickle.dumps(Bomb())],
        "is not an .npz file: expected named arrays as numpy.savez writes them",
    ),
    "damaged": (
        [
            *(WHOLE[:size] for size in (4, 30, 300, len(WHOLE) // 2, len(WHOLE) - 200, len(WHOLE) - 1)),
            *(COMPRESSED[:size] for size in (30, 100, len(COMPRESSED) - 30)),
            *(flipped(WHOLE, place) for place in HEADERS),
            *(flipped(WHOLE, HEADERS[1] + 130), flipped(COMPRESSED, 60), ENCRYPTED),
            b"PK\x03\x04" + pickle.dumps(Bomb()),
        ],
        "is truncated or damaged: expected a complete .npz file; write or copy it again",
    ),
    "objects": (
        [npz(weights(W_xh=np.array([[Bomb()] * 6])))],
        "contains Python objects: expected plain arrays; pickle",
    ),
    "no array": (
        [with_entry(npz({}), "W_xh", b"")],
        "holds W_xh, which is not an array: expected a file that numpy.savez wrote",
    ),
    "no weights": ([npz({}), npz({"weight": np.zeros(3)})], "has no W_xh, W_hh, W_hy:", NAMES),
    "an extra name": ([npz(weights(c_0=np.zeros(6)))], "has c_0:", NAMES),
    "one bias": ([npz(weights(b_h=np.zeros(6, "f4")))], "b_h is given without b_y: expected both biases or neither"),
    "shape": ([npz(weights(W_hy=np.zeros((5, 1), "f4")))], "W_hy has shape (5, 1): expected (6, 1)"),
    "no networks": ([npz({k: v[None][:0] for k, v in weights().items()})], "(0, 1, 6); expected no axis of length 0"),
    "integers": ([npz(weights(W_xh=np.zeros((1, 6), int)))], "W_xh is int64; expected float32 or float64"),
    "two dtypes": ([npz(weights(W_xh=np.zeros((1, 6))))], "W_xh is float64 and W_hh is float32: expected one dtype"),
    "not finite": (
        [npz(weights(W_hy=np.full((6, 1), number, "f4"))) for number in (np.nan, np.inf, -np.inf)],
        "W_hy contains NaN or infinity; expected finite numbers",
    ),
    "zip bomb": ([zip_bomb(2**32 - 2**20)], "bytes and declares arrays of 4293918720: expected", "most; the file is"),
    "many names": ([npz(weights(**{f"n{n}": np.zeros(0) for n in range(300)}))], "has n0, n1, n2,", "...:"),
    "a long name": ([npz(weights(**{"n" * 60_000: np.zeros(0)}))], "has nnnn", "...:"),
    "a long name of no array": (
        [with_entry(npz({}), "n" * 60_000, b"text")],
        "holds nnnn",
        "..., which is not an array",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_weights_is_refused(case):
    contents_of_files, *pieces = BAD[case]
    for content in contents_of_files:
        Path("w.npz").write_bytes(content)
        with pytest.raises(InputError) as raised:
            load_parameters("w.npz")
        message = str(raised.value)
        assert message.startswith("weights file w.npz")
        assert "\n" not in message
        assert len(message) < 600
        assert all(piece in message for piece in pieces), message
    assert not Path("exploded").exists()


@pytest.mark.parametrize("content", [WHOLE, COMPRESSED], ids=["whole", "compressed"])
def test_a_file_that_is_not_damaged_is_read(content):
    Path("w.npz").write_bytes(content)
    assert bits(load_parameters("w.npz")) == bits(Parameters(**weights()))
