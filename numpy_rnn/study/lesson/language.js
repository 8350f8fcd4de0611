// A small language for one line of the backward pass, which looks like NumPy: names, numbers,
// + - * / @ **, parentheses, a step in brackets (da[t+1], da[1], h[T]), and the functions and
// methods below. A line is parsed into a function of an environment; nothing of it is run as
// JavaScript.
"use strict";

class LineError extends Error {}

const TOKEN = /\s*(?:(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)|([A-Za-z_]\w*)|(\*\*|[-+*/@().,[\]=]))/y;
const STEPPED = ["x", "target", "a", "h", "y", "dy", "dh", "da"];
const KNOWN = ["W_xh", "W_hh", "W_hy", "b_h", "b_y", "h_0", "N", "T", "B", "D", "H", "O"];

function tokens(text) {
  const result = [];
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim()) {
    const at = TOKEN.lastIndex, match = TOKEN.exec(text);
    if (!match) throw new LineError(`“${text.slice(at).trim()[0]}” is not part of the language`);
    result.push(match[1] ?? match[2] ?? match[3]);
  }
  return result;
}

const shapeOf = (v) => (Array.isArray(v) ? [v.length, ...shapeOf(v[0])] : []);

function shapeText(v) {
  const shape = shapeOf(v);
  return shape.length ? `(${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "a number";
}

function broadcast(f, u, v) {
  const [m, n] = [shapeOf(u).length, shapeOf(v).length], size = Math.max(m, n);
  if (size === 0) return f(u, v);
  const [p, q] = [m < size ? [u] : u, n < size ? [v] : v], length = Math.max(p.length, q.length);
  if (![p, q].every((w) => w.length === length || w.length === 1)) {
    throw new LineError(`shapes ${shapeText(u)} and ${shapeText(v)} do not fit`);
  }
  return range(0, length - 1).map((i) =>
    broadcast(f, p[p.length === 1 ? 0 : i], q[q.length === 1 ? 0 : i]));
}

function matrixProduct(A, B) {
  const [m, n] = [shapeOf(A), shapeOf(B)];
  if (m.length !== 2 || n.length !== 2) throw new LineError("@ and dot need two matrices");
  if (m[1] !== n[0]) {
    throw new LineError(`@: shapes ${shapeText(A)} and ${shapeText(B)} do not fit, ${m[1]} ≠ ${n[0]}`);
  }
  return times(A, B);
}

const elementwise = (f) => (u, v) => broadcast(f, u, v);
const BINARY = {
  "+": elementwise((u, v) => u + v), "-": elementwise((u, v) => u - v), "*": elementwise((u, v) => u * v),
  "/": elementwise((u, v) => u / v), "**": elementwise((u, v) => u ** v), "@": matrixProduct,
};
// dot multiplies a number with an array too, as in NumPy.
const dotProduct = (u, v) => (Array.isArray(u) && Array.isArray(v) ? matrixProduct : BINARY["*"])(u, v);
const transposed = (A) => (shapeOf(A).length < 2 ? A : transpose(A));

function summed(A, {axis, keepdims}) {
  const rank = shapeOf(A).length, place = axis < 0 ? axis + rank : axis;
  if (axis === null) {
    const total = rank ? sum(A.flat(rank)) : A;
    return keepdims ? range(1, rank).reduce((v) => [v], total) : total;
  }
  if (place < 0 || place >= rank) throw new LineError(`axis ${axis} does not exist in shape ${shapeText(A)}`);
  if (rank === 1) return keepdims ? [sum(A)] : sum(A);
  const sums = place === 0 ? columnSums(A) : A.map(sum);
  return !keepdims ? sums : place === 0 ? [sums] : sums.map((v) => [v]);
}

function averaged(A, options) {
  const total = summed(A, options), count = (v) => shapeOf(v).reduce((m, n) => m * n, 1);
  return each((v) => v / (count(A) / count(total)), total);
}

// Functions np.f(A, …), and how many arrays they take; the reductions and dot are methods too.
const ARRAYS = {
  dot: [2, dotProduct], matmul: [2, matrixProduct], add: [2, BINARY["+"]], subtract: [2, BINARY["-"]],
  multiply: [2, BINARY["*"]], divide: [2, BINARY["/"]], power: [2, BINARY["**"]],
  tanh: [1, (A) => each(Math.tanh, A)], square: [1, (A) => each((v) => v * v, A)],
  negative: [1, (A) => each((v) => -v, A)], transpose: [1, transposed],
  sum: [1, summed], mean: [1, averaged],
};
const METHODS = ["dot", "sum", "mean", "transpose"];

function parse(text) {
  const list = tokens(text);
  let at = 0;
  const next = () => list[at];
  const take = (token) => { if (next() === token) { at++; return true; } return false; };
  const expect = (token, where) => {
    const other = next() === undefined ? "" : `, not “${next()}”`;
    if (!take(token)) throw new LineError(`“${token}” is expected ${where}${other}`);
  };
  const chain = (operators, operand) => () => {
    let left = operand();
    while (operators.includes(next())) {
      const f = BINARY[list[at++]], [u, v] = [left, operand()];
      left = (env) => f(u(env), v(env));
    }
    return left;
  };

  function primary() {
    const token = list[at++];
    if (token === undefined) throw new LineError("the line is not finished");
    if (token === "(") {
      const inner = expression();
      expect(")", "after the expression in parentheses");
      return inner;
    }
    if (/^\.?\d/.test(token)) return () => Number(token);
    if (token === "np") {
      expect(".", "after np");
      const called = list[at++];
      if (!Object.hasOwn(ARRAYS, called ?? "")) throw unknown(`np.${called ?? ""}`, Object.keys(ARRAYS), "np.");
      return call(called, []);
    }
    if (STEPPED.includes(token)) {
      if (!take("[")) throw new LineError(`${token} needs a step: ${token}[t]`);
      const step = index();
      expect("]", "after the step");
      return (env) => env.at(token, step(env));
    }
    if (KNOWN.includes(token)) return (env) => env.of[token];
    if (!/^\w/.test(token)) throw new LineError(`“${token}” is not expected here`);
    throw unknown(token, [...STEPPED.map((key) => `${key}[t]`), ...KNOWN]);
  }

  const unknown = (name, names, prefix = "") =>
    new LineError(`${name} is unknown: expected one of ${names.map((one) => prefix + one).join(", ")}`);

  // The parentheses of a function or method: arrays, then for a reduction axis and keepdims.
  function call(name, arrays) {
    const [count, f] = ARRAYS[name], options = {axis: null, keepdims: false};
    expect("(", `after ${name}`);
    for (let isFirst = true; !take(")"); isFirst = false) {
      if (!isFirst) expect(",", `or “)” in the arguments of ${name}`);
      if (arrays.length < count) arrays.push(expression());
      else if (["sum", "mean"].includes(name)) option(options);
      else throw new LineError(`${name} has too many arguments`);
    }
    if (arrays.length < count) throw new LineError(`${name} has too few arguments`);
    return (env) => f(...arrays.map((one) => one(env)), options);
  }

  function option(options) {
    const key = ["axis", "keepdims"].includes(next()) ? list[at++] : "axis";
    if (list[at - 1] === key) expect("=", `after ${key}`);
    const sign = take("-") ? -1 : 1, value = list[at++];
    if (key === "keepdims") options.keepdims = value === "True";
    else if (/^\d$/.test(value)) options.axis = sign * Number(value);
    else if (value !== "None") throw new LineError("the axis is 0 or 1");
  }

  // A step: t, T or a number, and perhaps + or − a number.
  function index() {
    const token = list[at++];
    if (token !== "t" && token !== "T" && !/^\d+$/.test(token ?? "")) {
      throw new LineError(`[${token ?? ""}] is no step: expected t, T or a number`);
    }
    const start = (env) => (token === "t" ? env.t : token === "T" ? env.of.T : Number(token));
    const sign = take("+") ? 1 : take("-") ? -1 : 0;
    if (!sign) return start;
    const shift = list[at++];
    if (!/^\d+$/.test(shift ?? "")) throw new LineError("a whole number is expected in the step");
    return (env) => start(env) + sign * Number(shift);
  }

  function postfix() {
    let inner = primary();
    while (take(".")) {
      const called = list[at++], u = inner;
      if (called === "T") inner = (env) => transposed(u(env));
      else if (METHODS.includes(called)) inner = call(called, [u]);
      else throw unknown(`.${called ?? ""}`, ["T", ...METHODS], ".");
    }
    return inner;
  }

  function power() {
    const base = postfix();
    if (!take("**")) return base;
    const exponent = unary();
    return (env) => BINARY["**"](base(env), exponent(env));
  }

  function unary() {
    if (take("+")) return unary();
    if (!take("-")) return power();
    const inner = unary();
    return (env) => each((v) => -v, inner(env));
  }

  const product = chain(["*", "/", "@"], unary);
  const expression = chain(["+", "-"], product);
  const whole = expression();
  if (at < list.length) throw new LineError(`“${list[at]}” is not expected here`);
  return whole;
}
