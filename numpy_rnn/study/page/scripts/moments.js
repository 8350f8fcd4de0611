// One update, moment by moment: its window, the order in which it computes, and the numbers and words of every moment.
"use strict";

// ---- the two networks: a small one, and that of the run -------------------------------------------------------------

// Two units, three steps and round numbers, trained here by full BPTT on the beginning of a sine wave.
function smallRun() {
  const x = [[0.9], [0.7], [0.3]], target = [[0.7], [0.3], [-0.1]], h_0 = [0, 0], learning_rate = 0.2;
  let parameters = {
    W_xh: [[0.5, -0.4]], W_hh: [[0.6, -0.3], [0.2, 0.5]], W_hy: [[0.7], [-0.5]], b_h: null, b_y: null, h_0: null,
  };
  const snapshots = [{epoch: 0, parameters}];
  for (let epoch = 1; epoch <= 100; epoch++) {
    const options = {k1: 3, k2: 3, rate: learning_rate};
    for (const {p} of train(parameters, inSteps(x), inSteps(target), [h_0], options)) parameters = p;
    if ([1, 2, 5, 10, 20, 50, 100].includes(epoch)) snapshots.push({epoch, parameters});
  }
  return {
    name: "three steps", sizes: {T: 3, D: 1, H: 2, O: 1}, nonlinearity: "tanh", reduction: "sum", k1: 3, k2: 3,
    learning_rate,
    update: {momentum: 0, nesterov: false, weight_decay: 0, max_norm: null}, x, target, h_0, snapshots,
  };
}

const RATES = [0.0001, 1];  // the smallest and the largest learning rate
const inSteps = (rows) => [null, ...rows.map((row) => [row])];  // a series as a batch of one sequence, from step 1
const RUNS = {small: smallRun()};
if (element("data")) RUNS.full = JSON.parse(element("data").textContent);
let run, T, D, H, O, x, target, clips;

// The state of the explorer. Every change goes through change(), which keeps 1 ≤ k1 ≤ k2 ≤ T and draws again. row: of the weights'
// matrices, in the table. uncut: whether the gradient flows past the start of the window.
const shown = {};

function use(size) {
  run = RUNS[size];
  ({T, D, H, O} = run.sizes);
  [x, target, clips] = [inSteps(run.x), inSteps(run.target), run.update.max_norm !== null];
  Object.assign(shown, {
    size, epoch: size === "small" ? 0 : run.snapshots.length - 1, k1: run.k1, k2: Math.max(run.k2, Math.min(5, T)),
    update: 1, moment: 0, row: 1,
    uncut: 0, rate: run.learning_rate,
  });
}

// first: the first step that the gradient reaches.
function moments({start, lossStart, stop}, first) {
  const forwards = range(start + 1, stop).flatMap((t) =>
    ["a", "h", "y", ...(t > lossStart ? ["loss"] : [])].map((name) => ({name, t})));
  const back = range(first, stop).reverse();
  return [
    {name: "enter", t: start}, ...forwards, ...back.flatMap((t) => ["dy", "dh", "da"].map((name) => ({name, t}))),
    ...back.map((t) => ({name: "dW", t})), ...(clips ? [{name: "clip", t: stop}] : []), {name: "step", t: stop},
  ];
}

// ---- the numbers of the current update ------------------------------------------------------------------------------

// The part of a snapshot that is computed once: the parameters as arrays, the forward pass, and the temporal components.
function computed(seen) {
  if (seen.activations) return seen;
  const h_0 = seen.parameters.h_0 && [seen.parameters.h_0];
  seen.p = {...seen.parameters, h_0};
  seen.activations = forward(seen.p, x, h_0 ?? [run.h_0], run.nonlinearity);
  const G = componentsOf(seen.p, seen.activations, target, run.nonlinearity);
  seen.norm = G.map((row) => row && row.map((component) => component && norm(component)));
  seen.sums = sumsToTheRight(G);
  seen.costs = {};
  return seen;
}

// Cosine and relative bias of TBPTT(k1, k2), at fixed weights.
const costAt = (seen, k1, k2) => seen.costs[`${k1} ${k2}`] ??= costOf(seen.sums, k1, k2);

function current() {
  const seen = computed(run.snapshots[shown.epoch]), {activations} = seen;
  const schedule = windows(T, shown.k1, shown.k2), window = schedule[shown.update - 1];
  const first = shown.uncut ? 1 : window.start + 1;
  const p = first === 1 ? seen.p : {...seen.p, h_0: null};  // no window after the first learns h_0
  const N = run.reduction === "mean" ? (window.stop - window.lossStart) * O : 1;  // (L2)
  const list = moments(window, first);
  return {
    seen, activations, schedule, window, first, p, N, moments: list, moment: list[shown.moment],
    flow: adjoints(p, activations, target, window, N, run.nonlinearity),
  };
}

// A quantity at step t as a list of numbers.
function value({activations, flow}, which, t) {
  if (which === "x" || which === "target") return {x, target}[which][t][0];
  if (which === "loss") return [stepLoss(activations.y[t], target[t])];
  return (which in flow ? flow[which][t] : activations[which === "enter" ? "h" : which][t])[0];
}

const isSumming = ({moment: {name: what}}) => ["dW", "clip", "step"].includes(what);

// The gradient as far as it is summed at this moment; null before its first term.
function gradientSoFar(now) {
  const {p, activations, flow, first, window, moment: {name: what, t}} = now;
  if (!isSumming(now)) return null;
  const total = gradientSum(p, activations, flow, what === "dW" ? t : first, window.stop);
  return what === "dW" ? total : clipped(total, run.update.max_norm);
}

// The update: the direction Δ, and the loss of its new steps as a function of the parameters, from the same state.
function stepOf(now) {
  const {p, activations: {h}, window: {start, lossStart, stop}, N} = now, from = shown.uncut ? 0 : start;
  const delta = direction(p, gradientSoFar(now), run.update);
  const lossAt = (parameters) => {
    const inputs = [null, ...x.slice(from + 1, stop + 1)];
    const {y} = forward(parameters, inputs, parameters.h_0 ?? h[from], run.nonlinearity);
    return sum(range(lossStart + 1, stop).map((t) => stepLoss(y[t - from], target[t]))) / N;
  };
  const after = descent(p, delta, shown.rate);
  return {delta, after, losses: [lossAt(p), lossAt(after)], lossOfRate: (rate) => lossAt(descent(p, delta, rate))};
}

// ---- the table: [label, numbers, whether it is made at this moment], and the equations that make it -----------------

const rowOf = (parameter) => (Array.isArray(parameter[0]) ? parameter[Math.min(shown.row, parameter.length) - 1] : parameter);
const indexIn = (parameter) => (Array.isArray(parameter[0]) ? `[${Math.min(shown.row, parameter.length)}]` : "");
const present = (p) => Object.keys(p).filter((which) => p[which] !== null);
const BACK = {W_xh: "B4", W_hh: "B5", W_hy: "B6", b_h: "B7", b_y: "B8", h_0: "B9"};

function explained(now) {
  const {name: what, t} = now.moment, {p} = now;
  const at = (letter, step = t) => value(now, letter, step);
  const given = (letter, step = t) => [name(letter, step), at(letter, step)];
  const own = () => [name(what, t), at(what), true];
  const product = (left, which, right = "") => `${left} ${theta(which)}${right}`;
  switch (what) {
    case "enter": return {equations: ["T3"], rows: [own()]};
    case "a": return {equations: ["F1"], rows: [
      [product(name("x", t), "W_xh"), times([at("x")], p.W_xh)[0]],
      [product(name("h", t - 1), "W_hh"), times([at("h", t - 1)], p.W_hh)[0]],
      ...(p.b_h ? [[theta("b_h"), p.b_h]] : []), own()]};
    case "h": return {equations: ["F2"], rows: [given("a"), own()]};
    case "y": return {equations: ["F3"], rows: [
      [product(name("h", t), "W_hy"), times([at("h")], p.W_hy)[0]], ...(p.b_y ? [[theta("b_y"), p.b_y]] : []), own()]};
    case "loss": return {equations: ["L1"], rows: [
      given("y"), given("target"), [`${name("y", t)} − ${name("target", t)}`, at("y").map((v, o) => v - at("target")[o])], own()]};
    case "dy": return {equations: ["B1"], rows: [given("y"), given("target"), ["N", [now.N]], own()]};
    case "dh": return {equations: ["B2"], rows: [
      [product(name("dy", t), "W_hy", "ᵀ"), timesTransposed([at("dy")], p.W_hy)[0]],
      [product(name("da", t + 1), "W_hh", "ᵀ"),
        t === now.window.stop ? null : timesTransposed([at("da", t + 1)], p.W_hh)[0]], own()]};
    case "da": return {equations: ["B3"], rows: [
      given("dh"), [`φ′(${name("a", t)})`, at("h").map(SLOPE[run.nonlinearity])], own()]};
    case "dW": return explainedTerms(now);
    default: return explainedUpdate(now);
  }
}

function explainedTerms(now) {
  const {p, activations, flow, moment: {t}} = now;
  const terms = gradientSum(p, activations, flow, t, t), total = gradientSoFar(now);
  const factors = {W_xh: ["x", t, "da"], W_hh: ["h", t - 1, "da"], W_hy: ["h", t, "dy"]};
  return {equations: present(p).map((which) => BACK[which]), columns: true, rows: present(p).flatMap((which) => {
    const [left, step, right] = factors[which] ?? [];
    const label = left ? `${name(left, step)}${indexIn(p[which])} ${name(right, t)}` : `term of d${theta(which)}`;
    return [[label, rowOf(terms[which])], [`d${theta(which)}${indexIn(p[which])} so far`, rowOf(total[which]), true]];
  })};
}

function explainedUpdate(now) {
  const {p, activations, flow, first, window, moment: {name: what}} = now;
  if (what === "clip") {
    const before = gradientSum(p, activations, flow, first, window.stop), after = gradientSoFar(now);
    return {equations: ["U2", "U3"], columns: true, rows: [
      ["‖dθ‖, the norm before and after", [globalNorm(before), globalNorm(after)]],
      ...present(p).flatMap((which) => [[`d${theta(which)}${indexIn(p[which])}`, rowOf(before[which])],
        ["clipped", rowOf(after[which]), true]])]};
  }
  const {delta, after} = stepOf(now);
  return {equations: ["U1"], columns: true, rows: present(p).flatMap((which) => [
    [`${theta(which)}${indexIn(p[which])}`, rowOf(p[which])],
    [`− η ${run.update.momentum || run.update.weight_decay ? "Δ" : `d${theta(which)}`}`,
      rowOf(delta[which]).map((v) => -shown.rate * v)],
    [`new ${theta(which)}${indexIn(p[which])}`, rowOf(after[which]), true]])};
}

// ---- a moment in words ----------------------------------------------------------------------------------------------

const MADE = {
  enter: "the initial state of the window, a constant", a: "the pre-activation", h: "the hidden state", y: "the output",
  loss: "the loss of this step", dy: "∂L/∂y: the error, on steps with a loss, else 0",
  dh: "∂L/∂h: the part from this step’s output, and the part from the next step",
  da: "∂L/∂a: dh times the slope",
};

function summaryOf(now) {
  const {name: what, t} = now.moment, {start} = now.window;
  const ids = explained(now).equations.join(", ");
  const beyond = t <= start && ["dy", "dh", "da", "dW"].includes(what)
    ? ` Beyond the cut: TBPTT(${shown.k1}, ${shown.k2}) does not compute this.` : "";
  const rows = `The table has row ${shown.row} of the matrices; click a row in the boxes to change it.`;
  if (what === "dW") {
    return `Gradient, step ${t}: <b>its term is added</b> to the sum of every shared weight (${ids}).${beyond} ${rows}`;
  }
  if (what === "clip") {
    return `Update: <b>the gradient is clipped</b>, its norm n to at most ${
      show(run.update.max_norm)} (${ids}). ${rows}`;
  }
  if (what === "step") {
    return `Update: <b>the step</b>, with η = ${show(shown.rate, 2)} (U1). ${stepInWords(now)} ${rows}`;
  }
  const way = what === "enter" ? "Before the first step" : what.startsWith("d") ? "Backward" : "Forward";
  return `${way}, step ${t}: <b>${name(what, t)}</b>, ${MADE[what]} (${ids}).${beyond}`;
}

// The effect of the step on the loss of its own update; where it raises it, why, and which η does not.
function stepInWords(now) {
  const {delta, losses: [before, after], lossOfRate} = stepOf(now), {momentum, weight_decay} = run.update;
  const options = [weight_decay && `weight decay ${weight_decay}`, momentum && `momentum ${momentum}`].filter(Boolean);
  const first = options.length ? `Δ is the direction of a first update, with ${options.join(" and ")}. ` : "";
  const change = `${first}The loss of this update goes from ${show(before)} to ${show(after)}.`;
  const gradient = gradientSum(now.p, now.activations, now.flow, now.first, now.window.stop);
  const fall = shown.rate * dot(numbersOf(gradient), numbersOf(delta));
  const smaller = range(1, 40).map((n) => shown.rate / 2 ** n).find((rate) => lossOfRate(rate) < before);
  if (after <= before || fall <= 0 || smaller === undefined) return change;
  return `${change} <b>The learning rate is too large here.</b> The gradient is right: to first order the loss falls by
    η dθ·Δ = ${show(fall, 2)}. But the gradient is that of one point, and along so long a step the loss curves upwards.
    With η = ${show(smaller, 2)} the same direction lowers it.`;
}

// The loss of this update along the direction of the step, by the learning rate.
function stepCurve(now) {
  const {losses: [before, after], lossOfRate} = stepOf(now), [low, high] = RATES.map((rate) => Math.log10(rate));
  const points = range(0, 80).map((i) => low + (high - low) * i / 80).map((v) => [v, lossOfRate(10 ** v)]);
  const heights = finite(points).map(([, v]) => v).filter((v) => v < 4 * Math.max(before, after));
  const most = Math.max(before, after, ...heights);
  return plot({
    title: "loss of this update after the step, by η", x: [low, high], y: [0, most], xLabel: "η", width: 318,
    height: 120,
    lines: [
      {kind: "power", label: "before the step", points: [[low, before], [high, before]]},
      {kind: "chunks", label: "after it", points},
    ],
    marked: [Math.log10(shown.rate), after], xTicks: [[low, `${RATES[0]}`], [high, `${RATES[1]}`]],
  });
}
