// A small language for one line of the backward pass. It looks like NumPy:
//   names, numbers, + - * / @ **, parentheses, A.T, A.sum(axis=0), np.tanh(A), and a step in
//   brackets: da[t+1], da[1], h[T].
// A line is parsed into a function of an environment; nothing of it is run as JavaScript.

class LineError extends Error {}

const TOKEN = /\s*(?:(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)|([A-Za-z_]\w*)|(\*\*|[-+*/@().,[\]=]))/y;
const STEPPED = ["x", "target", "a", "h", "y", "dy", "dh", "da"];
const KNOWN = ["W_xh", "W_hh", "W_hy", "b_h", "b_y", "h_0", "N", "B", "T"];

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
const shapeText = (v) => (Array.isArray(v) ? `(${shapeOf(v).join(", ")}${shapeOf(v)[1] ? "" : ","})` : "a number");

function broadcast(f, u, v) {
  const [m, n] = [shapeOf(u), shapeOf(v)];
  if (!m.length && !n.length) return f(u, v);
  const size = Math.max(m.length, n.length);
  const rows = (w, shape) => (shape.length < size ? [w] : w);
  const [p, q] = [rows(u, m), rows(v, n)], length = Math.max(p.length, q.length);
  if (Math.min(p.length, q.length) !== length && Math.min(p.length, q.length) !== 1) {
    throw new LineError(`shapes ${shapeText(u)} and ${shapeText(v)} do not fit`);
  }
  return range(0, length - 1).map((i) => broadcast(f, p[p.length === 1 ? 0 : i], q[q.length === 1 ? 0 : i]));
}

function matrixProduct(A, B) {
  const [m, n] = [shapeOf(A), shapeOf(B)];
  if (m.length !== 2 || n.length !== 2) throw new LineError("@ needs two matrices");
  if (m[1] !== n[0]) throw new LineError(`@: shapes ${shapeText(A)} and ${shapeText(B)} do not fit, ${m[1]} ≠ ${n[0]}`);
  return times(A, B);
}

const elementwise = (f, A) => each(f, A);
const BINARY = {
  "+": (u, v) => broadcast((a, b) => a + b, u, v), "-": (u, v) => broadcast((a, b) => a - b, u, v),
  "*": (u, v) => broadcast((a, b) => a * b, u, v), "/": (u, v) => broadcast((a, b) => a / b, u, v),
  "**": (u, v) => broadcast((a, b) => a ** b, u, v), "@": matrixProduct,
};

function summed(A, axis) {
  if (!Array.isArray(A)) return A;
  if (axis === null) return sum(A.flat());
  const rank = shapeOf(A).length, place = axis < 0 ? axis + rank : axis;
  if (place < 0 || place >= rank) throw new LineError(`axis ${axis} does not exist in shape ${shapeText(A)}`);
  if (rank === 1) return sum(A);
  return place === 0 ? columnSums(A) : A.map(sum);
}

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
    if (/^[\d.]/.test(token) && token !== ".") return () => Number(token);
    if (token === "np") {
      expect(".", "after np");
      const called = list[at++];
      if (called !== "tanh") throw new LineError(`np.${called ?? ""} is not part of the language: np.tanh is`);
      expect("(", "after np.tanh");
      const inner = expression();
      expect(")", "after the argument of np.tanh");
      return (env) => elementwise(Math.tanh, inner(env));
    }
    if (STEPPED.includes(token)) {
      if (!take("[")) throw new LineError(`${token} needs a step: ${token}[t]`);
      const step = index();
      expect("]", "after the step");
      return (env) => env.at(token, step(env));
    }
    if (KNOWN.includes(token)) return (env) => env.of[token];
    if (!/^\w/.test(token)) throw new LineError(`“${token}” is not expected here`);
    const all = [...STEPPED.map((key) => `${key}[t]`), ...KNOWN];
    throw new LineError(`${token} is unknown: expected one of ${all.join(", ")}`);
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
      if (called === "T") {
        inner = (env) => { const A = u(env); return shapeOf(A).length < 2 ? A : transpose(A); };
      } else if (called === "sum") {
        expect("(", "after sum");
        if (take("axis")) expect("=", "after axis");
        const sign = take("-") ? -1 : 1, axis = next() === ")" ? null : sign * Number(list[at++]);
        if (axis !== null && !Number.isInteger(axis)) throw new LineError("the axis is 0 or 1");
        expect(")", "after the axis");
        inner = (env) => summed(u(env), axis);
      } else throw new LineError(`.${called ?? ""} is not part of the language: .T and .sum(axis=0) are`);
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
    return (env) => elementwise((v) => -v, inner(env));
  }

  const product = chain(["*", "/", "@"], unary);
  const expression = chain(["+", "-"], product);
  const whole = expression();
  if (at < list.length) throw new LineError(`“${list[at]}” is not expected here`);
  return whole;
}
