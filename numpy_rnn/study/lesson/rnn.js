// The network, its gradient and its updates in float64: the equations of DERIVATION.md, by their
// ids. Matrices are lists of rows, vectors are lists of numbers. Lists over time are indexed by the
// step: x[t], h[t] and da[t] belong to step t and have one row per sequence of the batch. x[0] is
// unused, h[0] is the initial state.
"use strict";
// What each script gives to those after it, by the name of its file. Modules would need a server.
const lesson = {};

lesson.rnn = (() => {
const slopeOf = (h) => 1 - h * h;  // of tanh, by its value

const range = (from, to) => Array.from({length: Math.max(0, to - from + 1)}, (_, i) => from + i);
const sum = (numbers) => numbers.reduce((total, v) => total + v, 0);
const norm = (numbers) => Math.sqrt(dot(numbers, numbers));
const zeros = (rows, columns) => range(1, rows).map(() => Array(columns).fill(0));
const transpose = (A) => A[0].map((_, j) => A.map((row) => row[j]));
const largest = (numbers) => numbers.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

// The products are loops: most of the time of training is spent in them.
function dot(u, v) {
  let total = 0;
  for (let i = 0; i < u.length; i++) total += u[i] * v[i];
  return total;
}

function times(A, B) {
  const result = [];
  for (const row of A) {
    const out = Array(B[0].length).fill(0);
    for (let i = 0; i < row.length; i++) {
      const v = row[i], other = B[i];
      for (let j = 0; j < out.length; j++) out[j] += v * other[j];
    }
    result.push(out);
  }
  return result;
}

const timesTransposed = (A, B) => A.map((row) => B.map((other) => dot(row, other)));  // A Bᵀ
const transposedTimes = (A, B) => times(transpose(A), B);

// f of the numbers at the same place in arrays of one shape. An absent array is null, and stays so.
function elementwise(f, first, ...others) {
  if (first === null) return null;
  if (!Array.isArray(first)) return f(first, ...others);
  return first.map((v, i) => elementwise(f, v, ...others.map((other) => other[i])));
}

const mapObject = (f, object) =>
  Object.fromEntries(Object.entries(object).map(([key, v]) => [key, f(v, key)]));
const columnSums = (A) => A[0].map((_, j) => sum(A.map((row) => row[j])));
const add = (A, B) => A.map((row, b) => row.map((v, i) => v + B[b][i]));
const addToRows = (A, bias) => (bias === null ? A : A.map((row) => row.map((v, i) => v + bias[i])));

// moved: what becomes of the value of a, h or y at a step, where it is computed.
function forward(p, x, h_0, moved = (value) => value) {
  const a = [null], h = [h_0], y = [null];
  for (let t = 1; t < x.length; t++) {
    const sums = add(times(x[t], p.W_xh), times(h[t - 1], p.W_hh));
    a[t] = moved(addToRows(sums, p.b_h), "a", t);  // (F1)
    h[t] = moved(elementwise(Math.tanh, a[t]), "h", t);  // (F2)
    y[t] = moved(addToRows(times(h[t], p.W_hy), p.b_y), "y", t);  // (F3)
  }
  return {x, a, h, y};
}

function stepLoss(y, target) {
  const squares = elementwise((v, w) => (v - w) ** 2, y, target);
  return 0.5 * sum(squares.flat());  // (L1)
}

// The adjoints of L/N, where L is the sum of the losses of the steps lossStart + 1 to stop, from
// step stop back to step first. A truncated gradient uses fewer of the same adjoints.
function adjoints(p, {h, y}, target, {lossStart, stop}, N, first = 1) {
  const dy = [null], dh = [null], da = [null];
  for (let t = stop; t >= first; t--) {
    dy[t] = elementwise((v, w) => (t > lossStart ? (v - w) / N : 0), y[t], target[t]);  // (B1)
    dh[t] = timesTransposed(dy[t], p.W_hy);
    if (t < stop) dh[t] = add(dh[t], timesTransposed(da[t + 1], p.W_hh));  // (B2)
    da[t] = elementwise((v, state) => v * slopeOf(state), dh[t], h[t]);  // (B3)
  }
  return {dy, dh, da};
}

// What the steps first to last contribute to the gradient: one product over all of them, with time
// folded into the batch. With first = last it is the term of one step.
function gradientSum(p, {x, h}, {dy, da}, first, last) {
  const fold = (list, shift = 0) => list.slice(first + shift, last + shift + 1).flat();
  const dA = fold(da), dY = fold(dy);
  return {
    W_xh: transposedTimes(fold(x), dA),  // (B4)
    W_hh: transposedTimes(fold(h, -1), dA),  // (B5)
    W_hy: transposedTimes(fold(h), dY),  // (B6)
    b_h: p.b_h && columnSums(dA),  // (B7)
    b_y: p.b_y && columnSums(dY),  // (B8)
  };
}

const descent = (p, gradient, rate) => mapObject((theta, key) =>
  elementwise((v, d) => v - rate * d, theta, gradient[key]), p);  // (U1)

function windows(T, k1, k2) {
  return range(1, Math.ceil(T / k1)).map((n) => {
    const stop = Math.min(n * k1, T);  // (T1)
    const lossStart = (n - 1) * k1, start = Math.max(0, lossStart - (k2 - k1));  // (T2)
    return {start, lossStart, stop};
  });
}

// One pass of TBPTT(k1, k2) with plain SGD, update by update: L/N of the new steps, and the new
// parameters.
function* train(p, x, target, h_0, {k1, k2, rate}) {
  const states = [h_0];
  for (const {start, lossStart, stop} of windows(x.length - 1, k1, k2)) {
    const seen = (list) => [null, ...list.slice(start + 1, stop + 1)];
    const activations = forward(p, seen(x), states[start]);  // (T3)
    for (let t = start + 1; t <= stop; t++) states[t] = activations.h[t - start];
    const N = (stop - lossStart) * target[stop].flat().length;  // (L2)
    const {y} = activations, steps = {lossStart: lossStart - start, stop: stop - start};
    const losses = range(lossStart + 1, stop).map((t) => stepLoss(y[t - start], target[t]));
    const flow = adjoints(p, activations, seen(target), steps, N);
    p = descent(p, gradientSum(p, activations, flow, 1, steps.stop), rate);
    yield {loss: sum(losses) / N, p};
  }
}

// A generator of numbers in [0, 1) from a seed (mulberry32), and normal ones from it (Box, Muller).
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let v = Math.imul(state ^ (state >>> 15), state | 1);
    v ^= v + Math.imul(v ^ (v >>> 7), v | 61);
    return ((v ^ (v >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normalMatrix(draw, rows, columns, deviation) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  return range(1, rows).map(() => range(1, columns).map(() => deviation * normal()));
}

return {
  slopeOf, range, sum, norm, zeros, transpose, largest, dot, times, timesTransposed, elementwise,
  mapObject, columnSums, addToRows, forward, stepLoss, adjoints, gradientSum,
  descent, windows, train, uniform, normalMatrix,
};
})();
