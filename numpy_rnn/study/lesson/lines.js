// The reader's own backward pass: each line is evaluated on a tiny network and compared with
// the equation. The usual mistakes are recognised by their values.
"use strict";

lesson.lines = (() => {
const {
  range, sum, largest, dot, transpose, times, elementwise, columnSums, forward, adjoints,
  gradientSum, uniform,
} = lesson.rnn;
const {element, show, figure} = lesson.figures;

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

// A small language for one line of the backward pass, which looks like NumPy. A line is
// evaluated as it is read; nothing of it is run as JavaScript. Each method of Line reads
// the longest text of its kind and returns its value, a number or nested lists:
//
//   expression  products of unaries, joined by *, / or @, with + or − between them
//   unary       − unary, or power
//   power       postfix, or postfix ** unary
//   postfix     primary, with .T, .sum(…), .dot(…) or .transpose() after it
//   primary     (expression), a number, a quantity such as h[t-1], a name, or a call
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
    return this.chain(["+", "-"], () => this.chain(["*", "/", "@"], () => this.unary()));
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
    const {constants} = this.environment;
    if (name === "dh_next") return evaluate("da[t+1] @ W_hh.T", this.environment);
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

// The value of a line. environment: {constants, step, quantity(name, step)}.
const evaluate = (text, environment) => new Line(text, environment).value();

const LINES = {  // what a line computes, and right code
  B1: ["dy", "(y[t] - target[t]) / N"],
  B2: ["dh", "dy[t] @ W_hy.T + da[t+1] @ W_hh.T"],
  B3: ["da", "dh[t] * (1 - h[t]**2)"],
  B4: ["dW_xh", "x[t].T @ da[t]"],
  B5: ["dW_hh", "h[t-1].T @ da[t]"],
  B6: ["dW_hy", "h[t].T @ dy[t]"],
  B7: ["db_h", "da[t].sum(axis=0)"],
  B8: ["db_y", "dy[t].sum(axis=0)"],
};

const MISTAKES = {
  B1: {
    "(target[t] - y[t]) / N": "The sign is wrong: the derivative of ½(y − target)² is y − target.",
    "2 * (y[t] - target[t]) / N": "Twice too much: nn.MSELoss has no ½, or backward() ran twice.",
    "y[t] - target[t]": "The division by N is missing: the loss is a mean over T·B·O numbers.",
    "(y[t] - target[t]) / B": "This divides by B alone: the mean is over all T·B·O numbers, N.",
  },
  B2: {
    "dy[t] @ W_hy.T + da[t+1] @ W_hh": "W_hh needs a transpose: unit i sums over what it feeds.",
    "dy[t] @ W_hy.T": "The second arrow of h[t] is missing, da[t+1] @ W_hh.T, as after detach().",
    "da[t+1] @ W_hh.T": "The first arrow of h[t] is missing, to its own output: dy[t] @ W_hy.T.",
    "dy[t] @ W_hy.T + dh[t+1] @ W_hh.T": "da[t+1] belongs here: the way leads through the slope.",
    "dy[t] @ W_hy.T + da[t+1]": "The weight of the arrow from h[t] to a[t+1] is missing: W_hh.T.",
  },
  B3: {
    "dh[t]": "The slope is missing: h[t] = tanh(a[t]), so a factor 1 − h[t]².",
    "dh[t] * (1 - h[t])": "A square is missing: tanh′ = 1 − tanh².",
    "dh[t] * (1 - a[t]**2)": "The slope is 1 − h[t]², of the value, not of the argument a[t].",
    "dh[t] * (1 - np.tanh(h[t])**2)": "tanh is applied twice: h[t] is tanh(a[t]) already.",
  },
  B4: {
    "x[t].T @ dh[t]": "da[t] belongs here, not dh[t]: x[t] enters a[t], before the slope.",
  },
  B5: {
    "h[t].T @ da[t]": "The state before the step belongs here, h[t-1]: W_hh multiplies it in a[t].",
    "h[t-1].T @ dh[t]": "da[t] belongs here, not dh[t]: W_hh enters a[t], before the slope.",
    "da[t].T @ h[t-1]": "This is the transpose: rows belong to the unit that sends, h[t-1].",
  },
  B6: {
    "h[t-1].T @ dy[t]": "The state of the same step belongs here, h[t]: W_hy multiplies it.",
  },
  B7: {"dh[t].sum(axis=0)": "da[t] belongs here, not dh[t]: b_h enters a[t], before the slope."},
  B8: {"(y[t] - target[t]).sum(axis=0)": "The division by N is missing: dy[t] has it."},
};
// All sizes are different, and none is the product of two others but B·B = H, so that a wrong one
// shows. Round numbers, to be copied, and so small that no unit is saturated.
const SIZES = {T: 3, B: 2, D: 7, H: 4, O: 5};
const ROUNDING = 1e-9;  // relative: rounding is below 1e-13 here, every mistake above 1e-3

function tinyNetwork() {
  const {T, B, D, H, O} = SIZES;
  const draw = uniform(11);
  const number = () => Math.round(9 * (2 * draw() - 1)) / 10 || 0.5;
  const matrix = (rows, columns) => range(1, rows).map(() => range(1, columns).map(number));
  const series = (size) => [null, ...range(1, T).map(() => matrix(B, size))];
  const p = {
    W_xh: matrix(D, H), W_hh: matrix(H, H), W_hy: matrix(H, O),
    b_h: matrix(1, H)[0], b_y: matrix(1, O)[0],
  };
  return {p, h_0: matrix(B, H), x: series(D), target: series(O), N: T * B * O};
}

const exercise = tinyNetwork();

// Adjoints and gradients of a forward pass, by the equations.
function gradientsOf(p, activations, target, N) {
  const stop = SIZES.T;
  const flow = adjoints(p, activations, target, {lossStart: 0, stop}, N);
  const sums = Object.entries(gradientSum(p, activations, flow, 1, stop));
  return {...flow, ...Object.fromEntries(sums.map(([key, d]) => [`d${key}`, d]))};
}

const exercisePass = forward(exercise.p, exercise.x, exercise.h_0);
const correct = gradientsOf(exercise.p, exercisePass, exercise.target, exercise.N);

const ADJOINTS = ["dy", "dh", "da"];  // in the order of a step of the way back

// Whether an adjoint is computed after the line at a step, on the way back; the lines of
// the sums come after all adjoints of the step.
function isLater(adjoint, step, line, currentStep) {
  if (step !== currentStep) return step < currentStep;
  return ADJOINTS.includes(line) && ADJOINTS.indexOf(adjoint) >= ADJOINTS.indexOf(line);
}

// What the line `line` can use at a step. At step T + 1 every quantity is 0.
function environment(step, line) {
  const {p, target, h_0, N} = exercise;
  const {T} = SIZES;
  const quantities = {...exercisePass, target, ...correct};
  const quantity = (name, at) => {
    const first = name === "h" ? 0 : 1;
    if (at < first || at > T + 1) fail(`${name}[${at}] does not exist: steps are 1 to ${T}`);
    if (at === T + 1) return elementwise(() => 0, quantities[name][T]);
    const isUnknown = ADJOINTS.includes(name) && isLater(name, at, line, step);
    if (isUnknown) fail(`${name}[${at}] is not known yet at this line`);
    return quantities[name][at];
  };
  return {constants: {...p, ...SIZES, h_0, N}, step, quantity};
}

// What one line computes on right inputs: an adjoint at every step, or a sum over them.
function computedBy(id, code) {
  const [key] = LINES[id];
  const isSum = id > "B3";
  const values = [null];
  for (const t of range(1, SIZES.T).reverse()) {
    const value = evaluate(code, environment(t, key));
    const shape = shapeText(shapeOf(value));
    const expected = shapeText(shapeOf(isSum ? correct[key] : correct[key][t]));
    if (shape !== expected) fail(`the shape is ${shape}, expected ${expected}`);
    values[t] = value;
  }
  return isSum ? values.slice(1).reduce(OPERATORS["+"]) : values;
}

const numbersOf = (values) => values.flat(3).filter((v) => v !== null);

function differs(values, expectedValues) {
  const expected = numbersOf(expectedValues);
  const allowed = ROUNDING * Math.max(largest(expected), 1e-3);
  return numbersOf(values).some((v, i) => !(Math.abs(v - expected[i]) <= allowed));
}

function mistakeIn(id, value) {
  for (const [code, message] of Object.entries(MISTAKES[id])) {
    if (!differs(value, computedBy(id, code))) return message;
  }
  const u = numbersOf(value);
  const v = numbersOf(correct[LINES[id][0]]);
  const factor = dot(u, v) / dot(v, v);
  const isMultiple = u.every((w, i) => Math.abs(w - factor * v[i]) <= ROUNDING * largest(u));
  if (isMultiple && factor) return `This is the right value times ${show(factor, 4)}.`;
  return "The numbers differ from the equation.";
}

// The expression of a line, which may begin with dW_hh += and end in a comment.
const expressionOf = (text) => text.split("#")[0].replace(/^\s*\w+(\[t\])?\s*\+?=/, "").trim();

// The verdict on a line, on right inputs, so that one mistake does not hide the next.
function checkLine(id, text) {
  const [key] = LINES[id];
  const code = expressionOf(text);
  if (!code) return {kind: "empty", message: ""};
  try {
    const value = computedBy(id, code);
    if (!differs(value, correct[key])) return {kind: "right", message: "right"};
    return {kind: "wrong", message: `wrong. ${mistakeIn(id, value)}`};
  } catch (error) {
    if (!(error instanceof LineError)) throw error;
    return {kind: "error", message: `cannot be computed: ${error.message}`};
  }
}

function drawLines() {
  let rightCount = 0;
  for (const id of Object.keys(LINES)) {
    const {kind, message} = checkLine(id, element(`lines-${id}`).value);
    const isWrong = kind === "wrong" || kind === "error";
    const verdict = element(`lines-${id}-verdict`);
    Object.assign(verdict, {className: `verdict ${kind}`, textContent: message});
    element(`lines-${id}`).setAttribute("aria-invalid", String(isWrong));
    if (kind === "right") rightCount++;
  }
  element("lines-result").textContent = `${rightCount} of eight lines are right.`;
}

figure("lines", {}, drawLines);
if (element("lines")) {
  for (const id of Object.keys(LINES)) element(`lines-${id}`).addEventListener("input", drawLines);
}

return {
  LineError, fail, shapeOf, shapeText, evaluate, exercise, gradientsOf, exercisePass, correct,
  environment, MISTAKES, checkLine,
};
})();
