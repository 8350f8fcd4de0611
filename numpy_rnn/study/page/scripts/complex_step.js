// The witness: the total derivative of the loss by any number of the pass, by complex step. A tiny imaginary number
// is added to the number where it is computed, and the imaginary part of the loss, divided by it, is the derivative.
// It uses the forward pass only, so no formula of the backward pass can be wrong in the same way.

const TINY = 1e-40;
const real = (A) => ({re: A, im: each(() => 0, A)});
const timesComplex = (A, B) => ({
  re: each((u, v) => u - v, times(A.re, B.re), times(A.im, B.im)), im: add(times(A.re, B.im), times(A.im, B.re)),
});
const addComplex = (A, B) => ({re: add(A.re, B.re), im: add(A.im, B.im)});
const addBias = (A, bias) => ({re: addToRows(A.re, bias.re), im: addToRows(A.im, bias.im)});

// tanh(u + iv) = (sinh 2u + i sin 2v) / (cosh 2u + cos 2v)
const tanhComplex = (A) => ({
  re: each((u, v) => Math.sinh(2 * u) / (Math.cosh(2 * u) + Math.cos(2 * v)), A.re, A.im),
  im: each((u, v) => Math.sin(2 * v) / (Math.cosh(2 * u) + Math.cos(2 * v)), A.re, A.im),
});

// The imaginary part of L/N where the number `index` of quantity `which` (of step t) is i·TINY more, over TINY.
function complexStep(p, x, target, N, {which, t = null, index}) {
  const nudged = (A, quantity, step = null) => {
    if (quantity !== which || step !== t) return A;
    const im = each((v) => v, A.im), [row, column] = index;
    if (column === undefined) im[row] += TINY;
    else im[row][column] += TINY;
    return {re: A.re, im};
  };
  const q = Object.fromEntries(Object.entries(p).map(([key, theta]) => [key, nudged(real(theta), key)]));
  let h = q.h_0, loss = 0;
  for (let step = 1; step < x.length; step++) {
    const a = nudged(addBias(addComplex(timesComplex(real(x[step]), q.W_xh), timesComplex(h, q.W_hh)), q.b_h), "a", step);
    h = nudged(tanhComplex(a), "h", step);
    const y = nudged(addBias(timesComplex(h, q.W_hy), q.b_y), "y", step);
    // The imaginary part of ½ (y − target)².
    loss += sum(each((v, w, goal) => (v - goal) * w, y.re, y.im, target[step]).flat()) / N;
  }
  return loss / TINY;
}

const places = (A) => A.flatMap((row, i) => (Array.isArray(row) ? row.map((_, j) => [i, j]) : [[i]]));

// The derivative by every number of one quantity, in its shape. like: the quantity itself.
function derivative(p, x, target, N, which, t, like) {
  const result = each(() => 0, like);
  for (const index of places(like)) {
    const v = complexStep(p, x, target, N, {which, t, index});
    if (index.length === 1) result[index[0]] = v;
    else result[index[0]][index[1]] = v;
  }
  return result;
}

// All of them: adjoints by step, and gradients. All parameters are present, h_0 too.
function allDerivatives(p, x, target, N) {
  const {a, h, y} = forward(p, x, p.h_0, "tanh"), T = x.length - 1;
  const byStep = (which, values) => [null, ...range(1, T).map((t) => derivative(p, x, target, N, which, t, values[t]))];
  const gradients = Object.entries(p).map(([key, theta]) => [`d${key}`, derivative(p, x, target, N, key, null, theta)]);
  return {dy: byStep("y", y), dh: byStep("h", h), da: byStep("a", a), ...Object.fromEntries(gradients)};
}
