"""RNNs of two authors in PyTorch, whose gradients are autograd's: character models with mean cross-entropy."""

import torch

from public_rnns.adapter import NO_SGD, OF_CLASSES, Port, filled, reported


# Dive into Deep Learning, rnn-scratch: clipping by θ/‖g‖ without a small number.
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
        of_name = {name: torch.tensor(theta).requires_grad_(name in p) for name, theta in filled(p).items()}
        trained = {name: of_name[name] for name in p}
        X = torch.nn.functional.one_hot(torch.tensor(x), len(p["W_xh"])).to(of_name["W_xh"].dtype)
        params = [of_name[name] for name in ("W_xh", "W_hh", "b_h", "W_hy", "b_y")]
        loss = torch.nn.functional.cross_entropy(rnn(X, torch.tensor(h_0), params), torch.tensor(target).reshape(-1))
        loss.backward()
        gradients = {name: param.grad.numpy().copy() for name, param in trained.items()}
        if max_norm is not None:
            grad_clipping(list(trained.values()), max_norm)
        with torch.no_grad():
            for param in trained.values():
                param -= learning_rate * param.grad
        new = {name: param.detach().numpy() for name, param in trained.items()}
        return reported(p, gradients, loss=loss.detach().numpy(), **new)


# HIPS autograd, examples/rnn.py: a bias as a column of ones; the prediction of step t is made before its input.
def concat_and_multiply(weights, *args):
    return torch.hstack((*args, torch.ones(len(args[0]), 1, dtype=weights.dtype))) @ weights


def rnn_predict(params, inputs):
    def hiddens_to_output_probs(hiddens):
        output = concat_and_multiply(params["predict"], hiddens)
        return output - torch.logsumexp(output, 1, keepdim=True)

    hiddens = params["init hiddens"].repeat(inputs.shape[1], 1)
    output = [hiddens_to_output_probs(hiddens)]
    for input in inputs:
        hiddens = torch.tanh(concat_and_multiply(params["change"], input, hiddens))
        output.append(hiddens_to_output_probs(hiddens))
    return output


class HipsRnn(Port):
    """Its Adam is left out. early: as the author has it; else the prediction is made after the input."""

    capabilities = ("cross_entropy", "class_inputs", "learned_h_0")
    lacks = ("relu", "sum", "step", "batch", "older steps", *OF_CLASSES)
    early = True

    def window_update(self, p, x, target, h_0, **options):
        P = {name: torch.tensor(theta) for name, theta in filled(p).items()}
        change, predict = torch.vstack((P["W_xh"], P["W_hh"], P["b_h"])), torch.vstack((P["W_hy"], P["b_y"]))
        params = {"init hiddens": torch.tensor(h_0), "change": change, "predict": predict}
        for theta in params.values():
            theta.requires_grad_()
        D, O = len(p["W_xh"]), p["W_hy"].shape[1]
        logprobs = rnn_predict(params, torch.nn.functional.one_hot(torch.tensor(x), D).to(change.dtype))
        targets = torch.nn.functional.one_hot(torch.tensor(target), O)
        loglik = sum((logprobs[t + (not self.early)] * targets[t]).sum() for t in range(len(x)))
        loss = -loglik / len(x)
        wanted = torch.autograd.grad(loss, list(params.values()), allow_unused=True, materialize_grads=True)
        dh_0, d_change, d_predict = (gradient.detach().numpy() for gradient in wanted)
        gradients = {"W_xh": d_change[:D], "W_hh": d_change[D:-1], "b_h": d_change[-1], "h_0": dh_0}
        gradients |= {"W_hy": d_predict[:-1], "b_y": d_predict[-1]}
        return reported(p, gradients, loss=loss.detach().numpy())
