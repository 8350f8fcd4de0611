"""Trees of arrays: dicts, lists and tuples, nested as a user's function takes and
returns them.

A leaf has a path, as it is written in Python: `layers[0].W` is the leaf "W" of the
first item of "layers".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import some_of

WHOLE = "result"  # the name of a single array that a function returns


def items_of(tree: Any) -> dict[str, Any] | None:
    """Return the items of a dict, a named tuple, a list or a tuple by the ends of their
    paths; None for a leaf.
    """
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    if isinstance(tree, Mapping):
        return {f".{key}": value for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return {f"[{index}]": value for index, value in enumerate(tree)}
    return None


def is_named(tree: Any) -> bool:
    """Return whether the items of a tree have names."""
    return isinstance(tree, Mapping) or hasattr(tree, "_asdict")


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the leaf, for all leaves in their order."""
    items = items_of(tree)
    if items is None:
        yield path.lstrip(".") or WHOLE, tree
        return
    for end, item in items.items():
        yield from leaves(item, path + end)


def replaced(tree: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    """Return the same tree with other leaves, change(path, leaf) of each."""
    items = items_of(tree)
    if items is None:
        return change(path.lstrip(".") or WHOLE, tree)
    changed = [replaced(item, change, path + end) for end, item in items.items()]
    if isinstance(tree, Mapping):
        make: Any = type(tree)  # flax has its own mappings
        return make(dict(zip(tree, changed)))
    if hasattr(tree, "_make"):
        return tree._make(changed)
    return type(tree)(changed)


def as_numpy(value: Any) -> NumpyArray:
    """Return an array of any package, in the memory of any device, as NumPy's.

    Raises
    ------
    InputError
        If it is no array of numbers.
    """
    if hasattr(value, "detach"):  # torch's, which may need a gradient
        value = value.detach()
    if hasattr(value, "cpu"):
        value = value.cpu()
    try:
        array = np.asarray(value)
        if array.dtype == object and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InputError(f"no array of NumPy's can be made of it: {error}") from None
    return array


def is_array(value: Any) -> bool:
    """Return whether a leaf is an array."""
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def with_numpy_arrays(tree: Any) -> Any:
    """Return a tree of arguments with NumPy's arrays in the place of any arrays. What
    is no array stays.
    """

    def converted(path: str, leaf: Any) -> Any:
        """Return the leaf, as a copy in C order if it is an array."""
        try:
            return np.array(as_numpy(leaf)) if is_array(leaf) else leaf
        except InputError:  # a key of jax.random
            return leaf

    return replaced(tree, converted)


def floating_arrays(tree: Any) -> dict[str, NumpyArray]:
    """Return the arrays of float32 and float64 by their paths."""
    return {path: leaf for path, leaf in leaves(tree) if is_floating(leaf)}


def is_floating(leaf: Any) -> bool:
    """Return whether a leaf is an array of float32 or float64."""
    return isinstance(leaf, np.ndarray) and leaf.dtype in (np.float32, np.float64)


def with_arrays(tree: Any, arrays: Mapping[str, NumpyArray]) -> Any:
    """Return the tree with these arrays at their paths."""
    return replaced(tree, lambda path, leaf: arrays.get(path, leaf))


def returned_arrays(label: str, result: Any) -> dict[str, NumpyArray]:
    """Return what a function returns as arrays by their paths.

    Raises
    ------
    InputError
        If a leaf is no array of numbers.
    """
    arrays = {}
    for path, leaf in leaves(result):
        if leaf is None:
            continue
        try:
            array = as_numpy(leaf)
        except InputError as error:
            raise InputError(f"{label} returns a {kind_of(leaf)}: {error}") from None
        if array.dtype.kind not in "fiub":
            raise InputError(
                f"{label} returns {path} of {kind_of(leaf)}, {array.dtype}: expected "
                "arrays of real numbers, or a dict, list or tuple of them"
            )
        if array.dtype.kind == "f" and array.dtype not in (np.float32, np.float64):
            raise InputError(
                f"{label} returns {path} in {array.dtype}: expected float32 or float64"
            )
        arrays[path] = array.copy()
    if not arrays:
        raise InputError(f"{label} returns no array: expected at least one")
    return arrays


def kind_of(value: Any) -> str:
    """Return the type of a value, as its package and name."""
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


# Pairs of results


class Pair(NamedTuple):
    """Where f and g return the same: paths of one array, or of several to stack."""

    f: list[str]
    g: list[str]
    stacked: tuple[bool, bool] = (False, False)


def paired(f_result: Any, g_result: Any) -> dict[str, Pair]:
    """Return the pairs by f's names: by key where both have names, else by position. A
    list of arrays on one side is a stacked array on the other.

    Raises
    ------
    InputError
        If the results have nothing in common.
    """
    pairs = {pair.name: pair.paths for pair in pairs_below(f_result, g_result, "", "")}
    if not pairs:
        names = [some_of(path for path, _ in leaves(r)) for r in (f_result, g_result)]
        raise InputError(
            f"f returns {names[0]}, g returns {names[1]}: expected the same names, or "
            "the same order"
        )
    return pairs


class NamedPair(NamedTuple):
    """A pair and its name."""

    name: str
    paths: Pair


def pairs_below(f: Any, g: Any, f_path: str, g_path: str) -> Iterator[NamedPair]:
    """Yield the pairs below two paths."""
    f_items, g_items = items_of(f), items_of(g)
    if f_items is None or g_items is None:
        if f is None or g is None:
            return
        name = f_path.lstrip(".") or WHOLE
        f_paths = [path for path, _ in leaves(f, f_path)]
        g_paths = [path for path, _ in leaves(g, g_path)]
        stacked = is_stack_of(f, g), is_stack_of(g, f)
        if any(stacked) or len(f_paths) == len(g_paths) == 1:
            yield NamedPair(name, Pair(f_paths, g_paths, stacked))
        return
    if is_named(f) and is_named(g):
        common = [(end, end) for end in f_items if end in g_items]
    else:
        common = []
    if not common:
        common = list(zip(f_items, g_items))
    for f_end, g_end in common:
        yield from pairs_below(
            f_items[f_end], g_items[g_end], f_path + f_end, g_path + g_end
        )


def is_stack_of(tree: Any, array: Any) -> bool:
    """Return whether a list has the slices of an array, one by one."""
    if not isinstance(tree, list | tuple) or is_named(tree):
        return False
    shapes = {np.shape(item) if is_array(item) else None for item in tree}
    return (
        len(shapes) == 1 and np.shape(array)[1:] in shapes and items_of(array) is None
    )


def arrays_of_pairs(
    pairs: Mapping[str, Pair], side: int, arrays: Mapping[str, NumpyArray]
) -> dict[str, NumpyArray]:
    """Return the arrays of one side, 0 for f and 1 for g, by the names of the pairs."""
    named = {}
    for name, pair in pairs.items():
        paths = pair.g if side else pair.f
        found = [arrays[path] for path in paths]
        named[name] = np.stack(found) if pair.stacked[side] else found[0]
    return named
