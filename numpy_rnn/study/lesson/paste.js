// Gradients that the reader's own program prints: names, shapes and orientation are recognised, and
// the tolerance is that of the digits that are there and of the precision of the program.
"use strict";

// Rounding of a program, relative to the largest number of a tensor: some roundings of the format.
const PRECISIONS = {bfloat16: 24 * 2 ** -8, float16: 24 * 2 ** -11, float32: 64 * 2 ** -24};
const SHAPES = Object.fromEntries(Object.entries({...tiny.p, h_0: tiny.h_0}).map(([key, v]) => [key, shapeOf(v)]));
const ALIASES = {
  W_xh: ["wxh", "wih", "wx", "win", "weightih", "kernel"], W_hh: ["whh", "wh", "wrec", "weighthh", "recurrentkernel"],
  W_hy: ["why", "who", "wy", "wout"], b_h: ["bh", "biasih", "biashh", "bih", "bhh"],
  b_y: ["by", "bo", "bhy"], h_0: ["h0", "hprev", "hx", "hnext", "hinit"],
};
// Sizes that are printed with a name, and are no numbers of an array: torch.Size([4, 3]), (4, 3),
// [4, 3] tensor, 4x4.
const PRINTED_SIZES = new RegExp([
  /(?:shape|size|float\d+)[\s=:(]*\[[\d,\s]*\]/, /\(\s*[1-9]\d*(?:\s*[,x×]\s*[1-9]\d*)*\s*,?\s*\)/,
  /\[\d+(?:, ?\d+)*\](?=:?\s+(?:tensor|array|\[))/, /\b\d+ ?[x×] ?\d+\b/,
].map(({source}) => source).join("|"), "gi");
const ATTRIBUTES = /\b(?:grad_fn|dtype|device|requires_grad)\s*=\s*(?:<[^>]*>|[\w.'":]+)/g;
const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;

// The parameter that a name means, and whether it is PyTorch's, which is transposed; or null, and
// the shape decides.
function meaning(text) {
  const plain = text.toLowerCase().replace(/\.grad\b.*|_grad\b|_l0\b|\.(data|numpy|detach|cpu)\b.*/g, "");
  const letters = plain.split(/[./]/).at(-1).replaceAll("_", "");
  const short = letters.replace(/^(grad|gradient|d|g)(?=w|b|h)/, "");
  const key = Object.keys(ALIASES).find((one) => ALIASES[one].includes(letters) || ALIASES[one].includes(short));
  return key ? {key, isTorch: letters.startsWith("weight") && !/\.t$/i.test(text)} : null;
}

// The arrays of a text, each with the last name before it. A single number is none.
function readArrays(text) {
  const dtype = /bfloat16/.test(text) ? "bfloat16" : /float16|\bhalf\b/.test(text) ? "float16" : "float32";
  const clean = text.replace(PRINTED_SIZES, " ").replace(ATTRIBUTES, "").replace(/−/g, "-");
  const result = [], token = /([A-Za-z_][\w./]*)|\[|[-+]?(?:\d|\.\d)\S*/g;
  let name = null, factor = 1;
  for (let match; (match = token.exec(clean));) {
    const [found, word] = match;
    if (word) {
      if (meaning(word) || /weight|bias|kernel/i.test(word)) name = word;
      continue;
    }
    token.lastIndex = found === "[" ? closing(clean, match.index) : blockEnd(clean, match.index);
    const body = clean.slice(match.index, token.lastIndex), texts = body.match(NUMERAL) ?? [];
    const scale = /^(\S+)\s*\*\s*$/.exec(body.trim());  // PyTorch's factor: 1.0000e-02 * [[…]]
    if (scale) factor = Number(scale[1]);
    if (scale || !texts.length || (found !== "[" && texts.length === 1)) continue;
    const numbers = texts.map((v) => factor * Number(v.replace(/inf\w*/i, "Infinity")));
    result.push({
      name, texts, factor, numbers, isShort: body.includes("..."),
      dtype: dtype === "float32" && looksHalf(texts, numbers) ? "float16" : dtype,
      shape: found === "[" ? shapeInBrackets(body) : shapeOfRows(body),
    });
    [name, factor] = [null, 1];
  }
  return result;
}

// The index after the bracket that closes the one at `from`.
function closing(text, from) {
  for (let i = from, depth = 0; i < text.length; i++) {
    depth += (text[i] === "[") - (text[i] === "]");
    if (depth === 0) return i + 1;
  }
  return text.length;
}

// Rows of numbers without brackets end at the next name or bracket.
function blockEnd(text, from) {
  const next = /[[*]|[A-Za-z_]{2}/.exec(text.slice(from));
  return next ? from + next.index + Number(next[0] === "*") : text.length;
}

// The sizes of nested brackets; [] where parts differ in shape.
function shapeInBrackets(body) {
  const list = body.match(new RegExp(`[[\\]]|${NUMERAL.source}`, "gi"));
  let at = 0;
  const part = () => {
    if (list[at++] !== "[") return [];
    const shapes = [];
    while (at < list.length && list[at] !== "]") shapes.push(part());
    at++;
    return shapes.some((one) => !one || `${one}` !== `${shapes[0]}`) ? null : [shapes.length, ...(shapes[0] ?? [])];
  };
  return part() ?? [];
}

function shapeOfRows(body) {
  const rows = body.split(/[\n;]/).map((row) => (row.match(NUMERAL) ?? []).length).filter(Boolean);
  return new Set(rows).size > 1 ? [] : rows.length > 1 ? [rows.length, rows[0]] : [rows[0]];
}

const digitsOf = (text) => (/([\d.]+)(?:e([-+]?\d+))?/i.exec(text) ?? ["", "", 0]).slice(1);
const significant = (digits) => digits.replace(".", "").replace(/^0+/, "").length;

// The nearest number of float16.
function half(v) {
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(v) || 1)), -14) - 10);
  return Math.round(v / unit) * unit;
}

// Whether all numbers are of float16, exactly or in the fewest digits, and most with at least four.
function looksHalf(texts, numbers) {
  const shortest = (v) => range(1, 5).map((n) => Number(v.toPrecision(n))).find((w) => half(w) === v);
  const long = texts.filter((text) => significant(digitsOf(text)[0]) >= 4).length;
  return long >= texts.length / 2 && numbers.every((v) => v === half(v) || v === shortest(half(v)));
}

// Half a unit of the last digit of every number. An array is printed with the same number of
// decimals throughout, or of significant digits; zeros at the end may be left out.
function resolutions({texts, factor}) {
  const parts = texts.map(digitsOf);
  const decimals = Math.max(...parts.map(([digits]) => (digits.split(".")[1] ?? "").length));
  const figures = Math.max(...parts.map(([digits]) => significant(digits)));
  return parts.map(([digits, power = 0]) => {
    const size = Math.floor(Math.log10(Math.abs(Number(digits)) || 1e-99));
    return 0.5 * factor * 10 ** Number(power) * Math.max(10 ** -decimals, 10 ** (size - figures + 1));
  });
}

// The numbers of an (m, n) matrix, row by row, from those of its transpose.
const transposedList = (list, [m, n]) => list.map((_, k) => list[(k % n) * m + Math.floor(k / n)]);
const squeezed = (shape) => shape.filter((size) => size !== 1);
const sameShape = (u, v) => `${squeezed(u)}` === `${squeezed(v)}`;
const shapeWords = (shape) =>
  (shape.length ? `(${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "of rows that differ in length");

// The parameter and its numbers in the orientation of this page; or what is wrong with the shape.
function recognised(array) {
  const meant = array.name && meaning(array.name), {shape} = array, flipped = [...squeezed(shape)].reverse();
  const key = meant?.key ?? Object.keys(SHAPES).find((one) =>
    sameShape(shape, SHAPES[one]) || sameShape(flipped, SHAPES[one]));
  const words = array.name ?? `an array ${shapeWords(shape)}`;
  if (!key) return {problem: `${words}: shape ${shapeWords(shape)} is that of no gradient of this network.`};
  const expected = SHAPES[key], isStraight = sameShape(shape, expected), isSquare = key === "W_hh";
  if (array.isShort) return {problem: `${words}: the array is abbreviated with “...”; print all of its numbers.`};
  if (!isStraight && !sameShape(flipped, expected)) {
    const torch = ["W_xh", "W_hy"].includes(key) ? `, or ${shapeWords([...expected].reverse())} as in PyTorch` : "";
    return {problem: `${words}: the shape is ${shapeWords(shape)}, expected ${shapeWords(expected)}${torch}.`};
  }
  const isTorch = Boolean(meant?.isTorch), isTransposed = !isStraight || (isSquare && isTorch);
  const one = {words, key, isSquare, isTorch, isTransposed: false, dtype: array.dtype,
    numbers: array.numbers, halves: resolutions(array)};
  return isTransposed ? swapped(one) : one;
}

const swapped = (one) => ({...one, isTransposed: !one.isTransposed,
  numbers: transposedList(one.numbers, SHAPES[one.key]), halves: transposedList(one.halves, SHAPES[one.key])});
const expectedOf = (key) => right[`d${key}`].flat();

function agrees({numbers, halves, dtype}, expected) {
  const rounding = PRECISIONS[dtype] * largest(expected);
  return numbers.every((v, i) => Math.abs(v - expected[i]) <= 1.01 * halves[i] + rounding);
}

// A square matrix may be transposed without showing it: it is taken as the other matrices are.
function oriented(all) {
  const others = all.filter(({key, isSquare}) => !isSquare && key.startsWith("W"));
  const areTransposed = others.some(({isTransposed}) => isTransposed);
  return all.map((one) => (one.isSquare && !one.isTorch && areTransposed ? swapped(one) : one));
}

function verdictOn(one, isAlone) {
  const expected = expectedOf(one.key), name = `d${one.key}`, size = largest(expected);
  const transposedAs = {W_xh: "weight_ih_l0", W_hh: "weight_hh_l0", W_hy: "the weight of nn.Linear"}[one.key];
  const which = [name, one.key].includes(one.words) ? name : `${one.words}: this is ${name}${
    one.isTransposed ? `ᵀ${one.isTorch ? "" : `, as ${transposedAs} in PyTorch`}` : ""}`;
  const verdict = (isRight, text) => ({isRight, text: `${which}: ${text}`});
  if (!one.numbers.every(Number.isFinite)) return verdict(false, "wrong, not all of its numbers are finite.");
  const weights = one.key === "h_0" ? tiny.h_0 : tiny.p[one.key];
  if (agrees(one, weights.flat())) return verdict(false, "these are the weights themselves; print their .grad.");
  if (largest(one.halves) > 0.02 * size) return verdict(true, "cannot be told, too few digits are printed; print at least four.");
  if (agrees(one, expected)) {
    const isHalf = one.dtype !== "float32", isCoarse = largest(one.halves) > PRECISIONS.float32 * size;
    return verdict(true, `right${isHalf ? `, to the precision of ${one.dtype}` : isCoarse ? ", to the digits that are printed" : ""}.`);
  }
  if (one.isSquare && agrees(swapped(one), expected)) {
    return verdict(false, `transposed. ${one.isTorch ? "PyTorch’s own gradient has the other orientation."
      : isAlone ? "If your program stores W_hh as PyTorch does, it is right; else swap h[t-1] and da[t] in (B5)."
      : "Swap h[t-1] and da[t] in (B5)."}`);
  }
  const apart = largest(one.numbers.map((v, i) => v - expected[i])) / size;
  return verdict(false, `wrong, the largest difference is ${show(apart, 2)} of its largest number.`);
}

const FACTORS = [  // words, and a reason
  [2, "2", "nn.MSELoss has no ½, or backward() ran twice without zero_grad()"], [-1, "−1", "the sign is wrong"],
  [0.5, "½", "a ½, or 1/B, too many"], [tiny.N, "N", "the loss is a sum, not a mean"],
  [SIZES.T, "T", "the mean is not over the steps"], [SIZES.O, "O", "the mean is not over the outputs"],
  [SIZES.B * SIZES.T, "T·B", "the mean is over the outputs alone"],
  [SIZES.B * SIZES.O, "B·O", "the mean is over the steps alone"],
];
const SLIPS = [  // of the forward pass or the loss: words, and what is different
  ["h_0 is zero in your program: pass the h_0 of this network.", {h_0: 0}],
  ["The bias is added twice: PyTorch adds bias_ih_l0 and bias_hh_l0, so set one of them to zero.", {b_h: 2}],
  ["There is no hidden bias in your program.", {b_h: 0}],
  ["There is no output bias in your program.", {b_y: 0}],
  ["Only the last step has a loss in your program; here every step has one.", {lossStart: SIZES.T - 1}],
  ["Only the last step has a loss in your program, and the mean is over it alone; here every step has one.",
    {lossStart: SIZES.T - 1, N: tiny.N / SIZES.T}],
  ["W_hh is transposed in your forward pass: PyTorch's weight_hh_l0 is loaded with W_hh.T.", {W_hh: transpose(tiny.p.W_hh)}],
  ["The nonlinearity is relu in your program; here it is tanh.", {nonlinearity: "relu"}],
  ["The nonlinearity is the logistic function in your program; here it is tanh.", {nonlinearity: "sigmoid"}],
  ["Steps and sequences are exchanged, and h_0 is zero: x is (T, B, D), so no batch_first=True.", {exchanged: true}],
];

function slipGradients({h_0 = 1, b_h = 1, b_y = 1, W_hh = tiny.p.W_hh, N = tiny.N, exchanged = false, ...options}) {
  const scaled = (A, factor) => each((v) => factor * v, A);
  const turned = (list) => (exchanged ? [null, ...transpose(list.slice(1))] : list);
  const p = {...tiny.p, W_hh, b_h: scaled(tiny.p.b_h, b_h), b_y: scaled(tiny.p.b_y, b_y)};
  const first = exchanged ? zeros(SIZES.T, SIZES.H) : scaled(tiny.h_0, h_0);
  return gradientsOf(p, forward(p, turned(tiny.x), first, options.nonlinearity), turned(tiny.target), N, options);
}

// Every candidate: its words, and its gradients. What a mistake does to dh_0 is not considered.
const candidates = () => [["", right],
  ...mistakes.map(({id, code, message, gradients}) =>
    [`These are the numbers of ${LINES[id][0]} = ${code} in (${id}). ${message}`, gradients]),
  ...SLIPS.map(([words, options]) => [words, slipGradients(options)])];
let known = null;  // made when the first wrong numbers are pasted

// The one mistake, with or without a factor, that gives all of these tensors, in words.
function mistakeOf(all) {
  known ??= candidates();
  const judged = all.filter(({key}) => key !== "h_0");
  const scaledBy = (factor) => ([, gradients]) => judged.every((one) => gradients[`d${one.key}`]
    && agrees(one, gradients[`d${one.key}`].flat().map((v) => factor * v)));
  for (const [factor, times, why] of [[1, "", ""], ...FACTORS]) {
    const found = known.find(scaledBy(factor))?.[0];
    if (found) return `${found}${times && ` And there is a factor of ${times}: ${why}.`}`;
    if (found === "" && times) return `All are ${times} times the right ones: ${why}.`;
  }
  return scaleOf(judged, scaledBy);
}

// One factor for all tensors, or a limit for each number.
function scaleOf(all, scaledBy) {
  const numbers = all.flatMap((one) => one.numbers), expected = all.flatMap(({key}) => expectedOf(key));
  const factor = dot(numbers, expected) / dot(expected, expected), limit = largest(numbers);
  if (limit === 0) return "All numbers are 0: print .grad after backward() and before zero_grad().";
  if (numbers.length > 1 && scaledBy(factor)(["", right])) {
    const isClip = factor > 0 && factor < 1, isWhole = all.length === LINES_OF_WEIGHTS;
    return `All are ${show(factor)} times the right ones: ${isClip ? `clipped by norm${isWhole
      ? `, to ${show(norm(numbers))}` : ""}, or the learning rate or another divisor is in them` : "one factor too many"}.`;
  }
  const clipped = all.every((one) => agrees(one, expectedOf(one.key).map((v) => clamp(v, -limit, limit))));
  return clipped ? `Clipped by value: no number is beyond ±${show(limit)}, the others are right.`
    : "No mistake of the list explains all of these numbers.";
}

const LINES_OF_WEIGHTS = Object.keys(tiny.p).length;

// A message for each array of the text, and one for the mistake that explains the wrong ones. When
// there are others, an array without a name that fits nothing is left out.
function pasted(text) {
  const arrays = readArrays(text);
  if (!arrays.length) return ["No numbers are found: paste arrays, each after its name, such as dW_hh = [[…]]."];
  const read = arrays.map(recognised), all = oriented(read.filter(({problem}) => !problem));
  const problems = read.filter(({problem}, i) => problem && (arrays[i].name || !all.length)).map(({problem}) => problem);
  const verdicts = all.map((one) => verdictOn(one, all.length === 1));
  const messages = [...problems, ...verdicts.map(({text: words}) => words)];
  if (verdicts.every(({isRight, text: words}) => isRight || /: transposed|themselves/.test(words))) return messages;
  return [...messages, mistakeOf(all)];
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
    "import numpy as np", ...Object.entries({...tiny.p, h_0: tiny.h_0}).map(([key, theta]) => asNumPy(key, theta)),
    asNumPy("x", tiny.x.slice(1)), asNumPy("target", tiny.target.slice(1)),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …)",
  ].join("\n");
  onClick("paste-example", () => {
    const {gradients} = mistakes.find(({code}) => code === LINES.B2[1].replace("W_hh.T", "W_hh"));
    element("paste-text").value = ["W_xh", "W_hh", "W_hy"].map((key) =>
      `d${key} = ${JSON.stringify(each((v) => Number(v.toFixed(5)), gradients[`d${key}`]))}`).join("\n");
    judge();
  });
}
