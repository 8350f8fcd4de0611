"""JAX: one jit-compiled function per case, over lax.scan; vmap for ensembles."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.cases import MAX_GRADIENT, Case
from benchmarks.implementations import Call

jax.config.update("jax_enable_x64", True)  # or float64 would silently be float32


def unroll(W_hh, inputs, h_0):
    """h_1 to h_T of one window. inputs: x_t W_xh + b_h of every step."""

    def step(h, input_t):
        h = jnp.tanh(input_t + h @ W_hh)
        return h, h

    return lax.scan(step, h_0, inputs)[1]


def window_loss(params, x, target, h_0):
    """Return the loss of the last steps, as many as `target` has, and the states."""
    h = unroll(params[1], x @ params[0], h_0)
    y = (h @ params[2])[-len(target) :]
    return 0.5 * jnp.sum((y - target) ** 2), h


def update_window(params, x, target, h_0, rate):
    """One SGD update of one window: the new parameters, the loss and the states."""
    value_and_grad = jax.value_and_grad(window_loss, has_aux=True)
    (loss, h), gradients = value_and_grad(params, x, target, h_0)
    return [W - rate * dW for W, dW in zip(params, gradients)], loss, h


def train_sliding(params, x, target, h_0, rate, k2):
    """One epoch of windows of k2 steps: the first are shorter, the others
    are scanned.
    """
    losses = []
    for n in range(1, k2):
        params, loss, _ = update_window(params, x[:n], target[n - 1 : n], h_0, rate)
        losses.append(loss)

    def window(carried, window):
        (params, h), (x, target) = carried, window
        params, loss, states = update_window(params, x, target, h, rate)
        return (params, states[0]), loss

    windows = (
        jnp.stack([x[n - k2 : n] for n in range(k2, len(x) + 1)]),
        target[k2 - 1 :, None],
    )
    (params, _), rest = lax.scan(window, (params, h_0), windows)
    return params, jnp.concatenate([jnp.array(losses, rest.dtype), rest])


def train_scan(params, x, target, h_0, rate, *, schedule):
    """Return a whole run: the losses of its updates, and the parameters after it."""
    k1, k2, epochs = schedule

    def epoch(params, _):
        if k1 < len(x):
            return train_sliding(params, x, target, h_0, rate, k2)
        return update_window(params, x, target, h_0, rate)[:2]

    params, losses = lax.scan(epoch, params, length=epochs)
    return losses.reshape(-1), params


def character_loss(params, x, target, h_0):
    """Return the cross-entropy of a chunk of characters, and the state after it."""
    W_xh, W_hh, W_hy, b_h, b_y = params
    h = unroll(W_hh, W_xh[x] + b_h, h_0)
    log_p = jax.nn.log_softmax(h @ W_hy + b_y)
    return -jnp.sum(jnp.take_along_axis(log_p, target[..., None], axis=-1)), h[-1]


def train_characters(params, x, target, h_0, rate, *, schedule):
    """One pass over chunks of k1 characters, with clipping by value and Adagrad."""
    chunks = tuple(
        part.reshape(-1, schedule[0], *part.shape[1:]) for part in (x, target)
    )

    def update_window(carried, chunk):
        params, squares, h = carried
        (loss, h), gradients = jax.value_and_grad(character_loss, has_aux=True)(
            params, *chunk, h
        )
        gradients = [jnp.clip(d, -MAX_GRADIENT, MAX_GRADIENT) for d in gradients]
        squares = [m + d * d for m, d in zip(squares, gradients)]
        steps = [rate * d / jnp.sqrt(m + 1e-8) for m, d in zip(squares, gradients)]
        return ([p - step for p, step in zip(params, steps)], squares, h), loss

    zeros = [jnp.zeros_like(p) for p in params]
    (params, _, _), losses = lax.scan(update_window, (params, zeros, h_0), chunks)
    return losses, params


def prepare(case: Case) -> Call:
    """Compile the run of a case, and return a call of it."""
    params, *series = case.arrays()
    rate = jnp.array(case.options.step.learning_rate, case.dtype)
    arguments = (
        [jnp.array(p) for p in params if p is not None],
        *map(jnp.array, series),
        rate,
    )
    loop = train_characters if case.is_text else train_scan
    run = partial(loop, schedule=tuple(case.options.schedule))
    if case.networks:
        run = jax.vmap(run, in_axes=(0, None, None, None, None), out_axes=(-1, 0))
    function = jax.jit(run).lower(*arguments).compile()

    def call():
        losses, params = jax.block_until_ready(function(*arguments))
        return losses, params[:3]

    return call
