"""Inputs for test_bad_input.py: valid ones, changed at random. Every function takes the Generator to draw from."""

import io
import json
import warnings
import zipfile
from typing import Any

import numpy as np


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


NUMBERS = (*words("0 1 2 3 0.5 1e-3 -1 -0 nan inf -inf 1e400 1e-400 1.5 0x10 1_0 +1 1,2 0.1,0.2 , ٢ ² 1e"),
           " 2", "2 ", "9" * 30, "9" * 5000, "1" * 400)  # fmt: skip
WORDS = (*words("- -- --- -x = x tanh relu sum mean float32 float64 %s % {} $x_$ é 漢字 ~ * ' \" \\ None True / . .."),
         *words("/dev/null /dev/full folder none/x.npz http://a/b.csv"), "", " ", "a b", "x" * 300,
         "a\nb", "\x1b[31m", "\u202e", "\x7f", "\udcff")  # fmt: skip
FILES = words("w.npz run.npz trace.npz a.csv a.txt a.npy none.npz none.csv folder - out.npz out.json folder/out.npz")
COLUMNS = (*words("1,1 2,1 0 x y x,y"), "0.1," * 20 + "1", "," * 3000)
ANY = NUMBERS + WORDS + FILES + COLUMNS
FLAGS = words("--bias --no-bias --learn-initial-state --no-learn-initial-state --nesterov --adagrad --no-adagrad"
              " --standardize --no-plot --quiet --version --no-progress")  # fmt: skip
VALID = """
--k1 1 2 | --k2 1 2 | --seed 1 2 | --log-every 1 2 | --hidden-size 1 2 | --seeds 1 2 | --epochs 0 1 | --updates 0 1
--momentum 0 0.5 | --dampening 0 1 | --weight-decay 0 1e-3 | --max-norm 1 | --max-value 1 0.5 | --learning-rate 0.1 0,1
--nonlinearity tanh relu | --reduction sum mean | --dtype float32 float64 | --loss squared_error cross_entropy
--text a.txt a.csv | --data a.csv a.npy | --columns 1 2,1 | --weights w.npz run.npz | --resume run.npz w.npz
--sample 0 3 | --temperature 1 0.5 | --generate 0 5 | --held-out 1 2 | --truncation flush chunks | --steps 1 2
--save out.npz run.npz | --save-every 0 0.5 | --trace out.npz t.npz | --output out.json out.csv | --json out.json w.npz
--plot none/a.png a.xyz | --port-timeout 1 5 | --folder out none/out
"""
VALUES = {words(part)[0]: words(part)[1:] for part in VALID.replace("\n", "|").split("|") if part.strip()}
FEW = ("0", "1", "2", "-1", "1.5", "", "x", "٢")  # where a large number would be a long run and no mistake


def pick(rng, choices):
    """One of a sequence."""
    return choices[int(rng.integers(len(choices)))]


def options(rng, names, most=4) -> list[str]:
    """Some of these options, with values that fit or that are anything."""
    arguments = []
    for _ in range(int(rng.integers(1, most + 1))):
        option = name = pick(rng, names)
        if rng.random() < 0.03:
            option = pick(rng, (name[:-1], name + "s", name.upper(), "-" + name, name[1:], name + " "))
        of_any = FEW if name in ("--epochs", "--updates") else ANY
        value = [] if name in FLAGS else [pick(rng, VALUES[name] if rng.random() < 0.5 else of_any)]
        if rng.random() < 0.05:
            value = [pick(rng, WORDS)]
        if value and rng.random() < 0.3:
            option, value = f"{option}={value[0]}", []
        arguments += [option, *value]
    if rng.random() < 0.05:
        arguments.insert(int(rng.integers(len(arguments) + 1)), pick(rng, WORDS))
    return arguments


# -- bytes ----------------------------------------------------------------------------------------------------------


def changed_bytes(rng, content: bytes) -> bytes:
    """Cut, or with one place removed, doubled, overwritten, or moved by what is inserted."""
    place = int(rng.integers(len(content) + 1))
    end = place + int(rng.integers(1, 40))
    if rng.random() < 0.2:
        return content[:place]
    random = rng.bytes(end - place)
    flipped = bytes(byte ^ 1 << int(rng.integers(8)) for byte in content[place : place + 1])
    inserted = pick(rng, (b"", 2 * content[place:end], random, flipped, 4 * b"\xff", 4 * b"\0", b"9999", b"----"))
    return content[:place] + inserted + content[pick(rng, (place, end, place + len(inserted))) :]


# -- arrays ---------------------------------------------------------------------------------------------------------

DTYPES = ("f2", "f4", "f8", "g", ">f4", ">f8", "F", "D", "i8", "u1", "?", "S4", "U4", "M8[s]", "V4", [("a", "f4")])
ARRAYS: tuple[Any, ...] = (0, 1.5, -1, b"x", "x", [], [[]], np.zeros((0, 0)), np.zeros(3), np.zeros(33 * [1])[:0])


def changed_array(rng, array):
    """Another dtype, shape, layout or value."""
    kind = rng.integers(10)
    if kind <= 2:
        dtype = np.dtype(pick(rng, DTYPES))
        with np.errstate(all="ignore"):
            try:
                return array.astype(dtype)
            except (TypeError, ValueError):
                return np.zeros(array.shape, dtype)
    if kind == 3:
        return array[None] if rng.random() < 0.5 else array[..., None]
    if kind == 4:
        return array.T
    if kind <= 6 and array.ndim:
        axis = int(rng.integers(array.ndim))
        places = pick(rng, (2 * list(range(array.shape[axis])), [], 0, [0]))
        return array.take(places, axis) if array.shape[axis] else array.reshape(-1)
    if kind <= 8 and array.dtype.kind in "iuf" and array.size:
        array = array.copy()
        values = (np.nan, np.inf, -np.inf, 1e-45, 0) if array.dtype.kind == "f" else (0, -1, 2**62, 7)
        array.flat[int(rng.integers(array.size))] = pick(rng, values)
        return array
    return np.asarray(pick(rng, ARRAYS))


JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, -1, 1.5, 1e308, 10**30, 10**400, float("nan"), float("inf"), "", "x", "relu", [], {},
    [1], [0.1, 0.2], [[0.1]], [None], ["1"], [{}], {"a": 1}, "x" * 5000, "a\nb", "\x1b[1m", "\ud800")  # fmt: skip
JSON_TEXTS = ("", "[", "{}", "[]", "null", "1", '"x"', "NaN", "[" * 3000, '{"a":' * 3000, "\ufeff{}", "9" * 5000)


def changed_json(rng, text: str) -> str:
    """A JSON text with one value, key or character changed."""
    kind = rng.integers(8)
    if kind == 0:
        return pick(rng, JSON_TEXTS)
    if kind == 1:
        place = int(rng.integers(len(text) + 1))
        return text[:place] + pick(rng, ("", "\0", "\n", "}", '"', ",", "é", "1")) + text[place + 1 :]
    value = here = json.loads(text)
    while here:  # down to a random depth
        key = pick(rng, list(here)) if isinstance(here, dict) else int(rng.integers(len(here)))
        if not (isinstance(here[key], dict | list) and here[key] and rng.random() < 0.5):
            break
        here = here[key]
    if here and kind == 2:
        del here[key]
    elif here and kind == 3 and isinstance(here, dict):
        here[pick(rng, ("", "x", "epochs", "x" * 5000, "a\nb", "\x1b[1m"))] = here.pop(key)
    elif here and kind == 4 and isinstance(here[key], int | float):
        here[key] = pick(rng, (-here[key], here[key] + 1, float(here[key]), str(here[key]), [here[key]]))
    elif here:
        here[key] = pick(rng, JSON_VALUES)
    return json.dumps(value)


def npz(arrays: dict, compressed=False) -> bytes:
    """The bytes of a file that numpy.savez writes."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def npy(array) -> bytes:
    """The bytes of a file that numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class Bomb:
    """An object that creates the file `exploded` when it is unpickled."""

    def __reduce__(self):
        return open, ("exploded", "w")


NAMES = (*words("x h_0 b_h vW_xh vh_0 W_hh dh_0 dx format losses ../x é a/b"), " ", "a\nb", "\x1b[31m", "x" * 3000)
ENTRIES = ("../up.npy", "/root.npy", "x" * 200, "a\nb.npy", ".npy", "a/")


def changed_npz(rng, arrays: dict) -> bytes:
    """An .npz file of these arrays, with one thing changed: an array, a text, a name, an entry or a byte."""
    kind, arrays, names = rng.integers(14), dict(arrays), list(arrays)
    name, other = pick(rng, names), pick(rng, names)
    texts = [name for name in ("configuration", "diverged") if name in arrays]
    if kind <= 3 and texts:
        name = pick(rng, texts)
        text = changed_json(rng, arrays[name].tobytes().decode())
        content = text.encode("utf-8", "surrogatepass")
        odd = np.str_(text), np.array([text]), np.bytes_(b"\xff" + content)
        arrays[name] = pick(rng, odd) if rng.random() < 0.1 else np.bytes_(content)
    elif kind == 4:
        del arrays[name]
    elif kind == 5:
        arrays[pick(rng, NAMES)] = arrays.pop(name) if rng.random() < 0.5 else arrays[name]
    elif kind == 6:
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif kind == 7:
        return changed_bytes(rng, npz(arrays, compressed=rng.random() < 0.3))
    elif kind == 8:
        content = changed_header(rng, npy(arrays.pop(name)))
        return with_entry(npz(arrays), f"{name}.npy", content)
    elif kind == 9:
        entry = pick(rng, (name, f"{name}.npy", *ENTRIES))
        return with_entry(npz(arrays), entry, pick(rng, (b"", b"text", b"\x93NUMPY", b"\x80\x04N.")))
    elif kind == 10:
        arrays |= {f"{pick(rng, NAMES)}{n}": np.zeros(1) for n in range(int(rng.integers(1, 300)))}
    else:
        arrays[name] = changed_array(rng, arrays[name])
    return npz(arrays)


def with_entry(content: bytes, name: str, data: bytes) -> bytes:
    """A zip archive with one entry more."""
    file = io.BytesIO(content)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")  # two entries may have one name
        archive.writestr(name, data)
    return file.getvalue()


SHAPES = words("() (9,) (99999999999,) (-1,) (9223372036854775807,9) (1e9,) 'x' ((1,),) (True,)")
DESCRIPTIONS = words(">f |O <U <m <f99999 <c")


def changed_header(rng, content: bytes) -> bytes:
    """An .npy file with another header of the same length."""
    start, end = content.index(b"{"), content.index(b"\n")
    header = content[start:end]
    shape = header[header.index(b"(") : header.index(b")") + 1]
    before, after = pick(
        rng,
        (
            (shape, pick(rng, SHAPES).encode()),
            (b"<f", pick(rng, DESCRIPTIONS).encode()),
            (b"False", pick(rng, (b"True", b"1", b"None"))),
            (b"shape", b"shap"),
            (b"}", b""),
            (b"{", b"{" * 60),
        ),
    )
    header = header.replace(before, after).ljust(len(header))[: len(header)]
    return content[:start] + header + content[end:]


def changed_npy(rng) -> bytes:
    """An .npy series, with one thing changed."""
    array = rng.normal(size=(6, 2)).astype(pick(rng, ("f4", "f8")))
    array = pick(rng, (array, array[:, 0]))
    kind = rng.integers(4)
    if kind <= 1:
        return (changed_bytes, changed_header)[kind](rng, npy(array))
    return npy(changed_array(rng, array))


# -- text -----------------------------------------------------------------------------------------------------------

CELLS = (*words("x nan inf 1e400 1e39 1e-400 1_0 0x1 ٢ 1. .5 +1 \" \"\" \"1\" '1' 1;2 1,2 # é"), "", " ", "- 1", "1\t2",
         "\0", "\x0c", "\x1c", "\x85", "\u2028", "\x1b[31m", "\xa0", "1" * 5000, "x" * 200_000)  # fmt: skip
CODES = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32")


def text_table(rng) -> bytes:
    """A .csv or .txt file, with one cell, line, separator or byte changed."""
    separator, end = pick(rng, (",", ";", " ", "\t", ", ")), pick(rng, ("\n", "\n", "\r\n", "\r", "\n\n", "\u2028"))
    rows = [[f"{value:.3g}" for value in row] for row in rng.normal(size=(int(rng.integers(1, 8)), 2))]
    if rng.random() < 0.4:
        rows.insert(0, ["x", "y"])
    for _ in range(int(rng.integers(3))):
        row, cell = pick(rng, rows), pick(rng, CELLS)
        begin = int(rng.integers(len(row) + 1))
        kind = rng.integers(6)
        if kind == 0:
            rows.insert(int(rng.integers(len(rows))), [cell])
        else:  # in the place of one cell, of none, or of all from there on
            row[begin : (begin, None, begin + 1, begin + 1, begin + 1)[kind - 1]] = [cell]
    content = (end.join(separator.join(row) for row in rows) + pick(rng, ("", end))).encode(pick(rng, CODES), "replace")
    return changed_bytes(rng, content) if rng.random() < 0.2 else content
