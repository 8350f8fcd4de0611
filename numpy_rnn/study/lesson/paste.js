// Gradients of the reader's own program: read, compared with the right ones, and diagnosed.
// Uses rnn.js, figures.js, language.js, lines.js.
"use strict";
const ROUNDINGS = {bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53};
const SHAPES = mapObject(shapeOf, tiny.p);
const REPORT = `def report(**gradients):
    import json
    for name, g in gradients.items():
        print(json.dumps({"name": name, "dtype": str(g.dtype), "values": g.tolist()}))
report(dW_xh=dW_xh, dW_hh=dW_hh, dW_hy=dW_hy, db_h=db_h, db_y=db_y)  # your arrays`;
const ALIASES = {
  W_xh: /^(wxh|wih|wx|win|weightih|kernel)$/, W_hh: /^(whh|wh|wrec|weighthh|recurrentkernel)$/,
  W_hy: /^(why|who|wy|wout|outweight|fcweight|linearweight)$/,
  b_h: /^(bh|biasih|biashh|bih|bhh)$/, b_y: /^(by|bo|bhy|outbias|fcbias|linearbias)$/,
};
const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;
const SCALAR = /\b(?:(?:np|jnp)\.)?(?:float\d+|tensor|Array)\(\s*([-+\w.]+)\s*(?:,[^()]*)?\)/g;
const ASIDES = new RegExp([  // printed with an array: torch.Size([4, 3]), (4, 3), 4×4, dtype=...
  /(?:shape|size|float\d+)[\s=:(]*\[[\d,\s]*\]/, /\(\s*\d+(?:\s*[,x×]\s*\d*)+\)/,
  /\[\d+(?:, ?\d+)*\](?=:?\s+(?:tensor|array|\[))/, /\b\d+ ?[x×] ?\d+\b/,
  /\b(?:grad_fn|dtype|device|requires_grad)\s*=\s*(?:<[^>]*>|[\w.'":]+)/,
].map(({source}) => source).join("|"), "gi");

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
  const clean = text.replace(/\b(NaN|-?Infinity)\b/g, '"$1"'), result = [];
  for (const line of clean.split("\n").filter((one) => /^\s*\{"name"/.test(one))) {
    const {name, dtype, values} = JSON.parse(line), numbers = [values].flat(3).map(Number);
    const halves = numbers.map(() => 0), format = /b?float\d+/.exec(dtype)?.[0] ?? "float64";
    result.push({name, numbers, shape: shapeOf(values), dtype: format, halves});
  }
  return result.length ? result : readPrinted(text);
}

function readPrinted(text) {
  if (/^\s*\[\d*,\d*\]|\[,\d+\]|^\s*\[\d+\]\s+[-\d]/m.test(text)) throw new LineError("R prints "
    + "labels between the numbers: paste the output of jsonlite::toJSON(dW, digits = 17)");
  if (/[A-Za-z_]\w*(?:\[\d+\])+\s*[=:]/.test(text)) {
    throw new LineError("elements or rows are printed one by one: print the array, or use report()");
  }
  if (/columns \d+ (?:through|to|and) \d+|\d\s*\*\s*(?:\[|$)/im.test(text)) {
    throw new LineError("a factor or blocks of columns are in the text: print full rows, or JSON");
  }
  const dtype = /bfloat16|float(?:16|32|64)/.exec(text)?.[0] ?? null;
  const clean = text.replace(SCALAR, " $1 ").replace(ASIDES, " ").replace(/−/g, "-"), result = [];
  const token = /([A-Za-z_][\w./]*)|\[|[-+]?(?:\d|\.\d)\S*/g;
  let name = null, isAfterRow = false;
  for (let match; (match = token.exec(clean));) {
    const [found, word] = match, from = match.index;
    if (word) {
      if (meaning(word) || /weight|bias|kernel/i.test(word)) name = word;
      isAfterRow &&= !name;
      continue;
    }
    token.lastIndex = found === "[" ? closing(clean, from) : blockEnd(clean, from);
    const body = clean.slice(from, token.lastIndex), texts = body.match(NUMERAL) ?? [];
    if (!texts.length || (found !== "[" && texts.length === 1)) continue;
    const shape = shapeOfRows(body.split(found === "[" && !body.includes(";") ? "]" : /[\n;]/));
    const numbers = texts.map((v) => Number(v.replace(/inf\w*/i, "Infinity")));
    const one = {name, texts, numbers, shape, dtype, isShort: body.includes("...")};
    const last = result.at(-1), isRow = found === "[" && shape.length === 1;
    if (isRow && isAfterRow && last.shape.at(-1) === shape[0]) {  // rows in brackets of their own
      const rows = last.shape.length === 1 ? 2 : last.shape[0] + 1;
      Object.assign(last, {texts: [...last.texts, ...texts], shape: [rows, shape[0]]});
      last.numbers.push(...numbers);
    } else result.push(one);
    isAfterRow = isRow;
    name = null;
  }
  return result.map((one) => ({...one, halves: halfUnits(one)}));
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
  const length = text.slice(from).search(/\[|[A-Za-z_]{2}|\n\s*\n/);
  return length < 0 ? text.length : from + length;
}

function shapeOfRows(rows) {
  const [first, ...others] = rows.map((row) => (row.match(NUMERAL) ?? []).length).filter(Boolean);
  if (others.some((length) => length !== first)) return [];
  return others.length ? [others.length + 1, first] : [first];
}

// An array is printed with the same decimals or the same digits, without zeros at the end.
function halfUnits({texts}) {
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
  if (!key) return {problem: `${words}: shape ${shapeWords(shape)} is that of no gradient here.`};
  if (array.isShort) return {problem: `${words}: abbreviated with “...”; print all of its numbers.`};
  if (!fits(key)) {
    const torch = ["W_xh", "W_hy"].includes(key) ? ", or its transpose as in PyTorch" : "";
    const expected = `${shapeWords(SHAPES[key])}${torch}`;
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

// [kind, words] on one array: right, wrong, or named, where more than the numbers must be known.
function verdictOn(one, all) {
  const {key, numbers, dtype, isSquare, isTorch} = one, expected = expectedOf(key);
  const apart = largest(numbers.map((v, i) => v - expected[i])) / largest(expected);
  if (!numbers.every(Number.isFinite)) return ["wrong", "wrong, not all numbers are finite"];
  if (largest(numbers) === 0) return ["wrong", "wrong, all of its numbers are 0"];
  if (agrees(one, tiny.p[key].flat())) {
    return ["named", "these are the weights themselves; print their .grad"];
  }
  if (largest(one.halves) > 0.02 * largest(expected) && agrees(one, expected)) {
    return ["named", "cannot be told, print at least four digits"];
  }
  if (dtype && agrees(one, expected)) return ["right", `right, to the precision of ${dtype}`];
  if (!dtype && agrees(one, expected, "float64")) return ["right", "right, to the digits printed"];
  if (!dtype && agrees(one, expected)) return ["named", "right if it is computed in float32, to the "
    + "precision of that; wrong if in float64. Write the format with the numbers, or use report()"];
  if (isSquare && agrees(swapped(one), expected)) {
    const isTold = isTorch || all.some(({key: other}) => other === "W_xh" || other === "W_hy");
    return [isTold ? "wrong" : "named", isTorch ? "transposed: PyTorch’s own has the other orientation"
      : isTold ? "transposed" : "transposed. If your program stores W_hh as PyTorch does, it is right"];
  }
  const half = dtype ? null : ["float16", "bfloat16"].find((format) => agrees(one, expected, format));
  return ["wrong", `wrong, the largest difference is ${show(apart, 2)} of its maximum${
    half ? `, unless it is computed in ${half}: then write so` : ""}`];
}

const {T, B, O} = SIZES;
const FACTORS = {  // a factor of all numbers, and its cause
  2: "nn.MSELoss has no ½, or backward() ran twice without zero_grad()", "-1": "the sign is wrong",
  0.5: "a ½, or 1/B, too many", [T * B * O]: "the loss is a sum, not a mean",
  [T]: "the mean is not over the steps", [O]: "the mean is not over the outputs",
  [T * B]: "the mean is over outputs alone", [B * O]: "the mean is over the steps alone",
};
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
];

function slipGradients({h_0 = 1, b_h = 1, W_hh = tiny.p.W_hh, steps, nonlinearity}) {
  const scaled = (A, factor) => each((v) => factor * v, A);
  const p = {...tiny.p, W_hh, b_h: scaled(tiny.p.b_h, b_h)};
  const pass = forward(p, tiny.x, scaled(tiny.h_0, h_0), nonlinearity);
  const parts = (steps ?? windows(T, T, T)).map((one) => {
    const flow = adjoints(p, pass, tiny.target, one, tiny.N, nonlinearity, one.start + 1);
    return gradientSum(p, pass, flow, one.start + 1, one.stop);
  });
  const total = Object.entries(eachParameter((...v) => sum(v), ...parts));
  return Object.fromEntries(total.map(([key, d]) => [`d${key}`, d]));
}

const candidates = () => [["", right], ...mistakes.map(({id, code, message, gradients}) =>
  [`These are the numbers of ${LINES[id][0]} = ${code} in (${id}). ${message}`, gradients]),
...SLIPS.map(([words, options]) => [words, slipGradients(options)])];
let known = null;  // made when the first wrong numbers are pasted

// The one mistake, with or without a factor, that gives all of these arrays, in words.
function mistakeOf(all) {
  known ??= candidates();
  const numbers = all.flatMap((one) => one.numbers), limit = largest(numbers);
  if (limit === 0) return "All numbers are 0: print .grad after backward() and before zero_grad().";
  const isScaled = (factor) => ([, gradients]) => all.every((one) => gradients[`d${one.key}`]
    && agrees(one, gradients[`d${one.key}`].flat().map((v) => factor * v)));
  for (const [factor, why] of [[1, ""], ...Object.entries(FACTORS)]) {
    const found = known.find(isScaled(Number(factor)))?.[0];
    if (found) return `${found}${why && ` And there is a factor of ${factor}: ${why}.`}`;
    if (found === "" && why) return `All are ${factor} times the right ones: ${why}.`;
  }
  if (all.some((one) => largest(one.numbers) === 0)) return "An array of zeros is not filled yet.";
  const every = (f) => all.every((one) => agrees(one, f(one, expectedOf(one.key))));
  if (every((_, expected) => expected.map((v) => clamp(v, -limit, limit)))) {
    return `Clipped by value to ±${show(limit)}: the other numbers are right.`;
  }
  const factor = fitOf({numbers}, all.flatMap(({key}) => expectedOf(key)));
  if (all.every((one) => agrees({...one, halves: one.halves.map((v) => 2 * v)},
    expectedOf(one.key).map((v) => factor * v)))) {
    const clip = factor > 0 && factor < 1 ? `clipped by norm (now ${show(norm(numbers))}), or ` : "";
    return `All are ${showFactor(factor)} times the right ones: ${clip}another factor in the loss.`;
  }
  return every((one, expected) => expected.map((v) => fitOf(one, expected) * v))
    ? "The arrays have different factors. Clipping by norm has one norm, over all arrays."
    : "No mistake of the list explains all of these numbers.";
}

// A message for each array of the text, and one for the mistake that explains the wrong ones. When
// there are others, an array without a name that fits nothing is left out.
function pasted(text) {
  let arrays = [];
  try {
    arrays = readArrays(text);
  } catch (error) {
    return [`Not read: ${error instanceof LineError ? error.message : "the JSON is not complete"}.`];
  }
  if (!arrays.length) return ["No numbers are found: paste arrays, such as dW_hh = [[…]]."];
  const read = arrays.map(recognised), all = oriented(read.filter(({problem}) => !problem));
  const problems = read.filter(({problem}, i) => problem && (arrays[i].name || !all.length));
  const verdicts = all.map((one) => [...verdictOn(one, all), one]);
  const words = verdicts.map(([, said, {words: name, key, isTransposed}]) => (
    [`d${key}`, key].includes(name) ? `d${key}: ${said}.`
      : `${name}: this is d${key}${isTransposed ? "ᵀ, as PyTorch has it" : ""}: ${said}.`));
  const isExplained = verdicts.every(([kind]) => kind !== "wrong");
  return [...problems.map(({problem}) => problem), ...words, ...(isExplained ? [] : [mistakeOf(all)])];
}

if (element("paste-text")) {
  const judge = () => {
    const {value} = element("paste-text"), messages = value.trim() ? pasted(value) : [];
    element("paste-result").replaceChildren(...messages.map((words) =>
      Object.assign(document.createElement("p"), {textContent: words})));
  };
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-text").addEventListener("input", judge);
  element("paste-report").textContent = REPORT;
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
