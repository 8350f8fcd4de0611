"""JAX: one jit-compiled function per task, over lax.scan, with value_and_grad; vmap for ensembles."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.prepared import Prepared, Tasks, one_network, results, run_results
from benchmarks.tasks import CHARACTERS, FORWARD, GRADIENT, RUN, STEP
from benchmarks.workloads import MAX_GRADIENT, Case

jax.config.update("jax_enable_x64", True)  # or float64 would silently be float32

Weights = list[Array]


def unroll(params: Weights, x: Array, h_0: Array) -> tuple[Array, Array]:
    """y and h_1 to h_T of one window."""
    W_xh, W_hh, W_hy = params

    def step(h, input_t):
        h = jnp.tanh(input_t + h @ W_hh)
        return h, h

    _, h = lax.scan(step, h_0, x @ W_xh)
    return h @ W_hy, h


def window_loss(params: Weights, x: Array, target: Array, h_0: Array) -> tuple[Array, Array]:
    """The loss of the last steps, as many as `target` has, and the states."""
    y, h = unroll(params, x, h_0)
    return 0.5 * jnp.sum((y[-len(target) :] - target) ** 2), h


value_and_grad = jax.value_and_grad(window_loss, has_aux=True)


def update(
    params: Weights, x: Array, target: Array, h_0: Array, learning_rate: Array
) -> tuple[Weights, Array, Weights, Array]:
    """One SGD update of one window: the new parameters, the loss, the gradients and the states."""
    (loss, h), gradients = value_and_grad(params, x, target, h_0)
    params = [W - learning_rate * dW for W, dW in zip(params, gradients)]
    return params, loss, gradients, h


def epoch(
    params: Weights, x: Array, target: Array, h_0: Array, learning_rate: Array, k2: int
) -> tuple[Weights, Array]:
    """One pass of windows of k2 steps, an update per step: the new parameters and the losses.

    The first windows are shorter and all start at h_0. The others are stacked and scanned; each starts from the state
    after the first step of the previous one.
    """
    losses = []
    for n in range(1, k2):
        params, loss, _, _ = update(params, x[:n], target[n - 1 : n], h_0, learning_rate)
        losses.append(loss)

    def window(carried, window):
        (params, h), (x, target) = carried, window
        params, loss, _, states = update(params, x, target, h, learning_rate)
        return (params, states[0]), loss

    windows = jnp.stack([x[n - k2 : n] for n in range(k2, len(x) + 1)]), target[k2 - 1 :, None]
    (params, _), rest = lax.scan(window, (params, h_0), windows)
    return params, jnp.concatenate([jnp.array(losses, rest.dtype), rest])


def train(
    params: Weights,
    x: Array,
    target: Array,
    h_0: Array,
    learning_rate: Array,
    epochs: int,
    k1: int,
    k2: int,
) -> tuple[Weights, Array]:
    """A whole run: the parameters after it, and the losses of its updates, (epochs, updates)."""

    def one_epoch(params, _):
        if k1 == len(x):
            params, loss, _, _ = update(params, x, target, h_0, learning_rate)
            return params, loss[None]
        return epoch(params, x, target, h_0, learning_rate, k2)

    return lax.scan(one_epoch, params, length=epochs)


# -- the character model --------------------------------------------------------------------------------------------


def character_loss(params: Weights, x: Array, target: Array, h_0: Array) -> tuple[Array, Array]:
    """The cross-entropy of a chunk of characters, and the state after it."""
    W_xh, W_hh, W_hy, b_h, b_y = params

    def step(h, input_t):
        h = jnp.tanh(input_t + h @ W_hh)
        return h, h

    last, h = lax.scan(step, h_0, W_xh[x] + b_h)
    log_p = jax.nn.log_softmax(h @ W_hy + b_y)
    return -jnp.sum(jnp.take_along_axis(log_p, target[..., None], axis=-1)), last


def train_characters(
    params: Weights, x: Array, target: Array, h_0: Array, learning_rate: Array
) -> tuple[Array, Weights]:
    """The losses of one pass over the chunks, x and target (chunks, steps, B), and the parameters after it.

    Gradients are clipped by value, and Adagrad makes the steps.
    """

    def update(carried, chunk):
        params, squares, h = carried
        (loss, h), gradients = jax.value_and_grad(character_loss, has_aux=True)(params, *chunk, h)
        gradients = [jnp.clip(d, -MAX_GRADIENT, MAX_GRADIENT) for d in gradients]
        squares = [m + d * d for m, d in zip(squares, gradients)]
        steps = [learning_rate * d / jnp.sqrt(m + 1e-8) for m, d in zip(squares, gradients)]
        return ([p - step for p, step in zip(params, steps)], squares, h), loss

    zeros = [jnp.zeros_like(p) for p in params]
    (params, _, _), losses = lax.scan(update, (params, zeros, h_0), (x, target))
    return losses, params


# -- tasks ----------------------------------------------------------------------------------------------------------


def compiled(function: Callable, *arguments: Any, **options: Any) -> tuple[Callable, float]:
    """The function compiled for arguments of these shapes, and the seconds that this took."""
    start = perf_counter()
    return jax.jit(function, **options).lower(*arguments).compile(), perf_counter() - start


def given(case: Case) -> tuple[Any, ...]:
    params, *series = case.arrays()
    return (
        [jnp.array(W) for W in params[:3]],
        *map(jnp.array, series),
        jnp.array(case.learning_rate, case.dtype),
    )


def forward(case: Case) -> Prepared:
    params, x, _, h_0, _ = given(one_network(case))
    function, seconds = compiled(lambda *arguments: unroll(*arguments)[0], params, x, h_0)

    def call():
        return function(params, x, h_0).block_until_ready()

    return Prepared(call, lambda: {"y": np.array(call())}, seconds)


def gradient(case: Case) -> Prepared:
    arguments = given(one_network(case))[:4]

    def window_gradient(*arguments):
        (loss, _), gradients = value_and_grad(*arguments)
        return loss, gradients

    function, seconds = compiled(window_gradient, *arguments)

    def call():
        return jax.block_until_ready(function(*arguments))

    return Prepared(call, lambda: results(*call()), seconds)


def step(case: Case) -> Prepared:
    params, *series = given(one_network(case))

    def one_step(*arguments):
        return update(*arguments)[:3]

    function, seconds = compiled(one_step, params, *series, donate_argnums=0)

    def call():
        nonlocal params
        params, _, _ = jax.block_until_ready(function(params, *series))

    def result():
        new, loss, gradients = function(*given(case))
        return results(loss, gradients, new)

    return Prepared(call, result, seconds)


def run(case: Case) -> Prepared:
    arguments = given(case)
    whole = partial(train, **case.options.schedule._asdict())
    if case.networks > 1:
        whole = jax.vmap(whole, in_axes=(0, None, None, None, None))
    function, seconds = compiled(whole, *arguments)

    def call():
        return jax.block_until_ready(function(*arguments))

    def result():
        params, losses = call()
        by_epoch = np.asarray(losses, np.float64).sum(axis=-1)
        return run_results(by_epoch.T, params)

    return Prepared(call, result, seconds)


def characters(case: Case) -> Prepared:
    params, x, target, h_0 = case.arrays()
    chunks = (jnp.array(part).reshape(-1, case.options.schedule.k1, case.B) for part in (x, target))
    weights = [jnp.array(p) for p in params if p is not None]
    arguments = weights, *chunks, jnp.array(h_0), jnp.array(case.learning_rate, case.dtype)
    function, seconds = compiled(train_characters, *arguments)

    def call():
        return jax.block_until_ready(function(*arguments))

    return Prepared(call, lambda: {"losses": np.array(call()[0])}, seconds)


def tasks(row: str) -> Tasks:
    return {FORWARD: forward, GRADIENT: gradient, STEP: step, RUN: run, CHARACTERS: characters}
