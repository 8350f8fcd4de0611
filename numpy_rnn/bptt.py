"""The gradient of a window by hand: truncated back-propagation through time (DERIVATION.md, section 4)."""

from numpy import greater, multiply, subtract  # `np.` before them would cost a fifth of a small operation

from numpy_rnn.common.errors import Choices
from numpy_rnn.common.shapes import check_target, target_for
from numpy_rnn.loss import DIVISORS
from numpy_rnn.memory import BackwardMemory, rows, time_first
from numpy_rnn.parameters import ARRAYS, Deltas, Gradients
from numpy_rnn.vectors import new_vector


def tanh_slope(h, one, out):
    """1 − h² into `out`."""
    multiply(h, h, out)
    subtract(one, out, out)


def relu_slope(h, one, out):
    """1 where h > 0, else 0, into `out`: relu'(0) = 0."""
    greater(h, 0, out=out)


SLOPES = Choices("nonlinearity", tanh=tanh_slope, relu=relu_slope)


def bptt(params, activations, target, *, nonlinearity="tanh", reduction="sum") -> Gradients:
    """The gradient of the window's loss L with respect to every parameter.

        dW_xh = Σ_t x_tᵀ da_t        (B4)
        dW_hh = Σ_t h_{t-1}ᵀ da_t    (B5)
        dW_hy = Σ_t h_tᵀ dy_t        (B6)
        db_h  = Σ_{t,b} da_t         (B7)
        db_y  = Σ_{t,b} dy_t         (B8)
        dh_0  = da_1 W_hhᵀ           (B9)

    with dy and da of `deltas`, whose arguments and errors these are. Returns Gradients in the shapes of the
    parameters, None for what is absent; each network of an ensemble has the gradient of its own loss. The state that
    entered is a constant, unless params has a learned h_0; then it is taken to be the one that entered.

    Source: Werbos 1990; Goodfellow, Bengio and Courville, equations 10.22 to 10.28.
    """
    memory = _backward(params, activations, target, nonlinearity, reduction)
    _, into = new_vector(params)
    return weight_gradients(params, memory, rows(activations.x).mT, into)


def deltas(params, activations, target, *, nonlinearity="tanh", reduction="sum") -> Deltas:
    """What flows backwards through the window: the total derivatives of its loss L.

        dy_t = y_t − target_t, under "mean" divided by K·B·O; 0 where no loss is counted    (B1)
        dh_t = dy_t W_hyᵀ + da_{t+1} W_hhᵀ, without the second term at the last step        (B2)
        da_t = dh_t ∘ φ'(a_t), with tanh' = 1 − h_t² and relu' = [h_t > 0]                  (B3)
        dh_0 = da_1 W_hhᵀ                                                                   (B9)
        dx_t = da_t W_xhᵀ                                                                   (B10)

    activations: of the window, as `forward` returned them; target: (K, B, O) or (K, *E, B, O) for its newest K ≤ T
    steps, the ones whose loss is counted. Returns new Deltas, with T steps each.

    Raises InputError on parameters, activations or a target that do not fit, and on an unknown nonlinearity or
    reduction.
    Source: Werbos 1990; Goodfellow, Bengio and Courville, equations 10.18 to 10.21.
    """
    memory = _backward(params, activations, target, nonlinearity, reduction)
    flow = (memory.dy, memory.dh, memory.da, inputs_gradient(params, memory))
    dy, dh, da, dx = (time_first(v, activations.y.shape[-2]) for v in flow)
    return Deltas(dy, dh, da, dx, entering_gradient(params, memory))


def _backward(params, activations, target, nonlinearity, reduction):
    ARRAYS.parameters(params)
    ARRAYS.activations(params, activations)
    ARRAYS.check(target=target)
    x, _, h, y = activations
    check_target(params, target, x)
    target = target_for(y[-len(target) :], target)
    K, *_, B, O = target.shape
    memory = BackwardMemory(params, rows(h), rows(y), len(x), B, K)
    subtract(memory.y_counted, rows(target), memory.dy_counted)  # (B1)
    backpropagate(params, memory, SLOPES[nonlinearity], DIVISORS[reduction](K, B, O))
    return memory


def backpropagate(params, memory, slope, divisor):
    """From the memory's h and dy, where y − target stands as yet undivided, fill its dy, dh and da."""
    dot, dy, dh, product = memory.dot, memory.dy, memory.dh, memory.product
    if divisor != 1:
        dy /= divisor  # (B1)
    dot(dy, params.W_hy.mT, dh)  # (B2), the output's part, of all steps at once
    slope(memory.h, memory.one, memory.slope)
    dh_T, slope_T, da_T = memory.last
    multiply(dh_T, slope_T, da_T)  # (B3), at the last step, to which no later one adds
    if not memory.steps:
        return
    W_hh_T = memory.transposed(params.W_hh)
    for dh_t, slope_t, da_t, da_next in memory.steps:
        dh_t += dot(da_next, W_hh_T, product)  # (B2)
        multiply(dh_t, slope_t, da_t)  # (B3)


def weight_gradients(params, memory, x_T, into):
    """The Gradients, into new memory; params.h_0 is None in a window that no learned state enters."""
    dot, dy, da = memory.dot, memory.dy, memory.da
    dW_xh, dW_hh, dW_hy, db_h, db_y, dh_0 = into
    dot(x_T, da, dW_xh)  # (B4)
    dot(memory.h_before_T, da, dW_hh)  # (B5)
    dot(memory.h_T, dy, dW_hy)  # (B6)
    if db_h is not None:
        da.sum(axis=-2, out=db_h)  # (B7)
        dy.sum(axis=-2, out=db_y)  # (B8)
    if dh_0 is None:
        return into
    return into._replace(h_0=None if params.h_0 is None else entering_gradient(params, memory, dh_0))


def entering_gradient(params, memory, into=None):
    """∂L/∂h_0, (*E, B, H)."""
    return memory.dot(memory.da_1, params.W_hh.mT, into)  # (B9)


def inputs_gradient(params, memory):
    """∂L/∂x_t, in rows."""
    return memory.dot(memory.da, params.W_xh.mT)  # (B10)
