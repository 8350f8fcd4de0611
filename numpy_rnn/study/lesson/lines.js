// The reader's own backward pass: each line is evaluated on a tiny network and compared with the
// equation. The usual mistakes are recognised by their values.
"use strict";

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
const isSum = (id) => id > "B3";  // over the steps
const rightLines = () => Object.fromEntries(Object.entries(LINES).map(([id, [, code]]) => [id, code]));

const MISTAKES = [
  ["B1", "(target[t] - y[t]) / N", "The sign is wrong: the derivative of ½(y − target)² is y − target."],
  ["B1", "2 * (y[t] - target[t]) / N", "A factor of 2 too much: the ½ of the loss cancels the 2. In PyTorch: nn.MSELoss has no ½, or backward() ran twice without zero_grad()."],
  ["B1", "y[t] - target[t]", "The division by N is missing: the loss is a mean over T·B·O numbers."],
  ["B1", "(y[t] - target[t]) / B", "This divides by B alone: the mean is over all T·B·O numbers, N."],
  ["B1", "(y[t] - target[t])**2 / N", "This is the squared error, the loss itself. Its derivative has no square."],
  ["B1", "y[t] / N", "The target is missing: the error is y − target."],
  ["B2", "dy[t] @ W_hy.T + da[t+1] @ W_hh", "W_hh needs a transpose: unit i collects from all units j that it feeds, over the second index."],
  ["B2", "dy[t] @ W_hy.T", "The second arrow of h[t] is missing, to a[t+1]: da[t+1] @ W_hh.T. A detach() at every step does this."],
  ["B2", "da[t+1] @ W_hh.T", "The first arrow of h[t] is missing, to its own output: dy[t] @ W_hy.T."],
  ["B2", "dy[t] @ W_hy.T + dh[t+1] @ W_hh.T", "da[t+1] belongs here, not dh[t+1]: the way back leads through the slope of step t + 1."],
  ["B2", "dy[t] @ W_hy.T + dh[t+1] @ W_hh", "da[t+1] belongs here, not dh[t+1], and W_hh needs a transpose."],
  ["B2", "dy[t] @ W_hy.T - da[t+1] @ W_hh.T", "The effects of both arrows add up: a plus sign."],
  ["B2", "dy[t] @ W_hy.T + da[t+1]", "The weight of the arrow from h[t] to a[t+1] is missing: W_hh.T."],
  ["B2", "dy[t+1] @ W_hy.T + da[t+1] @ W_hh.T", "The output of the same step belongs here: dy[t], not dy[t+1]."],
  ["B3", "dh[t]", "The slope is missing: h[t] = tanh(a[t]), so a factor 1 − h[t]²."],
  ["B3", "dh[t] * (1 - h[t])", "A square is missing: tanh′ = 1 − tanh²."],
  ["B3", "dh[t] * (1 - a[t]**2)", "The slope is one minus the square of the value h[t], not of the argument a[t]."],
  ["B3", "dh[t] * (1 - h[t-1]**2)", "This is the slope of the step before: h[t] belongs here, not h[t-1]."],
  ["B3", "dh[t] * h[t] * (1 - h[t])", "This is the slope of the logistic function. That of tanh is 1 − h[t]²."],
  ["B3", "dh[t] * (1 + h[t]**2)", "The sign is wrong: tanh′ = 1 − tanh²."],
  ["B3", "dh[t] * (1 - np.tanh(h[t])**2)", "tanh is applied twice: h[t] is tanh(a[t]) already."],
  ["B3", "dh[t] * h[t]**2", "“1 −” is missing: tanh′ = 1 − tanh²."],
  ["B3", "dh[t] / (1 - h[t]**2)", "Multiply by the slope: a small change of a[t] changes h[t] by slope times as much."],
  ["B3", "h[t] * (1 - h[t]**2)", "dh[t] belongs here, not h[t]: the derivative of the loss times the slope."],
  ["B4", "x[t].T @ dh[t]", "da[t] belongs here, not dh[t]: x[t] enters a[t], before the slope."],
  ["B4", "x[t].T @ da[t+1]", "x[t] enters a[t]: da[t] belongs here, not da[t+1]."],
  ["B5", "h[t].T @ da[t]", "The state before the step belongs here, h[t-1]: W_hh multiplies it in a[t]."],
  ["B5", "h[t-1].T @ dh[t]", "da[t] belongs here, not dh[t]: W_hh enters a[t], before the slope."],
  ["B5", "h[t].T @ dh[t]", "h[t-1] and da[t] belong here: W_hh multiplies h[t-1] and enters a[t]."],
  ["B5", "da[t].T @ h[t-1]", "This is the transpose: rows belong to the unit that sends, h[t-1], columns to the one that receives, da[t]."],
  ["B5", "h[t-1].T @ da[t+1]", "h[t-1] enters a[t]: da[t] belongs here, not da[t+1]."],
  ["B6", "h[t-1].T @ dy[t]", "The state of the same step belongs here, h[t]: W_hy multiplies it in y[t]."],
  ["B6", "a[t].T @ dy[t]", "The state belongs here, h[t], not the pre-activation a[t]."],
  ["B6", "h[t].T @ (y[t] - target[t])", "The division by N is missing: dy[t] has it."],
  ["B7", "dh[t].sum(axis=0)", "da[t] belongs here, not dh[t]: b_h enters a[t], before the slope."],
  ["B8", "(y[t] - target[t]).sum(axis=0)", "The division by N is missing: dy[t] has it."],
  ...["B4", "B5", "B6", "B7", "B8"].flatMap((id) => [
    [id, `(${LINES[id][1]}) / T`, "No division by T: the gradients of the copies add up. The mean is in dy already."],
    [id, `(${LINES[id][1]}) / B`, "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
  ]),
];

// Sizes that are all different, so that a missing transpose or a wrong axis shows; W_hh alone is
// square. Round numbers, to be copied.
const SIZES = {T: 3, B: 2, D: 3, H: 4, O: 5};
const ROUNDING = 1e-9;  // relative: rounding is below 1e-13 here, every mistake above 1e-3
const MAX_LINE = 300;  // characters

function tinyNetwork() {
  const {T, B, D, H, O} = SIZES, draw = uniform(4);
  const number = (size) => Math.round(size * (2 * draw() - 1)) / 10 || 0.5;
  const some = (rows, columns, size = 16) =>
    range(1, rows).map(() => range(1, columns).map(() => number(size)));
  const steps = (size) => [null, ...range(1, T).map(() => some(B, size))];
  const p = {
    W_xh: some(D, H), W_hh: some(H, H, 9), W_hy: some(H, O), b_h: some(1, H)[0], b_y: some(1, O)[0],
  };
  return {p, h_0: some(B, H, 9), x: steps(D), target: steps(O), N: T * B * O};
}

const tiny = tinyNetwork();

// Adjoints and gradients of a forward pass, by the equations.
function gradientsOf(p, activations, target, N, {lossStart = 0, nonlinearity = "tanh"} = {}) {
  const stop = activations.x.length - 1, window = {lossStart, stop};
  const flow = adjoints(p, activations, target, window, N, nonlinearity);
  const gradients = Object.entries(gradientSum(p, activations, flow, 1, stop));
  const dh_0 = timesTransposed(flow.da[1], p.W_hh);  // (B9)
  return {...flow, ...Object.fromEntries(gradients.map(([key, d]) => [`d${key}`, d])), dh_0};
}

const tinyPass = forward(tiny.p, tiny.x, tiny.h_0);
const right = gradientsOf(tiny.p, tinyPass, tiny.target, tiny.N);

// The names that a line can use. At step T + 1 every quantity is 0.
function environment(result) {
  const {p, target, h_0, N} = tiny, seen = {...tinyPass, target, ...result}, order = ["dy", "dh", "da"];
  return {
    of: {...p, ...SIZES, h_0, N}, t: null, line: null,
    at(which, step) {
      const {T} = SIZES, first = which === "h" ? 0 : 1, isAdjoint = order.includes(which);
      const isLater = order.indexOf(which) >= order.indexOf(this.line) && order.includes(this.line);
      if (step < first) throw new LineError(`${which}[${step}] does not exist: the first one is ${which}[${first}]`);
      if (step > T + 1) throw new LineError(`${which}[${step}] does not exist: the window ends at step ${T}`);
      if (step === T + 1) return each(() => 0, (isAdjoint ? right : seen)[which][T]);
      if (isAdjoint && (step < this.t || (step === this.t && isLater))) {
        throw new LineError(`${which}[${step === this.t ? "t" : step}] is not known yet at this line`);
      }
      if (seen[which][step] === undefined) throw new LineError(`${which}[${step}] is missing: its own line cannot be computed`);
      return seen[which][step];
    },
  };
}

// A whole backward pass by the lines. Where a line fails, or is missing, what needs it is missing
// too. given: adjoints to use instead of those that the lines compute.
function backwardBy(functions, given = null) {
  const result = {dy: [null], dh: [null], da: [null]}, problems = {}, env = environment(given ?? result);
  for (const t of range(1, SIZES.T).reverse()) {
    for (const [id, [key]] of Object.entries(LINES)) {
      if (!functions[id] || id in problems) continue;
      Object.assign(env, {t, line: key});
      try {
        const value = functions[id](env), like = isSum(id) ? right[key] : right[key][t];
        if (shapeText(value) !== shapeText(like)) {
          throw new LineError(`this has the shape ${shapeText(value)}, and ${key} has ${shapeText(like)}`);
        }
        if (!isSum(id)) result[key][t] = value;
        else result[key] = result[key] ? each((u, v) => u + v, result[key], value) : value;
      } catch (error) {
        if (!(error instanceof LineError)) throw error;
        problems[id] = error.message;
      }
    }
  }
  return {result, problems};
}

const flat = (values) => values.flat(3).filter((v) => v !== null);
const differs = (found, expected) => flat(found).some((v, i) =>
  !(Math.abs(v - flat(expected)[i]) <= ROUNDING * Math.max(largest(flat(expected)), 1e-3)));

// Every mistake with the value that it gives on right inputs, and with the gradients of a pass.
const mistakes = MISTAKES.map(([id, code, message]) => {
  const functions = {...parsedLines(rightLines()), [id]: parse(code)}, key = LINES[id][0];
  const value = backwardBy({[id]: parse(code)}, right).result[key];
  return {id, code, message, value, gradients: backwardBy(functions).result};
});

function parsedLines(texts) {
  return Object.fromEntries(Object.entries(texts).map(([id, text]) => [id, parse(text)]));
}

function mistakeIn(id, value) {
  const known = mistakes.find((one) => one.id === id && !differs(value, one.value));
  if (known) return known.message;
  const [u, v] = [flat(value), flat(right[LINES[id][0]])], factor = dot(u, v) / dot(v, v);
  const isMultiple = u.every((w, i) => Math.abs(w - factor * v[i]) <= ROUNDING * largest(u));
  return isMultiple && factor ? `This is the right value times ${show(factor, 4)}.` : "The numbers differ from the equation.";
}

// The verdict on every line, on right inputs, so that a mistake does not hide the next; and the
// first wrong tensor of the whole pass, in the order in which it is computed.
function checkLines(texts) {
  const functions = {}, verdicts = {};
  for (const [id, text] of Object.entries(texts)) {
    try {
      if (text.length > MAX_LINE) throw new LineError(`the line is too long: expected ${MAX_LINE} characters at most`);
      if (text.trim()) functions[id] = parse(text);
      else verdicts[id] = {kind: "empty", message: ""};
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      verdicts[id] = {kind: "error", message: `cannot be computed: ${error.message}`};
    }
  }
  const {result, problems} = backwardBy(functions, right);
  for (const id of Object.keys(functions)) {
    const value = result[LINES[id][0]], isRight = !(id in problems) && !differs(value, right[LINES[id][0]]);
    if (id in problems) verdicts[id] = {kind: "error", message: `cannot be computed: ${problems[id]}`};
    else verdicts[id] = isRight ? {kind: "right", message: "right"} : {kind: "wrong", message: `wrong. ${mistakeIn(id, value)}`};
  }
  return {verdicts, first: firstWrong(backwardBy(functions).result)};
}

function firstWrong(result) {
  const isThere = (v) => v !== undefined, {T} = SIZES;
  const places = [...range(1, T).reverse().flatMap((t) => ["dy", "dh", "da"].map((key) => [key, t])),
    ...Object.keys(LINES).filter(isSum).map((id) => [LINES[id][0]])];
  for (const [key, t] of places) {
    const [found, expected] = [result, right].map((all) => (t ? all[key][t] : all[key]));
    if (!isThere(found) && t) return null;
    if (isThere(found) && differs([found], [expected])) return {label: t ? `${key}[${t}]` : key, found, expected};
  }
  return null;
}

function drawLines(state) {
  const texts = Object.fromEntries(Object.keys(LINES).map((id) => [id, element(`lines-${id}`).value]));
  const {verdicts, first} = checkLines(texts), kinds = Object.values(verdicts).map(({kind}) => kind);
  for (const [id, {kind, message}] of Object.entries(verdicts)) {
    const isHidden = !state.named && kind !== "error", verdict = element(`lines-${id}-verdict`);
    verdict.className = `verdict ${isHidden ? "" : kind}`;
    verdict.textContent = isHidden ? "" : message;
    element(`lines-${id}`).setAttribute("aria-invalid", String(!isHidden && ["wrong", "error"].includes(kind)));
  }
  element("lines-named").checked = state.named;
  const all = kinds.filter((kind) => kind === "right").length === kinds.length;
  const tables = () => ["found", "expected"].map((which) => `<div>${which === "found" ? "yours" : "right"}${
    matrix(Array.isArray(first[which][0]) ? first[which] : [first[which]])}</div>`).join("");
  element("lines-result").innerHTML = all ? "<p><b>All eight lines are right.</b></p>"
    : first ? `<p>The first wrong tensor of the whole pass is <b>${first.label}</b>:</p><div class="sum">${tables()}</div>`
    : kinds.every((kind) => kind === "empty") ? "<p>No line is written yet. Begin with (B1).</p>"
    : "<p>The whole pass stops at the first line that is missing or cannot be computed.</p>";
}

function writeLines(texts, named) {
  for (const id of Object.keys(LINES)) element(`lines-${id}`).value = texts[id] ?? "";
  FIGURES.lines.set({named});
}

figure("lines", {named: true}, drawLines);
if (element("lines")) {
  for (const id of Object.keys(LINES)) element(`lines-${id}`).addEventListener("input", FIGURES.lines.draw);
  onClick("lines-right", () => writeLines(rightLines(), true));
  onClick("lines-empty", () => writeLines({}, true));
  onClick("lines-hide", () => {
    const {id, code} = mistakes[Math.floor(Math.random() * mistakes.length)];
    writeLines({...rightLines(), [id]: code}, false);
  });
}
