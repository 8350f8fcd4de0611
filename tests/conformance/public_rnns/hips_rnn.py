"""HIPS autograd, examples/rnn.py: a bias as a column of ones; the prediction of step t is made before its input."""

import torch

from public_rnns.adapter import OF_CLASSES, Port


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
        p = {name: torch.tensor(theta) for name, theta in p.items()}
        D, (H, O) = len(p["W_xh"]), p["W_hy"].shape
        zeros = torch.zeros(max(H, O), dtype=p["W_hh"].dtype)
        b_h, b_y = p.get("b_h", zeros[:H]), p.get("b_y", zeros[:O])
        change, predict = torch.vstack((p["W_xh"], p["W_hh"], b_h)), torch.vstack((p["W_hy"], b_y))
        params = {"init hiddens": torch.tensor(h_0), "change": change, "predict": predict}
        for theta in params.values():
            theta.requires_grad_()
        logprobs = rnn_predict(params, torch.nn.functional.one_hot(torch.tensor(x), D).to(change.dtype))
        targets = torch.nn.functional.one_hot(torch.tensor(target), O)
        loglik = sum((logprobs[t + (not self.early)] * targets[t]).sum() for t in range(len(x)))
        loss = -loglik / len(x)
        wanted = torch.autograd.grad(loss, list(params.values()), allow_unused=True, materialize_grads=True)
        dh_0, d_change, d_predict = (gradient.numpy() for gradient in wanted)
        report = {
            "loss": loss.detach().numpy(),
            "dW_xh": d_change[:D],
            "dW_hh": d_change[D:-1],
            "dW_hy": d_predict[:-1],
        }
        report |= {"db_h": d_change[-1], "db_y": d_predict[-1]} if "b_h" in p else {}
        return report | ({"dh_0": dh_0} if "h_0" in p else {})
