"""Ports of code in its own shape: a function with gradients, a loss in JAX, a PyTorch
module; and the trace of a loop in PyTorch.
"""

from numpy_rnn.conformance.adapters.functions import FunctionPort, jax_port
from numpy_rnn.conformance.adapters.modules import TorchPort
from numpy_rnn.conformance.adapters.torch_trace import TorchTrace

__all__ = ["function_port", "jax_port", "torch_port", "torch_trace"]

function_port = FunctionPort
torch_port = TorchPort
torch_trace = TorchTrace
