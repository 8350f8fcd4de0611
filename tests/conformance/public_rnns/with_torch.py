"""RNNs of three authors in PyTorch, whose gradients are autograd's: character models with mean cross-entropy."""

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
        dh_0, d_change, d_predict = (gradient.numpy() for gradient in wanted)
        gradients = {"W_xh": d_change[:D], "W_hh": d_change[D:-1], "b_h": d_change[-1], "h_0": dh_0}
        gradients |= {"W_hy": d_predict[:-1], "b_y": d_predict[-1]}
        return reported(p, gradients, loss=loss.detach().numpy())


# PyTorch's word_language_model with RNN_TANH or RNN_RELU, one layer, no dropout: clip_grad_norm_, a step by hand.
class RNNModel(torch.nn.Module):
    def __init__(self, ninp, nhid, ntoken, nonlinearity, bias, dtype):
        super().__init__()
        self.rnn = torch.nn.RNN(ninp, nhid, 1, nonlinearity=nonlinearity, bias=bias, dtype=dtype)
        self.decoder = torch.nn.Linear(nhid, ntoken, bias=bias, dtype=dtype)

    def forward(self, emb, hidden):
        output, hidden = self.rnn(emb, hidden)
        return self.decoder(output), hidden


OF_MODULE = {"W_xh": "rnn.weight_ih_l0", "W_hh": "rnn.weight_hh_l0", "b_h": "rnn.bias_ih_l0", "b_hh": "rnn.bias_hh_l0"}
OF_MODULE |= {"W_hy": "decoder.weight", "b_y": "decoder.bias"}


class WordLanguageModel(Port):
    """Its embedding is a layer before the RNN: the inputs are the rows of it."""

    capabilities = ("cross_entropy", "two_biases", "sgd_options")
    lacks = ("sum", "older steps", "squared_error", "distributions", *NO_SGD)

    def window_update(self, p, x, target, h_0, *, learning_rate, nonlinearity, max_norm=None, **options):
        dtype = getattr(torch, str(x.dtype))
        model = RNNModel(*p["W_xh"].shape, p["W_hy"].shape[1], nonlinearity, "b_h" in p, dtype)
        model.load_state_dict({OF_MODULE[name]: torch.tensor(theta.T) for name, theta in p.items()})
        output, _ = model(torch.tensor(x), torch.tensor(h_0)[None])
        loss = torch.nn.CrossEntropyLoss()(output.view(-1, output.shape[-1]), torch.tensor(target).view(-1))
        loss.backward()
        weights = {name: dict(model.named_parameters())[OF_MODULE[name]] for name in p}
        gradients = {name: w.grad.numpy().T.copy() for name, w in weights.items()}
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for w in model.parameters():
            w.data.add_(w.grad, alpha=-learning_rate)
        new = {name: w.detach().numpy().T.copy() for name, w in weights.items()}
        return reported(p, gradients, loss=loss.detach().numpy(), **new)
