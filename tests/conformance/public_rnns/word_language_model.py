"""PyTorch's word_language_model with RNN_TANH or RNN_RELU, one layer, no dropout: clip_grad_norm_, a step by hand."""

import torch

from public_rnns.adapter import NO_SGD, Port

OF_MODULE = {"W_xh": "rnn.weight_ih_l0", "W_hh": "rnn.weight_hh_l0", "b_h": "rnn.bias_ih_l0", "b_hh": "rnn.bias_hh_l0"}
OF_MODULE |= {"W_hy": "decoder.weight", "b_y": "decoder.bias"}


class RNNModel(torch.nn.Module):
    def __init__(self, ninp, nhid, ntoken, nonlinearity, bias, dtype):
        super().__init__()
        self.rnn = torch.nn.RNN(ninp, nhid, 1, nonlinearity=nonlinearity, bias=bias, dtype=dtype)
        self.decoder = torch.nn.Linear(nhid, ntoken, bias=bias, dtype=dtype)

    def forward(self, emb, hidden):
        output, hidden = self.rnn(emb, hidden)
        return self.decoder(output), hidden


class WordLanguageModel(Port):
    """Its embedding is a layer before the RNN: the inputs are the rows of it."""

    capabilities = ("cross_entropy", "two_biases", "sgd_options")
    lacks = ("sum", "older steps", "squared_error", "distributions", *NO_SGD)

    def window_update(self, p, x, target, h_0, *, learning_rate, nonlinearity, max_norm=None, **options):
        dtype = getattr(torch, str(x.dtype))
        model = RNNModel(*p["W_xh"].shape, p["W_hy"].shape[1], nonlinearity, "b_h" in p, dtype)
        model.load_state_dict({OF_MODULE[name]: torch.tensor(theta.T) for name, theta in p.items()})
        hidden = torch.tensor(h_0)[None].detach()
        output, _ = model(torch.tensor(x), hidden)
        loss = torch.nn.CrossEntropyLoss()(output.view(-1, output.shape[-1]), torch.tensor(target).view(-1))
        loss.backward()
        weights = {name: dict(model.named_parameters())[OF_MODULE[name]] for name in p}
        report = {"d" + name: w.grad.numpy().T.copy() for name, w in weights.items()}
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for w in model.parameters():
            w.data.add_(w.grad, alpha=-learning_rate)
        new = {name: w.detach().numpy().T.copy() for name, w in weights.items()}
        return {"loss": loss.detach().numpy()} | report | new
