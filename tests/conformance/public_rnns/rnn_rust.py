"""rnn-rust, src/model/mod.rs: outer products step by step; the loss is a mean over the steps, its gradient a sum."""

import numpy as np

from public_rnns.adapter import LAYER, Port, named, transposed


def feedforward(w, sequence):
    prev_hidden, hiddens = np.zeros(len(w["hidden"])), []
    for features in sequence:
        new_hidden = w["input"] @ features
        new_hidden += w["hidden"] @ prev_hidden
        new_hidden += w["bias_hidden"]
        prev_hidden = np.tanh(new_hidden)
        hiddens.append(prev_hidden)
    return hiddens


def backpropagate(w, sequence, hiddens, loss_grads):
    grads, dh_next = {name: np.zeros_like(array) for name, array in w.items()}, np.zeros(len(w["hidden"]))
    for i in reversed(range(len(sequence))):
        grads["output"] += np.outer(loss_grads[i], hiddens[i])
        grads["bias_output"] += loss_grads[i]
        dl_dh = (w["output"].T @ loss_grads[i] + dh_next) * (1 - hiddens[i] ** 2)
        prev_hidden = hiddens[i - 1] if i else np.zeros_like(dl_dh)
        grads["input"] += np.outer(dl_dh, sequence[i])
        grads["hidden"] += np.outer(dl_dh, prev_hidden)
        grads["bias_hidden"] += dl_dh
        dh_next = w["hidden"].T @ dl_dh
    return grads


class RnnRust(Port):
    """Its squared error has the factor 2/O, which is in the given dy."""

    dtypes = ("float64",)
    capabilities = LAYER
    lacks = ("relu", "h_0", "batch")

    def window_update(self, p, x, dy, h_0, *, learning_rate, **options):
        w = dict(zip(("input", "hidden", "output", "bias_hidden", "bias_output"), transposed(p)))
        w |= {name: array[:, 0] for name, array in w.items() if name.startswith("bias")}
        grads = backpropagate(w, x[:, 0], feedforward(w, x[:, 0]), dy[:, 0])
        new = {name: array - learning_rate * grads[name] for name, array in w.items()}
        return named(p, grads.values()) | named(p, new.values(), "")
