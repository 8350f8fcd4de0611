// The arrays of a text that the reader pastes: the lines of report(), or what a program prints.
"use strict";

lesson.reading = (() => {
const {fail, shapeOf} = lesson.arrays;

const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;
const SCALAR = /\b(?:(?:np|jnp)\.)?(?:float\d+|tensor|Array)\(\s*([-+\w.]+)\s*(?:,[^()]*)?\)/g;
const UNREAD = [  // a notation, and what to paste instead
  [/\[\d*,\d*\]|^\s*\[\d+\]\s+[-\d]/m,
    "R prints labels between the numbers: paste jsonlite::toJSON(dW, digits = 17)"],
  [/[A-Za-z_]\w*(?:\[\d+\])+\s*[=:]/, "elements are printed one by one: print the array"],
];

const ALIASES = {
  W_xh: /^(wxh|wih|wx|win|weightih|kernel)$/, W_hh: /^(whh|wh|wrec|weighthh|recurrentkernel)$/,
  W_hy: /^(why|who|wy|wout|outweight|fcweight|linearweight)$/,
  b_h: /^(bh|biasih|biashh|bih|bhh)$/, b_y: /^(by|bo|bhy|outbias|fcbias|linearbias)$/,
};

// The parameter that a name means, and whether it is PyTorch's, which is transposed; or null.
function meaning(text) {
  const suffixes = /\.grad\b.*|_grad\b|_l0\b|\.(t|data|numpy|cpu)\b.*/g;
  const plain = text.toLowerCase().replace(suffixes, "");
  const whole = plain.replaceAll(/[._/]/g, "");
  const last = plain.split(/[./]/).at(-1).replaceAll("_", "");
  const withoutD = (name) => name.replace(/^(grad|gradient|d|g)(?=[wb])/, "");
  const names = [whole, withoutD(whole), last, withoutD(last)];
  const key = Object.keys(ALIASES).find((alias) => names.some((name) => ALIASES[alias].test(name)));
  return key ? {key, isTorch: /weight$/.test(whole) || last.startsWith("weight")} : null;
}

// Arrays {name, numbers, shape, dtype, halves}: dtype is null where the text names none, and halves
// are half a unit of the last digit of each number. Throws where a notation is not read.
function readArrays(text) {
  const clean = text.replace(/\b(NaN|-?Infinity)\b/g, '"$1"');
  const lines = clean.split("\n").filter((line) => /^\s*\{"name"/.test(line));
  if (!lines.length) return readPrinted(text);
  return lines.map((line) => {
    const {name, dtype, values} = JSON.parse(line);
    const numbers = [values].flat(3).map(Number);
    const format = /b?float\d+/.exec(dtype)?.[0] ?? "float64";
    return {name, numbers, shape: shapeOf(values), dtype: format, halves: numbers.map(() => 0)};
  });
}

// Arrays in brackets, each with the last name before it.
function readPrinted(text) {
  const notation = UNREAD.find(([pattern]) => pattern.test(text));
  if (notation) fail(notation[1]);
  const dtype = /bfloat16|float(?:16|32|64)/.exec(text)?.[0] ?? null;
  const result = [];
  const clean = text.replace(SCALAR, " $1 ").replace(/(?:shape|size)\W*\[[\d,\s]*\]/gi, " ");
  let outside = "", at = 0;
  for (let from; (from = clean.indexOf("[", at)) >= 0; at = closing(clean, from)) {
    const before = clean.slice(at, from);
    const body = clean.slice(from, closing(clean, from));
    const name = before.match(/[A-Za-z_][\w./]*/g)?.findLast(meaning) ?? null;
    const texts = body.match(NUMERAL) ?? [];
    const shape = shapeOfRows(body.split(body.includes(";") ? /[\n;]/ : "]"));
    const numbers = texts.map((v) => Number(v.replace(/inf\w*/i, "Infinity")));
    const above = result.at(-1)?.shape;
    const isNext = /^[\s,]*$/.test(before) && shape.length === 1;
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

return {meaning, readArrays};
})();
