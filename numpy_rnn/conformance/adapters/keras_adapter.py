"""A port of a Keras model of a SimpleRNN and a Dense layer, with the gradients of Keras' backend."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter, Report, refuse
from numpy_rnn.conformance.ports.protocol import FEW_SIZES

Model: TypeAlias = Any  # of Keras, which has no types
Tensor: TypeAlias = Any
EXPECTED = "a SimpleRNN and a Dense without an activation, both with biases or none"
# Options of a layer that may have any value: what these change is in the port, or is checked apart.
FREE = {"name", "units", "return_sequences", "unroll", "activation", "use_bias", "dtype", "kernel_initializer",
        "recurrent_initializer", "bias_initializer", "zero_output_for_mask"}  # fmt: skip


class KerasPort(Adapter):
    """A port of a model of a SimpleRNN and a Dense layer without an activation, with Keras' mean squared error.

    Its step is that of keras.optimizers.SGD, whose velocity has the factor −η, which "rate_in_velocity" states. The
    dtype is float32, as Keras keeps η in float32. The layers compute as in training. Raises InputError, by name, on
    anything else that the model has: other layers, options of these, a call that does more, another loss or optimizer.
    """

    def __init__(self, model: Model):
        import keras

        self.keras = keras
        if not model.built:
            raise InputError(
                f"{model.name} has no sizes yet: begin it with keras.Input((None, D)), or call it once"
            )
        refuse(model.name, self._foreign_parts(model), EXPECTED)
        self.rnn, self.dense = (
            layer for layer in model.layers if type(layer).__name__ != "InputLayer"
        )
        name, cell, biases = (
            f"{model.name} on {keras.backend.backend()}",
            self.rnn.cell,
            self.rnn.use_bias,
        )
        variables = [
            cell.kernel,
            cell.recurrent_kernel,
            self.dense.kernel,
            cell.bias,
            self.dense.bias,
        ]
        self.variables = dict(
            zip(("W_xh", "W_hh", "W_hy", "b_h", "b_y"), variables[: 5 if biases else 3])
        )
        sizes = dict(zip("DHO", (*cell.kernel.shape, self.dense.units)))
        shapes = [few | sizes for few in FEW_SIZES]  # as JAX and TensorFlow compile
        shapes = [sizes] if keras.backend.backend() == "torch" else shapes
        super().__init__(name, "mse", self.rnn.activation.__name__, ("float32",), shapes)
        self.compiled: Any = None
        self.capabilities += ("sgd_options", "rate_in_velocity", "clip_by_value")
        self.lacks += ("dampening", "weight_decay", "max_norm")
        self.state(no_biases=biases, bias=not biases, many_losses=not self.rnn.return_sequences)
        x, h_0 = (
            np.random.default_rng(0).normal(size=(2, 5, sizes["D"])).astype("f"),
            np.zeros((2, cell.units), "f"),
        )
        takes_state = len(getattr(model, "inputs", None) or [x]) > 1
        theirs, ours = (
            model([x, h_0] if takes_state else x, training=True),
            self.dense(self.rnn(x, training=True)),
        )
        if not np.allclose(self._array(theirs), self._array(ours), rtol=1e-3, atol=1e-5):
            raise InputError(
                f"{model.name} does more in its call than its SimpleRNN and its Dense: take the rest out"
            )

    def _foreign_parts(self, model: Model) -> Iterator[str]:
        """Names of the parts of a model that the definition does not have."""
        own = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
        kinds = [type(layer).__name__ for layer in own]
        layers = dict(zip(kinds, own))
        foreign = [kind for kind in kinds if kind not in ("SimpleRNN", "Dense")]
        yield from foreign
        for kind in ("SimpleRNN", "Dense"):
            if kinds.count(kind) > 1 or not (foreign or kind in kinds):
                yield f"{kinds.count(kind) or 'no'} {kind}"
        for kind in [kind for kind in layers if kind not in foreign]:
            config, usual = (layer.get_config() for layer in (layers[kind], type(layers[kind])(1)))
            for name in sorted((config | usual).keys() - FREE):
                if (value := config.get(name)) != usual.get(name):
                    yield f"{kind}({name}{f'={value}' if isinstance(value, int | float) else ''})"
            if layers[kind].compute_dtype != "float32":
                yield f"the dtype {layers[kind].compute_dtype} in its {kind}"
        if not foreign and len({layer.use_bias for layer in own}) > 1:
            yield "use_bias in one layer alone"
        if (
            function := getattr(layers.get("Dense"), "activation", None)
        ) and function.__name__ != "linear":
            yield f"{function.__name__.title()} in its Dense"
        if getattr(model, "compiled", False):
            names = (
                "weight_decay",
                "clipnorm",
                "global_clipnorm",
                "use_ema",
                "gradient_accumulation_steps",
            )
            yield from (name for name in names if getattr(model.optimizer, name, None))
            if type(model.optimizer).__name__ != "SGD":
                yield f"optimizers.{type(model.optimizer).__name__}"
            loss = self.keras.losses.get(model.loss)
            if getattr(loss, "__name__", loss.__class__.__name__) not in (
                "mean_squared_error",
                "MeanSquaredError",
            ):
                yield f"the loss {getattr(loss, '__name__', loss.__class__.__name__)}"

    def _array(self, tensor: Tensor) -> np.ndarray:
        with warnings.catch_warnings(action="ignore"):  # of torch's tensors and NumPy 2
            return np.array(self.keras.ops.convert_to_numpy(tensor))

    def _loss(self, x: Tensor, target: Tensor, h_0: Tensor) -> Tensor:
        """Half of the model's loss, the definition's."""
        y = self.dense(self.rnn(x, initial_state=h_0, training=True))
        y = y[:, -target.shape[1] :] if self.rnn.return_sequences else y[:, None]
        return self.factor * self.keras.losses.MeanSquaredError()(target, y)

    def _loss_and_gradients(self, *arrays: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Computed by the backend that Keras runs on."""
        variables, backend = list(self.variables.values()), self.keras.backend.backend()
        values = [variable.value for variable in variables]
        if backend == "torch":
            import torch

            loss = self._loss(*arrays)
            return loss.detach(), torch.autograd.grad(loss, values)
        if backend == "tensorflow":
            import tensorflow

            with tensorflow.GradientTape() as tape:
                loss = self._loss(*arrays)
            return loss, tape.gradient(loss, values)
        import jax

        def stateless(values, *arrays):
            with self.keras.StatelessScope(state_mapping=list(zip(variables, values))):
                return self._loss(*arrays)

        self.compiled = self.compiled or jax.jit(jax.value_and_grad(stateless))
        return self.compiled(values, *arrays)

    def window_update(
        self, params: Report, x: np.ndarray, target: np.ndarray, h_0: np.ndarray, *, learning_rate: float,
        momentum: float = 0.0, nesterov: bool = False, max_value: float | None = None,
        velocity: Report | None = None, **_: object,
    ) -> Report:  # fmt: skip
        """The loss, the gradients of the backend, and the parameters and velocities after Keras' step."""
        ops, variables = self.keras.ops, [self.variables[name] for name in params]
        for name, variable in self.variables.items():
            variable.assign(params[name])
        arrays = (
            ops.convert_to_tensor(array) for array in (x.swapaxes(0, 1), target.swapaxes(0, 1), h_0)
        )
        loss, gradients = self._loss_and_gradients(*arrays)
        results = {"loss": loss} | {
            "d" + name: gradient for name, gradient in zip(params, gradients)
        }
        results = {name: self._array(array) for name, array in results.items()}
        optimizer = self.keras.optimizers.SGD(
            learning_rate, momentum, nesterov, clipvalue=max_value
        )
        optimizer.build(variables)
        for v, own in zip((velocity or {}).values(), optimizer.momentums):
            own.assign(v)
        optimizer.apply(gradients, variables)
        after = dict(zip(params, variables)) | {
            "v" + n: v for n, v in zip(params, optimizer.momentums) if momentum
        }
        return results | {name: self._array(variable.value) for name, variable in after.items()}
