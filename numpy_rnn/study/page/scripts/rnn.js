// The network, its gradient and its updates in float64: the equations of DERIVATION.md, by their ids. Matrices are
// lists of rows, vectors are lists of numbers. Lists over time are indexed by the step: x[t], h[t] and da[t] belong
// to step t, and each has one row per sequence of the batch. x[0] is unused, h[0] is the initial state.
"use strict";

const PHI = {tanh: Math.tanh, relu: (a) => Math.max(a, 0), sigmoid: (a) => 0.5 * (1 + Math.tanh(0.5 * a))};
const SLOPE = {tanh: (h) => 1 - h * h, relu: (h) => Number(h > 0), sigmoid: (h) => h * (1 - h)};
const SMALL = 1e-6;  // added to the norm, as in torch.nn.utils.clip_grad_norm_

const range = (from, to) => Array.from({length: Math.max(0, to - from + 1)}, (_, i) => from + i);
const sum = (numbers) => numbers.reduce((total, v) => total + v, 0);
const norm = (numbers) => Math.sqrt(dot(numbers, numbers));
const zeros = (rows, columns) => range(1, rows).map(() => Array(columns).fill(0));
const transpose = (A) => A[0].map((_, j) => A.map((row) => row[j]));

// The products are loops: most of the time of training is spent in them.
function dot(u, v) {
  let total = 0;
  for (let i = 0; i < u.length; i++) total += u[i] * v[i];
  return total;
}

function times(A, B) {
  // A B
  const result = [];
  for (const row of A) {
    const out = B[0].map(() => 0);
    for (let i = 0; i < row.length; i++) {
      const v = row[i], other = B[i];
      for (let j = 0; j < out.length; j++) out[j] += v * other[j];
    }
    result.push(out);
  }
  return result;
}

const timesTransposed = (A, B) => A.map((row) => B.map((other) => dot(row, other)));  // A Bᵀ

function transposedTimes(A, B) {
  // Aᵀ B
  const result = zeros(A[0].length, B[0].length);
  for (let b = 0; b < A.length; b++) {
    const left = A[b], right = B[b];
    for (let i = 0; i < result.length; i++) {
      const v = left[i], out = result[i];
      for (let j = 0; j < right.length; j++) out[j] += v * right[j];
    }
  }
  return result;
}

// f of the numbers at the same place in arrays of one shape. An array that is absent is null and stays null.
function each(f, first, ...others) {
  if (first === null) return null;
  if (!Array.isArray(first)) return f(first, ...others);
  if (others.length === 1) return first.map((v, i) => each(f, v, others[0][i]));
  return first.map((v, i) => each(f, v, ...others.map((other) => other[i])));
}

// The same for all parameters of a network, by their names.
function eachParameter(f, first, ...others) {
  return Object.fromEntries(Object.keys(first).map((key) => [key, each(f, first[key], ...others.map((p) => p[key]))]));
}

const columnSums = (A) => A[0].map((_, j) => sum(A.map((row) => row[j])));
const add = (A, B) => A.map((row, b) => row.map((v, i) => v + B[b][i]));
const addToRows = (A, bias) => (bias === null ? A : A.map((row) => row.map((v, i) => v + bias[i])));

function forward(p, x, h_0, nonlinearity) {
  const a = [null], h = [h_0], y = [null];
  for (let t = 1; t < x.length; t++) {
    a[t] = addToRows(add(times(x[t], p.W_xh), times(h[t - 1], p.W_hh)), p.b_h);  // (F1)
    h[t] = a[t].map((row) => row.map(PHI[nonlinearity]));  // (F2)
    y[t] = addToRows(times(h[t], p.W_hy), p.b_y);  // (F3)
  }
  return {x, a, h, y};
}

const stepLoss = (y, target) => 0.5 * sum(y.map((row, b) => sum(row.map((v, o) => (v - target[b][o]) ** 2))));  // (L1)

// The adjoints of L/N, where L is the sum of the losses of the steps lossStart + 1 to stop, from step stop to step
// first. They do not depend on first: a truncated gradient uses fewer of them.
function adjoints(p, {h, y}, target, {lossStart, stop}, N, nonlinearity, first = 1) {
  const dy = [null], dh = [null], da = [null];
  for (let t = stop; t >= first; t--) {
    dy[t] = y[t].map((row, b) => row.map((v, o) => (t > lossStart ? (v - target[t][b][o]) / N : 0)));  // (B1)
    dh[t] = timesTransposed(dy[t], p.W_hy);
    if (t < stop) dh[t] = add(dh[t], timesTransposed(da[t + 1], p.W_hh));  // (B2)
    da[t] = dh[t].map((row, b) => row.map((v, i) => v * SLOPE[nonlinearity](h[t][b][i])));  // (B3)
  }
  return {dy, dh, da};
}

// The part of the gradient that the steps first to last contribute: one product over all of them, with time folded
// into the batch. With first = last it is the term of one step.
function gradientSum(p, {x, h}, {dy, da}, first, last) {
  const fold = (list, shift = 0) => [].concat(...list.slice(first + shift, last + shift + 1));
  const dA = fold(da), dY = fold(dy);
  return {
    W_xh: transposedTimes(fold(x), dA),  // (B4)
    W_hh: transposedTimes(fold(h, -1), dA),  // (B5)
    W_hy: transposedTimes(fold(h), dY),  // (B6)
    b_h: p.b_h && columnSums(dA),  // (B7)
    b_y: p.b_y && columnSums(dY),  // (B8)
    h_0: p.h_0 && (first === 1 ? timesTransposed(da[1], p.W_hh) : each(() => 0, p.h_0)),  // (B9)
  };
}

const numbersOf = (parameters) => Object.values(parameters)
    .filter((theta) => theta !== null)
    .flatMap((theta) => theta.flat());
const globalNorm = (gradients) => norm(numbersOf(gradients));  // (U2)

function clipped(gradients, max_norm) {
  if (max_norm === null) return gradients;
  const factor = Math.min(1, max_norm / (globalNorm(gradients) + SMALL));
  return eachParameter((v) => factor * v, gradients);  // (U3)
}

// The direction of a first update, in which the velocity is the gradient with weight decay.
function direction(p, gradients, {momentum, nesterov, weight_decay}) {
  return eachParameter(
    (theta, dtheta) => {
      const g = dtheta + weight_decay * theta;  // (U4)
      return momentum && nesterov ? g + momentum * g : g;  // (U5, U6)
    },
    p, gradients,
  );
}

const descent = (p, delta, rate) => eachParameter((theta, v) => theta - rate * v, p, delta);  // (U1)

function windows(T, k1, k2) {
  return range(1, Math.ceil(T / k1)).map((n) => {
    const stop = Math.min(n * k1, T);  // (T1)
    return {start: Math.max(0, stop - k2), lossStart: (n - 1) * k1, stop};  // (T2)
  });
}

// One epoch of TBPTT(k1, k2) with plain SGD, update by update: the loss L/N of the new steps, and the new parameters.
// gradient: the function that computes it, of parameters, activations and targets of one window, numbered from 1.
function* train(p, x, target, h_0, {k1, k2, rate, nonlinearity = "tanh", mean = false, gradient = windowGradient}) {
  const states = [h_0];
  for (const {start, lossStart, stop} of windows(x.length - 1, k1, k2)) {
    const seen = (list) => [null, ...list.slice(start + 1, stop + 1)];
    const activations = forward(p, seen(x), states[start], nonlinearity);  // (T3)
    for (let t = start + 1; t <= stop; t++) states[t] = activations.h[t - start];
    const N = mean ? (stop - lossStart) * target[stop].flat().length : 1;  // (L2)
    const loss = sum(range(lossStart + 1, stop).map((t) => stepLoss(activations.y[t - start], target[t]))) / N;
    const update = {lossStart: lossStart - start, stop: stop - start};
    p = descent(p, gradient(p, activations, seen(target), update, N, nonlinearity), rate);
    yield {loss, p};
  }
}

function windowGradient(p, activations, target, {lossStart, stop}, N, nonlinearity) {
  return gradientSum(p, activations, adjoints(p, activations, target, {lossStart, stop}, N, nonlinearity), 1, stop);
}

// G[t][s] = ∂ℓ_t/∂θ_s as one list of numbers, for 1 ≤ s ≤ t ≤ T.
function componentsOf(p, activations, target, nonlinearity) {
  const T = activations.x.length - 1;
  return [
    null,
    ...range(1, T).map((t) => {
      const flow = adjoints(p, activations, target, {lossStart: t - 1, stop: t}, 1, nonlinearity);
      return [null, ...range(1, t).map((s) => numbersOf(gradientSum(p, activations, flow, s, s)))];
    }),
  ];
}

// ∂h_last/∂h_s of one sequence for s = last, last − 1, … 0: W_hh diag(φ′(a)) of each step between, the earliest on
// the left.
function jacobiansBack(W_hh, h, last, nonlinearity) {
  const result = [W_hh.map((row, i) => row.map((_, j) => Number(i === j)))];
  for (let t = last; t >= 1; t--) {
    const slopes = h[t][0].map(SLOPE[nonlinearity]);
    result.push(times(W_hh.map((row) => row.map((w, j) => w * slopes[j])), result.at(-1)));
  }
  return result;
}

// The singular values of a matrix, the largest first: rotate its rows in pairs until all are orthogonal (Jacobi).
function singularValues(matrix) {
  const rows = matrix.map((row) => [...row]);
  for (let sweep = 0, rotated = true; rotated && sweep < 60; sweep++) {
    rotated = false;
    for (let i = 1; i < rows.length; i++) {
      for (let j = 0; j < i; j++) {
        const [u, v] = [rows[i], rows[j]];
        const [a, b, c] = [dot(u, u), dot(v, v), dot(u, v)];
        if (Math.abs(c) <= 1e-15 * Math.sqrt(a) * Math.sqrt(b)) continue;
        rotated = true;
        const angle = 0.5 * Math.atan2(2 * c, a - b);
        const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
        rows[i] = u.map((p, k) => cosine * p + sine * v[k]);
        rows[j] = v.map((p, k) => cosine * p - sine * u[k]);
      }
    }
  }
  return rows.map(norm).sort((p, q) => q - p);
}

// The largest modulus of an eigenvalue: the norm of a power of W, to that power. The power is made by repeated
// squaring.
function spectralRadius(W) {
  let power = W, logarithm = 0, exponent = 1;
  for (let i = 0; i < 40; i++) {
    const size = norm(power.flat());
    if (size === 0) return 0;
    power = power.map((row) => row.map((v) => v / size));
    logarithm += Math.log(size) / exponent;
    [power, exponent] = [times(power, power), 2 * exponent];
  }
  return Math.exp(logarithm);
}

// A generator of numbers in [0, 1) from a seed (mulberry32), and of normal ones from it (Box and Muller).
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let v = Math.imul(state ^ (state >>> 15), state | 1);
    v ^= v + Math.imul(v ^ (v >>> 7), v | 61);
    return ((v ^ (v >>> 14)) >>> 0) / 2 ** 32;
  };
}

const normalOf = (draw) => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
const normalMatrix = (draw, rows, columns, deviation) =>
  range(1, rows).map(() => range(1, columns).map(() => deviation * normalOf(draw)));
