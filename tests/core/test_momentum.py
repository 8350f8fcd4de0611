"""Momentum, dampening, Nesterov and weight decay, against torch.optim.SGD itself over runs of many updates."""

from fractions import Fraction

import numpy as np
import pytest
from cases import (
    about,
    allowed,
    assert_within,
    bits,
    cases,
    each,
    fewer,
    of_step,
    random_case,
    reference_run,
    reference_step,
    reported,
    runs,
    steps_of_sgd,
    torch_nn,
    values,
)
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import Gradients, Parameters

DTYPES = st.sampled_from(["float32", "float64"])
UPDATES = 50


def network(value, n):
    """Network n of the Parameters of an ensemble."""
    return each(lambda theta: theta[n], value)


class Optimiser:
    """torch.optim.SGD and clip_grad_norm_ on Parameters of torch, of one network."""

    def __init__(self, theirs, learning_rate, *, max_norm=None, **options):
        import torch

        self.theirs = theirs
        self.trained = [theta for theta in theirs if theta is not None]
        self.optimizer = torch.optim.SGD(self.trained, lr=learning_rate, **options)
        self.max_norm = max_norm

    def step(self):
        """(parameters, velocity) after a step with the gradients that are there; a grad of None is none."""
        import torch

        if self.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.trained, self.max_norm)
        self.optimizer.step()
        buffers = each(lambda theta: self.optimizer.state.get(theta, {}).get("momentum_buffer"), self.theirs)
        params = each(lambda theta: theta.detach().numpy().copy(), self.theirs)
        velocity = Gradients(*(None if v is None else v.numpy().copy() for v in buffers))
        return params, velocity if any(v is not None for v in velocity) else None


def parameters_of_torch(params):
    import torch

    return each(lambda theta: torch.nn.Parameter(torch.tensor(theta)), params)


def give(theirs, gradients):
    import torch

    for theta, g in zip(theirs, gradients, strict=True):
        if theta is not None:
            theta.grad = None if g is None else torch.tensor(g)


def random_gradients(generator, params, first_state):
    """As large as the parameters; that of h_0 is there every third time or so, from `first_state` on."""
    g = each(lambda theta: generator.normal(size=theta.shape).astype(theta.dtype), Gradients(*params))
    there = generator.random() < 0.3 and first_state <= 0
    return g if there else g._replace(h_0=None)


def our_step(rnn, params, gradients, velocity, learning_rate, *, max_norm=None, **options):
    if max_norm is not None:
        gradients = rnn.clip_by_global_norm(gradients, max_norm)
    s, velocity = rnn.direction(params, gradients, velocity, **options)
    return rnn.sgd(params, s, learning_rate), velocity


# -- many updates ---------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
@fewer(8)
@given(
    seed=st.integers(0, 2**31),
    dtype=DTYPES,
    bias=st.booleans(),
    learned=st.booleans(),
    E=st.sampled_from([(), (2,), (1, 2)]),
    options=steps_of_sgd(),
    learning_rate=st.floats(0.001, 0.3),
)
def test_fifty_updates_are_those_of_torch_optim_sgd(rnn, seed, dtype, bias, learned, E, options, learning_rate):
    """Free: both carry their own parameters and velocity, each network of an ensemble against an optimiser of its own.
    What is allowed is carried along too. The initial state has a gradient in some updates only, as in a run.
    """
    params = random_case(seed, 1, 2, 2, 3, 1, bias=bias, dtype=dtype, E=E, learned=learned).params
    generator = np.random.default_rng(seed)
    ours, velocity = rnn.from_numpy(params), None
    networks = list(np.ndindex(E))
    theirs = [Optimiser(parameters_of_torch(network(params, n)), learning_rate, **options) for n in networks]
    references = [(about(network(params, n), dtype), None) for n in networks]
    for number in range(UPDATES):
        gradients = random_gradients(generator, params, 3 - number)
        ours, velocity = our_step(rnn, ours, rnn.from_numpy(gradients), velocity, learning_rate, **options)
        for i, n in enumerate(networks):
            alone = network(gradients, n)
            before, moving = references[i]
            arguments = about(alone, dtype), moving, np.dtype(dtype), learning_rate
            references[i] = reference_step(before, *arguments, **options)
            give(theirs[i].theirs, alone)
            expected = theirs[i].step()
            limit = allowed(references[i])
            assert_within(tuple(network(rnn.to_numpy(v), n) for v in (ours, velocity)), expected, limit)
            assert_within(values(references[i], dtype), expected, limit)


class Modules:
    """torch.nn.RNN, torch.nn.Linear and an initial state, trained by torch.optim.SGD as their users train them."""

    def __init__(self, case, options):
        import torch

        self.case = case
        self.layer, self.readout = torch_nn(case)
        if self.layer.bias:
            self.layer.bias_hh_l0.requires_grad_(False)
        biases = (self.layer.bias_ih_l0, self.readout.bias) if self.layer.bias else (None, None)
        self.h_0 = torch.nn.Parameter(torch.tensor(case.initial), requires_grad=case.h_0 is None)
        weights = self.layer.weight_ih_l0, self.layer.weight_hh_l0, self.readout.weight
        theirs = Parameters(*weights, *biases, self.h_0 if case.h_0 is None else None)
        self.optimiser = Optimiser(theirs, **options)

    def update(self, latest, s_n, window, new):
        """(loss, gradients, parameters, velocity) of an update, in our layout. latest: the states, carried on."""
        import torch

        x, target = torch.tensor(self.case.x), torch.tensor(self.case.target)
        initial = self.h_0 if s_n == 0 else latest[s_n]
        h, _ = self.layer(x[[t - 1 for t in window]], initial[None])
        y, counted = self.readout(h)[-len(new) :], target[[t - 1 for t in new]]
        loss = 0.5 * torch.nn.functional.mse_loss(y, counted, reduction=self.case.options["reduction"])
        self.optimiser.optimizer.zero_grad()
        loss.backward()
        latest.update(zip(window, h.detach(), strict=True))
        grads = each(lambda theta: theta.grad, self.optimiser.theirs)
        gradients = each(lambda g: g.numpy().copy(), grads)
        params, velocity = self.optimiser.step()
        return loss.detach().numpy(), *(v and turned(v) for v in (gradients, params, velocity))


def turned(theirs):
    """torch.nn's weights are (to, from), ours (from, to)."""
    return theirs._replace(**{name: getattr(theirs, name).T for name in ("W_xh", "W_hh", "W_hy")})


@pytest.mark.needs_torch
@pytest.mark.with_reference
@fewer(3)
@given(run=runs(largest=5))
def test_train_is_torch_nn_trained_by_torch_optim_sgd(rnn, run):
    """Free, over whole runs: their modules, their optimiser, their autograd; a learned initial state is an nn.Parameter
    whose grad is None in windows that it does not enter.
    """
    case, options = run
    modules, latest = Modules(case, of_step(options)), {}
    updates = rnn.train(*case.for_train(rnn), **options, **case.options)
    for update, reference in zip(updates, reference_run(case, **options), strict=True):
        limit = allowed(reference.expected)
        if max(v.max() for v in limit.parameters if v is not None) > 1e8 * np.finfo(case.dtype).eps:
            return  # a run that amplifies its own rounding so far says no more; hardly one in a thousand
        theirs = modules.update(latest, reference.window[0] - 1, reference.window, reference.new)
        ours = reported(rnn, update)
        limits = limit.loss, limit.gradients, limit.parameters, limit.velocity
        assert_within((ours.loss, ours.gradients, ours.parameters, ours.velocity), theirs, limits)


# -- by hand --------------------------------------------------------------------------------------------------------


def in_fractions(theta, gradients, rate, momentum, dampening, nesterov, decay):
    """θ after every step, in numbers that are not rounded."""
    v, history = None, []
    for g in map(Fraction, gradients):
        d = g + Fraction(decay) * theta
        v = d if v is None else Fraction(momentum) * v + (1 - Fraction(dampening)) * d
        s = d if not momentum else d + Fraction(momentum) * v if nesterov else v
        theta -= Fraction(rate) * s
        history.append(theta)
    return history


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.5},
        {"momentum": 0.5, "dampening": 0.25},
        {"momentum": 0.5, "nesterov": True},
        {"weight_decay": 0.25},
        {"momentum": 0.75, "dampening": 0.5, "weight_decay": 0.125},
        {"momentum": 0.25, "nesterov": True, "weight_decay": 0.5},
        {"dampening": 0.5},  # without a momentum there is nothing to dampen
    ],
    ids=str,
)
def test_one_parameter_by_hand(rnn, options):
    """Of dyadic numbers no operation rounds anything, so equal means equal."""
    one = np.ones((1, 1))
    params, velocity = rnn.from_numpy(Parameters(3 * one, 0 * one, 0 * one)), None
    defaults = {"momentum": 0, "dampening": 0, "nesterov": False, "weight_decay": 0} | options
    numbers = [1.0, -2.0, 0.5, 0.0]
    expected = in_fractions(Fraction(3), numbers, 0.5, *defaults.values())
    for g, theta in zip(numbers, expected, strict=True):
        gradients = rnn.from_numpy(Gradients(g * one, 0 * one, 0 * one))
        s, velocity = rnn.direction(params, gradients, velocity, **options)
        params = rnn.sgd(params, s, 0.5)
        assert Fraction(rnn.to_numpy(params).W_xh.item()) == theta


def test_without_options_the_direction_is_the_gradient(rnn):
    params, gradients = (rnn.from_numpy(random_case(seed, 1, 1, 2, 4, 3, learned=True).params) for seed in (0, 1))
    s, velocity = rnn.direction(params, gradients)
    assert bits(s) == bits(gradients)
    assert velocity is None


@given(case=cases(), options=steps_of_sgd())
def test_the_direction_leaves_what_it_is_given_and_shares_no_velocity_with_it(rnn, case, options):
    """A parameter without a gradient has no direction and keeps its velocity."""
    options.pop("max_norm", None)
    params = rnn.from_numpy(case.params)
    gradients = rnn.from_numpy(Gradients(*case.params))
    velocity = None
    for _ in range(3):
        before = bits((params, gradients, velocity))
        s, after = rnn.direction(params, gradients, velocity, **options)
        assert bits((params, gradients, velocity)) == before
        assert [v is None for v in s] == [g is None for g in gradients]
        assert (after is None) == (not options.get("momentum"))
        for v, g in zip(after or (), gradients, strict=False):
            if g is not None:
                assert not np.shares_memory(*(a.detach().numpy() if hasattr(a, "detach") else a for a in (v, g)))
                assert v.dtype == g.dtype
        velocity, gradients = after, gradients._replace(W_hh=None)
    if velocity is not None:
        assert velocity.W_hh is not None
    assert s.W_hh is None
