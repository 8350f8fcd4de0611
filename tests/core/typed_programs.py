"""Programs as users write them: `mypy` reads this file, and nothing runs it.

`assert_type` fails where an array has lost its type. The code of an error that a user
is to see follows each mistake, and mypy reports one that does not occur.
"""

from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray

import numpy_rnn
import torch_rnn

x = np.zeros((20, 1, 1), np.float32)
h_0 = np.zeros((1, 6), np.float32)
params = numpy_rnn.initial_parameters(input_size=1, hidden_size=6)

for update in numpy_rnn.train(
    params, x, x, h_0, k1=1, k2=2, learning_rate=0.1, epochs=1
):
    assert_type(update.parameters.W_hh, NDArray[Any])
    print(update.params)  # type: ignore[attr-defined]
theta, y, state = (
    torch_rnn.initial_parameters(),
    torch.zeros(20, 1, 1),
    torch.zeros(1, 6),
)
for step in torch_rnn.train(
    theta, y, y, state, k1=1, k2=2, learning_rate=0.1, epochs=1
):
    assert_type(step.parameters.W_hh, torch.Tensor)
activations = numpy_rnn.forward(params, x, h_0)
assert_type(activations.h, NDArray[Any])
assert_type(numpy_rnn.bptt(params, activations, x).W_hh, NDArray[Any])

numpy_rnn.train(params, x, x, h_0, k1=1, learning_rate=0.1, epochs=1)  # type: ignore[call-arg]
numpy_rnn.train(params.W_hh, x, x, h_0, k1=1, k2=2, learning_rate=0.1, epochs=1)  # type: ignore[arg-type]
numpy_rnn.train(params, x, x, h_0, k1=1, k2=2, learning_rate=0.1, epochs=1, momentun=1)  # type: ignore[call-arg]
numpy_rnn.train(params, x, x, h_0, k1=1, k2=2, learning_rate=0.1, epochs=1, nesterov=2)  # type: ignore[arg-type]
numpy_rnn.forward(params, x, h_0, nonlinearity="gelu")  # type: ignore[arg-type]
