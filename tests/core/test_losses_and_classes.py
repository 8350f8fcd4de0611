"""Cross-entropy, classes, loss weights, clipping by value and the logistic function, against other witnesses.

The witnesses are torch's functions with autograd, the complex step, and the same computation written in another way:
one-hot rows for classes, shorter sequences for weights of 0.
"""

from functools import partial

import numpy as np
import pytest
from cases import complex_step_gradients, one_by_one
from hypothesis import given, settings
from hypothesis import strategies as st

import numpy_rnn
from numpy_rnn import InputError, Parameters, reference

MOST = 1e-12  # relative error of float64 after a few dozen operations
LOSSES = ("squared_error", "cross_entropy")


class Problem:
    """A window with classes, distributions or numbers, in NumPy arrays."""

    def __init__(self, seed, loss="cross_entropy", classes=True, weights=True, E=(), dtype="float64"):
        generator = np.random.default_rng(seed)
        T, B, D, H, O = self.sizes = tuple(int(size) for size in generator.permutation(np.arange(2, 8))[:5])
        self.K = int(generator.integers(1, T + 1))
        shapes = (D, H), (H, H), (H, O), (H,), (O,)
        self.params = Parameters(*(generator.normal(0, 0.7, (*E, *shape)).astype(dtype) for shape in shapes))
        self.x = generator.integers(0, D, (T, B)) if classes else generator.normal(size=(T, B, D)).astype(dtype)
        rows = generator.normal(size=(self.K, B, O))
        if loss == "cross_entropy":
            rows = np.exp(rows) / np.exp(rows).sum(axis=-1, keepdims=True)
        in_classes = classes and loss == "cross_entropy"
        self.target = generator.integers(0, O, (self.K, B)) if in_classes else rows.astype(dtype)
        self.h_0, self.loss = np.tanh(generator.normal(size=(B, H))).astype(dtype), loss
        self.weights = generator.choice([0.0, 1.0, 0.4], (self.K, B)).astype(dtype) if weights else None

    def of(self, rnn, **options):
        """The loss, the adjoints and the gradients of this window by a backend."""
        nonlinearity = options.pop("nonlinearity", "tanh")
        params, x, target, h_0 = map(rnn.from_numpy, (self.params, self.x, self.target, self.h_0))
        options["weights"] = None if self.weights is None else rnn.from_numpy(self.weights)
        activations = rnn.forward(params, x, h_0, nonlinearity=nonlinearity)
        function = rnn.cross_entropy if self.loss == "cross_entropy" else rnn.half_squared_error
        loss = function(activations.y[-self.K :], target, **options)
        options |= {"loss": self.loss, "nonlinearity": nonlinearity}
        adjoints = rnn.adjoints(params, activations, target, **options)
        gradients = rnn.bptt(params, activations, target, **options)
        return rnn.to_numpy(loss), rnn.to_numpy(adjoints), rnn.to_numpy(gradients)

    def in_rows(self):
        """The same with one-hot rows for classes."""
        _, _, D, _, O = self.sizes
        self.x = np.eye(D, dtype=self.params.W_hh.dtype)[self.x]
        if self.target.ndim == 2:
            self.target = np.eye(O, dtype=self.params.W_hh.dtype)[self.target]
        return self


def assert_near(found, expected, most=MOST):
    """Numbers, arrays, and tuples of them."""
    for a, b in zip(
        *(values if isinstance(values, tuple | list) else [values] for values in (found, expected)), strict=True
    ):
        if a is not None or b is not None:
            assert np.abs(a - b).max() <= most * (1 + np.abs(b).max())


OPTIONS = given(
    seed=st.integers(0, 2**32 - 1),
    loss=st.sampled_from(LOSSES),
    classes=st.booleans(),
    weights=st.booleans(),
    reduction=st.sampled_from(("sum", "mean")),
    nonlinearity=st.sampled_from(("tanh", "sigmoid")),
)


@settings(max_examples=30)
@OPTIONS
def test_gradients_are_those_of_the_complex_step(seed, loss, classes, weights, reduction, nonlinearity):
    """Of the loss as a function of the parameters: a gradient code is not called."""
    problem = Problem(seed, loss, classes, weights)

    def loss_of(params):
        function = numpy_rnn.cross_entropy if loss == "cross_entropy" else numpy_rnn.half_squared_error
        x = problem.x if classes else problem.x.astype(complex)
        y = numpy_rnn.forward(params, x, problem.h_0.astype(complex), nonlinearity=nonlinearity).y
        return function(y[-problem.K :], problem.target, reduction=reduction, weights=problem.weights)

    *_, gradients = problem.of(reference, reduction=reduction, nonlinearity=nonlinearity)
    assert_near(gradients, complex_step_gradients(one_by_one(loss_of), problem.params))


@pytest.mark.needs_torch
@settings(max_examples=30)
@OPTIONS
def test_losses_and_gradients_are_those_of_torch_functions(rnn, seed, loss, classes, weights, reduction, nonlinearity):
    """torch.nn.functional.embedding, cross_entropy and mse_loss, with autograd."""
    import torch
    from torch.nn import functional

    problem = Problem(seed, loss, classes, weights)
    found, adjoints, gradients = problem.of(rnn, reduction=reduction, nonlinearity=nonlinearity)

    leaves = [torch.tensor(theta, requires_grad=True) for theta in problem.params[:5]]
    W_xh, W_hh, W_hy, b_h, b_y = leaves
    x, h = torch.tensor(problem.x), torch.tensor(problem.h_0)
    ys = []
    for x_t in x:
        by_input = functional.embedding(x_t, W_xh) if classes else x_t @ W_xh
        h = getattr(torch, nonlinearity)(by_input + h @ W_hh + b_h)
        ys.append(h @ W_hy + b_y)
    y = torch.stack(ys)[-problem.K :]
    target = torch.tensor(problem.target)
    if loss == "cross_entropy":
        if not classes:
            target = target.transpose(1, 2)
        of_each = functional.cross_entropy(y.transpose(1, 2), target, reduction="none")
    else:
        of_each = functional.mse_loss(y, target, reduction="none").sum(-1) / 2
    w = torch.ones_like(of_each) if problem.weights is None else torch.tensor(problem.weights)
    expected = (w * of_each).sum()
    if reduction == "mean":
        expected = expected / (w.sum() * (y.shape[-1] if loss == "squared_error" else 1)).clamp(min=1e-300)
    assert_near([found], [expected.item()])
    dy, *by_autograd = torch.autograd.grad(expected, [y, *leaves])
    assert_near([adjoints.dy[-problem.K :]], [dy.numpy()])
    assert_near(gradients[:5], [gradient.numpy() for gradient in by_autograd])


@pytest.mark.parametrize("E", [(), (2,), (2, 3)])
@pytest.mark.parametrize("loss", LOSSES)
def test_classes_are_their_one_hot_rows(rnn, loss, E):
    for seed in range(5):
        problem, rows = Problem(seed, loss, E=E), Problem(seed, loss, E=E).in_rows()
        for found, expected in zip(problem.of(rnn), rows.of(rnn), strict=True):
            assert_near(found, expected)


@pytest.mark.parametrize("E", [(), (2,), (2, 3)])
def test_training_on_classes_is_training_on_their_rows(rnn, E):
    """An ensemble may have classes of its own for every network."""
    problem = Problem(0, E=E)
    T, B, D, _, O = problem.sizes
    target = np.random.default_rng(0).integers(0, O, (T, *E, B))
    x = np.broadcast_to(problem.x.reshape(T, *(1,) * len(E), B), (T, *E, B))
    options = {"k1": 2, "k2": 3, "learning_rate": 0.1, "epochs": 2, "loss": "cross_entropy", "max_value": 0.2}
    train = partial(rnn.train, **options)
    start, h_0 = rnn.from_numpy(problem.params), rnn.from_numpy(problem.h_0)
    found = train(start, rnn.from_numpy(x.copy()), rnn.from_numpy(target), h_0)
    expected = train(start, rnn.from_numpy(np.eye(D)[x]), rnn.from_numpy(np.eye(O)[target]), h_0)
    for one, other in zip(found, expected, strict=True):
        assert_near(rnn.to_numpy(one.parameters), rnn.to_numpy(other.parameters))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_stream_with_weights_is_the_series(rnn, loss):
    problem = Problem(3, loss)
    T = problem.sizes[0]
    target, weights = (np.resize(v, (T, *v.shape[1:])) for v in (problem.target, problem.weights))
    params, x, target, weights, h_0 = map(rnn.from_numpy, (problem.params, problem.x, target, weights, problem.h_0))
    options = {"k1": 2, "k2": 3, "learning_rate": 0.1, "loss": loss, "reduction": "mean"}
    of_series = rnn.train(params, x, target, h_0, weights=weights, epochs=1, **options)
    of_stream = rnn.train_stream(params, list(zip(x, target, weights)), h_0, **options)
    for one, other in zip(of_series, of_stream, strict=True):
        assert_near([rnn.to_numpy(one.loss)], [rnn.to_numpy(other.loss)], 0)
        assert_near(rnn.to_numpy(one.parameters), rnn.to_numpy(other.parameters), 0)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_of_zero_drops_what_comes_after_the_end_of_a_sequence(rnn, loss, reduction):
    """Two sequences of different lengths in one batch: the gradient is that of the two apart."""
    problem = Problem(1, loss, weights=False)
    T, B, *_ = problem.sizes
    problem.K = T
    problem.target = np.resize(problem.target, (T, *problem.target.shape[1:]))
    lengths = np.arange(B) % T + 1
    problem.weights = (np.arange(T)[:, None] < lengths).astype("float64")
    _, _, found = problem.of(rnn, reduction=reduction)

    parts = []
    for b, length in enumerate(lengths):
        part = Problem(1, loss, weights=False)
        part.K, part.x, part.h_0 = int(length), problem.x[:length, b : b + 1], problem.h_0[b : b + 1]
        part.target = problem.target[:length, b : b + 1]
        parts.append(part.of(rnn)[2])
    O = problem.sizes[-1] if loss == "squared_error" else 1
    N = O * lengths.sum() if reduction == "mean" else 1
    assert_near(found[:5], [sum(values) / N for values in zip(*(part[:5] for part in parts))])


@pytest.mark.parametrize("loss", LOSSES)
def test_the_mean_is_weighted(rnn, loss):
    """Weights of 2 are weights of 1; weights of 0 everywhere leave a loss and gradients of 0."""
    problem, plain = Problem(2, loss), Problem(2, loss, weights=False)
    problem.weights[...] = 2
    for found, expected in zip(problem.of(rnn, reduction="mean"), plain.of(rnn, reduction="mean"), strict=True):
        assert_near(found, expected)
    problem.weights[...] = 0
    found, adjoints, gradients = problem.of(rnn, reduction="mean")
    assert found == 0
    assert not any(array.any() for array in (*adjoints, *gradients[:5]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_are_no_problem(rnn, dtype):
    """By hand: log p of a class that is 2·10⁴ below the largest, and of the largest."""
    y = rnn.from_numpy(np.array([[[1e4, -1e4, 0]]], dtype))
    found = [rnn.to_numpy(rnn.cross_entropy(y, rnn.from_numpy(np.array([[c]])))).item() for c in range(3)]
    assert found == [0, 2e4, 1e4]
    even = rnn.from_numpy(np.full((1, 1, 4), -1e4, dtype))
    loss = rnn.to_numpy(rnn.cross_entropy(even, rnn.from_numpy(np.array([[3]]))))
    assert abs(loss - np.log(4)) < 8 * np.finfo(dtype).eps


@pytest.mark.needs_torch
@pytest.mark.parametrize("limit", [0.01, 0.3, 100.0])
def test_clipping_by_value_is_that_of_torch(rnn, limit):
    import torch

    gradients = Problem(5).of(rnn)[2]._replace(b_h=np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, limit, -2 * limit]))
    size = len(gradients.b_h)
    gradients = gradients._replace(
        W_xh=np.resize(gradients.W_xh, (3, size)), W_hh=np.resize(gradients.W_hh, (size,) * 2)
    )
    gradients = gradients._replace(W_hy=np.resize(gradients.W_hy, (size, len(gradients.b_y))))
    tensors = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients[:5]]
    for tensor, gradient in zip(tensors, gradients):
        tensor.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_value_(tensors, limit)
    found = rnn.to_numpy(rnn.clip_by_value(rnn.from_numpy(gradients), limit))
    for a, tensor in zip(found[:5], tensors, strict=True):
        np.testing.assert_array_equal(a, tensor.grad.numpy())


@pytest.mark.needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logistic_function_is_that_of_torch(rnn, dtype):
    """To a few units of its largest value: the form ½ + ½ tanh(a/2) rounds there."""
    import torch

    a = np.concatenate([np.linspace(-100, 100, 401), [0.0, 1e-30, 1e4, -1e4]]).astype(dtype).reshape(-1, 1, 1)
    one, zero = np.ones((1, 1), dtype), np.zeros((1, 1), dtype)
    h = rnn.forward(*map(rnn.from_numpy, (Parameters(one, zero, one), a, zero)), nonlinearity="sigmoid").h
    difference = rnn.to_numpy(h)[1:] - torch.sigmoid(torch.tensor(a)).numpy()
    assert np.abs(difference).max() <= 2 * np.finfo(dtype).eps


ROWS, CLASSES = np.full((4, 2, 3), 1 / 3), np.zeros((4, 2), int)
ENTROPY = {"loss": "cross_entropy"}
REFUSED = {
    "a class that is too large": ({"x": CLASSES + 2}, "x holds the class 2: expected classes from 0 to 1"),
    "a class below 0": ({"target": CLASSES - 1, **ENTROPY}, "target holds the class -1: expected classes from 0 to 2"),
    "classes in another shape": ({"x": np.zeros((4, 3), int)}, "h_0 has shape (2, 5): expected (3, 5)"),
    "integers for rows": ({"x": np.zeros((4, 2, 2), int)}, "x is "),
    "classes of a squared error": ({"target": CLASSES}, "target has shape (4, 2): expected (4, 2, 3)"),
    "rows that are no distributions": ({"target": 2 * ROWS, **ENTROPY}, "target has a row whose sum is 2.0"),
    "a probability below 0": ({"target": ROWS - [1, -1, 0], **ENTROPY}, "target holds -0.66666"),
    "weights in another shape": ({"weights": np.ones((4, 1))}, "weights has shape (4, 1): expected (4, 2)"),
    "weights in another dtype": ({"weights": np.ones((4, 2), "float32")}, "weights is "),
    "a weight below 0": ({"weights": -np.ones((4, 2))}, "weights holds -1.0: expected numbers of 0 or more"),
    "a weight that is NaN": ({"weights": np.full((4, 2), np.nan)}, "weights holds NaN or infinity"),
    "an unknown loss": ({"loss": "hinge"}, "unknown loss 'hinge': expected squared_error or cross_entropy"),
    "two limits": ({"max_norm": 1.0, "max_value": 2.0}, "max norm is 1.0 and max value is 2.0: expected one"),
    "a limit of 0": ({"max_value": 0}, "max value is 0: expected a finite number above 0"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_training_refuses(rnn, what):
    changed, says = REFUSED[what]
    normal = np.random.default_rng(0).normal
    params = Parameters(*(normal(size=shape) for shape in ((2, 5), (5, 5), (5, 3))))
    arrays = {"x": normal(size=(4, 2, 2)), "target": ROWS, "weights": None} | changed
    options = {name: arrays.pop(name) for name in list(arrays) if name not in ("x", "target", "weights")}
    x, target, weights = (v if v is None else rnn.from_numpy(np.asarray(v)) for v in arrays.values())
    start = rnn.from_numpy(params), x, target, rnn.from_numpy(np.zeros((2, 5)))
    with pytest.raises(InputError) as refusal:
        rnn.train(*start, weights=weights, k1=1, k2=1, learning_rate=0.1, epochs=1, **options)
    assert says in str(refusal.value)
