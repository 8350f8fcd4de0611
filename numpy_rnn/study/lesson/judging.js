// Gradients of the reader's own program, compared with the right ones: which parameter they are of,
// and whether they are right to the digits or the format that are printed.
"use strict";

lesson.judging = (() => {
const {largest, dot, times, elementwise, mapObject, addToRows} = lesson.rnn;
const {show} = lesson.figures;
const {shapeOf} = lesson.arrays;
const {exercise, gradientsOf, exercisePass, correct} = lesson.lines;
const {meaning} = lesson.reading;

const ROUNDINGS = {bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53};
const SHAPES = mapObject(shapeOf, exercise.p);

const squeezed = (shape) => `${shape.filter((size) => size !== 1)}`;

function shapeWords(shape) {
  if (shape.length === 0) return "of rows that differ in length";
  return shape.length === 1 ? `(${shape},)` : `(${shape.join(", ")})`;
}

// The parameter and its numbers in the orientation of this page; or what is wrong with the shape.
function recognised(array) {
  const {name, shape} = array;
  const known = name && meaning(name);
  const isStraight = (key) => squeezed(shape) === squeezed(SHAPES[key]);
  const isFlipped = (key) => squeezed([...shape].reverse()) === squeezed(SHAPES[key]);
  const fits = (key) => isStraight(key) || isFlipped(key);
  const key = known?.key ?? Object.keys(SHAPES).find(fits);
  const words = name ?? `an array ${shapeWords(shape)}`;
  if (!key || !fits(key)) {
    const other = "that of a gradient, and a name, such as dW_hh";
    const expected = key ? shapeWords(SHAPES[key]) : other;
    return {problem: `${words}: the shape is ${shapeWords(shape)}, expected ${expected}.`};
  }
  const isSquare = key === "W_hh";
  const isTorch = Boolean(known?.isTorch);
  const gradient = {...array, words, key, isSquare, isTorch, isTransposed: false};
  return !isStraight(key) || (isSquare && isTorch) ? swapped(gradient) : gradient;
}

// The numbers of an (m, n) matrix, row by row, from those of its transpose.
function swapped(gradient) {
  const [m, n] = SHAPES[gradient.key];
  const reorder = (list) => list.map((_, k) => list[(k % n) * m + Math.floor(k / n)]);
  return {
    ...gradient, numbers: reorder(gradient.numbers), halves: reorder(gradient.halves),
    isTransposed: !gradient.isTransposed,
  };
}

const expectedOf = (key) => correct[`d${key}`].flat();

// What the sums would be without any cancellation, which is what their rounding is relative to.
function magnitudes() {
  const size = (A) => elementwise(Math.abs, A);
  const p = mapObject(size, exercise.p);
  const h = size(exercisePass.h);
  const y = h.map((state, t) => t && addToRows(times(state, p.W_hy), p.b_y));
  const target = elementwise((v) => -Math.abs(v), exercise.target);
  return gradientsOf(p, {x: size(exercise.x), h, y}, target, exercise.N);
}

const MAGNITUDES = magnitudes();

const fitOf = ({numbers}, expected) => dot(numbers, expected) / dot(expected, expected);

// Whether the numbers differ by no more than half a unit and four roundings of a format, and no
// factor is common to them: roundings average out in it.
function agrees({key, numbers, halves, dtype}, expected, format = dtype ?? "float32") {
  const scale = Math.max(1, largest(expected) / largest(expectedOf(key)));
  const unit = 4 * ROUNDINGS[format] * scale;
  const sizes = MAGNITUDES[`d${key}`].flat();
  const digits = dot(halves, expected.map(Math.abs)) / dot(expected, expected);
  return numbers.every((v, i) => Math.abs(v - expected[i]) <= 1.01 * halves[i] + unit * sizes[i])
    && !(Math.abs(fitOf({numbers}, expected) - 1) > 6 * ROUNDINGS[format] + digits + 1e-13);
}

// A square matrix may be transposed without showing it: it is taken as the other matrices are.
function oriented(gradients) {
  const areFlipped = gradients.some(({isSquare, isTransposed}) => !isSquare && isTransposed);
  return gradients.map((gradient) => {
    const {isSquare, isTorch} = gradient;
    return isSquare && !isTorch && areFlipped ? swapped(gradient) : gradient;
  });
}

const verdictWrong = (why) => ({isWrong: true, words: `wrong, ${why}`});
const verdictOther = (words) => ({isWrong: false, words});

// The verdict on one array, and its words: right, wrong, or what else must be known.
function verdictOn(gradient, gradients) {
  const {key, numbers, dtype, isSquare, isTorch} = gradient;
  const expected = expectedOf(key);
  if (!numbers.every(Number.isFinite)) return verdictWrong("not all numbers are finite");
  if (largest(numbers) === 0) return verdictWrong("all of its numbers are 0");
  if (agrees(gradient, exercise.p[key].flat())) {
    return verdictOther("these are the weights themselves; print their .grad");
  }
  if (largest(gradient.halves) > 0.002 * largest(expected) && agrees(gradient, expected)) {
    return verdictOther("cannot be told, print at least four digits");
  }
  if (dtype && agrees(gradient, expected)) {
    return verdictOther(`right, to the precision of ${dtype}`);
  }
  if (!dtype && agrees(gradient, expected, "float64")) {
    return verdictOther("right, to the digits printed");
  }
  if (!dtype && agrees(gradient, expected)) {
    return verdictOther("right if it is computed in float32, to the precision of that; wrong if in"
      + " float64. Write the format with the numbers, or use report()");
  }
  if (isSquare && agrees(swapped(gradient), expected)) {
    const showsOrder = ({key: other}) => other === "W_xh" || other === "W_hy";
    const isTold = isTorch || gradients.some(showsOrder);
    if (isTold) return verdictWrong("it is transposed");
    return verdictOther("transposed. If your program stores W_hh as PyTorch does, it is right");
  }
  const apart = largest(numbers.map((v, i) => v - expected[i])) / largest(expected);
  return verdictWrong(`the largest difference is ${show(apart, 2)} of its maximum`);
}

return {SHAPES, recognised, expectedOf, fitOf, agrees, oriented, verdictOn};
})();
