// A small language for one line of the backward pass, which looks like NumPy. A line is
// evaluated as it is read; nothing of it is run as JavaScript. Each method of Line reads
// the longest text of its kind and returns its value, a number or nested lists:
//
//   expression  product (+ or − product)…
//   product     unary (*, / or @ unary)…
//   unary       + or − unary, or power
//   power       postfix, or postfix ** unary
//   postfix     primary, with .T, .sum(…), .dot(…) or .transpose() after it
//   primary     (expression), a number, a quantity such as h[t-1], a name, or a call
"use strict";

lesson.language = (() => {
const {range, sum, transpose, times, elementwise, columnSums} = lesson.rnn;

class LineError extends Error {}
const fail = (why) => { throw new LineError(why); };

const shapeOf = (A) => (Array.isArray(A) ? [A.length, ...shapeOf(A[0])] : []);

function shapeText(shape) {
  if (shape.length === 0) return "that of a number";
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}

// f of the numbers at the same place. An axis is repeated where it has the length 1.
function broadcast(f, u, v) {
  const rank = Math.max(shapeOf(u).length, shapeOf(v).length);
  if (rank === 0) return f(u, v);
  const p = shapeOf(u).length < rank ? [u] : u;
  const q = shapeOf(v).length < rank ? [v] : v;
  const length = Math.max(p.length, q.length);
  if (![p, q].every((list) => list.length === length || list.length === 1)) {
    fail(`shapes ${shapeText(shapeOf(u))} and ${shapeText(shapeOf(v))} do not fit`);
  }
  const item = (list, i) => list[list.length === 1 ? 0 : i];
  return range(0, length - 1).map((i) => broadcast(f, item(p, i), item(q, i)));
}

function matrixProduct(A, B) {
  const [m, n] = [shapeOf(A), shapeOf(B)];
  if (m.length !== 2 || n.length !== 2) fail("@ and dot need two matrices");
  if (m[1] !== n[0]) fail(`@: shapes ${shapeText(m)} and ${shapeText(n)} do not fit`);
  return times(A, B);
}

function summed(A, axis = null) {
  const rank = shapeOf(A).length;
  if (axis === null) return sum([A].flat(rank + 1));
  const axes = range(0, rank - 1);
  if (!axes.includes(axis)) fail(`the axis is one of ${axes}, not ${axis}`);
  if (rank === 1) return sum(A);
  return axis === 0 ? columnSums(A) : A.map(sum);
}

const OPERATORS = {
  "@": matrixProduct,
  "+": (A, B) => broadcast((u, v) => u + v, A, B),
  "-": (A, B) => broadcast((u, v) => u - v, A, B),
  "*": (A, B) => broadcast((u, v) => u * v, A, B),
  "/": (A, B) => broadcast((u, v) => u / v, A, B),
  "**": (A, B) => broadcast((u, v) => u ** v, A, B),
};

const FUNCTIONS = {  // of NumPy, of as many arrays as they have parameters
  dot: matrixProduct,
  matmul: matrixProduct,
  add: OPERATORS["+"],
  subtract: OPERATORS["-"],
  multiply: OPERATORS["*"],
  divide: OPERATORS["/"],
  sum: summed,  // and an axis
  transpose: (A) => (shapeOf(A).length < 2 ? A : transpose(A)),
  tanh: (A) => elementwise(Math.tanh, A),
  cosh: (A) => elementwise(Math.cosh, A),
  square: (A) => elementwise((v) => v * v, A),
};
const METHODS = ["dot", "sum", "transpose"];

const STEPPED = ["x", "target", "a", "h", "y", "dy", "dh", "da"];
const CONSTANTS = [
  "W_xh", "W_hh", "W_hy", "b_h", "b_y", "h_0", "N", "T", "B", "D", "H", "O",
];
const TOKEN = new RegExp([
  `(?:${STEPPED.join("|")})\\s*\\[[^\\]]*\\]`,  // a quantity with its step
  "\\d+\\.?\\d*(?:e[-+]?\\d+)?", "\\.\\d+", "[A-Za-z_]\\w*", "\\*\\*", "\\S",
].join("|"), "g");
const STEP = /^(\w+)\s*\[\s*(t|T|\d+)\s*(?:([-+])\s*(\d+)\s*)?\]$/;

function unknown(name, names) {
  return fail(`${name} is unknown: expected one of ${names.join(", ")}`);
}

class Line {
  constructor(text, environment) {
    this.tokens = text.match(TOKEN) ?? [];
    this.environment = environment;
  }

  take(token) {
    const isNext = this.tokens[0] === token;
    if (isNext) this.tokens.shift();
    return isNext;
  }

  expect(token) {
    const next = this.tokens[0] ?? "the end";
    if (!this.take(token)) fail(`“${token}” is expected, not “${next}”`);
  }

  value() {
    const value = this.expression();
    const [next] = this.tokens;
    if (next !== undefined) fail(`“${next}” is not expected here`);
    return value;
  }

  expression() {
    return this.chain(["+", "-"], () => this.product());
  }

  product() {
    return this.chain(["*", "/", "@"], () => this.unary());
  }

  chain(operators, operand) {
    let value = operand();
    while (operators.includes(this.tokens[0])) {
      const operate = OPERATORS[this.tokens.shift()];
      value = operate(value, operand());
    }
    return value;
  }

  unary() {
    if (this.take("+")) return this.unary();
    if (this.take("-")) return elementwise((v) => -v, this.unary());
    const base = this.postfix();
    return this.take("**") ? OPERATORS["**"](base, this.unary()) : base;
  }

  postfix() {
    let value = this.primary();
    while (this.take(".")) {
      const name = this.tokens.shift();
      if (name === "T") value = FUNCTIONS.transpose(value);
      else if (METHODS.includes(name)) value = this.call(name, [value]);
      else unknown(`.${name ?? ""}`, ["T", ...METHODS]);
    }
    return value;
  }

  primary() {
    const token = this.tokens.shift() ?? fail("the line is not finished");
    if (token === "(") {
      const value = this.expression();
      this.expect(")");
      return value;
    }
    if (/^\.?\d/.test(token)) return Number(token);
    if (token.endsWith("]")) return this.quantity(token);
    if (!/^\w/.test(token)) fail(`“${token}” is not expected here`);
    return token === "np" ? this.numpy() : this.named(token);
  }

  // A quantity with its step, such as h[t-1].
  quantity(token) {
    const [, name, start, sign = "", shift = 0] = STEP.exec(token) ?? [];
    if (!name) fail(`${token} has no step: expected t, t-1, t+1, T or a number`);
    const {quantity, step, constants} = this.environment;
    const first = {t: step, T: constants.T}[start] ?? Number(start);
    return quantity(name, first + Number(`${sign}${shift}`));
  }

  named(name) {
    const {dh_next, constants} = this.environment;
    if (name === "dh_next") return dh_next();
    if (CONSTANTS.includes(name)) return constants[name];
    if (STEPPED.includes(name)) {
      fail(`${name} needs a step: ${name}[t]; sizes are N, T, B, D, H and O`);
    }
    return unknown(name, [...STEPPED, "dh_next", ...CONSTANTS]);
  }

  numpy() {
    this.expect(".");
    const name = this.tokens.shift() ?? "";
    if (Object.hasOwn(FUNCTIONS, name)) return this.call(name, []);
    return unknown(`np.${name}`, Object.keys(FUNCTIONS));
  }

  // A function of the first arrays, and of the arguments that follow in parentheses.
  call(name, firstArrays) {
    const compute = FUNCTIONS[name];
    const values = [...firstArrays];
    this.expect("(");
    while (!this.take(")")) {
      if (name === "sum" && this.take("axis")) this.expect("=");
      values.push(this.expression());
      if (this.tokens[0] !== ")") this.expect(",");
    }
    const most = name === "sum" ? 2 : compute.length;
    if (values.length < compute.length) fail(`${name} has too few arguments`);
    if (values.length > most) fail(`${name} has too many arguments`);
    return compute(...values);
  }
}

// The value of a line. environment: {constants, step, quantity(name, step), dh_next()}.
const evaluate = (text, environment) => new Line(text, environment).value();

return {LineError, fail, shapeOf, shapeText, evaluate};
})();
