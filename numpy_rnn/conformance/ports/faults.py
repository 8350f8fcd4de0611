"""What goes wrong with ports, in words: every verdict is one line."""

DTYPES = ("float32", "float64")
CAPABILITIES = ("intermediates", "input_gradients", "sgd_options", "learned_h_0")
OPTIONS = ("tanh", "relu", "sum", "mean", "bias")


class PortFault(Exception):
    """What went wrong with a port, in one line."""


def identity_fault(name, dtypes, capabilities, tanh_ulps, lacks) -> str | None:
    """What is wrong with what a port, in whatever language, says about itself; None when nothing is."""
    if not isinstance(name, str) or not name.strip():
        return f"name is {one_line(repr(name), 40)}: expected a text that is not empty"
    if not all(character.isprintable() for character in name):
        return f"name is {one_line(repr(name), 40)}: expected printable characters only"
    lists = (("dtypes", dtypes, DTYPES), ("capabilities", capabilities, CAPABILITIES), ("lacks", lacks, OPTIONS))
    for what, given, known in lists:
        if not isinstance(given, list | tuple):
            return f"{what} is {one_line(repr(given), 40)}: expected a list of names, as {list(known)}"
        for each in given:
            if each not in known:
                return f"{what} names {one_line(repr(each), 40)}: known: {', '.join(known)}"
    if not dtypes:
        return f"dtypes is empty: expected {' or '.join(DTYPES)}, or both"
    for either in (OPTIONS[:2], OPTIONS[2:4]):
        if set(either) <= set(lacks):
            return f"lacks names both {' and '.join(either)}: expected a port to have one of them"
    is_number = isinstance(tanh_ulps, int | float) and not isinstance(tanh_ulps, bool)
    if tanh_ulps is not None and not (is_number and 0 < tanh_ulps < float("inf")):
        return f"tanh_ulps is {one_line(repr(tanh_ulps), 40)}: expected a positive number of ulps"
    return None


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line, cut to the limit, with nothing in it that a terminal would act upon."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text[: 4 * limit].split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
