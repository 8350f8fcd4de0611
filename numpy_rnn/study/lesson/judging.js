// Gradients of the reader's own program, compared with the right ones: which parameter they are of,
// and whether they are right to the digits or the format that are printed.
// Uses rnn.js, figures.js, language.js, lines.js, reading.js.
"use strict";
const ROUNDINGS = {bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53};
const SHAPES = mapObject(shapeOf, tiny.p);

const squeezed = (shape) => `${shape.filter((size) => size !== 1)}`;
const shapeWords = (shape) => (shape.length === 1 ? `(${shape},)`
  : shape.length ? `(${shape.join(", ")})` : "of rows that differ in length");

// The parameter and its numbers in the orientation of this page; or what is wrong with the shape.
function recognised(array) {
  const meant = array.name && meaning(array.name), {shape} = array, flipped = [...shape].reverse();
  const isStraight = (key) => squeezed(shape) === squeezed(SHAPES[key]);
  const fits = (key) => isStraight(key) || squeezed(flipped) === squeezed(SHAPES[key]);
  const key = meant?.key ?? Object.keys(SHAPES).find(fits);
  const words = array.name ?? `an array ${shapeWords(shape)}`;
  if (!key || !fits(key)) {
    const expected = key ? shapeWords(SHAPES[key]) : "that of a gradient, and a name, such as dW_hh";
    return {problem: `${words}: the shape is ${shapeWords(shape)}, expected ${expected}.`};
  }
  const isSquare = key === "W_hh", isTorch = Boolean(meant?.isTorch);
  const one = {...array, words, key, isSquare, isTorch, isTransposed: false};
  return !isStraight(key) || (isSquare && isTorch) ? swapped(one) : one;
}

// The numbers of an (m, n) matrix, row by row, from those of its transpose.
function swapped(one) {
  const [m, n] = SHAPES[one.key];
  const [numbers, halves] = [one.numbers, one.halves].map((list) =>
    list.map((_, k) => list[(k % n) * m + Math.floor(k / n)]));
  return {...one, numbers, halves, isTransposed: !one.isTransposed};
}

const expectedOf = (key) => right[`d${key}`].flat();

// What the sums would be without any cancellation, which is what their rounding is relative to.
const MAGNITUDES = (() => {
  const size = (A) => each(Math.abs, A), [p, h] = [mapObject(size, tiny.p), size(tinyPass.h)];
  const y = h.map((state, t) => t && addToRows(times(state, p.W_hy), p.b_y));
  const target = each((v) => -Math.abs(v), tiny.target);
  return gradientsOf(p, {x: size(tiny.x), h, y}, target, tiny.N);
})();

const fitOf = ({numbers}, expected) => dot(numbers, expected) / dot(expected, expected);

// Whether the numbers differ by no more than half a unit and four roundings of a format, and no
// factor is common to them: roundings average out in it.
function agrees({key, numbers, halves, dtype}, expected, format = dtype ?? "float32") {
  const scale = Math.max(1, largest(expected) / largest(expectedOf(key)));
  const unit = 4 * ROUNDINGS[format] * scale, sizes = MAGNITUDES[`d${key}`].flat();
  const digits = dot(halves, expected.map(Math.abs)) / dot(expected, expected);
  return numbers.every((v, i) => Math.abs(v - expected[i]) <= 1.01 * halves[i] + unit * sizes[i])
    && !(Math.abs(fitOf({numbers}, expected) - 1) > 6 * ROUNDINGS[format] + digits + 1e-13);
}

// A square matrix may be transposed without showing it: it is taken as the other matrices are.
function oriented(all) {
  const isFlipped = all.some(({isSquare, isTransposed}) => !isSquare && isTransposed);
  return all.map((one) => (one.isSquare && !one.isTorch && isFlipped ? swapped(one) : one));
}

const verdictWrong = (why) => ({isWrong: true, words: `wrong, ${why}`});
const verdictOther = (words) => ({isWrong: false, words});

// The verdict on one array, and its words: right, wrong, or what else must be known.
function verdictOn(one, all) {
  const {key, numbers, dtype, isSquare, isTorch} = one, expected = expectedOf(key);
  if (!numbers.every(Number.isFinite)) return verdictWrong("not all numbers are finite");
  if (largest(numbers) === 0) return verdictWrong("all of its numbers are 0");
  if (agrees(one, tiny.p[key].flat())) {
    return verdictOther("these are the weights themselves; print their .grad");
  }
  if (largest(one.halves) > 0.002 * largest(expected) && agrees(one, expected)) {
    return verdictOther("cannot be told, print at least four digits");
  }
  if (dtype && agrees(one, expected)) return verdictOther(`right, to the precision of ${dtype}`);
  if (!dtype && agrees(one, expected, "float64")) {
    return verdictOther("right, to the digits printed");
  }
  if (!dtype && agrees(one, expected)) {
    return verdictOther("right if it is computed in float32, to the precision of that; wrong if in"
      + " float64. Write the format with the numbers, or use report()");
  }
  if (isSquare && agrees(swapped(one), expected)) {
    const isTold = isTorch || all.some(({key: other}) => other === "W_xh" || other === "W_hy");
    if (isTold) return verdictWrong("it is transposed");
    return verdictOther("transposed. If your program stores W_hh as PyTorch does, it is right");
  }
  const apart = largest(numbers.map((v, i) => v - expected[i])) / largest(expected);
  return verdictWrong(`the largest difference is ${show(apart, 2)} of its maximum`);
}
