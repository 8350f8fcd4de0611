// Arrays of the exercise, computed as NumPy does: shapes, broadcasting, products, sums.
"use strict";

lesson.arrays = (() => {
const {range, sum, transpose, times, elementwise, columnSums} = lesson.rnn;

class LineError extends Error {}
const fail = (why) => { throw new LineError(why); };

const shapeOf = (A) => (Array.isArray(A) ? [A.length, ...shapeOf(A[0])] : []);
const count = (A) => shapeOf(A).reduce((m, n) => m * n, 1);

function shapeText(A) {
  const shape = shapeOf(A);
  if (shape.length === 0) return "a number";
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}

function broadcast(f, u, v) {
  const rank = Math.max(shapeOf(u).length, shapeOf(v).length);
  if (rank === 0) return f(u, v);
  const p = shapeOf(u).length < rank ? [u] : u;
  const q = shapeOf(v).length < rank ? [v] : v;
  const length = Math.max(p.length, q.length);
  if (![p, q].every((list) => list.length === length || list.length === 1)) {
    fail(`shapes ${shapeText(u)} and ${shapeText(v)} do not fit`);
  }
  const item = (list, i) => list[list.length === 1 ? 0 : i];
  return range(0, length - 1).map((i) => broadcast(f, item(p, i), item(q, i)));
}

function matrixProduct(A, B) {
  const m = shapeOf(A);
  const n = shapeOf(B);
  if (m.length !== 2 || n.length !== 2) fail("@ and dot need two matrices");
  if (m[1] !== n[0]) {
    fail(`@: shapes ${shapeText(A)} and ${shapeText(B)} do not fit, ${m[1]} ≠ ${n[0]}`);
  }
  return times(A, B);
}

const OPERATORS = {
  "@": matrixProduct,
  "+": (A, B) => broadcast((u, v) => u + v, A, B),
  "-": (A, B) => broadcast((u, v) => u - v, A, B),
  "*": (A, B) => broadcast((u, v) => u * v, A, B),
  "/": (A, B) => broadcast((u, v) => u / v, A, B),
  "**": (A, B) => broadcast((u, v) => u ** v, A, B),
};

// dot multiplies a number with an array too, as in NumPy.
function dotProduct(A, B) {
  const areArrays = Array.isArray(A) && Array.isArray(B);
  return OPERATORS[areArrays ? "@" : "*"](A, B);
}

const transposed = (A) => (shapeOf(A).length < 2 ? A : transpose(A));

// axis: null for all of them. keepsAxis: whether an axis of length 1 stays where numbers are added.
function summed(A, axis, keepsAxis = false) {
  const rank = shapeOf(A).length;
  const kept = (total) => (keepsAxis ? [total] : total);
  if (axis === null) return shapeOf(A).reduce(kept, rank ? sum(A.flat(rank)) : A);
  const index = axis < 0 ? axis + rank : axis;
  if (index < 0 || index >= rank) {
    fail(`axis ${axis} does not exist in shape ${shapeText(A)}`);
  }
  if (rank === 1) return kept(sum(A));
  return index === 0 ? kept(columnSums(A)) : A.map((row) => kept(sum(row)));
}

function averaged(A, axis, keepsAxis) {
  const total = summed(A, axis, keepsAxis);
  return elementwise((v) => v / (count(A) / count(total)), total);
}

return {
  LineError, fail, shapeOf, count, shapeText, matrixProduct, OPERATORS, dotProduct, transposed,
  summed, averaged,
};
})();
