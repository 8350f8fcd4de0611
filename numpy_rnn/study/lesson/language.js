// A small language for one line of the backward pass, which looks like NumPy. A line is parsed into
// a function of an environment; nothing of it is run as JavaScript. Every function parse… reads the
// longest text of its kind from a stream of tokens, and returns such a function:
//
//   expression  product (+ or − product)…
//   product     unary (*, / or @ unary)…
//   unary       + or − unary, or power
//   power       postfix, or postfix ** unary
//   postfix     primary, with .T, .sum(…), [0] and the like after it
//   primary     (expression), a number, a quantity such as h[t-1], a name, a call, or a size over
//               all steps, y.size or y.shape[0]
"use strict";

lesson.language = (() => {
const {range, elementwise} = lesson.rnn;
const {
  fail, shapeOf, count, shapeText, matrixProduct, OPERATORS, dotProduct, transposed, summed,
  averaged,
} = lesson.arrays;

const TOKEN = new RegExp([
  /\s*((?:x|target|a|h|y|dy|dh|da)\s*\[[^\]]*\])/,  // a quantity with its step
  /\s*(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)/, /\s*([A-Za-z_]\w*)/, /\s*(\*\*|[-+*/@().,=[\]])/,
].map(({source}) => source).join("|"), "y");
const STEP = /^(\w+)\s*\[\s*(t|T|\d+)\s*(?:([-+])\s*(\d+)\s*)?\]$/;
const STEPPED = ["x", "target", "a", "h", "y", "dy", "dh", "da"];
const SIZED = ["y", "target"];  // of which the sizes over all steps are known, T, B and O
const CONSTANTS = ["W_xh", "W_hh", "W_hy", "b_h", "b_y", "h_0", "N", "T", "B", "D", "H", "O"];

// Functions np.f(A, …): how many arrays they take, what they compute, whether there may be an axis,
// and how an array is read where it is not an expression.
const NUMPY = {
  dot: {arity: 2, compute: dotProduct},
  matmul: {arity: 2, compute: matrixProduct},
  add: {arity: 2, compute: OPERATORS["+"]},
  subtract: {arity: 2, compute: OPERATORS["-"]},
  multiply: {arity: 2, compute: OPERATORS["*"]},
  divide: {arity: 2, compute: OPERATORS["/"]},
  tanh: {arity: 1, compute: (A) => elementwise(Math.tanh, A)},
  cosh: {arity: 1, compute: (A) => elementwise(Math.cosh, A)},
  size: {arity: 1, compute: count, parseArray: parseSized},
  square: {arity: 1, compute: (A) => elementwise((v) => v * v, A)},
  transpose: {arity: 1, compute: transposed},
  sum: {arity: 1, compute: summed, hasAxis: true},
  mean: {arity: 1, compute: averaged, hasAxis: true},
  power: {arity: 2, compute: OPERATORS["**"]},
};
const METHODS = ["dot", "sum", "mean", "transpose"];
const PYTHON = {
  float: {arity: 1, compute: (A) => A},
  sum: {arity: 1, compute: (A) => summed(A, 0)},
};

class Tokens {
  constructor(text) {
    this.list = tokensOf(text);
    this.position = 0;
  }

  peek() {
    return this.list[this.position];
  }

  next() {
    return this.list[this.position++];
  }

  take(token) {
    const isNext = this.peek() === token;
    if (isNext) this.position++;
    return isNext;
  }

  expect(token, where) {
    const other = this.peek() === undefined ? "" : `, not “${this.peek()}”`;
    if (!this.take(token)) fail(`“${token}” is expected ${where}${other}`);
  }
}

function tokensOf(text) {
  const result = [];
  if (/einsum/.test(text)) fail("np.einsum is not read here: write the product with @ and .T");
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim()) {
    const [sign] = text.slice(TOKEN.lastIndex).trim();
    const match = TOKEN.exec(text) ?? fail(`“${sign}” is not part of the language`);
    result.push(match.slice(1).find((token) => token));
  }
  return result;
}

// The function of an environment that a line is.
function parse(text) {
  const tokens = new Tokens(text);
  const whole = parseExpression(tokens);
  if (tokens.peek() !== undefined) fail(`“${tokens.peek()}” is not expected here`);
  return whole;
}

const parseExpression = (tokens) => parseChain(tokens, ["+", "-"], parseProduct);
const parseProduct = (tokens) => parseChain(tokens, ["*", "/", "@"], parseUnary);

function parseChain(tokens, operators, parseOperand) {
  let chain = parseOperand(tokens);
  while (operators.includes(tokens.peek())) {
    const operate = OPERATORS[tokens.next()];
    const left = chain;
    const right = parseOperand(tokens);
    chain = (env) => operate(left(env), right(env));
  }
  return chain;
}

function parseUnary(tokens) {
  if (tokens.take("+")) return parseUnary(tokens);
  if (!tokens.take("-")) return parsePower(tokens);
  const operand = parseUnary(tokens);
  return (env) => elementwise((v) => -v, operand(env));
}

function parsePower(tokens) {
  const base = parsePostfix(tokens);
  if (!tokens.take("**")) return base;
  const exponent = parseUnary(tokens);
  return (env) => OPERATORS["**"](base(env), exponent(env));
}

function parsePostfix(tokens) {
  let value = parsePrimary(tokens);
  for (;;) {
    if (tokens.take("[")) value = parseIndex(tokens, value);
    else if (tokens.take(".")) value = parseAttribute(tokens, value);
    else return value;
  }
}

// A row of an array, or a size of a shape: A[0], A.shape[-1].
function parseIndex(tokens, list) {
  const sign = tokens.take("-") ? -1 : 1;
  const digits = tokens.next();
  if (!/^\d+$/.test(digits)) fail("an index after a step is a whole number");
  const index = sign * Number(digits);
  tokens.expect("]", `after [${index}`);
  return (env) => {
    const items = list(env);
    const position = index < 0 ? items.length + index : index;
    return items[position] ?? fail(`index ${index} does not exist in ${shapeText(items)}`);
  };
}

function parseAttribute(tokens, array) {
  const name = tokens.next();
  if (name === "T") return (env) => transposed(array(env));
  if (name === "size") return (env) => count(array(env));
  if (name === "shape") {
    tokens.expect("[", "after shape");
    return parseIndex(tokens, (env) => shapeOf(array(env)));
  }
  if (METHODS.includes(name)) return parseCall(tokens, name, NUMPY[name], [array]);
  return unknown(`.${name ?? ""}`, ["T", "size", "shape[i]", ...METHODS], ".");
}

function parsePrimary(tokens) {
  const token = tokens.next();
  if (token === undefined) fail("the line is not finished");
  if (token === "(") {
    const inner = parseExpression(tokens);
    tokens.expect(")", "after the expression in parentheses");
    return inner;
  }
  if (/^\.?\d/.test(token)) return () => Number(token);
  if (token.endsWith("]")) return quantity(token);
  if (token === "np") return parseNumpy(tokens);
  if (STEPPED.includes(token)) return parseSizeOverSteps(tokens, token);
  if (Object.hasOwn(PYTHON, token)) return parseCall(tokens, token, PYTHON[token], []);
  return named(token);
}

// A quantity without a step, which has sizes alone: y.size, y.shape[0].
function parseSizeOverSteps(tokens, name) {
  const hasSize = SIZED.includes(name) && tokens.take(".");
  const isSize = hasSize && ["size", "shape"].includes(tokens.peek());
  if (!isSize) fail(`${name} needs a step: ${name}[t]`);
  return parseAttribute(tokens, overSteps(name));
}

// The argument of np.size, which may be a quantity without a step.
function parseSized(tokens) {
  return SIZED.includes(tokens.peek()) ? overSteps(tokens.next()) : parseExpression(tokens);
}

// The quantity at all steps, as an array.
const overSteps = (name) => (env) => range(1, env.constants.T).map((t) => env.quantity(name, t));

// A quantity with its step, such as h[t-1].
function quantity(token) {
  const [, name, start, sign = "", shift = 0] = STEP.exec(token) ?? [];
  if (!name) fail(`${token} has no step: expected t, t-1, t+1, T or a number`);
  const offset = Number(`${sign}${shift}`);
  if (start === "t") return (env) => env.quantity(name, env.step + offset);
  if (start === "T") return (env) => env.quantity(name, env.constants.T + offset);
  return (env) => env.quantity(name, Number(start) + offset);
}

function named(token) {
  if (token === "len") fail("len() may be T or T + 1, as x[0] is not used: write T");
  if (token === "dh_next") return (env) => env.dh_next();
  if (CONSTANTS.includes(token)) return (env) => env.constants[token];
  if (!/^\w/.test(token)) fail(`“${token}” is not expected here`);
  return unknown(token, [...STEPPED.map((name) => `${name}[t]`), "dh_next", ...CONSTANTS]);
}

function parseNumpy(tokens) {
  tokens.expect(".", "after np");
  const name = tokens.next() ?? "";
  if (!Object.hasOwn(NUMPY, name)) unknown(`np.${name}`, Object.keys(NUMPY), "np.");
  return parseCall(tokens, name, NUMPY[name], []);
}

// The arguments in parentheses: more arrays, and where there may be an axis, it and keepdims.
function parseCall(tokens, name, signature, firstArrays) {
  const {arity, compute, hasAxis = false, parseArray = parseExpression} = signature;
  const arrays = [...firstArrays];
  let axis = null;
  let keepsAxis = false;
  tokens.expect("(", `after ${name}`);
  for (let isFirst = true; !tokens.take(")"); isFirst = false) {
    if (!isFirst) tokens.expect(",", `or “)” in the arguments of ${name}`);
    if (arrays.length < arity) arrays.push(parseArray(tokens));
    else if (!hasAxis) fail(`${name} has too many arguments`);
    else if (tokens.take("keepdims")) keepsAxis = parseFlag(tokens);
    else if (axis !== null) fail(`${name} has too many arguments`);
    else axis = parseAxis(tokens);
  }
  if (arrays.length < arity) fail(`${name} has too few arguments`);
  return (env) => compute(...arrays.map((array) => array(env)), axis, keepsAxis);
}

function parseFlag(tokens) {
  tokens.expect("=", "after keepdims");
  const flag = tokens.next();
  if (!["True", "False"].includes(flag)) fail("keepdims is True or False");
  return flag === "True";
}

function parseAxis(tokens) {
  if (tokens.take("axis")) tokens.expect("=", "after axis");
  const sign = tokens.take("-") ? -1 : 1;
  const axis = tokens.next();
  if (!/^\d$/.test(axis)) fail("the axis is 0 or 1");
  return sign * Number(axis);
}

function unknown(name, names, prefix = "") {
  const expected = names.map((known) => prefix + known).join(", ");
  return fail(`${name} is unknown: expected one of ${expected}`);
}

return {parse};
})();
