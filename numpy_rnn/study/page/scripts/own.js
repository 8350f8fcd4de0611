// Write your own backward pass: the reader's lines are evaluated on a tiny network, compared with the complex step, and
// train a network. First the lines, and the usual mistakes in each, which are recognised by their values.

// right: the line that (B1) to (B9) give. summed: it is added up over the steps; once: it is computed after the last
// of them.
const LINES = {
  B1: {name: "dy", left: "dy[t]", right: "(y[t] - target[t]) / N"},
  B2: {name: "dh", left: "dh[t]", right: "dy[t] @ W_hy.T + da[t+1] @ W_hh.T"},
  B3: {name: "da", left: "da[t]", right: "dh[t] * (1 - h[t]**2)"},
  B4: {name: "dW_xh", left: "dW_xh +", right: "x[t].T @ da[t]", summed: true},
  B5: {name: "dW_hh", left: "dW_hh +", right: "h[t-1].T @ da[t]", summed: true},
  B6: {name: "dW_hy", left: "dW_hy +", right: "h[t].T @ dy[t]", summed: true},
  B7: {name: "db_h", left: "db_h +", right: "da[t].sum(axis=0)", summed: true},
  B8: {name: "db_y", left: "db_y +", right: "dy[t].sum(axis=0)", summed: true},
  B9: {name: "dh_0", left: "dh_0", right: "da[1] @ W_hh.T", once: true},
};

// The mistakes of (B2) whose second term makes dh_0 too, as in programs where both are one line.
const SAME_LINE = {
  "dy[t] @ W_hy.T + da[t+1] @ W_hh": "da[1] @ W_hh", "dy[t] @ W_hy.T + dh[t+1] @ W_hh.T": "dh[1] @ W_hh.T",
  "dy[t] @ W_hy.T + dh[t+1] @ W_hh": "dh[1] @ W_hh", "dy[t] @ W_hy.T - da[t+1] @ W_hh.T": "-da[1] @ W_hh.T",
  "dy[t] @ W_hy.T + da[t+1]": "da[1]", "dy[t] @ W_hy.T + dh[t+1]": "dh[1]", "dy[t] @ W_hy.T": "0 * h_0",
};

const MISTAKES = {
  B1: [
    ["(target[t] - y[t]) / N", "The sign is wrong: the derivative of ½(y − target)² by y is y − target."],
    ["2 * (y[t] - target[t]) / N", "A factor of 2 too much: the ½ of the loss cancels the 2 of the derivative. In PyTorch: nn.MSELoss has no ½, or backward() ran twice without zero_grad()."],
    ["y[t] - target[t]", "The division by N is missing: the loss is a mean over T·B·O numbers."],
    ["(y[t] - target[t]) / B", "This divides by B alone: the mean is over all T·B·O numbers, N."],
    ["(y[t] - target[t])**2 / N", "This is the squared error, the loss itself. Its derivative has no square."],
    ["y[t] / N", "The target is missing: the error is y − target."],
  ],
  B2: [
    ["dy[t] @ W_hy.T + da[t+1] @ W_hh",
      "W_hh needs a transpose here: unit i collects from all units j that it affects, over the second index of W_hh."],
    ["dy[t] @ W_hy.T", "The second arrow of h[t] is missing: it also enters a[t+1], which gives da[t+1] @ W_hh.T. A detach() at every step does this."],
    ["da[t+1] @ W_hh.T", "The first arrow of h[t] is missing: its own output, dy[t] @ W_hy.T."],
    ["dy[t] @ W_hy.T + dh[t+1] @ W_hh.T",
      "da[t+1] belongs here, not dh[t+1]: the way back leads through the slope of step t + 1."],
    ["dy[t] @ W_hy.T + dh[t+1] @ W_hh", "da[t+1] belongs here, not dh[t+1], and W_hh needs a transpose."],
    ["dy[t] @ W_hy.T - da[t+1] @ W_hh.T", "The effects of both arrows add up: a plus sign."],
    ["dy[t] @ W_hy.T + da[t+1]", "The weight of the arrow from h[t] to a[t+1] is missing: W_hh.T."],
    ["dy[t] @ W_hy.T + dh[t+1]", "The way from h[t] to h[t+1] is missing: through a[t+1], so da[t+1] @ W_hh.T."],
    ["dy[t+1] @ W_hy.T + da[t+1] @ W_hh.T", "The output of the same step belongs here: dy[t], not dy[t+1]."],
  ],
  B3: [
    ["dh[t]", "The slope is missing: h[t] = tanh(a[t]), so a factor 1 − h[t]²."],
    ["dh[t] * (1 - h[t])", "A square is missing: tanh′ = 1 − tanh²."],
    ["dh[t] * (1 - a[t]**2)", "The slope is one minus the square of the value, h[t], and not of the argument, a[t]."],
    ["dh[t] * (1 - h[t-1]**2)", "This is the slope of the step before: h[t] belongs here, not h[t-1]."],
    ["dh[t] * h[t] * (1 - h[t])", "This is the slope of the logistic function. That of tanh is 1 − h[t]²."],
    ["dh[t] * (1 + h[t]**2)", "The sign is wrong: tanh′ = 1 − tanh²."],
    ["dh[t] * (1 - np.tanh(h[t])**2)", "tanh is applied twice: h[t] is tanh(a[t]) already."],
    ["dh[t] * h[t]**2", "“1 −” is missing: tanh′ = 1 − tanh²."],
    ["dh[t] * h[t]", "The slope is 1 − h[t]², not h[t]."],
    ["dh[t] / (1 - h[t]**2)", "Multiply by the slope: a small change of a[t] changes h[t] by slope times as much."],
    ["h[t] * (1 - h[t]**2)", "dh[t] belongs here, not h[t]: the derivative of the loss times the slope."],
  ],
  B4: [
    ["x[t].T @ dh[t]", "da[t] belongs here, not dh[t]: x[t] enters a[t], before the slope."],
    ["x[t].T @ da[t] / T", "No division by T: the gradients of the copies add up. The mean is in dy already."],
    ["x[t].T @ da[t] / B", "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
    ["x[t].T @ da[t+1]", "x[t] enters a[t]: da[t] belongs here, not da[t+1]."],
  ],
  B5: [
    ["h[t].T @ da[t]", "The state before the step belongs here, h[t-1]: it is what W_hh multiplies in a[t]."],
    ["h[t-1].T @ dh[t]", "da[t] belongs here, not dh[t]: W_hh enters a[t], before the slope."],
    ["h[t].T @ dh[t]", "h[t-1] and da[t] belong here: W_hh multiplies h[t-1] and enters a[t]."],
    ["da[t].T @ h[t-1]",
      "This is the transpose: rows belong to the unit that sends, h[t-1], and columns to the one that receives, da[t]."],
    ["h[t-1].T @ da[t+1]", "h[t-1] enters a[t]: da[t] belongs here, not da[t+1]."],
    ["h[t-1].T @ da[t] / T", "No division by T: the gradients of the copies add up. The mean is in dy already."],
    ["h[t-1].T @ da[t] / B", "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
  ],
  B6: [
    ["h[t-1].T @ dy[t]", "The state of the same step belongs here, h[t]: it is what W_hy multiplies in y[t]."],
    ["a[t].T @ dy[t]", "The state belongs here, h[t], and not the pre-activation a[t]."],
    ["h[t].T @ dy[t] / T", "No division by T: the gradients of the copies add up. The mean is in dy already."],
    ["h[t].T @ dy[t] / B", "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
    ["h[t].T @ (y[t] - target[t])", "The division by N is missing: dy[t] has it."],
  ],
  B7: [
    ["dh[t].sum(axis=0)", "da[t] belongs here, not dh[t]: b_h enters a[t], before the slope."],
    ["da[t].sum(axis=0) / B", "The right value times ½, which is 1/B: a sum over the batch, not a mean. The mean is in dy already."],
    ["da[t].sum(axis=0) / T", "A sum over the steps, not a mean: the mean is in dy already."],
  ],
  B8: [
    ["dy[t].sum(axis=0) / B", "The right value times ½, which is 1/B: a sum over the batch, not a mean. The mean is in dy already."],
    ["dy[t].sum(axis=0) / T", "A sum over the steps, not a mean: the mean is in dy already."],
    ["(y[t] - target[t]).sum(axis=0)", "The division by N is missing: dy[t] has it."],
  ],
  B9: [
    ["da[1] @ W_hh", "W_hh needs a transpose here, as in (B2)."],
    ["dh[1] @ W_hh.T", "da[1] belongs here, not dh[1]: the way back leads through the slope of step 1."],
    ["da[1]", "The weight of the arrow from h[0] to a[1] is missing: W_hh.T."],
    ["dh[1]", "The way from h[0] to h[1] is missing: through a[1], so da[1] @ W_hh.T."],
  ],
};

// Sizes that are all different, so that a missing transpose or a wrong axis shows; W_hh alone is square. Round
// numbers, to be copied.
const TINY_SIZES = {T: 3, B: 2, D: 3, H: 4, O: 5};
const ROUNDING = 1e-9;  // relative; rounding is below 1e-13 here, and every mistake of the list is above 1e-3
const MAX_LINE = 300;  // characters

function tinyNetwork() {
  const {T, B, D, H, O} = TINY_SIZES, draw = uniform(4);
  const number = (size) => Math.round(size * (2 * draw() - 1)) / 10 || 0.5;
  const some = (rows, columns, size = 16) => range(1, rows).map(() => range(1, columns).map(() => number(size)));
  const steps = (size) => [null, ...range(1, T).map(() => some(B, size))];
  const p = {
    W_xh: some(D, H), W_hh: some(H, H, 9), W_hy: some(H, O), b_h: some(1, H)[0], b_y: some(1, O)[0], h_0: some(B, H, 9),
  };
  return {p, x: steps(D), target: steps(O), N: T * B * O};
}

const tiny = tinyNetwork();
const right = allDerivatives(tiny.p, tiny.x, tiny.target, tiny.N);

const rightLines = () => Object.fromEntries(Object.entries(LINES).map(([line, {right: text}]) => [line, text]));
const parsedLines = (texts) => Object.fromEntries(Object.entries(texts).map(([line, text]) => [line, parse(text)]));

// The names that a line can use: the parameters, x, target, a, h, y, and adjoints, all of one window. Adjoints of step T + 1
// are 0.
function environment(p, activations, target, N, adjointsSoFar) {
  const T = activations.x.length - 1, h_0 = activations.h[0], B = h_0.length;
  const seen = {...activations, target, ...adjointsSoFar};
  return {
    of: {...p, h_0, N, B, T}, t: null, line: null,
    at(which, step) {
      if (step === null) throw new LineError("t is not known here, after the loop: write a number, as in da[1]");
      const first = which === "h" ? 0 : 1;
      if (step < first) throw new LineError(`${which}[${step}] does not exist: the first one is ${which}[${first}]`);
      if (step > T && which in adjointsSoFar) return each(() => 0, which === "dy" ? activations.y[T] : activations.h[T]);
      const order = ["dy", "dh", "da"], later = order.includes(this.line) && order.indexOf(which) >= order.indexOf(this.line);
      if (which in adjointsSoFar && this.t !== null && (step < this.t || (step === this.t && later))) {
        throw new LineError(`${which}[${step === this.t ? "t" : step}] is not known yet at this line`);
      }
      if (step > T) throw new LineError(`${which}[${step}] does not exist: the window ends at step ${T}`);
      if (seen[which][step] === undefined) throw new LineError(`${which}[${step}] is missing: its own line cannot be computed`);
      return seen[which][step];
    },
  };
}

function targetShape(line, p, activations) {
  if (line === "B1") return activations.y[1];
  if (line === "B2" || line === "B3") return activations.h[1];
  return line === "B9" ? activations.h[0] : p[LINES[line].name.slice(1)];
}

function evaluated(line, f, env, like) {
  const result = f(env);
  if (shapeText(result) !== shapeText(like)) {
    throw new LineError(`this has the shape ${shapeText(result)}, and ${LINES[line].name} has ${shapeText(like)}`);
  }
  return result;
}

// A whole backward pass by the functions of the lines. Where a line fails, or is missing, what needs it is missing too.
// given: adjoints to use instead of those that the lines compute.
function backwardBy(functions, p, activations, target, N, given = null) {
  const T = activations.x.length - 1, result = {dy: [null], dh: [null], da: [null]}, problems = {};
  const env = environment(p, activations, target, N, given ?? result);
  const attempt = (line) => {
    if (!functions[line] || line in problems) return null;
    env.line = LINES[line].name;
    try {
      return evaluated(line, functions[line], env, targetShape(line, p, activations));
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      problems[line] = error.message;
      return null;
    }
  };
  for (let t = T; t >= 1; t--) {
    env.t = t;
    for (const [line, {name: key, summed: adds, once}] of Object.entries(LINES)) {
      if (once) continue;
      const v = attempt(line);
      if (v === null) continue;
      if (adds) result[key] = result[key] ? each((u, w) => u + w, result[key], v) : v;
      else result[key][t] = v;
    }
  }
  env.t = null;
  const v = attempt("B9");
  if (v !== null) result.dh_0 = v;
  return {result, problems};
}

const scaleOf = (A) => largest(A.flat(2));
const differs = (found, expected, rounding) =>
  largest(each((u, v) => u - v, found, expected).flat(2)) > rounding * Math.max(scaleOf(expected), 1e-3)
  || found.flat(2).some(Number.isNaN);

const activationsOfTiny = forward(tiny.p, tiny.x, tiny.p.h_0, "tanh");
const byLines = (functions, given) => backwardBy(functions, tiny.p, activationsOfTiny, tiny.target, tiny.N, given);
const valuesOf = (line, result) => result[LINES[line].name];
const stepsOf = (values) => (Array.isArray(values?.[1]?.[0]) && values[0] === null ? values.slice(1) : [values]);

// Every mistake as the value that it gives on right inputs.
const mistakenValues = Object.entries(MISTAKES).flatMap(([line, list]) => list.map(([text, message]) => ({
  line, text, message, values: stepsOf(valuesOf(line, byLines({[line]: parse(text)}, right).result)),
})));

function mistakeIn(line, values) {
  const expected = stepsOf(right[LINES[line].name]);
  const known = mistakenValues.find((one) => one.line === line && one.values.every((v, i) => v && !differs(values[i], v, ROUNDING)));
  if (known) return known.message;
  const [u, v] = [values.flat(3), expected.flat(3)], factor = dot(u, v) / dot(v, v);
  const {T, B, O} = TINY_SIZES;
  const names = [
    [-1, "−1: the sign is wrong"], [2, "2, which is B too"], [0.5, "½, which is 1/B too"], [T, "T"], [1 / T, "1/T"],
    [T * B * O, "N"], [1 / (T * B * O), "1/N"],
  ];
  if (factor !== 0 && u.every((w, i) => Math.abs(w - factor * v[i]) <= ROUNDING * largest(u))) {
    const named = names.find(([w]) => Math.abs(w / factor - 1) < ROUNDING);
    return `This is the right value times ${named ? named[1] : show(factor, 4)}.`;
  }
  return null;
}

// The verdict on every line, and the first wrong tensor of the whole pass, in the order in which it is
// computed.
function checkLines(texts) {
  const functions = {}, verdicts = {};
  for (const line of Object.keys(LINES)) {
    if (!texts[line].trim()) {
      verdicts[line] = {kind: "empty"};
      continue;
    }
    try {
      if (texts[line].length > MAX_LINE) throw new LineError(`the line is too long: expected ${MAX_LINE} characters at most`);
      functions[line] = parse(texts[line]);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      verdicts[line] = {kind: "error", message: error.message};
    }
  }
  const local = byLines(functions, right);  // every line on right inputs, so that a mistake does not hide the next
  for (const line of Object.keys(functions)) {
    const values = stepsOf(valuesOf(line, local.result)), expected = stepsOf(right[LINES[line].name]);
    if (line in local.problems) verdicts[line] = {kind: "error", message: local.problems[line]};
    else if (expected.every((v, i) => !differs(values[i], v, ROUNDING))) verdicts[line] = {kind: "right"};
    else verdicts[line] = {kind: "wrong", message: mistakeIn(line, values)};
  }
  return {functions, verdicts, first: firstWrong(byLines(functions, null).result)};
}

function firstWrong(result) {
  const {T} = TINY_SIZES;
  for (const t of range(1, T).reverse()) {
    for (const key of ["dy", "dh", "da"]) {
      if (!result[key][t]) return null;
      if (differs(result[key][t], right[key][t], ROUNDING)) return {label: `${key}[${t}]`, found: result[key][t], expected: right[key][t]};
    }
  }
  const wrong = Object.values(LINES).filter((line) => line.summed || line.once)
    .find(({name: key}) => result[key] && differs(result[key], right[key], ROUNDING));
  return wrong ? {label: wrong.name, found: result[wrong.name], expected: right[wrong.name]} : null;
}

const LESSON = {d: 2, T: 8, B: 4, H: 8, updates: 400, rate: 0.5};

// Trains on delayed recall by chunks, with the gradient of the lines; yields the loss of every update.
function* lesson(functions) {
  const {d, T, B, H, updates, rate} = LESSON, draw = uniform(11);
  const signs = range(0, T * updates + d).map(() => range(1, B).map(() => [draw() < 0.5 ? -1 : 1]));
  const x = [null, ...signs.slice(d)], target = [null, ...signs.slice(0, T * updates + 1)];
  const p = {
    W_xh: normalMatrix(draw, 1, H, 0.3), W_hh: normalMatrix(draw, H, H, 0.3), W_hy: normalMatrix(draw, H, 1, 0.3),
    b_h: Array(H).fill(0), b_y: [0], h_0: null,
  };
  const gradient = functions === null ? windowGradient : (q, activations, goal, window, N) => {
    const {result} = backwardBy(functions, q, activations, goal, N);
    return Object.fromEntries(Object.keys(q).map((key) => [key, q[key] && (result[`d${key}`] ?? each(() => 0, q[key]))]));
  };
  const options = {k1: T, k2: T, rate, mean: true, gradient};
  for (const {loss} of train(p, x.slice(0, T * updates + 1), target, zeros(B, H), options)) yield 2 * loss;
}

const training = {curve: null, reference: null, work: null};

// The verdict on the whole pass, with the first wrong tensor as it is and as it should be.
function resultInWords(kinds, first, named) {
  const rights = kinds.filter((kind) => kind === "right").length, counted = named ? `${rights} of 9 lines are right. ` : "";
  if (rights === 9) return "<p><b>All nine lines are right</b>: each number agrees with the complex step, to rounding.</p>";
  if (kinds.every((kind) => kind === "empty")) return "<p>No line is written yet. Begin with (B1).</p>";
  if (first === null) {
    const stops = "The whole pass stops at the first line that is missing or cannot be computed";
    return `<p>${counted}${stops}${kinds.includes("wrong") ? "" : "; the numbers before it agree with the complex step"}.</p>`;
  }
  const [found, expected] = [first.found, first.expected].map((A) => (Array.isArray(A[0]) ? A : [A]));
  const isWrong = (i, j) => differs([found[i][j]], [expected[i][j]], ROUNDING);
  return `<p>${counted}The first wrong tensor of the whole pass is <b>${first.label}</b>:</p>
    <div class="pair">${matrixTable(found, "yours", isWrong)}${matrixTable(expected, "complex step")}</div>`;
}

function drawOwn(state, changes = {}) {
  if (Object.keys(changes).some((key) => key in LINES)) {  // a curve of other lines is none of these
    clearTimeout(training.work);
    training.curve = null;
    element("own-lesson").textContent = "";
  }
  const {functions, verdicts, first} = checkLines(state);
  for (const line of Object.keys(LINES)) {
    const {kind, message} = verdicts[line], cell = element(`own-${line}-verdict`), input = element(`own-${line}`);
    const hidden = !state.named && kind !== "error" && kind !== "empty";
    cell.className = `verdict ${hidden ? "" : kind}`;
    const words = {
      right: "right", empty: "", wrong: `wrong. ${message ?? "The numbers differ from the complex step."}`,
      error: `cannot be computed: ${message}`,
    };
    cell.textContent = hidden ? "" : words[kind];
    if (input.value !== state[line]) input.value = state[line];
    input.setAttribute("aria-invalid", String(!hidden && (kind === "wrong" || kind === "error")));
  }
  const kinds = Object.values(verdicts).map(({kind}) => kind);
  element("own-named").checked = Boolean(state.named);
  element("own-result").innerHTML = resultInWords(kinds, first, state.named);
  element("own-train").disabled = kinds.some((kind) => kind === "empty" || kind === "error");
  drawLesson();
  return functions;
}

function drawLesson() {
  const smooth = (losses) => losses.map((_, i) => [i + 1, sum(losses.slice(Math.max(0, i - 9), i + 1)) / Math.min(10, i + 1)]);
  const last = (losses) => {
    const v = sum(losses.slice(-50)) / 50;
    return Number.isFinite(v) ? show(v, 2) : "not finite";
  };
  const {curve, reference} = training;
  element("own-curve").innerHTML = curve === null ? "" : plot({
    title: "mean squared error, by update", x: [1, LESSON.updates], y: [0, 1.5], xLabel: "update",
    width: widthOf("own-curve", 560), height: 150,
    lines: [
      {kind: "ink", label: "right gradient", points: smooth(reference)},
      {kind: "cut", label: "your lines", points: smooth(curve)},
    ],
  });
  if (curve?.length === LESSON.updates) {
    element("own-lesson").textContent =
      `Mean of the last 50 updates: ${last(curve)} with your lines, ${last(reference)} with the right ones.`;
  }
}

function trainOwn() {
  clearTimeout(training.work);
  const mine = lesson(drawOwn(FIGURES.own.state)), theirs = lesson(null);
  Object.assign(training, {curve: [], reference: []});
  element("own-lesson").textContent = "Training …";
  const slice = () => {
    const until = performance.now() + 25;
    while (performance.now() < until && training.curve.length < LESSON.updates) {
      training.curve.push(mine.next().value);
      training.reference.push(theirs.next().value);
    }
    drawLesson();
    training.work = training.curve.length < LESSON.updates ? setTimeout(slice, 0) : null;
  };
  slice();
}

// A mistake, drawn at random, in lines that are otherwise right. Only the first wrong tensor is named: the reader
// finds the line.
function plantMistake() {
  const planted = mistakenValues[Math.floor(Math.random() * mistakenValues.length)];
  FIGURES.own.set({...rightLines(), [planted.line]: planted.text, named: 0});
}

const line = (text) => (text.length <= MAX_LINE ? text : null);

if (figure("own", "live-own", {
  ...Object.fromEntries(Object.entries(rightLines()).map(([key, text]) => [key, [text, line]])),
  B2: [MISTAKES.B2[0][0], line], named: [1, flag],
}, drawOwn)) {
  onClick("own-right", () => FIGURES.own.set(rightLines()));
  onClick("own-empty", () => FIGURES.own.set(Object.fromEntries(Object.keys(LINES).map((key) => [key, ""]))));
  onClick("own-plant", plantMistake);
  onClick("own-train", trainOwn);
}
