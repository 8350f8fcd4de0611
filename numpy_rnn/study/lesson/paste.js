// Gradients that the reader's own program prints: names, shapes and orientation are recognised, and
// the tolerance is that of the digits that are there and of the precision of the program.
"use strict";
// Half a unit of the last place of a number, relative to it.
const ROUNDINGS = {bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24};
const SHAPES = Object.fromEntries(Object.entries(tiny.p).map(([key, v]) => [key, shapeOf(v)]));
const ALIASES = {
  W_xh: ["wxh", "wih", "wx", "win", "weightih", "kernel"],
  W_hh: ["whh", "wh", "wrec", "weighthh", "recurrentkernel"], W_hy: ["why", "who", "wy", "wout"],
  b_h: ["bh", "biasih", "biashh", "bih", "bhh"], b_y: ["by", "bo", "bhy"],
};
// What is printed with an array and is no number of it: torch.Size([4, 3]), (4, 3), [4, 3] tensor,
// 4x4, dtype=float32.
const ASIDES = new RegExp([
  /(?:shape|size|float\d+)[\s=:(]*\[[\d,\s]*\]/, /\(\s*[1-9]\d*(?:\s*[,x×]\s*[1-9]\d*)*\s*,?\s*\)/,
  /\[\d+(?:, ?\d+)*\](?=:?\s+(?:tensor|array|\[))/, /\b\d+ ?[x×] ?\d+\b/,
  /\b(?:grad_fn|dtype|device|requires_grad)\s*=\s*(?:<[^>]*>|[\w.'":]+)/,
].map(({source}) => source).join("|"), "gi");
const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;

// The parameter that a name means, and whether it is PyTorch's, which is transposed; or null, and
// the shape decides.
function meaning(text) {
  const plain = text.toLowerCase()
    .replace(/\.grad\b.*|_grad\b|_l0\b|\.(data|numpy|detach|cpu)\b.*/g, "");
  const letters = plain.split(/[./]/).at(-1).replaceAll("_", "");
  const names = [letters, letters.replace(/^(grad|gradient|d|g)(?=w|b|h)/, "")];
  const key = Object.keys(ALIASES).find((one) => names.some((name) => ALIASES[one].includes(name)));
  return key ? {key, isTorch: letters.startsWith("weight") && !/\.t$/i.test(text)} : null;
}

// The arrays of a text, each with the last name before it. A single number is none.
function readArrays(text) {
  const [dtype = "float32"] = /bfloat16|float16|half\b/.exec(text) ?? [];
  const clean = text.replace(ASIDES, " ").replace(/−/g, "-"), result = [];
  const token = /([A-Za-z_][\w./]*)|\[|[-+]?(?:\d|\.\d)\S*/g;
  let name = null, factor = 1;
  for (let match; (match = token.exec(clean));) {
    const [found, word] = match, from = match.index;
    if (word) {
      if (meaning(word) || /weight|bias|kernel/i.test(word)) name = word;
      continue;
    }
    token.lastIndex = found === "[" ? closing(clean, from) : blockEnd(clean, from);
    const body = clean.slice(from, token.lastIndex), texts = body.match(NUMERAL) ?? [];
    const scale = /^(\S+)\s*\*\s*$/.exec(body.trim());  // PyTorch's factor: 1.0000e-02 * [[…]]
    if (scale) factor = Number(scale[1]);
    if (scale || !texts.length || (found !== "[" && texts.length === 1)) continue;
    const numbers = texts.map((v) => factor * Number(v.replace(/inf\w*/i, "Infinity")));
    result.push({
      name, texts, factor, numbers, isShort: body.includes("..."),
      dtype: dtype === "half" ? "float16" : dtype,
      shape: shapeOfRows(body.split(found === "[" ? "]" : /[\n;]/)),
    });
    [name, factor] = [null, 1];
  }
  const isHalf = looksHalf(result);
  return isHalf ? result.map((one) => ({...one, dtype: "float16", isHalf})) : result;
}

function closing(text, from) {
  for (let i = from, depth = 0; i < text.length; i++) {
    depth += (text[i] === "[") - (text[i] === "]");
    if (depth === 0) return i + 1;
  }
  return text.length;
}

// Rows of numbers without brackets end at the next name, bracket or empty line.
function blockEnd(text, from) {
  const next = /[[*]|[A-Za-z_]{2}|\n\s*\n/.exec(text.slice(from));
  return next ? from + next.index + Number(next[0] === "*") : text.length;
}

function shapeOfRows(rows) {
  const [first, ...others] = rows.map((row) => (row.match(NUMERAL) ?? []).length).filter(Boolean);
  if (others.some((length) => length !== first)) return [];
  return others.length ? [others.length + 1, first] : [first];
}

const digitsOf = (text) => (/([\d.]+)(?:e([-+]?\d+))?/i.exec(text) ?? ["", "", 0]).slice(1);
const decimalsOf = (text) => (digitsOf(text)[0].split(".")[1] ?? "").length;
const significant = (text) => digitsOf(text)[0].replace(".", "").replace(/^0+/, "").length;

// The nearest number of float16, and the fewest digits that give it.
function half(v) {
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(v) || 1)), -14) - 10);
  return Math.round(v / unit) * unit;
}
const needed = (v) => range(1, 5).find((n) => half(Number(v.toPrecision(n))) === v) ?? 5;
const isOfHalf = (v) => v === half(v) || v === Number(v.toPrecision(needed(half(v))));

// Whether all numbers are the shortest ones of float16: most have four digits, and they differ in
// their decimals, unlike those of a fixed format.
function looksHalf(arrays) {
  const texts = arrays.flatMap((one) => one.texts);
  const long = texts.filter((text) => significant(text) >= 4).length;
  return (long >= texts.length / 2 || (long && new Set(texts.map(decimalsOf)).size > 1))
    && arrays.every(({numbers}) => numbers.every(isOfHalf));
}

// Half a unit of the last digit of every number. An array is printed with the same decimals or the
// same significant digits, without zeros at the end.
function resolutions({texts, factor, isHalf}) {
  if (isHalf) return texts.map(() => 0);
  const parts = texts.map(digitsOf), most = Math.max(...texts.map(significant));
  const decimals = Math.max(...texts.map(decimalsOf));
  return parts.map(([digits, power = 0]) => {
    const size = Math.floor(Math.log10(Math.abs(Number(digits)) || 1e-99));
    const unit = Math.max(10 ** -decimals, 10 ** (size - most + 1));
    return 0.5 * factor * 10 ** Number(power) * unit;
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
  const problem = (text) => ({problem: `${words}: ${text}.`});
  if (!key) return problem(`shape ${shapeWords(shape)} is that of no gradient of this network`);
  if (array.isShort) return problem("it is abbreviated with “...”; print all of its numbers");
  if (!fits(key)) {
    const torch = ["W_xh", "W_hy"].includes(key) ? ", or its transpose as in PyTorch" : "";
    const expected = `${shapeWords(SHAPES[key])}${torch}`;
    return problem(`the shape is ${shapeWords(shape)}, expected ${expected}`);
  }
  const isSquare = key === "W_hh", isTorch = Boolean(meant?.isTorch), halves = resolutions(array);
  const one = {...array, words, key, isSquare, isTorch, halves, isTransposed: false};
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

// The places of the numbers that differ by more than their digits and four roundings.
function misses({key, numbers, halves, dtype}, expected) {
  const scale = Math.max(1, largest(expected) / largest(expectedOf(key)));
  const unit = 4 * ROUNDINGS[dtype] * scale, sizes = MAGNITUDES[`d${key}`].flat();
  return range(0, numbers.length - 1).filter((i) =>
    !(Math.abs(numbers[i] - expected[i]) <= 1.01 * halves[i] + unit * sizes[i]));
}

// Whether all numbers agree, and no factor is common to them: roundings average out in it.
function agrees(one, expected) {
  const digits = dot(one.halves, expected.map(Math.abs)) / dot(expected, expected);
  return !misses(one, expected).length
    && !(Math.abs(fitOf(one, expected) - 1) > 6 * ROUNDINGS[one.dtype] + digits);
}

// A square matrix may be transposed without showing it: it is taken as the other matrices are.
function oriented(all) {
  const isFlipped = all.some(({isSquare, isTransposed}) => !isSquare && isTransposed);
  return all.map((one) => (one.isSquare && !one.isTorch && isFlipped ? swapped(one) : one));
}

function verdictOn(one, all) {
  const expected = expectedOf(one.key), name = `d${one.key}`, size = largest(expected);
  const which = [name, one.key].includes(one.words) ? name
    : `${one.words}: this is ${name}${one.isTransposed ? "ᵀ, as PyTorch has it" : ""}`;
  const verdict = (kind, text) => ({kind, text: `${which}: ${text}.`});
  const apart = largest(one.numbers.map((v, i) => v - expected[i])) / size;
  const digits = largest(one.halves) / size;
  if (!one.numbers.every(Number.isFinite)) {
    return verdict("wrong", "wrong, not all of its numbers are finite");
  }
  if (agrees(one, tiny.p[one.key].flat())) {
    return verdict("named", "these are the weights themselves; print their .grad");
  }
  if (agrees(one, expected)) {
    return verdict("right", digits > 0.02 ? "cannot be told, print at least four digits"
      : one.dtype !== "float32" ? `right, to the precision of ${one.dtype}`
      : digits > 64 * ROUNDINGS.float32 ? "right, to the digits that are printed" : "right");
  }
  if (one.isSquare && agrees(swapped(one), expected)) {
    const isTold = all.some(({key}) => key === "W_xh" || key === "W_hy");
    return verdict(isTold && !one.isTorch ? "wrong" : "named", `transposed${
      one.isTorch ? ": PyTorch’s own has the other orientation"
        : isTold ? "" : ". If your program stores W_hh as PyTorch does, it is right"}`);
  }
  return verdict("wrong", `wrong, the largest difference is ${show(apart, 2)} of its maximum`);
}

const {T, B, O} = SIZES;
const FACTORS = [  // words, and a reason
  [2, "2", "nn.MSELoss has no ½, or backward() ran twice without zero_grad()"],
  [-1, "−1", "the sign is wrong"], [0.5, "½", "a ½, or 1/B, too many"],
  [T * B * O, "N", "the loss is a sum, not a mean"], [T, "T", "the mean is not over the steps"],
  [O, "O", "the mean is not over the outputs"], [T * B, "T·B", "the mean is over outputs alone"],
  [B * O, "B·O", "the mean is over the steps alone"],
];
const SLIPS = [  // of the forward pass or the loss: words, and what is different
  ["h_0 is zero in your program: pass the h_0 of this network.", {h_0: 0}],
  ["The bias is added twice: set one of PyTorch's bias_ih_l0 and bias_hh_l0 to zero.", {b_h: 2}],
  ["There is no hidden bias in your program.", {b_h: 0}],
  ["Only the last step has a loss in your program; here every step has one.",
    {steps: [{start: 0, lossStart: T - 1, stop: T}]}],
  ["The loop ends before step 1: range(T, 0, -1) has it, range(T, 1, -1) has not.",
    {steps: [{start: 1, lossStart: 0, stop: T}]}],
  ["The way back is cut after two steps, as in chunks of 2.",
    {steps: [{start: 0, lossStart: 0, stop: 2}, {start: 2, lossStart: 2, stop: T}]}],
  ["Each loss reaches two steps back only, its own included: k₂ is 2.", {steps: windows(T, 1, 2)}],
  ["W_hh is transposed in your forward pass: PyTorch's weight_hh_l0 is loaded with W_hh.T.",
    {W_hh: transpose(tiny.p.W_hh)}],
  ["The nonlinearity is relu in your program; here it is tanh.", {nonlinearity: "relu"}],
  ["The nonlinearity is the logistic function in your program.", {nonlinearity: "sigmoid"}],
  ["Steps and sequences are exchanged, and h_0 is zero: x is (T, B, D), so no batch_first=True.",
    {exchanged: true}],
];

function slipGradients({h_0 = 1, b_h = 1, W_hh = tiny.p.W_hh, exchanged, steps, nonlinearity}) {
  const scaled = (A, factor) => each((v) => factor * v, A);
  const ordered = (list) => (exchanged ? [null, ...transpose(list.slice(1))] : list);
  const p = {...tiny.p, W_hh, b_h: scaled(tiny.p.b_h, b_h)};
  const first = exchanged ? zeros(SIZES.T, SIZES.H) : scaled(tiny.h_0, h_0);
  const pass = forward(p, ordered(tiny.x), first, nonlinearity), length = exchanged ? B : T;
  const parts = (steps ?? windows(length, length, length)).map((one) => {
    const flow = adjoints(p, pass, ordered(tiny.target), one, tiny.N, nonlinearity, one.start + 1);
    return gradientSum(p, pass, flow, one.start + 1, one.stop);
  });
  const total = Object.entries(eachParameter((...v) => sum(v), ...parts));
  return Object.fromEntries(total.map(([key, d]) => [`d${key}`, d]));
}

const candidates = () => [["", right], ...mistakes.map(({id, code, message, gradients}) =>
  [`These are the numbers of ${LINES[id][0]} = ${code} in (${id}). ${message}`, gradients]),
...SLIPS.map(([words, options]) => [words, slipGradients(options)])];
let known = null;  // made when the first wrong numbers are pasted

// The one mistake, with or without a factor, that gives all of these tensors, in words.
function mistakeOf(all) {
  known ??= candidates();
  const isScaled = (factor) => ([, gradients]) => all.every((one) => gradients[`d${one.key}`]
    && agrees(one, gradients[`d${one.key}`].flat().map((v) => factor * v)));
  for (const [factor, times, why] of [[1, "", ""], ...FACTORS]) {
    const found = known.find(isScaled(factor))?.[0];
    if (found) return `${found}${times && ` And there is a factor of ${times}: ${why}.`}`;
    if (found === "" && times) return `All are ${times} times the right ones: ${why}.`;
  }
  const numbers = all.flatMap((one) => one.numbers), limit = largest(numbers);
  const factor = fitOf({numbers}, all.flatMap(({key}) => expectedOf(key)));
  if (limit === 0) return "All numbers are 0: print .grad after backward() and before zero_grad().";
  const expected = (one) => expectedOf(one.key).map((v) => factor * v);
  const doubled = (one) => ({...one, halves: one.halves.map((v) => 2 * v)});  // factor is rounded
  if (all.every((one) => agrees(doubled(one), expected(one)))) {
    const isWhole = all.length === Object.keys(tiny.p).length;
    const clip = `clipped by norm${isWhole ? ` (now ${show(norm(numbers))})` : ""}, or with `;
    const cause = `${factor > 0 && factor < 1 ? clip : ""}another factor in the loss`;
    return `All are ${showFactor(factor)} times the right ones: ${cause}.`;
  }
  const every = (f) => all.every((one) => agrees(one, f(one, expectedOf(one.key))));
  if (every((_, expected) => expected.map((v) => clamp(v, -limit, limit)))) {
    return `Clipped by value to ±${show(limit)}: the other numbers are right.`;
  }
  if (every((one, expected) => expected.map((v) => fitOf(one, expected) * v))) {
    return "The arrays have different factors. Clipping by norm has one norm, over all arrays.";
  }
  const missed = all.flatMap((one) => misses(one, expectedOf(one.key)).map((i) => [one.key, i]));
  if (missed.length !== 1) return "No mistake of the list explains all of these numbers.";
  const [[key, i]] = missed, [, n = 0] = SHAPES[key], place = n && `${Math.floor(i / n)}, ${i % n}`;
  return `One number is wrong, d${key}[${place || i}], counted from 0; all others are right.`;
}

// A message for each array of the text, and one for the mistake that explains the wrong ones. When
// there are others, an array without a name that fits nothing is left out.
function pasted(text) {
  const arrays = readArrays(text);
  if (!arrays.length) return ["No numbers are found: paste arrays, such as dW_hh = [[…]]."];
  const read = arrays.map(recognised), all = oriented(read.filter(({problem}) => !problem));
  const problems = read.filter(({problem}, i) => problem && (arrays[i].name || !all.length));
  const verdicts = all.map((one) => verdictOn(one, all));
  const isExplained = verdicts.every(({kind}) => kind !== "wrong");
  return [...problems.map(({problem}) => problem), ...verdicts.map((one) => one.text),
    ...(isExplained ? [] : [mistakeOf(all)])];
}

if (element("paste-text")) {
  const judge = () => {
    const {value} = element("paste-text"), messages = value.trim() ? pasted(value) : [];
    element("paste-result").replaceChildren(...messages.map((words) =>
      Object.assign(document.createElement("p"), {textContent: words})));
  };
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-text").addEventListener("input", judge);
  element("paste-network").textContent = [
    "import numpy as np", ...Object.entries(tiny.p).map(([key, theta]) => asNumPy(key, theta)),
    ...["h_0", "x", "target"].map((key) => asNumPy(key, tiny[key].filter(Boolean))),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …), and x[0] is x_1",
  ].join("\n");
  onClick("paste-example", () => {
    const {gradients} = mistakes.find(({code}) => code === LINES.B2[1].replace("W_hh.T", "W_hh"));
    const row = (k) => JSON.stringify(each((v) => Number(v.toFixed(5)), gradients[k]));
    element("paste-text").value = ["dW_xh", "dW_hh"].map((k) => `${k} = ${row(k)}`).join("\n");
    judge();
  });
}
