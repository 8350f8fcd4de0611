"""Training loops with a mistake, or what may be one, in their data, losses or values.

Each is a function without arguments, as in `loops.py`.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.audit.loops import batch, cells, modules, update

SERIES = torch.sin(torch.linspace(0, 30, 121)).reshape(-1, 1, 1)


def forecaster(**options):
    """Return a module, a readout and their optimizer."""
    torch.manual_seed(0)
    rnn, readout = nn.RNN(1, 5, **options), nn.Linear(5, 1)
    parameters = [*rnn.parameters(), *readout.parameters()]
    return rnn, readout, torch.optim.SGD(parameters, lr=0.01)


def windows_of_series():
    """Return (12, 10, 1) inputs and targets, one window after the other."""
    x, target = SERIES[:-1].reshape(12, 10, 1), SERIES[1:].reshape(12, 10, 1)
    return x.clone(), target.clone()


# Right loops


def right_loader():
    """Train on shuffled windows, each from zeros.

    0 warnings and 0 questions of
    is: full BPTT over 10 steps, batch of 4, zeros at each window, loss at all steps
    """
    rnn, readout, optimizer = forecaster(batch_first=True)
    for _ in range(3):
        for x, target in DataLoader(TensorDataset(*windows_of_series()), 4, True):
            update(optimizer, nn.functional.mse_loss(readout(rnn(x)[0]), target))


def right_stateful_loader():
    """Carry the state over windows that a loader yields in their order.

    0 warnings and 0 questions of
    is: TBPTT(10, 10), batch of 1, carried, zeros at each epoch, loss at all steps, mse
    """
    rnn, readout, optimizer = forecaster(batch_first=True)
    for _ in range(3):
        h = None
        for x, target in DataLoader(TensorDataset(*windows_of_series()), 1):
            out, h = rnn(x, h)
            h = h.detach()
            update(optimizer, nn.functional.mse_loss(readout(out), target))


def right_steps_of_a_loader():
    """Read a chunk of the series as a batch of a loader, whose samples are steps.

    0 warnings and 0 questions of
    is: TBPTT(10, 10), batch of 1, carried, zeros at each epoch, loss at all steps, mse
    """
    rnn, readout, optimizer = forecaster()
    steps = TensorDataset(SERIES[:-1, 0], SERIES[1:, 0])
    for _ in range(3):
        h = torch.zeros(1, 1, 5)
        for x, target in DataLoader(steps, 10):
            out, h = rnn(x.unsqueeze(1), h.detach())
            loss = nn.functional.mse_loss(readout(out), target.unsqueeze(1))
            update(optimizer, loss)


def right_two_optimizers():
    """Step two optimizers after one backward().

    These 24 steps are 12 updates
    SGD and Adam
    """
    rnn, readout, _ = forecaster()
    first = torch.optim.SGD(rnn.parameters(), lr=0.1)
    second = torch.optim.Adam(readout.parameters())
    for i in range(110, -10, -10):
        first.zero_grad()
        second.zero_grad()
        target = SERIES[i + 1 : i + 11]
        nn.functional.mse_loss(readout(rnn(SERIES[i : i + 10])[0]), target).backward()
        first.step()
        second.step()


def right_lengths():
    """Train on sequences of different lengths.

    in 4 windows of 3 to 6 steps and 3 sequences; the gradient goes through 3 to 6
    is: full BPTT, batch of 3, zeros at each window, loss at the last step, loss by hand
    """
    rnn, optimizer = modules()
    for size in (3, 6, 4, 5):
        update(optimizer, rnn(batch()[:size])[1].square().mean())


# States and data


def state_part_lost():
    """Carry h, and begin with c from zeros."""
    lstm = nn.LSTM(2, 4)
    optimizer = torch.optim.Adam(lstm.parameters())
    h = torch.zeros(1, 3, 4)
    for _ in range(4):
        out, (h, _) = lstm(batch(), (h.detach(), torch.zeros(1, 3, 4)))
        update(optimizer, out.square().mean())


def state_over_shuffled_samples():
    """Carry the state over a loader that shuffles."""
    rnn, readout, optimizer = forecaster(batch_first=True)
    samples, _ = windows_of_series()
    h = torch.zeros(1, 2, 5)
    for _ in range(3):
        data = TensorDataset(samples, samples[:, 0] ** 2)
        for x, label in DataLoader(data, 2, True):
            _, h = rnn(x, h.detach())
            update(optimizer, nn.functional.mse_loss(readout(h[0]), label))
        h = torch.zeros(1, 2, 5)


def state_lost():
    """Begin each chunk of one series from zeros.

    from zeros, though the data follow
    """
    rnn, readout, optimizer = forecaster()
    for _ in range(3):
        for i in range(0, 120, 10):
            out, _ = rnn(SERIES[i : i + 10])
            target = SERIES[i + 1 : i + 11]
            update(optimizer, nn.functional.mse_loss(readout(out), target))


def state_into_next_epoch():
    """Make the first state before the epochs.

    is: TBPTT(10, 10), batch of 1, carried through epochs, loss at all steps, mse mean
    """
    rnn, readout, optimizer = forecaster()
    h = torch.zeros(1, 1, 5)
    for _ in range(3):
        for i in range(0, 120, 10):
            out, h = rnn(SERIES[i : i + 10], h.detach())
            target = SERIES[i + 1 : i + 11]
            update(optimizer, nn.functional.mse_loss(readout(out), target))


def state_to_other_data():
    """Carry the state from each batch of neighbouring windows to the next."""
    rnn, readout, optimizer = forecaster(batch_first=True)
    for _ in range(3):
        h = torch.zeros(1, 4, 5)
        for x, target in DataLoader(TensorDataset(*windows_of_series()), 4):
            out, h = rnn(x, h.detach())
            update(optimizer, nn.functional.mse_loss(readout(out), target))


def steps_from_zeros():
    """Give a cell zeros in each step."""
    cell, optimizer = cells()
    for _ in range(3):
        loss = 0
        for x in batch():
            loss = loss + cell(x, torch.zeros(3, 4)).square().mean()
        update(optimizer, loss)


# Axes


def samples_taken_for_steps():
    """Leave batch_first out, with a loader that shuffles."""
    rnn, readout, optimizer = forecaster()
    for x, target in DataLoader(TensorDataset(*windows_of_series()), 4, True):
        update(optimizer, nn.functional.mse_loss(readout(rnn(x)[0]), target))


def samples_as_steps():
    """Leave batch_first out, with a loader that does not shuffle."""
    rnn, readout, optimizer = forecaster()
    noise = torch.randn(12, 10, 1)
    for x, label in DataLoader(TensorDataset(noise, noise**2), 4):
        update(optimizer, nn.functional.mse_loss(readout(rnn(x)[0]), label))


def axes_exchanged():
    """Give samples of smooth series, shuffled by hand, as if they were steps."""
    rnn, readout, optimizer = forecaster()
    phases = 6 * torch.rand(40, 1, 1)
    x = torch.sin(torch.linspace(0, 3, 41).reshape(1, -1, 1) + phases)
    for _ in range(3):
        out, _ = rnn(x[torch.randperm(40), :-1])
        update(optimizer, nn.functional.mse_loss(readout(out), torch.zeros(40, 40, 1)))


# Losses


def loss_broadcasts():
    """Subtract (10,) from (10, 1)."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        out = readout(rnn(SERIES[i : i + 10])[0])[:, 0]
        update(optimizer, (out - SERIES[i + 1 : i + 11, 0, 0]).square().mean())


def output_broadcast():
    """Compare the last output with all steps."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        out = readout(rnn(SERIES[i : i + 10])[1])
        update(
            optimizer, nn.functional.l1_loss(out[0, 0], SERIES[i + 1 : i + 11, 0, 0])
        )


def classify(prepare, loss):
    """Train a classifier with a function before the loss."""
    rnn = nn.RNN(2, 5)
    optimizer = torch.optim.Adam(rnn.parameters())
    for _ in range(3):
        h = rnn(batch())[1][0]
        update(optimizer, loss(prepare(h), torch.tensor([0, 1, 2])))


def loss_of_probabilities():
    """Compute softmax before cross-entropy, which does it too."""
    classify(lambda h: h.softmax(-1).view(3, 5), nn.functional.cross_entropy)


def loss_of_no_probabilities():
    """Leave log_softmax out."""
    classify(lambda h: h.abs() + 0.1, nn.functional.nll_loss)


def target_seen():
    """Predict the next input in both directions."""
    torch.manual_seed(0)
    rnn, readout = nn.RNN(1, 5, bidirectional=True), nn.Linear(10, 1)
    optimizer = torch.optim.SGD([*rnn.parameters(), *readout.parameters()], lr=0.1)
    for i in (40, 0, 80):
        out = readout(rnn(SERIES[i : i + 10])[0])
        update(optimizer, nn.functional.mse_loss(out, SERIES[i + 1 : i + 11]))


def target_is_input():
    """Take the input for the target."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        x = SERIES[i : i + 10]
        update(optimizer, nn.functional.mse_loss(readout(rnn(x)[0]), x))


def target_is_last_input():
    """Predict the last input."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        x = SERIES[i : i + 10]
        update(optimizer, nn.functional.mse_loss(readout(rnn(x)[1][0]), x[-1]))


# Values, gradients and steps


def not_finite():
    """Divide by the deviation of a constant."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        x = SERIES[i : i + 10]
        x = x - x.mean() if i else x / (x - x).std()
        update(optimizer, readout(rnn(x)[0]).square().mean())


def gradient_is_zero():
    """Take the softmax of one number."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        out = readout(rnn(SERIES[i : i + 10])[0]).softmax(-1)
        update(optimizer, (out - 1).square().mean())


def parameter_without_gradient():
    """Multiply a part of the output by zero."""
    rnn, readout, optimizer = forecaster()
    other = nn.Linear(5, 1)
    optimizer.add_param_group({"params": other.parameters()})
    for i in (40, 0, 80):
        out, _ = rnn(SERIES[i : i + 10])
        update(optimizer, (readout(out) + 0 * other(out)).square().mean())


def no_update():
    """Leave the step out."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        optimizer.zero_grad()
        readout(rnn(SERIES[i : i + 10])[0]).square().mean().backward()


def trained_in_evaluation_mode():
    """Call eval() after the first epoch, and train() not again."""
    rnn, readout, optimizer = forecaster()
    for epoch in range(3):
        for i in (40, 0, 80):
            out, _ = rnn(SERIES[i : i + 10])
            update(optimizer, readout(out).square().mean() + epoch)
        rnn.eval()


def parameter_stepped_twice():
    """Give the same parameters to two optimizers."""
    rnn, first = modules()
    second = torch.optim.Adam(rnn.parameters())
    for _ in range(3):
        first.zero_grad()
        rnn(batch())[0].square().mean().backward()
        first.step()
        second.step()


class OwnCell(nn.Module):
    """A cell that is not torch's: it returns an output and its state."""

    def __init__(self):
        """Make two layers."""
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 5), nn.Linear(6, 1)

    def forward(self, x, h):
        """Return the output and the next state."""
        joined = torch.cat([x, h], 1)
        return self.out(joined), torch.tanh(self.hidden(joined))


def right_own_cell():
    """Train a cell of one's own by TBPTT(10, 10).

    12 windows of 10 steps and 1 sequence; the gradient goes through 10 steps
    0 warnings and 0 questions of
    is: TBPTT(10, 10), batch of 1, carried, loss at all steps, mse mean, 10 losses
    """
    torch.manual_seed(0)
    cell = OwnCell()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.01)
    h = torch.zeros(1, 5)
    for i in range(0, 120, 10):
        loss = 0
        for t in range(i, i + 10):
            y, h = cell(SERIES[t], h)
            loss = loss + nn.functional.mse_loss(y, SERIES[t + 1])
        update(optimizer, loss)
        h = h.detach()


# What the blind scripts had


def right_warm_up():
    """Read steps without gradient first, which give the state.

    is: full BPTT over 6 steps, batch of 3, from a warm-up, loss at all steps, loss by
    0 warnings and 0 questions of
    """
    rnn, optimizer = modules()
    for _ in range(4):
        with torch.no_grad():
            h = rnn(batch())[1]
        update(optimizer, rnn(batch(), h)[0].square().mean())


def right_accumulated_chunks():
    """Make a step after four chunks.

    is: TBPTT(10, 10), batch of 1, carried, zeros at each epoch, loss at all steps, mse
    mse mean, 4 losses per update, 4 backward passes per update, SGD
    """
    rnn, readout, optimizer = forecaster()
    for _ in range(3):
        h = torch.zeros(1, 1, 5)
        for i in range(0, 120, 10):
            out, h = rnn(SERIES[i : i + 10], h.detach())
            loss = nn.functional.mse_loss(readout(out), SERIES[i + 1 : i + 11])
            loss.backward()
            if i % 40 == 30:
                optimizer.step()
                optimizer.zero_grad()


def right_sparse():
    """Train an embedding with sparse gradients.

    3 updates by SparseAdam, lr 0.001, of 1 parameter
    """
    rnn, optimizer = modules()
    embedding = nn.Embedding(7, 2, sparse=True)
    sparse = torch.optim.SparseAdam(embedding.parameters())
    for _ in range(3):
        sparse.zero_grad()
        out, _ = rnn(embedding(torch.randint(0, 7, (6, 3))))
        update(optimizer, out.square().mean())
        sparse.step()


def right_padded():
    """Leave the padding out of the loss.

    0 warnings and 0 questions of
    """
    rnn, optimizer = modules()
    for size in (6, 4, 6, 5, 6):
        update(optimizer, rnn(batch())[0][:size].square().mean())


def target_is_earlier_input():
    """Shift the target the wrong way."""
    rnn, readout, optimizer = forecaster()
    for i in (40, 0, 80):
        out, _ = rnn(SERIES[i + 1 : i + 11])
        update(optimizer, nn.functional.mse_loss(readout(out), SERIES[i : i + 10]))


def carried_along_batch():
    """Give (time, batch) data to a module with batch_first."""
    rnn, readout, optimizer = forecaster(batch_first=True)
    series = torch.randn(121, 4, 1)
    h = torch.zeros(1, 10, 5)
    for i in range(0, 120, 10):
        out, h = rnn(series[i : i + 10], h.detach())
        target = series[i + 1 : i + 11]
        update(optimizer, nn.functional.mse_loss(readout(out), target))


def attached_within_update():
    """Leave detach() out between chunks of one step."""
    rnn, optimizer = modules()
    for _ in range(3):
        h = torch.zeros(1, 3, 5)
        optimizer.zero_grad()
        for _ in range(4):
            out, h = rnn(batch(), h)
            out.square().mean().backward(retain_graph=True)
        optimizer.step()


def evaluation_in_update():
    """Call backward() in the validation too."""
    rnn, optimizer = modules()
    for _ in range(3):
        for is_training in (True, True, True, True, False):
            rnn.train(is_training)
            rnn(batch())[0].square().mean().backward()
            if is_training:
                optimizer.step()
                optimizer.zero_grad()


def rate_vanishes():
    """Step a scheduler for each chunk that is meant for each epoch."""
    rnn, optimizer = modules()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    for _ in range(12):
        update(optimizer, rnn(batch())[0].square().mean())
        scheduler.step()


def right_one_step():
    """Make an update for each step of a series of few values.

    0 warnings and 0 questions of
    is: TBPTT(1, 1), batch of 1, carried, loss at all steps, loss by hand, Adam
    """
    cell, optimizer = cells()
    h = torch.zeros(1, 4)
    for value in (0, 1, 1, 0, 1, 0, 0, 1):
        h = cell(torch.full((1, 2), float(value)), h.detach())
        update(optimizer, h.square().mean())
