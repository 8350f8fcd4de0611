"""min-char-rnn.py: one list of characters, columns, softmax without a shift, clipping by value."""

import numpy as np

from benchmarks.rows.min_char_rnn import loss_and_gradients
from public_rnns.adapter import NO_SGD, OF_CLASSES, Port, named, transposed


class MinCharRnn(Port):
    """With its Adagrad; a case without it has a plain step."""

    capabilities = ("cross_entropy", "class_inputs", "clip_by_value", "adagrad")
    lacks = ("relu", "mean", "batch", "older steps", "large outputs", "max_norm", *NO_SGD, *OF_CLASSES)

    def window_update(
        self, p, x, target, h_0, *, learning_rate, max_value=None, adagrad=False, velocity=None, **options
    ):
        model = [array.copy() for array in transposed(p)]
        loss, gradients, _ = loss_and_gradients(x[:, 0], target[:, 0], h_0.T, *model)
        report = {"loss": loss, **named(p, [g.copy() for g in gradients])}
        memory = {name: np.zeros_like(theta) for name, theta in p.items()} | (velocity or {})
        memory = [mem.copy() for mem in transposed(memory)]
        for param, dparam, mem in zip(model, gradients, memory):
            if max_value is not None:
                np.clip(dparam, -max_value, max_value, out=dparam)  # to mitigate exploding gradients
            mem += dparam * dparam
            scale = np.sqrt(mem + mem.dtype.type(1e-8)) if adagrad else 1
            param += -param.dtype.type(learning_rate) * dparam / scale
        report |= named(p, memory, "v") if adagrad else {}
        return report | named(p, model, "")
