// The network, its gradient and its update in float64: the equations of DERIVATION.md, by their ids, for one sequence.
// Lists over time are indexed by the step, from 1 (h from 0), so x[t], h[t] and da[t] are those of step t.
"use strict";

const PHI = {tanh: Math.tanh, relu: (a) => Math.max(a, 0)};
const SLOPE = {tanh: (h) => 1 - h * h, relu: (h) => Number(h > 0)};
const SMALL = 1e-6;  // added to the norm, as in torch.nn.utils.clip_grad_norm_

const sum = (numbers) => numbers.reduce((total, v) => total + v, 0);
const times = (row, W) => W[0].map((_, j) => sum(row.map((v, i) => v * W[i][j])));  // row W
const timesTransposed = (row, W) => W.map((weights) => sum(weights.map((w, j) => w * row[j])));  // row Wᵀ
const outer = (column, row) => column.map((v) => row.map((w) => v * w));
const norm = (numbers) => Math.sqrt(sum(numbers.map((v) => v * v)));

// f of the numbers at the same place in arrays of one shape; a parameter that is not there is null and stays so.
function each(f, first, ...others) {
  if (first === null) return null;
  return Array.isArray(first) ? first.map((v, i) => each(f, v, ...others.map((other) => other[i]))) : f(first, ...others);
}

// The same for all parameters of a network, by their names.
function eachParameter(f, first, ...others) {
  return Object.fromEntries(Object.keys(first).map((name) => [name, each(f, first[name], ...others.map((p) => p[name]))]));
}

const add = (u, v) => (v === null ? u : each((a, b) => a + b, u, v));

// ---- forward --------------------------------------------------------------------------------------------------------

function forward(p, x, h_0, nonlinearity) {
  const a = [null], h = [h_0], y = [null];
  for (let t = 1; t < x.length; t++) {
    a[t] = add(add(times(x[t], p.W_xh), times(h[t - 1], p.W_hh)), p.b_h);  // (F1)
    h[t] = a[t].map(PHI[nonlinearity]);  // (F2)
    y[t] = add(times(h[t], p.W_hy), p.b_y);  // (F3)
  }
  return {x, a, h, y};
}

const stepLoss = (y, target) => 0.5 * sum(y.map((v, o) => (v - target[o]) ** 2));  // (L1)

// ---- backward -------------------------------------------------------------------------------------------------------

// The adjoints of L/N, where L is the sum of the losses of the steps lossStart + 1 to stop, back to step 1. A truncated
// gradient uses those after the start of its window, and these do not depend on where the window starts.
function adjoints(p, {h, y}, target, {lossStart, stop}, N, nonlinearity) {
  const dy = [null], dh = [null], da = [null];
  for (let t = stop; t >= 1; t--) {
    dy[t] = y[t].map((v, o) => (t > lossStart ? (v - target[t][o]) / N : 0));  // (B1)
    dh[t] = timesTransposed(dy[t], p.W_hy);
    if (t < stop) dh[t] = add(dh[t], timesTransposed(da[t + 1], p.W_hh));  // (B2)
    da[t] = dh[t].map((v, i) => v * SLOPE[nonlinearity](h[t][i]));  // (B3)
  }
  return {dy, dh, da};
}

// What step t adds to the gradient: one term of the sums over t.
function gradientTerm(p, {x, h}, {dy, da}, t) {
  return {
    W_xh: outer(x[t], da[t]),  // (B4)
    W_hh: outer(h[t - 1], da[t]),  // (B5)
    W_hy: outer(h[t], dy[t]),  // (B6)
    b_h: p.b_h && da[t],  // (B7)
    b_y: p.b_y && dy[t],  // (B8)
    h_0: p.h_0 && (t === 1 ? timesTransposed(da[1], p.W_hh) : p.h_0.map(() => 0)),  // (B9)
  };
}

// The sum of the terms of the steps first to last, the last one first, as the backward pass meets them.
function gradientSum(p, activations, flow, first, last) {
  let total = eachParameter(() => 0, p);
  for (let t = last; t >= first; t--) {
    total = eachParameter((u, v) => u + v, total, gradientTerm(p, activations, flow, t));
  }
  return total;
}

// ---- update ---------------------------------------------------------------------------------------------------------

const numbersOf = (parameters) => Object.values(parameters).filter((theta) => theta !== null).flatMap((theta) => theta.flat());
const globalNorm = (gradients) => norm(numbersOf(gradients));  // (U2)

function clipped(gradients, max_norm) {
  if (max_norm === null) return gradients;
  const factor = Math.min(1, max_norm / (globalNorm(gradients) + SMALL));
  return eachParameter((v) => factor * v, gradients);  // (U3)
}

// The direction of a first update, in which the velocity is d.
function direction(p, gradients, {momentum, nesterov, weight_decay}) {
  return eachParameter((theta, dtheta) => {
    const d = dtheta + weight_decay * theta;  // (U4)
    return momentum && nesterov ? d + momentum * d : d;  // (U5, U6)
  }, p, gradients);
}

const descent = (p, delta, rate) => eachParameter((theta, v) => theta - rate * v, p, delta);  // (U1)

// ---- how a small change of a state grows ----------------------------------------------------------------------------

// ∂h_last/∂h_s for s = last, last − 1, … 0: W_hh diag(φ′(a)) of every step between, the earliest on the left.
function jacobiansBack(W_hh, h, last, nonlinearity) {
  const result = [W_hh.map((row, i) => row.map((_, j) => Number(i === j)))];
  for (let t = last; t >= 1; t--) {
    const slopes = h[t].map(SLOPE[nonlinearity]);
    const step = W_hh.map((row) => row.map((w, j) => w * slopes[j]));
    result.push(step.map((row) => times(row, result.at(-1))));
  }
  return result;
}

// The singular values of a matrix, the largest first: rotate its rows in pairs until all are orthogonal (Jacobi).
function singularValues(matrix) {
  const rows = matrix.map((row) => [...row]);
  const dot = (u, v) => sum(u.map((a, i) => a * v[i]));
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
    turned = false;
    for (let i = 1; i < rows.length; i++) {
      for (let j = 0; j < i; j++) {
        const [u, v] = [rows[i], rows[j]];
        const [a, b, c] = [dot(u, u), dot(v, v), dot(u, v)];
        if (Math.abs(c) <= 1e-15 * Math.sqrt(a) * Math.sqrt(b)) continue;
        turned = true;
        const angle = 0.5 * Math.atan2(2 * c, a - b);
        const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
        rows[i] = u.map((p, k) => cosine * p + sine * v[k]);
        rows[j] = v.map((p, k) => cosine * p - sine * u[k]);
      }
    }
  }
  return rows.map(norm).sort((p, q) => q - p);
}
