// A port in JavaScript, for Node.js: one window of the network and its gradients, by the protocol of protocol.txt.
//
// It computes in float64 and reports decimal numbers: JavaScript prints as many digits as a double needs. It has no
// SGD options: its step is plain gradient descent. The ids in comments are those of DERIVATION.md.
"use strict";

const readline = require("readline");

// A number is decimal or hexadecimal text, such as "0.1" or "0x1.999999999999ap-4".
function number(text) {
  const match = /^([+-]?)0x([0-9a-f]+)\.?([0-9a-f]*)(?:p([+-]?\d+))?$/i.exec(text);
  if (!match) return Number(text);
  const digits = match[2] + match[3];
  let exponent = Number(match[4] || 0) - 4 * match[3].length;
  let value = 0;
  for (const digit of digits) value = value * 16 + parseInt(digit, 16); // exact: a double has 14 digits at most
  while (exponent < -1000) { value *= 2 ** -500; exponent += 500; }
  value *= 2 ** exponent;
  return match[1] === "-" ? -value : value;
}

// A matrix of rows from a flat list.
function matrix(flat, rows, columns) {
  return Array.from({ length: rows }, (_, i) => flat.slice(i * columns, (i + 1) * columns).map(number));
}

function zeros(rows, columns) {
  return Array.from({ length: rows }, () => new Array(columns).fill(0));
}

// C += A B, where transposed is "", "A" or "B".
function add(C, A, B, transposed = "") {
  const inner = transposed === "A" ? A.length : A[0].length;
  for (let i = 0; i < C.length; i++) {
    for (let j = 0; j < C[0].length; j++) {
      for (let k = 0; k < inner; k++) {
        C[i][j] += (transposed === "A" ? A[k][i] : A[i][k]) * (transposed === "B" ? B[j][k] : B[k][j]);
      }
    }
  }
}

function addRow(C, row) {
  for (const line of C) row.forEach((value, j) => { line[j] += value; });
}

function update(request) {
  const { T, B, D, H, O, K } = request.sizes;
  const shapes = { W_xh: [D, H], W_hh: [H, H], W_hy: [H, O], b_h: [1, H], b_y: [1, O] };
  const p = {};
  for (const name of Object.keys(request.params)) p[name] = matrix(request.params[name], ...shapes[name]);
  const steps = (name, first, columns) => Array.from({ length: T - first }, (_, t) =>
    matrix(request[name].slice(t * B * columns, (t + 1) * B * columns), B, columns));
  const x = steps("x", 0, D), target = steps("target", T - K, O);
  const tanh = request.nonlinearity === "tanh";
  const a = [], h = [matrix(request.h_0, B, H)], y = [], dy = [], dh = [], da = [], dx = [];
  for (let t = 0; t < T; t++) {
    a.push(zeros(B, H));
    add(a[t], x[t], p.W_xh); // (F1)
    add(a[t], h[t], p.W_hh);
    if (p.b_h) addRow(a[t], p.b_h[0]);
    h.push(a[t].map((row) => row.map((v) => (tanh ? Math.tanh(v) : Math.max(v, 0))))); // (F2)
    y.push(zeros(B, O));
    add(y[t], h[t + 1], p.W_hy); // (F3)
    if (p.b_y) addRow(y[t], p.b_y[0]);
  }
  const divisor = request.reduction === "mean" ? K * B * O : 1;
  let loss = 0;
  for (let t = 0; t < T; t++) {
    dy.push(zeros(B, O));
    for (let b = 0; t >= T - K && b < B; b++) {
      for (let o = 0; o < O; o++) {
        const error = y[t][b][o] - target[t - T + K][b][o];
        loss += error * error / 2; // (L1)
        dy[t][b][o] = error / divisor; // (B1)
      }
    }
  }
  const d = {};
  for (const name of Object.keys(p)) d[name] = zeros(...shapes[name]);
  for (let t = T - 1; t >= 0; t--) {
    dh[t] = zeros(B, H);
    add(dh[t], dy[t], p.W_hy, "B"); // (B2)
    if (t < T - 1) add(dh[t], da[t + 1], p.W_hh, "B");
    da[t] = dh[t].map((row, b) => row.map((v, j) => { // (B3)
      const state = h[t + 1][b][j];
      return tanh ? v * (1 - state * state) : (state > 0 ? v : 0);
    }));
    dx[t] = zeros(B, D);
    add(dx[t], da[t], p.W_xh, "B"); // (B10)
    add(d.W_xh, x[t], da[t], "A"); // (B4)
    add(d.W_hh, h[t], da[t], "A"); // (B5)
    add(d.W_hy, h[t + 1], dy[t], "A"); // (B6)
    for (let b = 0; p.b_h && b < B; b++) {
      addRow(d.b_h, da[t][b]); // (B7)
      addRow(d.b_y, dy[t][b]); // (B8)
    }
  }
  const dh_0 = zeros(B, H);
  add(dh_0, da[0], p.W_hh, "B"); // (B9)
  const rate = number(request.learning_rate);
  const text = (numbers) => numbers.flat(Infinity).map(String);
  const answer = { id: request.id, loss: String(loss / divisor) }; // (L2)
  Object.entries({ a, h: h.slice(1), y, dy, dh, da, dx, dh_0 }).forEach(([name, v]) => { answer[name] = text(v); });
  for (const name of Object.keys(p)) {
    answer["d" + name] = text(d[name]);
    answer[name] = text(p[name].map((row, i) => row.map((v, j) => v - rate * d[name][i][j]))); // (U1)
  }
  return answer;
}

function answer(line) {
  const request = JSON.parse(line);
  if (request.type === "hello") {
    return {
      type: "hello", protocol: 1, name: "elman_port.js", dtypes: ["float64"],
      capabilities: ["intermediates", "input_gradients"],
    };
  }
  try {
    return update(request);
  } catch (error) {
    return { id: request.id, error: String(error) };
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(JSON.stringify(answer(line)) + "\n");
});
