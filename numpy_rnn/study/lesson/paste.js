// Gradients of the reader's own program: arrays are read from a text that is pasted, the
// lines of report() or what a program prints, and compared with the right ones.
"use strict";

lesson.paste = (() => {
const {largest, transpose, times, elementwise, mapObject, addToRows} = lesson.rnn;
const {element, show} = lesson.figures;
const {
  LineError, fail, shapeOf, shapeText, exercise, gradientsOf, exercisePass, correct,
} = lesson.lines;

const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;
const SCALAR = /\b(?:(?:np|jnp)\.)?(?:float\d+|tensor|Array)\(\s*([-+\w.]+)\s*(?:,[^()]*)?\)/g;
const SIZE = /(?:shape|size)\W*\[[\d,\s]*\]/gi;
const ARRAY = /\[(?:[^[\]]|\[[^[\]]*\])*\]/g;  // of one or two axes
const ROW = /\[[^[\]]+\]/g;
const UNREAD = [  // a notation, and what to paste instead
  [/\[\d*,\d*\]|^\s*\[\d+\]\s+[-\d]/m,
    "R prints labels between the numbers: paste jsonlite::toJSON(dW, digits = 17)"],
  [/\[[^\]]*;/, "rows have no brackets: paste MATLAB’s jsonencode(dW), or use report()"],
  [/[A-Za-z_]\w*(?:\[\d+\])+\s*[=:]/, "elements are printed one by one: print the array"],
  [/\.\.\./, "an array is abbreviated with “...”: print all of its numbers"],
];

const SHAPES = mapObject(shapeOf, exercise.p);

// The parameter whose gradient has this name: dW_hh, and min-char-rnn's dWhh.
function meaning(name) {
  const plain = (text) => text.replaceAll("_", "");
  return Object.keys(SHAPES).find((key) => plain(`d${key}`) === plain(name));
}

// Arrays {name, numbers, shape, dtype, halves}: dtype is null where the text names none,
// and halves are half a unit of the last digit of each number.
function readArrays(text) {
  const lines = text.split("\n").filter((line) => /^\s*\{"name"/.test(line));
  const arrays = lines.length ? lines.map(readReported) : readPrinted(text);
  if (!arrays.length || !arrays.every(({name}) => name && meaning(name))) {
    fail("arrays with the names of the gradients are expected, such as dW_hh = [[…]]");
  }
  return arrays;
}

function readReported(line) {
  const {name, dtype, values} = JSON.parse(line.replace(/-?\b(?:NaN|Infinity)\b/g, '"$&"'));
  const numbers = [values].flat(3).map(Number);
  const format = /b?float\d+/.exec(dtype)?.[0] ?? "float64";
  return {name, numbers, shape: shapeOf(values), dtype: format, halves: numbers.map(() => 0)};
}

// Arrays in brackets, each with the last name before it.
function readPrinted(text) {
  const notation = UNREAD.find(([pattern]) => pattern.test(text));
  if (notation) fail(notation[1]);
  const dtype = /bfloat16|float(?:16|32|64)/.exec(text)?.[0] ?? null;
  const clean = text.replace(SCALAR, " $1 ").replace(SIZE, " ");
  if (/(?:[\s*]+[-+]?\d+\.?\d*(?:e\S+)?){2}|\d \*/.test(clean.replace(ARRAY, " "))) {
    fail("rows have no brackets: paste MATLAB’s jsonencode(dW), or use report()");
  }
  const arrays = [];
  let end = 0;
  for (const {0: body, index} of clean.matchAll(ARRAY)) {
    const before = clean.slice(end, index);
    end = index + body.length;
    const name = before.match(/[A-Za-z_][\w./]*/g)?.findLast(meaning) ?? null;
    const texts = body.match(NUMERAL) ?? [];
    if (!texts.length) continue;
    const shape = shapeOfRows(body.match(ROW));
    const isAlike = `${shape}` === `${arrays.at(-1)?.shape}` && shape.length === 1;
    if (isAlike && !before.trim()) fail("rows are printed one by one: print the array");
    const numbers = texts.map((v) => Number(v.replace(/inf\w*/i, "Infinity")));
    arrays.push({name, numbers, shape, dtype, halves: halfUnits(texts)});
  }
  return arrays;
}

function shapeOfRows(rows) {
  const [first, ...others] = rows.map((row) => (row.match(NUMERAL) ?? []).length);
  if (others.some((length) => length !== first)) fail("rows differ in length");
  return others.length ? [rows.length, first] : [first];
}

// An array is printed with the same decimals or the same digits, without zeros at the end.
function halfUnits(texts) {
  const parts = texts.map((v) => (/([\d.]+)(?:e([-+]?\d+))?/i.exec(v) ?? ["", "0", 0]).slice(1));
  const decimals = Math.max(...parts.map(([digits]) => (digits.split(".")[1] ?? "").length));
  const significant = ([digits]) => digits.replace(".", "").replace(/^0+/, "").length;
  const most = Math.max(...parts.map(significant));
  return parts.map(([digits, power = 0]) => {
    const size = Math.floor(Math.log10(Math.abs(Number(digits)) || 1e-99));
    return 0.5 * 10 ** Number(power) * Math.max(10 ** -decimals, 10 ** (size - most + 1));
  });
}

const ROUNDINGS = {
  bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53,
};
const squeezed = (shape) => `${shape.filter((size) => size !== 1)}`;

// An array with its parameter.
function recognised(array) {
  const {name, shape} = array;
  const key = meaning(name);
  if (squeezed(shape) !== squeezed(SHAPES[key])) {
    fail(`${name}: the shape is ${shapeText(shape)}, expected ${shapeText(SHAPES[key])}`);
  }
  return {...array, key};
}

const expectedOf = (key) => correct[`d${key}`].flat();

// What the sums would be without any cancellation, to which their rounding is relative.
function magnitudes() {
  const size = (A) => elementwise(Math.abs, A);
  const p = mapObject(size, exercise.p);
  const h = size(exercisePass.h);
  const y = h.map((state, t) => t && addToRows(times(state, p.W_hy), p.b_y));
  const target = elementwise((v) => -Math.abs(v), exercise.target);
  return gradientsOf(p, {x: size(exercise.x), h, y}, target, exercise.N);
}

const MAGNITUDES = magnitudes();

// Whether the numbers differ by no more than half a unit and four roundings of a format.
function agrees({key, numbers, halves, dtype}, expected, format = dtype ?? "float32") {
  const scale = Math.max(1, largest(expected) / largest(expectedOf(key)));
  const unit = 4 * ROUNDINGS[format] * scale;
  const sizes = MAGNITUDES[`d${key}`].flat();
  const isNear = (v, i) => Math.abs(v - expected[i]) <= 1.01 * halves[i] + unit * sizes[i];
  return numbers.every(isNear);
}

// The verdict on one array, in words: right, wrong, or what else must be known.
function verdictOn(gradient) {
  const {key, numbers, dtype} = gradient;
  const expected = expectedOf(key);
  if (!numbers.every(Number.isFinite)) return "wrong, not all numbers are finite";
  if (largest(numbers) === 0) {
    return "wrong, all numbers are 0: print .grad after backward() and before zero_grad()";
  }
  if (agrees(gradient, expected)) {
    const areFew = largest(gradient.halves) > 0.002 * largest(expected);
    if (areFew) return "cannot be told, print at least four digits";
    if (dtype) return `right, to the precision of ${dtype}`;
    if (agrees(gradient, expected, "float64")) return "right, to the digits printed";
    return "right if it is computed in float32, to the precision of that; wrong"
      + " if in float64. Write the format with the numbers, or use report()";
  }
  if (key === "W_hh" && agrees(gradient, transpose(correct.dW_hh).flat())) {
    return "wrong, it is transposed; of PyTorch's, report the .T";
  }
  const apart = largest(numbers.map((v, i) => v - expected[i])) / largest(expected);
  return `wrong, the largest difference is ${show(apart, 2)} of its maximum`;
}

// A message for each array of the text, or why it is not read.
function pasted(text) {
  let gradients = [];
  try {
    gradients = readArrays(text).map(recognised);
  } catch (error) {
    const problem = error instanceof LineError ? error.message : "the JSON is not complete";
    return [`Not read: ${problem}.`];
  }
  return gradients.map((gradient) => `d${gradient.key}: ${verdictOn(gradient)}.`);
}

if (element("paste-text")) {
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-text").addEventListener("input", ({target: {value}}) => {
    element("paste-result").innerText = value.trim() ? pasted(value).join("\n") : "";
  });
  element("paste-network").textContent = [
    "import numpy as np", ...Object.entries(exercise.p).map(([key, theta]) => asNumPy(key, theta)),
    ...["h_0", "x", "target"].map((key) => asNumPy(key, exercise[key].filter(Boolean))),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …), and x[0] is x_1",
  ].join("\n");
}

return {pasted};
})();
