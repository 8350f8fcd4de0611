// Gradients of the reader's own program: read, compared with the right ones, and diagnosed.
// Uses rnn.js, figures.js, language.js, lines.js.
"use strict";
const ROUNDINGS = {bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53};
const SHAPES = mapObject(shapeOf, tiny.p);
const ALIASES = {
  W_xh: /^(wxh|wih|wx|win|weightih|kernel)$/, W_hh: /^(whh|wh|wrec|weighthh|recurrentkernel)$/,
  W_hy: /^(why|who|wy|wout|outweight|fcweight|linearweight)$/,
  b_h: /^(bh|biasih|biashh|bih|bhh)$/, b_y: /^(by|bo|bhy|outbias|fcbias|linearbias)$/,
};
const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;
const SCALAR = /\b(?:(?:np|jnp)\.)?(?:float\d+|tensor|Array)\(\s*([-+\w.]+)\s*(?:,[^()]*)?\)/g;
const UNREAD = [  // a notation, and what to paste instead
  [/\[\d*,\d*\]|^\s*\[\d+\]\s+[-\d]/m,
    "R prints labels between the numbers: paste jsonlite::toJSON(dW, digits = 17)"],
  [/[A-Za-z_]\w*(?:\[\d+\])+\s*[=:]/, "elements are printed one by one: print the array"],
];

// The parameter that a name means, and whether it is PyTorch's, which is transposed; or null.
function meaning(text) {
  const plain = text.toLowerCase().replace(/\.grad\b.*|_grad\b|_l0\b|\.(t|data|numpy|cpu)\b.*/g, "");
  const all = plain.replaceAll(/[._/]/g, ""), last = plain.split(/[./]/).at(-1).replaceAll("_", "");
  const names = [all, last].flatMap((one) => [one, one.replace(/^(grad|gradient|d|g)(?=[wb])/, "")]);
  const key = Object.keys(ALIASES).find((one) => names.some((name) => ALIASES[one].test(name)));
  return key ? {key, isTorch: /weight$/.test(all) || last.startsWith("weight")} : null;
}

// Arrays {name, numbers, shape, dtype, halves}: dtype is null where the text names none, and halves
// are half a unit of the last digit of each number. Throws where a notation is not read.
function readArrays(text) {
  const clean = text.replace(/\b(NaN|-?Infinity)\b/g, '"$1"');
  const lines = clean.split("\n").filter((one) => /^\s*\{"name"/.test(one));
  if (!lines.length) return readPrinted(text);
  return lines.map((line) => {
    const {name, dtype, values} = JSON.parse(line), numbers = [values].flat(3).map(Number);
    const halves = numbers.map(() => 0), format = /b?float\d+/.exec(dtype)?.[0] ?? "float64";
    return {name, numbers, shape: shapeOf(values), dtype: format, halves};
  });
}

// Arrays in brackets, each with the last name before it.
function readPrinted(text) {
  const notation = UNREAD.find(([pattern]) => pattern.test(text));
  if (notation) fail(notation[1]);
  const dtype = /bfloat16|float(?:16|32|64)/.exec(text)?.[0] ?? null, result = [];
  const clean = text.replace(SCALAR, " $1 ").replace(/(?:shape|size)\W*\[[\d,\s]*\]/gi, " ");
  let outside = "", at = 0;
  for (let from; (from = clean.indexOf("[", at)) >= 0; at = closing(clean, from)) {
    const before = clean.slice(at, from), body = clean.slice(from, closing(clean, from));
    const name = before.match(/[A-Za-z_][\w./]*/g)?.findLast(meaning) ?? null;
    const texts = body.match(NUMERAL) ?? [];
    const shape = shapeOfRows(body.split(body.includes(";") ? /[\n;]/ : "]"));
    const numbers = texts.map((v) => Number(v.replace(/inf\w*/i, "Infinity")));
    const above = result.at(-1)?.shape, isNext = /^[\s,]*$/.test(before) && shape.length === 1;
    if (isNext && `${above}` === `${shape}`) fail("rows are printed one by one: print the array");
    if (texts.length) result.push({name, numbers, shape, dtype, halves: halfUnits(texts)});
    if (body.includes("...")) fail("an array is abbreviated with “...”: print all of its numbers");
    outside += before;
  }
  if (/(?:[\s*]+[-+]?\d+\.?\d*(?:e\S+)?){2}|\d \*/.test(outside + clean.slice(at))) {
    fail("rows have no brackets: paste MATLAB’s mat2str(dW, 17), or use report()");
  }
  return result;
}

function closing(text, from) {
  for (let i = from, depth = 0; i < text.length; i++) {
    depth += (text[i] === "[") - (text[i] === "]");
    if (depth === 0) return i + 1;
  }
  return text.length;
}

function shapeOfRows(rows) {
  const [first, ...others] = rows.map((row) => (row.match(NUMERAL) ?? []).length).filter(Boolean);
  if (others.some((length) => length !== first)) return [];
  return others.length ? [others.length + 1, first] : [first];
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

// The verdict on one array in words: right, wrong, or what else must be known.
function verdictOn(one, all) {
  const {key, numbers, dtype, isSquare, isTorch} = one, expected = expectedOf(key);
  if (!numbers.every(Number.isFinite)) return "wrong, not all numbers are finite";
  if (largest(numbers) === 0) return "wrong, all of its numbers are 0";
  if (agrees(one, tiny.p[key].flat())) return "these are the weights themselves; print their .grad";
  if (largest(one.halves) > 0.002 * largest(expected) && agrees(one, expected)) {
    return "cannot be told, print at least four digits";
  }
  if (dtype && agrees(one, expected)) return `right, to the precision of ${dtype}`;
  if (!dtype && agrees(one, expected, "float64")) return "right, to the digits printed";
  if (!dtype && agrees(one, expected)) return "right if it is computed in float32, to the precision "
    + "of that; wrong if in float64. Write the format with the numbers, or use report()";
  if (isSquare && agrees(swapped(one), expected)) {
    const isTold = isTorch || all.some(({key: other}) => other === "W_xh" || other === "W_hy");
    return isTold ? "wrong, it is transposed"
      : "transposed. If your program stores W_hh as PyTorch does, it is right";
  }
  const apart = largest(numbers.map((v, i) => v - expected[i])) / largest(expected);
  return `wrong, the largest difference is ${show(apart, 2)} of its maximum`;
}

const {T} = SIZES;
const SLIPS = [  // of the forward pass or the loss: words, and what is different
  ["h_0 is zero in your program: pass the h_0 of this network.", {h_0: 0}],
  ["The bias is added twice: set one of PyTorch's bias_ih_l0 and bias_hh_l0 to zero.", {b_h: 2}],
  ["Only the last step has a loss in your program; here every step has one.",
    {steps: [{start: 0, lossStart: T - 1, stop: T}]}],
  ["The loop ends before step 1: range(T, 0, -1) has it, range(T, 1, -1) has not.",
    {steps: [{start: 1, lossStart: 0, stop: T}]}],
  ["The way back is cut after two steps, as in chunks of 2.", {steps: windows(T, 2, 2)}],
  ["W_hh is transposed in your forward pass: PyTorch's weight_hh_l0 is loaded with W_hh.T.",
    {W_hh: transpose(tiny.p.W_hh)}],
];

function slipGradients({h_0 = 1, b_h = 1, W_hh = tiny.p.W_hh, steps = windows(T, T, T)}) {
  const scaled = (A, factor) => each((v) => factor * v, A);
  const p = {...tiny.p, W_hh, b_h: scaled(tiny.p.b_h, b_h)};
  const pass = forward(p, tiny.x, scaled(tiny.h_0, h_0));
  const parts = steps.map((one) => {
    const flow = adjoints(p, pass, tiny.target, one, tiny.N, one.start + 1);
    return gradientSum(p, pass, flow, one.start + 1, one.stop);
  });
  const total = Object.entries(eachParameter((...v) => sum(v), ...parts));
  return Object.fromEntries(total.map(([key, d]) => [`d${key}`, d]));
}

// The one mistake, or the factor, that gives all of these arrays, in words.
function mistakeOf(all) {
  const numbers = all.flatMap((one) => one.numbers);
  const zeros = all.filter((one) => largest(one.numbers) === 0);
  if (zeros.length === all.length) {
    return "All numbers are 0: print .grad after backward() and before zero_grad().";
  }
  const explains = (gradients) => all.every((one) => gradients[`d${one.key}`]
    && agrees(one, gradients[`d${one.key}`].flat()));
  const known = mistakes.find(({gradients}) => explains(gradients));
  if (known) {
    const {id, code, message} = known;
    return `These are the numbers of ${LINES[id][0]} = ${code} in (${id}). ${message}`;
  }
  const slip = SLIPS.find(([, options]) => explains(slipGradients(options)));
  if (slip) return slip[0];
  if (zeros.length) return "An array of zeros is not filled yet.";
  const factor = fitOf({numbers}, all.flatMap(({key}) => expectedOf(key)));
  if (all.every((one) => agrees({...one, halves: one.halves.map((v) => 2 * v)},
    expectedOf(one.key).map((v) => factor * v)))) {
    const clip = factor > 0 && factor < 1 ? `clipped by norm (now ${show(norm(numbers))}), or ` : "";
    return `All are ${showFactor(factor)} times the right ones: ${clip}another factor in the loss.`;
  }
  return "No mistake of the list explains all of these numbers.";
}

// A message for each array of the text, and one for the mistake that explains the wrong ones.
function pasted(text) {
  let arrays = [];
  try {
    arrays = readArrays(text);
  } catch (error) {
    return [`Not read: ${error instanceof LineError ? error.message : "the JSON is not complete"}.`];
  }
  if (!arrays.length) return ["No numbers are found: paste arrays, such as dW_hh = [[…]]."];
  const read = arrays.map(recognised), all = oriented(read.filter(({problem}) => !problem));
  const words = all.map((one) => {
    const {words: name, key, isTransposed} = one, torch = isTransposed ? "ᵀ, as PyTorch has it" : "";
    const start = [`d${key}`, key].includes(name) ? `d${key}` : `${name}: this is d${key}${torch}`;
    return `${start}: ${verdictOn(one, all)}.`;
  });
  const problems = read.flatMap(({problem}) => problem ?? []);
  const isWrong = words.some((one) => one.includes(": wrong,"));
  return [...problems, ...words, ...(isWrong ? [mistakeOf(all)] : [])];
}

if (element("paste-text")) {
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-text").addEventListener("input", ({target: {value}}) => {
    element("paste-result").innerText = value.trim() ? pasted(value).join("\n") : "";
  });
  element("paste-network").textContent = [
    "import numpy as np", ...Object.entries(tiny.p).map(([key, theta]) => asNumPy(key, theta)),
    ...["h_0", "x", "target"].map((key) => asNumPy(key, tiny[key].filter(Boolean))),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …), and x[0] is x_1",
  ].join("\n");
}
