// Two units over three steps, small enough to show every number. The task is that with d = 1.
// Uses rnn.js, figures.js.
"use strict";
const SMALL = {
  x: [1, -1, -1], target: [0, 1, -1], h_0: [0.8, -0.6],
  p: {W_xh: [[0.5, -0.4]], W_hh: [[0.6, -0.3], [0.2, 0.5]], W_hy: [[0.7], [-0.5]]},
};
const RATE = 0.2;
const ALL_STEPS = {start: 0, lossStart: 0, stop: 3};

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
  const losses = [p, after].map((q) => nudgedLoss(q, activations, target, ALL_STEPS));
  return {p, x, target, cut, activations, flow, gradient, after, losses};
}

// L where unit 1 of a, h or y at step t is moved by `by`, at the place where it is computed.
function nudgedLoss(p, {x, h: states}, target, {start, lossStart, stop}, {what, t, by} = {}) {
  const moved = (letter, step, [[first, ...others]]) =>
    [[letter === what && step === t ? first + by : first, ...others]];
  let h = states[start], loss = 0;
  for (const step of range(start + 1, stop)) {
    const a = moved("a", step, add(times(x[step], p.W_xh), times(h, p.W_hh)));
    h = moved("h", step, each(Math.tanh, a));
    const y = moved("y", step, times(h, p.W_hy));
    if (step > lossStart) loss += stepLoss(y, target[step]);
  }
  return loss;
}

const MOMENTS = [
  ...[1, 2, 3].flatMap((t) => ["a", "h", "y", "loss"].map((what) => ({what, t}))),
  ...[3, 2, 1].flatMap((t) => ["dy", "dh", "da"].map((what) => ({what, t}))),
  ...[3, 2, 1].map((t) => ({what: "sum", t})), {what: "step", t: 3},
];

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
const ARROWS = {
  a: (t) => [["x", t], ["h", t - 1]], h: (t) => [["a", t]], y: (t) => [["h", t]],
  loss: (t) => [["y", t]], dy: (t) => [["loss", t]], dh: (t) => [["dy", t], ["da", t + 1]],
  da: (t) => [["dh", t]],
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
function arrow(from, t, to, u, L, kind) {
  const [p, q] = [boxOf(from, t, L), boxOf(to, u, L)], isUp = p.top > q.top;
  const path = t === u
    ? `M${p.center} ${isUp ? p.top : p.bottom}L${q.center} ${isUp ? q.bottom + 2 : q.top - 2}`
    : t < u ? `M${p.x + L.cell} ${p.middle}L${q.x - 2} ${q.middle}`
    : `M${p.x - L.cell} ${p.middle}L${q.x + L.cell + 2} ${q.middle}`;
  return `<path class="arrow ${kind}" d="${path}"/>`;
}

const short = (v, cell) => (cell >= 40 ? fixed(v)
  : fixed(v, Math.abs(v) < 1 ? 2 : 1).replace("0.", "."));

function networkSvg(now, place, width) {
  const gap = width < 420 ? 10 : 24, L = {cell: (width - 44 - 3 * gap) / 7, gap};
  const {cut} = now, done = MOMENTS.slice(0, place + 1).map(({what, t}) => `${what}_${t}`);
  const {what, t: step} = MOMENTS[place], pass = isBackward(what) ? "backward" : "forward";
  const isKnown = (which, t) => ["x", "target"].includes(which) || (which === "h" && t === 0)
    || done.includes(`${which}_${t}`);
  const cells = (which, t) => {
    const {x, top} = boxOf(which, t, L), known = isKnown(which, t);
    const kinds = [isBackward(which) ? "backward" : "forward", known ? "" : "empty",
      which === what && t === step ? "now" : ""];
    const cell = (v, i) => `<rect x="${x}" y="${top + i * CELL}" width="${L.cell}" height="${CELL}"
      style="fill-opacity:${known ? clamp(Math.abs(v), 0.06, 1) * 0.6 : 0}"/>
      ${known ? label(x + L.cell / 2, top + i * CELL + 13, short(v, L.cell)) : ""}`;
    return `<g class="cells ${kinds.join(" ")}" data-at="${which}_${t}">${
      valueOf(now, which, t).map(cell).join("")}</g>`;
  };
  const arrows = (which, t, kind) => (ARROWS[which]?.(t) ?? [])
    .filter(([from, u]) => u <= 3 && !(from === "da" && u === cut + 1 && cut))
    .map(([from, u]) => arrow(from, u, which, t, L, kind));
  const grey = [1, 2, 3].flatMap((t) => ["a", "h", "y"].flatMap((one) => arrows(one, t, "grey")));
  const all = range(1, 3).flatMap((t) => ["loss", "target", "y", "h", "a", "x", "dy", "dh", "da"]
    .map((which) => cells(which, t)));
  const rows = Object.entries(PLACES).map(([which, [top, count]]) =>
    label(3, top + count * CELL / 2 + 5, which === "loss" ? "ℓ" : which, `symbol ${which}`));
  const steps = range(1, 3).map((t) => label(boxOf("dh", t, L).x, 14, `step ${t}`, "middle"));
  const line = boxOf("h", cut + 1, L).x - gap / 2;
  return svg(width, 226, `The network over three steps, at ${what} of step ${step}`,
    [HEADS, ...rows, ...steps, ...grey, ...arrows(what, step, pass), cells("h", 0), ...all].join("")
    + (cut ? `<path class="cut" d="M${line} 20V222"/>${label(line, 12, "cut", "end cut")}` : ""));
}

// The equation of a moment, its parts, and what they make.
function explained(now, {what, t}) {
  const {p, cut} = now, at = (which, step = t) => valueOf(now, which, step);
  const part = (which, step = t) => [math(`${which}_${step}`), at(which, step)];
  const product = (which, step, W) => [`${math(`${which}_${step}`)} ${math(W)}`,
    times([at(which, step)], p[W])[0]];
  const back = (which, step, W) => [`${math(`${which}_${step}`)} ${math(`${W}ᵀ`)}`,
    step > 3 || (t === cut && which === "da") ? null : timesTransposed([at(which, step)], p[W])[0]];
  const [id, rows, how] = {
    a: () => ["F1", [product("x", t, "W_xh"), product("h", t - 1, "W_hh")], "the parts are added"],
    h: () => ["F2", [part("a")], "tanh of each number"],
    y: () => ["F3", [product("h", t, "W_hy")], "the output"],
    loss: () => ["L1", [part("y"), part("target")], "half the squared difference"],
    dy: () => ["B1", [part("y"), part("target")], "the difference"],
    dh: () => ["B2", [back("dy", t, "W_hy"), back("da", t + 1, "W_hh")], "the parts are added"],
    da: () => ["B3", [part("dh"), ["slope", at("h").map(slopeOf)]], "the parts are multiplied"],
  }[what]();
  const result = math(what === "loss" ? `ℓ_${t}` : `${what}_${t}`);
  const line = ([name, numbers], kind = "") => `<tr class="${kind}"><td>${name}</td>${
    numbers ? numbers.map((v) => `<td>${fixed(v, 4)}</td>`).join("")
      : `<td>${t === 3 ? "none: the last step" : "cut"}</td>`}</tr>`;
  return `<p>(${id}) ${result}: ${how}.</p><table class="numbers"><tbody>${
    rows.map((row) => line(row)).join("")}${line([result, at(what)], "made")}</tbody></table>`;
}

const matrix = (A, kind = "") => `<table class="matrix ${kind}"><tbody>${A.map((row) =>
  `<tr>${row.map((v) => `<td>${fixed(v, 3)}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
const named = (name, A, kind = "") => `<span class="named">${name}${matrix(A, kind)}</span>`;

const WEIGHTS = {
  W_xh: ["B4", "x", 0, "da"], W_hh: ["B5", "h", -1, "da"], W_hy: ["B6", "h", 0, "dy"],
};

// The terms of the weights, from the last step back to step t.
function explainedSum({p, activations, flow, cut}, {t}) {
  const from = (first, last, key) => gradientSum(p, activations, flow, first, last)[key];
  const whole = smallUpdate().gradient;
  return Object.entries(WEIGHTS).map(([key, [id, left, shift, right]]) => {
    const terms = range(t, 3).reverse().map((s) =>
      named(`${math(`${left}_${s + shift}ᵀ`)} ${math(`${right}_${s}`)}`, from(s, s, key), `s${s}`));
    const words = `(${id}) ${math(`d${key}`)}${t > 1 ? ", so far" : ""}`;
    const total = named(words, from(t, 3, key), "total");
    const isOther = cut && t === 1 && key !== "W_hy";
    const other = isOther ? named("without cut", whole[key], "cut") : "";
    return `<div class="sum">${total}<b>=</b>${terms.join("<b>+</b>")}${other}</div>`;
  }).join("");
}

function explainedStep({p, gradient, after, losses: [before, now]}) {
  const rows = Object.keys(WEIGHTS).map((key) => `<div class="sum">${named(math(key), p[key])}
    <b>− ${RATE} ·</b>${named(math(`d${key}`), gradient[key], "total")}<b>=</b>${
    named(`new ${math(key)}`, after[key])}</div>`);
  return `<p>(U1) Each weight takes a step. <b>${math("L")} goes from ${show(before)} to
    ${show(now)}.</b></p>${rows.join("")}`;
}

// The true change of L by a nudge, and what the derivative says, once it is computed.
function nudgeInWords(now, {what, t}, by) {
  const letter = what.replace("d", ""), L = math("L");
  if (!["a", "h", "y"].includes(letter)) return "No nudge here: go to another cell.";
  const which = `${letter === "y" ? "" : "unit 1 of "}${math(`${letter}_${t}`)}`;
  if (by === 0) return `Nudge ${which}: will ${L} rise or fall? Predict, then move the slider.`;
  const {p, activations, target, losses: [loss], flow, cut} = now;
  const change = nudgedLoss(p, activations, target, ALL_STEPS, {what: letter, t, by}) - loss;
  const slope = flow[`d${letter}`][t][0][0], says = `${fixed(slope, 3)} · ${fixed(by)}`;
  return `Nudge ${which} by ${fixed(by)}: ${L} changes by <b>${fixed(change, 5)}</b>. ${
    what === letter ? "The backward pass will predict it."
      : `${math(`${what}_${t}`)} predicts ${says} = <b>${fixed(slope * by, 5)}</b>${
      cut >= t && letter !== "y" ? ", without the losses after the cut" : ""}.`}`;
}

function drawNetwork(state) {
  const now = smallUpdate(state.cut);
  if (state.at !== state.seen) Object.assign(state, {by: 0, seen: state.at});  // to predict again
  const moment = MOMENTS[state.at], {what, t} = moment, width = widthOf("network-drawing", 640);
  element("network-drawing").innerHTML = networkSvg(now, state.at, width);
  const names = {sum: `sum ${t}`, step: "update", loss: math(`ℓ_${t}`)};
  const words = names[what] ?? math(`${what}_${t}`);
  showSlider("network-at", state.at, words);
  showSlider("network-by", state.by, fixed(state.by));
  element("network-detail").innerHTML = what === "sum" ? explainedSum(now, moment)
    : what === "step" ? explainedStep(now) : explained(now, moment);
  element("network-nudge").innerHTML = nudgeInWords(now, moment, state.by);
}

figure("network", {at: 0, by: 0, cut: 0}, drawNetwork);
if (element("network")) {
  const {state, set} = FIGURES.network;
  const move = (by) => set({at: clamp(state.at + by, 0, MOMENTS.length - 1)});
  onClick("network-back", () => move(-1));
  onClick("network-next", () => move(1));
  element("network-drawing").addEventListener("click", ({target}) => {
    const chosen = target.closest("[data-at]")?.dataset.at;
    const at = MOMENTS.findIndex(({what, t}) => `${what}_${t}` === chosen);
    if (at >= 0) set({at});
  });
}
