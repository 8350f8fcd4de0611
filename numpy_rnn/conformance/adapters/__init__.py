"""Ports of code in its own shape: a function with gradients, a loss in JAX, a PyTorch
module.
"""

from numpy_rnn.conformance.adapters.functions import FunctionPort, jax_port
from numpy_rnn.conformance.adapters.modules import TorchPort

__all__ = ["function_port", "jax_port", "torch_port"]

function_port = FunctionPort
torch_port = TorchPort
