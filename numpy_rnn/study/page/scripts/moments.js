// One update, moment by moment: its window, the order in which it computes, and the numbers and words of every moment.
"use strict";

// What is shown. Every change goes through change(), which keeps 1 ≤ k1 ≤ k2 ≤ T and draws anew. row: of the weights'
// matrices, in the table. uncut: whether the gradient flows past the start of the window.
const shown = {
  epoch: data.snapshots.length - 1, k1: data.k1, k2: Math.max(data.k2, Math.min(5, T)), update: 1, moment: 0, row: 1, uncut: 0,
};

const x = [null, ...data.x];
const target = [null, ...data.target];
const clips = data.update.max_norm !== null;

function windows(k1, k2) {
  return range(1, Math.ceil(T / k1)).map((n) => {
    const stop = Math.min(n * k1, T);  // (T1)
    return {start: Math.max(0, stop - k2), lossStart: (n - 1) * k1, stop};  // (T2)
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

// ---- the numbers of the current update --------------------------------------------------------------------------------

const activationsOf = data.snapshots.map(() => null);

function current() {
  const seen = data.snapshots[shown.epoch], h_0 = seen.parameters.h_0 ?? data.h_0;
  const activations = activationsOf[shown.epoch] ??= forward(seen.parameters, x, h_0, data.nonlinearity);
  const schedule = windows(shown.k1, shown.k2), window = schedule[shown.update - 1];
  const first = shown.uncut ? 1 : window.start + 1;
  const p = first === 1 ? seen.parameters : {...seen.parameters, h_0: null};  // no window after the first learns h_0
  const N = data.reduction === "mean" ? (window.stop - window.lossStart) * B * O : 1;  // (L2)
  const list = moments(window, first);
  return {
    seen, activations, schedule, window, first, p, N, moments: list, moment: list[shown.moment],
    flow: adjoints(p, activations, target, window, N, data.nonlinearity),
  };
}

function value({activations, flow}, which, t) {
  if (which === "x" || which === "target") return {x, target}[which][t];
  if (which === "loss") return [stepLoss(activations.y[t], target[t])];
  return which in flow ? flow[which][t] : activations[which === "enter" ? "h" : which][t];
}

const isSumming = ({moment: {name: what}}) => ["dW", "clip", "step"].includes(what);

// The gradient as far as it is summed at this moment; null before its first term.
function gradientSoFar(now) {
  const {p, activations, flow, first, window, moment: {name: what, t}} = now;
  if (!isSumming(now)) return null;
  const sum = gradientSum(p, activations, flow, what === "dW" ? t : first, window.stop);
  return what === "dW" ? sum : clipped(sum, data.update.max_norm);
}

// The update: the direction Δ, the new parameters, and the loss of its steps before and after, from the same state.
function stepOf(now) {
  const {p, activations: {h, y}, window: {start, lossStart, stop}, N} = now;
  const delta = direction(p, gradientSoFar(now), data.update), after = descent(p, delta, data.learning_rate);
  const from = shown.uncut ? 0 : start;
  const again = forward(after, [null, ...x.slice(from + 1, stop + 1)], after.h_0 ?? h[from], data.nonlinearity).y;
  const loss = (outputs, skipped) =>
    sum(range(lossStart + 1, stop).map((t) => stepLoss(outputs[t - skipped], target[t]))) / N;
  return {delta, after, losses: [loss(y, 0), loss(again, from)]};
}

// ---- the table: [label, numbers, whether it is made at this moment], and the equations that make it --------------------

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
      [product(name("x", t), "W_xh"), times(at("x"), p.W_xh)], [product(name("h", t - 1), "W_hh"), times(at("h", t - 1), p.W_hh)],
      ...(p.b_h ? [[theta("b_h"), p.b_h]] : []), own()]};
    case "h": return {equations: ["F2"], rows: [given("a"), own()]};
    case "y": return {equations: ["F3"], rows: [
      [product(name("h", t), "W_hy"), times(at("h"), p.W_hy)], ...(p.b_y ? [[theta("b_y"), p.b_y]] : []), own()]};
    case "loss": return {equations: ["L1"], rows: [
      given("y"), given("target"), [`${name("y", t)} − ${name("target", t)}`, at("y").map((v, o) => v - at("target")[o])], own()]};
    case "dy": return {equations: ["B1"], rows: [given("y"), given("target"), ["N", [now.N]], own()]};
    case "dh": return {equations: ["B2"], rows: [
      [product(name("dy", t), "W_hy", "ᵀ"), timesTransposed(at("dy"), p.W_hy)],
      [product(name("da", t + 1), "W_hh", "ᵀ"), t === now.window.stop ? null : timesTransposed(at("da", t + 1), p.W_hh)], own()]};
    case "da": return {equations: ["B3"], rows: [
      given("dh"), [`φ′(${name("a", t)})`, at("h").map(SLOPE[data.nonlinearity])], own()]};
    case "dW": return explainedTerms(now);
    default: return explainedUpdate(now);
  }
}

function explainedTerms(now) {
  const {p, activations, flow, moment: {t}} = now;
  const terms = gradientTerm(p, activations, flow, t), total = gradientSoFar(now);
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
    [`− η ${data.update.momentum || data.update.weight_decay ? "Δ" : `d${theta(which)}`}`,
      rowOf(delta[which]).map((v) => -data.learning_rate * v)],
    [`new ${theta(which)}${indexIn(p[which])}`, rowOf(after[which]), true]])};
}

// ---- a moment in words ------------------------------------------------------------------------------------------------

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
    return `Update: <b>the gradient is clipped</b>, its norm n to at most ${show(data.update.max_norm)} (${ids}). ${rows}`;
  }
  if (what === "step") {
    const {losses: [before, after]} = stepOf(now), {momentum, weight_decay} = data.update;
    const s = momentum || weight_decay ? ` Here Δ is the direction of a first update, with ${[
      ...(weight_decay ? [`weight decay ${weight_decay}`] : []), ...(momentum ? [`momentum ${momentum}`] : [])].join(" and ")}.` : "";
    return `Update: <b>the step</b>, with η = ${data.learning_rate} (U1).${s} The loss of this update goes from ${
      show(before)} to ${show(after)}. ${rows}`;
  }
  const way = what === "enter" ? "Before the first step" : what.startsWith("d") ? "Backward" : "Forward";
  return `${way}, step ${t}: <b>${name(what, t)}</b>, ${MADE[what]} (${ids}).${beyond}`;
}
