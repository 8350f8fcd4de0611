// Two units over three steps, small enough to show every number. The task is that with d = 1.
"use strict";

lesson.network = (() => {
const {
  slopeOf, range, sum, times, timesTransposed, mapObject, forward, stepLoss, adjoints,
  gradientSum, descent,
} = lesson.rnn;
const {
  element, clamp, show, fixed, math, FIGURES, figure, onClick, showSlider, widthOf, svg, label,
} = lesson.figures;

const SMALL = {
  x: [1, -1, -1], target: [0, 1, -1], h_0: [0.8, -0.6],
  p: {W_xh: [[0.5, -0.4]], W_hh: [[0.6, -0.3], [0.2, 0.5]], W_hy: [[0.7], [-0.5]]},
};
const RATE = 0.2;

// All numbers of one update. The way back is cut after step `cut`, or nowhere if that is 0; the
// forward pass and the losses are the same.
function smallUpdate(cut = 0) {
  const p = {...SMALL.p, b_h: null, b_y: null};
  const [x, target] = [SMALL.x, SMALL.target].map((list) => [null, ...list.map((v) => [[v]])]);
  const activations = forward(p, x, [SMALL.h_0]);
  const back = (first, stop) => adjoints(p, activations, target, {lossStart: 0, stop}, 1, first);
  const early = back(1, cut), late = back(cut + 1, 3);
  const flow = mapObject((list, key) => [...early[key], ...list.slice(cut + 1)], late);
  const gradient = gradientSum(p, activations, flow, 1, 3);
  const after = descent(p, gradient, RATE);
  const losses = [p, after].map((q) => nudgedLoss(q, x, target));
  return {p, x, target, cut, activations, flow, gradient, after, losses};
}

// L where unit 1 of a, h or y at step t is moved by `by`, at the place where it is computed.
function nudgedLoss(p, x, target, {what, t, by} = {}) {
  const moved = ([[first, ...others]], letter, step) =>
    [[letter === what && step === t ? first + by : first, ...others]];
  const {y} = forward(p, x, [SMALL.h_0], moved);
  return sum([1, 2, 3].map((step) => stepLoss(y[step], target[step])));
}

const MOMENTS = [
  ...[1, 2, 3].flatMap((t) => ["a", "h", "y", "loss"].map((what) => ({what, t}))),
  ...[3, 2, 1].flatMap((t) => ["dy", "dh", "da"].map((what) => ({what, t}))),
  ...[3, 2, 1].map((t) => ({what: "sum", t})), {what: "step", t: 3},
];
// When a quantity is computed; before all moments, −1, if it is an input.
const momentOf = (which, t) => MOMENTS.findIndex(({what, t: step}) => what === which && step === t);

// A quantity at a step as a list of numbers.
function valueOf({activations, flow, target}, which, t) {
  if (which === "target") return target[t][0];
  if (which === "loss") return [stepLoss(activations.y[t], target[t])];
  return (which in flow ? flow : activations)[which][t][0];
}

const PLACES = {  // the top of the cells, and how many there are
  loss: [20, 1], target: [41, 1], y: [70, 1], h: [104, 2], a: [154, 2], x: [204, 1],
};
const CELL = 18;
const ARROWS = {  // where a quantity comes from, and how many steps later that is
  a: [["x", 0], ["h", -1]], h: [["a", 0]], y: [["h", 0]], loss: [["y", 0]],
  dy: [["loss", 0]], dh: [["dy", 0], ["da", 1]], da: [["dh", 0]],
};
const isBackward = (which) => ["dy", "dh", "da"].includes(which);

// Where the cells of a quantity are: forward at the left of a step, backward at its right.
function boxOf(which, t, {cell, gap}) {
  const [top, count] = PLACES[isBackward(which) ? which.slice(1) : which];
  const left = 42 + (t === 0 ? 0 : cell + gap + (t - 1) * (2 * cell + gap));
  const x = left + (isBackward(which) ? cell : 0);
  return {x, top, bottom: top + count * CELL, middle: top + count * CELL / 2, center: x + cell / 2};
}

// From a cell to one of the same step, above or below; of the next step; or of the step before.
function arrow(from, t, to, u, layout, kind) {
  const p = boxOf(from, t, layout);
  const q = boxOf(to, u, layout);
  const {cell} = layout;
  let path = `M${p.x - cell} ${p.middle}L${q.x + cell + 2} ${q.middle}`;
  if (t < u) path = `M${p.x + cell} ${p.middle}L${q.x - 2} ${q.middle}`;
  if (t === u && p.top > q.top) path = `M${p.center} ${p.top}L${q.center} ${q.bottom + 2}`;
  if (t === u && p.top < q.top) path = `M${p.center} ${p.bottom}L${q.center} ${q.top - 2}`;
  return `<path class="arrow ${kind}" d="${path}"/>`;
}

// The cells of a quantity: their numbers are seen once they are known.
function cellsSvg(update, which, t, at, layout) {
  const {x, top} = boxOf(which, t, layout);
  const {cell: width} = layout;
  const moment = momentOf(which, t);
  const kinds = ["cells", isBackward(which) ? "backward" : "forward"];
  if (moment === at) kinds.push("now");
  if (moment > at) kinds.push("empty");
  const cells = valueOf(update, which, t).map((v, i) => {
    const y = top + i * CELL;
    const opacity = clamp(Math.abs(v), 0.06, 1) * 0.6;
    return `<rect x="${x}" y="${y}" width="${width}" height="${CELL}"
      fill-opacity="${opacity}"/>${label(x + width / 2, y + 13, fixed(v, width < 40 ? 1 : 2))}`;
  });
  return `<g class="${kinds.join(" ")}">${cells.join("")}</g>`;
}

// The arrows to a quantity, except across the cut on the way back.
function arrowsSvg(which, t, cut, layout, kind) {
  const isThere = ([from]) => from !== "da" || (t < 3 && t !== cut);
  return (ARROWS[which] ?? []).filter(isThere)
    .map(([from, shift]) => arrow(from, t + shift, which, t, layout, kind)).join("");
}

function cutSvg(cut, layout) {
  if (cut === 0) return "";
  const x = boxOf("h", cut + 1, layout).x - layout.gap / 2;
  return `<path class="cut" d="M${x} 20V222"/>${label(x, 12, "cut", "end cut")}`;
}

function networkSvg(update, at, width) {
  const gap = width < 420 ? 10 : 24;
  const layout = {cell: (width - 44 - 3 * gap) / 7, gap};
  const {what, t: step} = MOMENTS[at];
  const {cut} = update;
  const parts = [];
  for (const [which, [top, count]] of Object.entries(PLACES)) {
    const symbol = which === "loss" ? "ℓ" : which;
    parts.push(label(3, top + count * CELL / 2 + 5, symbol, `symbol ${which}`));
  }
  for (const t of [1, 2, 3]) {
    parts.push(label(boxOf("dh", t, layout).x, 14, `step ${t}`, "middle"));
    for (const which of ["a", "h", "y"]) parts.push(arrowsSvg(which, t, cut, layout, "grey"));
  }
  parts.push(arrowsSvg(what, step, cut, layout, isBackward(what) ? "backward" : "forward"));
  parts.push(cellsSvg(update, "h", 0, at, layout));
  for (const t of [1, 2, 3]) {
    for (const which of ["loss", "target", "y", "h", "a", "x", "dy", "dh", "da"]) {
      parts.push(cellsSvg(update, which, t, at, layout));
    }
  }
  parts.push(cutSvg(cut, layout));
  const words = `The network over three steps, at ${what} of step ${step}`;
  return svg(width, 226, words, parts.join(""));
}

// The equation of a moment, its parts, and what they make.
function explained(update, {what, t}) {
  const {p, cut} = update;
  const at = (which, step = t) => valueOf(update, which, step);
  const part = (which) => [math(`${which}_${t}`), at(which)];
  const product = (which, step, W) => [`${math(`${which}_${step}`)} ${math(W)}`,
    times([at(which, step)], p[W])[0]];
  const back = (which, step, W) => {
    const isMissing = step > 3 || (t === cut && which === "da");
    const numbers = isMissing ? null : timesTransposed([at(which, step)], p[W])[0];
    return [`${math(`${which}_${step}`)} ${math(`${W}ᵀ`)}`, numbers];
  };
  const explanations = {
    a: () => ["F1", [product("x", t, "W_xh"), product("h", t - 1, "W_hh")], "the parts are added"],
    h: () => ["F2", [part("a")], "tanh of each number"],
    y: () => ["F3", [product("h", t, "W_hy")], "the output"],
    loss: () => ["L1", [part("y"), part("target")], "half the squared difference"],
    dy: () => ["B1", [part("y"), part("target")], "the difference"],
    dh: () => ["B2", [back("dy", t, "W_hy"), back("da", t + 1, "W_hh")], "the parts are added"],
    da: () => ["B3", [part("dh"), ["slope", at("h").map(slopeOf)]], "the parts are multiplied"],
  };
  const [id, parts, how] = explanations[what]();
  const result = math(what === "loss" ? `ℓ_${t}` : `${what}_${t}`);
  const row = ([name, numbers], kind = "") => {
    const texts = numbers?.map((v) => fixed(v, 4)) ?? [t === 3 ? "none: the last step" : "cut"];
    const cells = [name, ...texts].map((text) => `<td>${text}</td>`);
    return `<tr class="${kind}">${cells.join("")}</tr>`;
  };
  const rows = [...parts.map((numbers) => row(numbers)), row([result, at(what)], "made")];
  return `<p>(${id}) ${result}: ${how}.</p>
    <table class="numbers"><tbody>${rows.join("")}</tbody></table>`;
}

// A matrix below its name.
function matrixBlock(name, A, kind = "") {
  const cells = (row) => row.map((v) => `<td>${fixed(v, 3)}</td>`).join("");
  const rows = A.map((row) => `<tr>${cells(row)}</tr>`).join("");
  return `<span class="named">${name}<table class="matrix ${kind}"><tbody>${rows}</tbody></table>
    </span>`;
}

const WEIGHTS = {
  W_xh: ["B4", "x", 0, "da"], W_hh: ["B5", "h", -1, "da"], W_hy: ["B6", "h", 0, "dy"],
};

// The terms of the weights, from the last step back to step t.
function explainedSum({p, activations, flow, cut}, {t}) {
  const from = (first, last, key) => gradientSum(p, activations, flow, first, last)[key];
  const uncut = smallUpdate().gradient;
  return Object.entries(WEIGHTS).map(([key, [id, left, shift, right]]) => {
    const terms = range(t, 3).reverse().map((s) => {
      const product = `${math(`${left}_${s + shift}ᵀ`)} ${math(`${right}_${s}`)}`;
      return matrixBlock(product, from(s, s, key), `s${s}`);
    });
    const words = `(${id}) ${math(`d${key}`)}${t > 1 ? ", so far" : ""}`;
    const total = matrixBlock(words, from(t, 3, key), "total");
    const isChanged = cut && t === 1 && key !== "W_hy";
    const without = isChanged ? matrixBlock("without cut", uncut[key], "cut") : "";
    return `<div class="sum">${total}<b>=</b>${terms.join("<b>+</b>")}${without}</div>`;
  }).join("");
}

const explainedStep = ({losses: [before, now]}) => `<p>(U1) Each weight takes a step
  against its gradient, ${RATE} times as long. <b>${math("L")} goes from ${show(before)} to ${show(now)}.</b></p>`;

// The true change of L by a nudge, and what the derivative says, once it is computed.
function nudgeInWords(update, {what, t}, by) {
  const letter = what.replace("d", "");
  if (!["a", "h", "y"].includes(letter)) return "No nudge here: go to another cell.";
  const L = math("L");
  const which = `${letter === "y" ? "" : "unit 1 of "}${math(`${letter}_${t}`)}`;
  if (by === 0) return `Nudge ${which}: will ${L} rise or fall? Predict, then move the slider.`;
  const {p, x, target, losses: [loss], flow, cut} = update;
  const change = nudgedLoss(p, x, target, {what: letter, t, by}) - loss;
  const effect = `Nudge ${which} by ${fixed(by)}: ${L} changes by <b>${fixed(change, 5)}</b>.`;
  if (what === letter) return `${effect} The backward pass will predict it.`;
  const slope = flow[what][t][0][0];
  const product = `${fixed(slope, 3)} · ${fixed(by)} = <b>${fixed(slope * by, 5)}</b>`;
  const limit = cut >= t && letter !== "y" ? ", without the losses after the cut" : "";
  return `${effect} ${math(`${what}_${t}`)} predicts ${product}${limit}.`;
}

function drawNetwork(state) {
  if (state.at !== state.seen) Object.assign(state, {by: 0, seen: state.at});  // to predict again
  const update = smallUpdate(state.cut);
  const moment = MOMENTS[state.at];
  const {what, t} = moment;
  const names = {sum: `sum ${t}`, step: "update", loss: math(`ℓ_${t}`)};
  const details = {sum: explainedSum, step: explainedStep};
  showSlider("network-at", state.at, names[what] ?? math(`${what}_${t}`));
  showSlider("network-by", state.by, fixed(state.by));
  const width = widthOf("network-drawing", 640);
  element("network-drawing").innerHTML = networkSvg(update, state.at, width);
  element("network-detail").innerHTML = (details[what] ?? explained)(update, moment);
  element("network-nudge").innerHTML = nudgeInWords(update, moment, state.by);
}

figure("network", {at: 0, by: 0, cut: 0}, drawNetwork);
if (element("network")) {
  const {state, set} = FIGURES.network;
  const move = (by) => set({at: clamp(state.at + by, 0, MOMENTS.length - 1)});
  onClick("network-back", () => move(-1));
  onClick("network-next", () => move(1));
}

return {SMALL, smallUpdate, nudgedLoss, MOMENTS};
})();
