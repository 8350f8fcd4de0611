"""Mutants of the engine: where it keeps its numbers, when it reads them, and what it returns."""

from numpy_rnn.conformance.mutants.window_mutants import engine

# Lines of the engine that several mutants change.
APPENDED = "trained.append(one)"
BUFFERS = "dy if mean or objective.weighted else None, dh, slope, da)"
FIRST_TIME = "v[...] = g  # (U5), the first time"
LAST_LOSS = "self._losses(last.loss_start, 1, last.loss_steps)"
LOADED = "self.tape.load(piece.base, *self.series(piece.base, piece.stop))"
OF_BLOCK = "of_all[block.first : block.stop, None]"
RAN = "return one.run(segment, into, recorded[index] if self.record else None)"
TAPE = "tape = kind(layout, steps_of_tape, min(k1, steps), min(k2, steps), objective)"

# The wrong lines.
LAST_SKIPPED = f"""before = one.networks.theta.copy()
            losses = {RAN.removeprefix("return ")}
            if index > 0 and one is self.trained[-1]:
                one.networks.theta[...] = before
            return losses"""
ONE_OFF = """x, target, weights = self.series(piece.base, piece.stop)
        self.tape.load(piece.base, x, np.roll(target, int(piece.base > 0), axis=0), weights)"""
SHARED_TAPE = (
    f"tape = trained[0].tape if trained and trained[0].block.layout == layout else {TAPE.removeprefix('tape = ')}"
)
SHARED_VELOCITY = f"""if trained and trained[0].block.layout == layout:
            networks.velocity = trained[0].networks.velocity
        {APPENDED}"""

IN_ENGINE = (
    # Weights that are kept in a second place.
    engine(
        "stale transposed W_hh",
        "dh",
        ("update", "W_hh_T = anew", 'W_hh_T = self.__dict__.setdefault("turned", view_of_W_hh_T.copy())'),
    ),
    engine(
        "stale W_hh in the joined weights",
        "dh",
        (
            "update",
            "V_y[...], V_h[...] = W_hy_T, view_of_W_hh_T",
            'V_y[...], V_h[...] = W_hy_T, self.__dict__.setdefault("turned", view_of_W_hh_T.copy())',
        ),
    ),
    engine(
        "learned initial state of the first update used",
        "initial",
        ("update", "first_state[...] = h_0", 'first_state[...] = self.__dict__.setdefault("first", h_0.copy())'),
    ),
    engine(
        "sum of the weights of the first window used",
        "dy",
        (
            "update",
            "objective.total(weights, y.shape[-1])",
            'self.__dict__.setdefault("total", objective.total(weights, y.shape[-1]))',
        ),
    ),
    engine(
        "weights of a piece in reverse",
        "loss",
        ("window", "(self.weights, weights)):", "(self.weights, weights if weights is None else weights[::-1])):"),
    ),
    engine("losses of classes without their weights", "loss", ("objective", "losses = losses * weights", "pass")),
    # Memory that is written too early, or read too late.
    engine("slopes overwritten before they are used", "da", ("window", BUFFERS, BUFFERS.replace("slope", "dh"))),
    engine("dh overwritten before it is read", "dh", ("window", BUFFERS, BUFFERS.replace("dh", "da"))),
    engine(
        "loss computed after its error is divided",
        "loss",
        ("window", "dy=error if s.dy is None else s.dy", "dy=error"),
    ),
    engine(
        "targets overwritten by the errors",
        "loss",
        (
            "window",
            "self.target, self.error = layout.empty(steps * B, O), layout.empty(steps * B, O)",
            "self.target = self.error = layout.empty(steps * B, O)",
        ),
    ),
    engine(
        "loss of a short window summed over too many steps",
        "loss",
        ("window", LAST_LOSS, "self._losses(last.stop - k1, 1, k1)"),
    ),
    # Time, batch and pieces.
    engine(
        "series folded batch first",
        "a",
        ("window", "rows = series.reshape(", "series = series.swapaxes(-3, -2)\n            rows = series.reshape("),
    ),
    engine(
        "state not carried to the next piece",
        "initial",
        ("window", "self.state(base)[...] = state", "pass"),
    ),
    engine(
        "h_0 not reset at a new epoch",
        "initial",
        (
            "ensemble",
            "if piece.base == 0 and self.h_0 is not None:",
            "if self.loaded is None and self.h_0 is not None:",
        ),
    ),
    engine("targets one step off in the second piece", "loss", ("ensemble", LOADED, ONE_OFF)),
    engine(
        "inner window treated as the first",
        "initial",
        ("window", "key = begin, first_new, end, window.start == 0", "key = begin, first_new, end, begin == 0"),
    ),
    # Blocks of networks.
    engine("last block of networks skipped", "W_xh", ("ensemble", RAN, LAST_SKIPPED)),
    engine(
        "learning rates of the first block's networks",
        "W_xh",
        ("loop", OF_BLOCK, "of_all[: block.stop - block.first, None]"),
    ),
    engine("velocity shared by all blocks", "vW_xh", ("loop", APPENDED, SHARED_VELOCITY)),
    engine("tape shared by all blocks", "initial", ("loop", TAPE, SHARED_TAPE)),
    engine(
        "one norm for all networks of a block",
        "vW_xh",
        ("update", ".sum(axis=-1, keepdims=True))  # (U2)", ".sum(keepdims=True))  # (U2)"),
    ),
    # The step.
    engine(
        "h_0 updated by windows that do not start from it",
        "vh_0",
        ("update", "end = layout.size if moves_h_0 or not layout.learned else layout.weights", "end = layout.size"),
    ),
    engine(
        "gradient of h_0 not cleared in later windows",
        "h_0",
        ("update", "dh_0[...] = 0  #", "pass  #"),
    ),
    engine(
        "last element of the vector not updated",
        "h_0",
        (
            "update",
            "subtract(theta, multiply(delta, self.rate, spare), theta)",
            "subtract(theta[..., :-1], multiply(delta, self.rate, spare)[..., :-1], theta[..., :-1])",
        ),
    ),
    engine(
        "first step of momentum dampened",
        "vW_xh",
        ("update", FIRST_TIME, "v[...] = (1 - tau) * g"),
    ),
    engine("sum of squares not kept", "vW_xh", ("update", "add(v, multiply(g, g, spare), v)", "multiply(g, g, v)")),
    engine(
        "velocity not resumed",
        "vW_xh",
        ("loop", "networks.moving = [True, velocity.h_0 is not None]", "networks.moving = [False, False]"),
    ),
    # Large networks, in columns.
    engine(
        "outputs of an earlier window added at steps without a loss",
        "dh",
        ("columns", "views.flow_older[...] = 0", "pass"),
    ),
    engine(
        "stale W_hy in columns",
        "dh",
        ("columns", "V[:, H:] = W_hy", "V[:, H:] = tape.__dict__.setdefault('turned', W_hy.copy())"),
    ),
    engine(
        "last block of a transpose left out",
        "dh",
        (
            "columns",
            "for begin in range(0, len(into), TRANSPOSED_AT_ONCE):",
            "for begin in range(0, len(into) - 1, 1):",
        ),
        (
            "columns",
            "into[begin : begin + TRANSPOSED_AT_ONCE] = matrix[:, begin : begin + TRANSPOSED_AT_ONCE].T",
            "into[begin] = matrix[:, begin]",
        ),
    ),
    # What is handed out.
    engine(
        "parameters returned in reused memory",
        "dW_xh",
        ("layout", "if references(vector) == unused:", "if True:"),
    ),
    engine(
        "gradients returned as views",
        "dh_0",
        ("ensemble", "copy(dvector, gradient)", "gradients = one.block.layout.named(gradient)"),
    ),
    engine(
        "states returned as views",
        "initial",
        ("ensemble", "one.tape.state(step).copy()", "one.tape.state(step)"),
        ("ensemble", "yield update, h.copy()", "yield update, h"),
        ("loop", "copy_of(h), *of_update", "h, *of_update"),
    ),
    engine(
        "activations returned as views",
        "a",
        ("update", "tape.time_first(v).copy()", "tape.time_first(v)"),
    ),
)
