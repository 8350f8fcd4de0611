// A small language for one line of the backward pass, which looks like NumPy. A line is parsed into
// a function of an environment; nothing of it is run as JavaScript.
// Uses rnn.js.
"use strict";
class LineError extends Error {}
const fail = (why) => { throw new LineError(why); };

const TOKEN = new RegExp([
  /\s*((?:x|target|a|h|y|dy|dh|da)\s*\[[^\]]*\])/,  // a quantity with its step
  /\s*(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)/, /\s*([A-Za-z_]\w*)/, /\s*(\*\*|[-+*/@().,=[\]])/,
].map(({source}) => source).join("|"), "y");
const STEP = /^(\w+)\s*\[\s*(t|T|\d+)\s*(?:([-+])\s*(\d+)\s*)?\]$/;
const STEPPED = ["x", "target", "a", "h", "y", "dy", "dh", "da"];
const KNOWN = ["dh_next", "W_xh", "W_hh", "W_hy", "b_h", "b_y", "h_0", "N", "T", "B", "D", "H", "O"];

function tokens(text) {
  const result = [];
  if (/einsum/.test(text)) fail("np.einsum is not read here: write the product with @ and .T");
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim()) {
    const at = TOKEN.lastIndex, match = TOKEN.exec(text);
    const [sign] = text.slice(at).trim();
    if (!match) fail(`“${sign}” is not part of the language`);
    result.push(match.slice(1).find((found) => found));
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
    fail(`shapes ${shapeText(u)} and ${shapeText(v)} do not fit`);
  }
  return range(0, length - 1).map((i) =>
    broadcast(f, p[p.length === 1 ? 0 : i], q[q.length === 1 ? 0 : i]));
}

function matrixProduct(A, B) {
  const [m, n] = [shapeOf(A), shapeOf(B)];
  if (m.length !== 2 || n.length !== 2) fail("@ and dot need two matrices");
  if (m[1] !== n[0]) {
    const shapes = `${shapeText(A)} and ${shapeText(B)}`;
    fail(`@: shapes ${shapes} do not fit, ${m[1]} ≠ ${n[0]}`);
  }
  return times(A, B);
}

const NUMBERS = {
  "+": (u, v) => u + v, "-": (u, v) => u - v, "*": (u, v) => u * v, "/": (u, v) => u / v,
  "**": (u, v) => u ** v,
};
const BINARY = {"@": matrixProduct};
for (const [sign, f] of Object.entries(NUMBERS)) BINARY[sign] = (u, v) => broadcast(f, u, v);
// dot multiplies a number with an array too, as in NumPy.
const dotProduct = (u, v) => BINARY[Array.isArray(u) && Array.isArray(v) ? "@" : "*"](u, v);
const transposed = (A) => (shapeOf(A).length < 2 ? A : transpose(A));

function summed(A, axis) {
  const rank = shapeOf(A).length, place = axis < 0 ? axis + rank : axis;
  if (axis === null) return rank ? sum(A.flat(rank)) : A;
  if (place < 0 || place >= rank) {
    fail(`axis ${axis} does not exist in shape ${shapeText(A)}`);
  }
  return rank === 1 ? sum(A) : place === 0 ? columnSums(A) : A.map(sum);
}

function averaged(A, axis) {
  const total = summed(A, axis);
  return each((v) => v / (count(A) / count(total)), total);
}

const count = (A) => shapeOf(A).reduce((m, n) => m * n, 1);

// Functions np.f(A, …) and how many arrays they take; some are methods too.
const ARRAYS = {
  dot: [2, dotProduct], matmul: [2, matrixProduct], add: [2, BINARY["+"]],
  subtract: [2, BINARY["-"]], multiply: [2, BINARY["*"]], divide: [2, BINARY["/"]],
  tanh: [1, (A) => each(Math.tanh, A)], cosh: [1, (A) => each(Math.cosh, A)],
  size: [1, count], float: [1, (v) => v], square: [1, (A) => each((v) => v * v, A)],
  transpose: [1, transposed], sum: [1, summed], mean: [1, averaged], power: [2, BINARY["**"]],
};
const METHODS = ["dot", "sum", "mean", "transpose"];

function parse(text) {
  const list = tokens(text);
  let at = 0;
  const next = () => list[at];
  const take = (token) => { if (next() === token) { at++; return true; } return false; };
  const expect = (token, where) => {
    const other = next() === undefined ? "" : `, not “${next()}”`;
    if (!take(token)) fail(`“${token}” is expected ${where}${other}`);
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
    if (token === undefined) fail("the line is not finished");
    if (token === "(") {
      const inner = expression();
      expect(")", "after the expression in parentheses");
      return inner;
    }
    if (/^\.?\d/.test(token)) return () => Number(token);
    if (token === "len") fail("len() may be T or T + 1, as x[0] is not used: write T");
    if (token === "float") return call("float", []);
    if (token === "sum") return call("sum", [], true);  // Python's own, over the first axis
    if (token === "np") {
      expect(".", "after np");
      const called = list[at++] ?? "", names = Object.keys(ARRAYS).filter((one) => one !== "float");
      if (!names.includes(called)) unknown(`np.${called}`, names, "np.");
      return call(called, []);
    }
    if (token.endsWith("]")) {
      const [, name, start, sign, shift = 0] = STEP.exec(token) ?? [];
      if (!name) fail(`${token} has no step: expected t, t-1, t+1, T or a number`);
      const first = (env) => (start === "t" ? env.t : start === "T" ? env.of.T : Number(start));
      return (env) => env.at(name, first(env) + Number(`${sign ?? ""}${shift}`));
    }
    if (STEPPED.includes(token)) fail(`${token} needs a step: ${token}[t]`);
    if (token === "dh_next") return (env) => env.next();
    if (KNOWN.includes(token)) return (env) => env.of[token];
    if (!/^\w/.test(token)) fail(`“${token}” is not expected here`);
    unknown(token, [...STEPPED.map((key) => `${key}[t]`), ...KNOWN]);
  }

  function unknown(name, names, prefix = "") {
    const known = names.map((one) => prefix + one).join(", ");
    fail(`${name} is unknown: expected one of ${known}`);
  }

  // The parentheses of a function or method: arrays, and the axis of a sum or mean.
  function call(name, arrays, isPython = false) {
    const [count, f] = ARRAYS[name], hasAxis = ["sum", "mean"].includes(name) && !isPython;
    let axis = isPython ? 0 : null;
    expect("(", `after ${name}`);
    for (let isFirst = true; !take(")"); isFirst = false) {
      if (!isFirst) expect(",", `or “)” in the arguments of ${name}`);
      if (arrays.length < count) arrays.push(expression());
      else if (!hasAxis || axis !== null) fail(`${name} has too many arguments`);
      else axis = axisOf();
    }
    if (arrays.length < count) fail(`${name} has too few arguments`);
    return (env) => f(...arrays.map((one) => one(env)), ...(name === "sum" || hasAxis ? [axis] : []));
  }

  function axisOf() {
    if (take("axis")) expect("=", "after axis");
    const sign = take("-") ? -1 : 1, value = list[at++];
    if (!/^\d$/.test(value)) fail("the axis is 0 or 1");
    return sign * Number(value);
  }

  function postfix() {
    let inner = primary();
    while (next() === "." || next() === "[") {
      const sign = list[at++], called = list[at++], u = inner;
      if (sign === "[") inner = item(u, called);
      else if (called === "size") inner = (env) => count(u(env));
      else if (called === "shape") {
        expect("[", "after shape");
        inner = item((env) => shapeOf(u(env)), list[at++]);
      } else if (called === "T") inner = (env) => transposed(u(env));
      else if (METHODS.includes(called)) inner = call(called, [u]);
      else unknown(`.${called ?? ""}`, ["T", "size", "shape[i]", ...METHODS], ".");
    }
    return inner;
  }

  // A row of an array, or a size of a shape: A[0], A.shape[1].
  function item(u, index) {
    if (!/^\d+$/.test(index)) fail("an index after a step is a whole number");
    expect("]", `after [${index}`);
    return (env) => {
      const array = u(env);
      return array[index] ?? fail(`index ${index} does not exist in ${shapeText(array)}`);
    };
  }

  function unary() {
    if (take("+")) return unary();
    if (take("-")) {
      const inner = unary();
      return (env) => each((v) => -v, inner(env));
    }
    const base = postfix();
    if (!take("**")) return base;
    const exponent = unary();
    return (env) => BINARY["**"](base(env), exponent(env));
  }

  const product = chain(["*", "/", "@"], unary);
  const expression = chain(["+", "-"], product);
  const whole = expression();
  if (at < list.length) fail(`“${list[at]}” is not expected here`);
  return whole;
}
