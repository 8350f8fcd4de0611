"""Ports made of code in its own shape: of PyTorch and Keras models, of a loss in JAX, of a function with gradients."""

from numpy_rnn.conformance.adapters.function_adapter import FunctionPort as function_port
from numpy_rnn.conformance.adapters.function_adapter import jax_port
from numpy_rnn.conformance.adapters.keras_adapter import KerasPort as keras_port
from numpy_rnn.conformance.adapters.torch_adapter import TorchPort as torch_port

__all__ = ["function_port", "jax_port", "keras_port", "torch_port"]
