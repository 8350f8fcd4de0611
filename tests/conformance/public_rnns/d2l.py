"""Dive into Deep Learning, rnn-scratch: PyTorch, mean cross-entropy, clipping by θ/‖g‖ without a small number."""

import torch

from public_rnns.adapter import NO_SGD, OF_CLASSES, Port


def rnn(inputs, state, params):
    W_xh, W_hh, b_h, W_hq, b_q = params
    outputs = []
    for X in inputs:
        state = torch.tanh(torch.mm(X, W_xh) + torch.mm(state, W_hh) + b_h)
        outputs.append(torch.mm(state, W_hq) + b_q)
    return torch.cat(outputs, dim=0)


def grad_clipping(params, theta):
    norm = torch.sqrt(sum(torch.sum(p.grad**2) for p in params))
    if norm > theta:
        for p in params:
            p.grad[:] *= theta / norm


class D2l(Port):
    capabilities = ("cross_entropy", "class_inputs", "sgd_options")
    lacks = ("relu", "sum", "older steps", *NO_SGD, *OF_CLASSES)

    def window_update(self, p, x, target, h_0, *, learning_rate, max_norm=None, **options):
        given = {name: torch.tensor(theta) for name, theta in p.items()}
        H, O = p["W_hy"].shape
        zeros = {"b_h": torch.zeros(H, dtype=given["W_hh"].dtype), "b_y": torch.zeros(O, dtype=given["W_hh"].dtype)}
        names = ("W_xh", "W_hh", "b_h", "W_hy", "b_y")
        params = [(zeros | given)[name].requires_grad_(name in p) for name in names]
        X = torch.nn.functional.one_hot(torch.tensor(x), len(p["W_xh"])).to(params[0].dtype)
        loss = torch.nn.functional.cross_entropy(rnn(X, torch.tensor(h_0), params), torch.tensor(target).reshape(-1))
        loss.backward()
        trained = {name: theta for name, theta in zip(names, params) if name in p}
        report = {"loss": loss.detach().numpy()} | {"d" + name: w.grad.numpy().copy() for name, w in trained.items()}
        if max_norm is not None:
            grad_clipping(list(trained.values()), max_norm)
        with torch.no_grad():
            for param in trained.values():
                param -= learning_rate * param.grad
        return report | {name: theta.detach().numpy() for name, theta in trained.items()}
