"""A port of a Keras model of a SimpleRNN and a Dense layer, with the gradients of Keras' backend."""

from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter
from numpy_rnn.conformance.ports.protocol import FEW_SIZES


class KerasPort(Adapter):
    """A port of a model of a SimpleRNN and a Dense layer without an activation, with Keras' mean squared error.

    Its step is that of keras.optimizers.SGD, whose velocity has the factor −η, which "rate_in_velocity" states. The
    dtype is float32, as Keras keeps η in float32. Raises InputError if the model has other layers.
    """

    def __init__(self, model: Any):
        import keras

        self.keras, layers = keras, [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
        kinds = [type(layer).__name__ for layer in layers]
        is_known = kinds == ["SimpleRNN", "Dense"] and layers[1].activation.__name__ == "linear"
        if not is_known or layers[0].use_bias != layers[1].use_bias:
            expected = "a SimpleRNN and a Dense without an activation, both with biases or none"
            raise InputError(f"the model has the layers {', '.join(kinds)}: expected {expected}")
        self.rnn, self.dense = layers
        name, cell, biases = f"{model.name} on {keras.backend.backend()}", self.rnn.cell, self.rnn.use_bias
        variables = [cell.kernel, cell.recurrent_kernel, self.dense.kernel, cell.bias, self.dense.bias]
        self.variables = dict(zip(("W_xh", "W_hh", "W_hy", "b_h", "b_y"), variables[: 5 if biases else 3]))
        sizes = dict(zip("DHO", (*cell.kernel.shape, self.dense.units)))
        shapes = [few | sizes for few in FEW_SIZES]  # as JAX and TensorFlow compile
        super().__init__(name, "mse", self.rnn.activation.__name__, ("float32",), shapes)
        self.compiled: Any = None
        self.capabilities += ("sgd_options", "rate_in_velocity", "clip_by_value")
        self.lacks += ("dampening", "weight_decay", "max_norm")
        self.state(no_biases=biases, bias=not biases, many_losses=not self.rnn.return_sequences)

    def _loss(self, x: Any, target: Any, h_0: Any) -> Any:
        """Half of the model's loss, the definition's."""
        y = self.dense(self.rnn(x, initial_state=h_0))
        y = y[:, -target.shape[1] :] if self.rnn.return_sequences else y[:, None]
        return self.factor * self.keras.losses.MeanSquaredError()(target, y)

    def _loss_and_gradients(self, *arrays: Any) -> tuple[Any, Any]:
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
        self, params: Any, x: Any, target: Any, h_0: Any, *, learning_rate: Any, momentum: float = 0.0,
        nesterov: bool = False, max_value: float | None = None, velocity: Any = None, **_: Any,
    ) -> Any:  # fmt: skip
        """The loss, the gradients of the backend, and the parameters and velocities after Keras' step."""
        ops, variables = self.keras.ops, [self.variables[name] for name in params]
        for name, variable in self.variables.items():
            variable.assign(params[name])
        arrays = (ops.convert_to_tensor(array) for array in (x.swapaxes(0, 1), target.swapaxes(0, 1), h_0))
        loss, gradients = self._loss_and_gradients(*arrays)
        results = {"loss": loss} | {"d" + name: gradient for name, gradient in zip(params, gradients)}
        results = {name: np.array(ops.convert_to_numpy(array)) for name, array in results.items()}
        optimizer = self.keras.optimizers.SGD(learning_rate, momentum, nesterov, clipvalue=max_value)
        optimizer.build(variables)
        for name, own in zip(velocity or (), optimizer.momentums):
            own.assign(velocity[name])
        optimizer.apply(gradients, variables)
        after = dict(zip(params, variables)) | {"v" + n: v for n, v in zip(params, optimizer.momentums) if momentum}
        return results | {name: np.array(ops.convert_to_numpy(variable.value)) for name, variable in after.items()}
