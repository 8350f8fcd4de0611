"""Training loops as users write them: right ones, and one for each mistake.

Each is a function without arguments. Its docstring ends with lines of its report.
"""

import torch
from torch import nn


def modules():
    """Return a recurrent module and its optimizer."""
    rnn = nn.RNN(2, 5)
    return rnn, torch.optim.SGD(rnn.parameters(), lr=0.1)


def cells():
    """Return a cell and its optimizer."""
    cell = nn.GRUCell(2, 4)
    return cell, torch.optim.Adam(cell.parameters())


def update(optimizer, loss):
    """Make an update as it should be."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def batch():
    """Return new inputs of a module."""
    return torch.randn(6, 3, 2)


def loss_of(h):
    """Return the loss of a state."""
    return nn.functional.mse_loss(h, torch.ones(3, 4))


# Right loops


def right_by_hand():
    """Update by hand, as the word language model does.

    TBPTT(6, 6): nn.RNN(2, 5) (
    4 updates by hand, after backward(), of 4 parameters (
    carried, loss at all steps, loss by hand, update by hand, clip norm 1
    """
    rnn, _ = modules()
    h = torch.zeros(1, 3, 5)
    for _ in range(4):
        rnn.zero_grad()
        out, h = rnn(batch(), h.detach())
        out.square().mean().backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        for p in rnn.parameters():
            p.data.add_(p.grad, alpha=-0.1)


def right_cells():
    """Train a cell.

    ) in 12 windows of 5 steps and 3 sequences; the gradient goes through 5 steps.
    ), 60 times, each part of 1 update.
    0 warnings and 0 questions of
    """
    cell, optimizer = cells()
    x = torch.randn(20, 3, 2)
    for _ in range(3):
        h, loss = torch.zeros(3, 4), 0
        for t in range(20):
            h = cell(x[t], h)
            loss = loss + loss_of(h)
            if t % 5 == 4:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                h, loss = h.detach(), 0


def right_chunks():
    """Train by TBPTT(10, 10), and return the last outputs.

    TBPTT(10, 10): nn.RNN(1, 5) (
    ) in 12 windows of 10 steps and 1 sequence; the gradient goes through 10 steps.
    9 of 12 from the previous window, cut; 3 of 12 from zeros, where an epoch begins.
    ), 12 times, each part of 1 update. Steps of a window with a loss: all steps.
    12 updates by SGD, lr 0.1, of 4 parameters (
    The gradient starts from zero in 12 of 12 updates, and is that of 1 backward pass,
    ), between backward() and step(); it acts in
    0 warnings and 0 questions of
    """
    torch.manual_seed(0)
    rnn = nn.RNN(1, 5)
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    series = torch.sin(torch.linspace(0, 20, 41)).reshape(-1, 1, 1)
    for _ in range(3):
        h = torch.zeros(1, 1, 5)
        for i in range(0, 40, 10):
            optimizer.zero_grad()
            out, h = rnn(series[i : i + 10], h.detach())
            target = series[i + 1 : i + 11]
            loss = nn.functional.mse_loss(out, target.expand_as(out))
            loss.backward()
            nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
            optimizer.step()
    return out


def right_sliding():
    """Train a cell by TBPTT(1, 5). Its states are stacked, and one is cut.

    is: TBPTT(1, 5), batch of 3, carried, loss at all steps, loss by hand, Adam
    """
    cell, optimizer = cells()
    x = torch.randn(14, 3, 2)
    start = torch.ones(3, 4)
    for e in range(5, 14):
        h, states = start, []
        for t in range(e - 5, e):
            h = cell(x[t], h)
            states.append(h)
        start = states[0].detach()
        update(optimizer, torch.stack(states)[-1:].square().mean())


def right_sliding_window():
    """Train a module by TBPTT(1, 5), from the first state of the window before.

    8 of 9 from a step inside the previous window, cut; 1 of 9 from zeros
    is: TBPTT(1, 5), batch of 3, carried, loss at all steps, loss by hand, SGD
    """
    rnn, optimizer = modules()
    x = torch.randn(13, 3, 2)
    h = torch.zeros(1, 3, 5)
    for start in range(9):
        out, _ = rnn(x[start : start + 5], h)
        h = out[:1].detach()
        update(optimizer, out[-1].square().mean())


# Mistakes of states


def state_attached():
    """Pass the state on with its graph.

    No truncation: the gradient goes on into earlier updates: nn.RNN(2, 5) (
    1 warning and 0 questions of
    """
    rnn, _ = modules()
    h = torch.zeros(1, 3, 5)
    for _ in range(4):
        rnn.zero_grad()
        out, h = rnn(batch(), h)
        out.square().mean().backward(retain_graph=True)
        for p in rnn.parameters():
            p.data.add_(p.grad, alpha=-0.01)


def state_exchanged():
    """Exchange h and c of an LSTM."""
    lstm = nn.LSTM(2, 4)
    optimizer = torch.optim.Adam(lstm.parameters())
    h = c = torch.zeros(1, 3, 4)
    for _ in range(4):
        out, (c, h) = lstm(batch(), (h.detach(), c.detach()))
        update(optimizer, out.square().mean())


def state_cut_within_update():
    """Cut the state between two windows of one loss."""
    rnn, optimizer = modules()
    for _ in range(3):
        first, h = rnn(batch())
        second, _ = rnn(batch(), h.detach())
        update(optimizer, first.square().mean() + second.square().mean())


def state_from_validation():
    """Go on with the state of a validation.

    in 16 windows of 6 steps
    4 calls without gradient, as in evaluation.
    """
    rnn, optimizer = modules()
    h = torch.zeros(1, 3, 5)
    for i in range(16):
        out, h = rnn(batch(), h.detach())
        update(optimizer, out.square().mean())
        if i % 4 == 3:
            with torch.no_grad():
                h = rnn(batch(), h)[1]


def state_from_elsewhere():
    """Advance by 5 steps with windows of 6.

    18 of 21 from elsewhere in the data, cut; 3 of 21 from zeros, where an epoch begins.
    """
    rnn, optimizer = modules()
    series = torch.randn(40, 3, 2)
    for _ in range(3):
        h = torch.zeros(1, 3, 5)
        for i in range(0, 35, 5):
            out, h = rnn(series[i : i + 6], h.detach())
            update(optimizer, out.square().mean())


def state_never_given():
    """Call a cell without its state."""
    cell, optimizer = cells()
    for _ in range(3):
        loss = 0
        for x in batch():
            loss = loss + cell(x).square().mean()
        update(optimizer, loss)


def time_and_batch_exchanged():
    """Take the first axis for that of the batch."""
    rnn, optimizer = modules()
    for _ in range(3):
        out, _ = rnn(batch())
        update(optimizer, out[:, -1].square().mean())


# Mistakes of losses, gradients and clipping


def loss_in_no_update():
    """Let only the last loss reach backward()."""
    cell, optimizer = cells()
    for _ in range(3):
        h = torch.zeros(3, 4)
        for x in batch():
            h = cell(x, h)
            loss = loss_of(h)
        update(optimizer, loss)


def loss_used_twice():
    """Go on with the sum of losses after the update."""
    cell, _ = cells()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.0)
    loss = 0
    for x in batch():
        loss = loss + loss_of(cell(x, x.new_ones(3, 4)))
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()


def gradients_not_zeroed():
    """Leave zero_grad() out.

    starts from zero in 1 of 4 updates, and is that of 1 to 4 backward passes, 4 in
    """
    rnn, optimizer = modules()
    for _ in range(4):
        out, _ = rnn(batch())
        out.square().mean().backward()
        optimizer.step()


def gradients_thrown_away():
    """Zero the gradient before the step."""
    rnn, optimizer = modules()
    for _ in range(4):
        out, _ = rnn(batch())
        out.square().mean().backward()
        optimizer.zero_grad()
        optimizer.step()


def clip_before_backward():
    """Clip gradients before there are any."""
    rnn, optimizer = modules()
    for _ in range(4):
        optimizer.zero_grad()
        out, _ = rnn(batch())
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        out.square().mean().backward()
        optimizer.step()


def clip_of_wrong_parameters():
    """Clip what an iterator gives that the optimizer has read to its end."""
    rnn, _ = modules()
    parameters = (p for p in rnn.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        out, _ = rnn(batch())
        out.square().mean().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def clip_of_scaled_gradients():
    """Clip gradients before they are unscaled."""
    rnn, optimizer = modules()
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(4):
        optimizer.zero_grad()
        out, _ = rnn(batch())
        scaler.scale(out.square().mean()).backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()


# Mistakes of optimizers


def parameter_not_stepped():
    """Leave the readout without an optimizer.

    2 parameters with no gradient or no step: Linear.bias and Linear.weight.
    """
    rnn, optimizer = modules()
    readout = nn.Linear(5, 1)
    for _ in range(4):
        out, _ = rnn(batch())
        update(optimizer, readout(out).square().mean())


def module_not_reached():
    """Cut what the decoder gets of the encoder.

    4 parameters with no gradient or no step: RNN.bias_hh_l0, RNN.bias_ih_l0,
    """
    rnn, optimizer = modules()
    cell, decoding = cells()
    for _ in range(4):
        h = rnn(batch())[1][0, :, :4].data
        optimizer.zero_grad()
        update(decoding, loss_of(cell(torch.ones(3, 2), h)))
        optimizer.step()


def optimizer_recreated():
    """Make an optimizer for each update."""
    rnn, _ = modules()
    for _ in range(4):
        optimizer = torch.optim.Adam(rnn.parameters())
        out, _ = rnn(batch())
        update(optimizer, out.square().mean())
