// Two units over three steps, small enough to show every number: forward, a nudge, backward, the
// sums over the steps, and one update. The task is that of the lesson with d = 1.
"use strict";

const SMALL = {
  x: [1, -1, -1], target: [0, 1, -1], W_xh: [0.5, -0.4], W_hh: [0.6, -0.3, 0.2, 0.5],
  W_hy: [0.7, -0.5],
};
const RATE = 0.2;
const rowsOf = (numbers, width) => range(1, numbers.length / width)
  .map((i) => numbers.slice((i - 1) * width, i * width));

// All numbers of one update by a window of the newest k2 of the three steps; all have a loss if
// the window has all of them, else the newest one.
function smallUpdate(numbers, k2) {
  const p = {
    W_xh: rowsOf(numbers.W_xh, 2), W_hh: rowsOf(numbers.W_hh, 2), W_hy: rowsOf(numbers.W_hy, 1),
    b_h: null, b_y: null,
  };
  const [x, target] = [numbers.x, numbers.target].map((list) => [null, ...list.map((v) => [[v]])]);
  const window = {start: 3 - k2, lossStart: k2 === 3 ? 0 : 2, stop: 3};
  const activations = forward(p, x, [[0, 0]]), flow = adjoints(p, activations, target, window, 1);
  const gradient = gradientSum(p, activations, flow, window.start + 1, 3);
  const after = descent(p, gradient, RATE);
  const lossOf = (q) => nudgedLoss(q, activations, target, window);
  return {p, x, target, window, activations, flow, gradient, after, losses: [p, after].map(lossOf)};
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

function momentsOf({start, lossStart, stop}) {
  const steps = range(start + 1, stop), back = [...steps].reverse();
  const at = (t, list) => list.map((what) => ({what, t}));
  return [
    ...steps.flatMap((t) => at(t, ["a", "h", "y", ...(t > lossStart ? ["loss"] : [])])),
    ...back.flatMap((t) => at(t, ["dy", "dh", "da"])), ...back.map((t) => ({what: "sum", t})),
    {what: "step", t: stop},
  ];
}

// A quantity at a step as a list of numbers.
function valueOf({activations, flow, target}, which, t) {
  if (which === "target") return target[t][0];
  if (which === "loss") return [stepLoss(activations.y[t], target[t])];
  return (which in flow ? flow : activations)[which][t][0];
}

// -- the drawing --------------------------------------------------------------------------------

const PLACES = {  // the top of the cells, and how many there are
  loss: [24, 1], target: [52, 1], y: [92, 1], h: [138, 2], a: [208, 2], x: [278, 1],
};
const CELL = 22;
const ARROWS = {
  a: (t) => [["x", t], ["h", t - 1]], h: (t) => [["a", t]], y: (t) => [["h", t]],
  loss: (t) => [["y", t]], dy: (t) => [["loss", t]], dh: (t) => [["dy", t], ["da", t + 1]],
  da: (t) => [["dh", t]],
};
const HEADS = `<defs>${["ink", "forward", "backward", "cut", "s1", "s2"].map((kind) => `<marker
  id="head-${kind}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5"
  orient="auto"><path class="${kind}" d="M0 0L8 4L0 8z"/></marker>`).join("")}</defs>`;
const isBackward = (which) => ["dy", "dh", "da"].includes(which);

// Where the cells of a quantity are: forward at the left of a step, backward at its right.
function boxOf(which, t, {cell, gap}) {
  const [top, count] = PLACES[isBackward(which) ? which.slice(1) : which];
  const left = 42 + (t === 0 ? 0 : cell + gap + (t - 1) * (2 * cell + gap));
  const x = left + (isBackward(which) ? cell : 0);
  return {x, top, bottom: top + count * CELL, middle: top + count * CELL / 2, center: x + cell / 2};
}

function arrow(from, t, to, u, L, kind) {
  const [p, q] = [boxOf(from, t, L), boxOf(to, u, L)];
  if (t < u) return `<path class="${kind}" d="M${p.x + L.cell} ${p.middle}L${q.x - 2} ${q.middle}"/>`;
  if (t > u) return `<path class="${kind}" d="M${p.x - L.cell} ${p.middle}L${q.x + L.cell + 2} ${q.middle}"/>`;
  const [out, into] = p.top > q.top ? [p.top, q.bottom + 2] : [p.bottom, q.top - 2];
  return `<path class="${kind}" d="M${p.center} ${out}L${q.center} ${into}"/>`;
}

function short(v, cell) {
  const text = cell >= 40 ? fixed(v) : fixed(v, Math.abs(v) < 1 ? 2 : 1);
  return cell >= 40 ? text : text.replace("0.", ".");
}

function networkSvg(now, moments, place, width) {
  const gap = width < 420 ? 10 : 24, L = {cell: (width - 44 - 3 * gap) / 7, gap};
  const {start} = now.window, done = moments.slice(0, place + 1).map(({what, t}) => `${what}_${t}`);
  const {what, t: step} = moments[place], pass = what.startsWith("d") ? "backward" : "forward";
  const isKnown = (which, t) => ["x", "target"].includes(which) || (which === "h" && t === 0)
    || (t <= start && !isBackward(which) && which !== "loss") || done.includes(`${which}_${t}`);
  const cells = (which, t) => {
    const {x, top} = boxOf(which, t, L), numbers = valueOf(now, which, t), known = isKnown(which, t);
    const kind = `cells ${isBackward(which) ? "backward" : "forward"}${known ? "" : " empty"}${
      t <= start && t > 0 ? " before" : ""}${which === what && t === step ? " now" : ""}`;
    return `<g class="${kind}" data-at="${which}_${t}">${numbers.map((v, i) => `<rect x="${x}"
      y="${top + i * CELL}" width="${L.cell}" height="${CELL}" style="fill-opacity:${
      known ? clamp(Math.abs(v), 0.06, 1) * 0.6 : 0}"/>${known ? label(x + L.cell / 2,
      top + i * CELL + 15, short(v, L.cell)) : ""}`).join("")}</g>`;
  };
  const isThere = (which, t) => t <= 3 && (t > start || !isBackward(which));
  const to = (which, t, kind) => ARROWS[which](t).filter(([from, u]) => isThere(from, u))
    .map(([from, u]) => arrow(from, u, which, t, L, kind)).join("");
  const grey = range(1, 3).map((t) => ["a", "h", "y"].map((which) => to(which, t, "arrow grey")));
  const all = range(0, 3).map((t) => (t === 0 ? ["h"] : ["loss", "target", "y", "h", "a", "x",
    ...(t > start ? ["dy", "dh", "da"] : [])]).map((which) => cells(which, t)).join(""));
  const cut = start && boxOf("h", start + 1, L).x - gap / 2;
  const rows = Object.entries(PLACES).map(([which, [top, count]]) => label(0, top + count * CELL / 2 + 5,
    which === "loss" ? "ℓ" : which, which === "target" ? "" : "symbol"));
  const steps = range(1, 3).map((t) => label(boxOf("h", t, L).x + L.cell, 14, `step ${t}`, "middle"));
  return svg(width, 304, `The network over three steps, at ${what} of step ${step}`,
    `${HEADS}${rows.join("")}${steps.join("")}${grey.flat().join("")}${
      what in ARROWS ? to(what, step, `arrow ${pass}`) : ""}${all.join("")}${start ? `<path class="cut"
      d="M${cut} 20V302"/>${label(cut - 5, 16, "cut", "cut end")}` : ""}`);
}

// -- the numbers of a moment ---------------------------------------------------------------------

// The equation of a moment, its parts, and what they make.
function explained(now, {what, t}) {
  const {p, target} = now, at = (which, step = t) => valueOf(now, which, step);
  const product = (row, W) => times([row], W)[0], back = (row, W) => timesTransposed([row], W)[0];
  const parts = {
    a: () => ["F1", [[`x_${t}`, "W_xh", product(at("x"), p.W_xh)],
      [`h_${t - 1}`, "W_hh", product(at("h", t - 1), p.W_hh)]], "the parts are added"],
    h: () => ["F2", [[`a_${t}`, "", at("a")]], "tanh of each number"],
    y: () => ["F3", [[`h_${t}`, "W_hy", product(at("h"), p.W_hy)]], "the output"],
    loss: () => ["L1", [[`y_${t}`, "", at("y")], [`target_${t}`, "", target[t][0]]],
      "half the squared difference"],
    dy: () => ["B1", [[`y_${t}`, "", at("y")], [`target_${t}`, "", target[t][0]]],
      t > now.window.lossStart ? "the difference" : "0: this step has no loss in this update"],
    dh: () => ["B2", [[`dy_${t}`, "W_hyᵀ", back(at("dy"), p.W_hy)],
      [`da_${t + 1}`, "W_hhᵀ", t === 3 ? null : back(at("da", t + 1), p.W_hh)]], "the parts are added"],
    da: () => ["B3", [[`dh_${t}`, "", at("dh")], ["slope", "", at("h").map(SLOPE.tanh)]],
      "the parts are multiplied"],
  };
  const [id, rows, how] = parts[what](), result = math(what === "loss" ? `ℓ_${t}` : `${what}_${t}`);
  const line = (name, numbers, kind = "") => `<tr class="${kind}"><th scope="row">${name}</th>${
    numbers ? numbers.map((v) => `<td>${fixed(v, 4)}</td>`).join("") : "<td>none: the last step</td>"}</tr>`;
  return `<p>(${id}) ${result}: ${how}.</p><table class="numbers"><tbody>${rows.map(([left, W, numbers]) =>
    line(left === "slope" ? "slope" : `${math(left)} ${W && math(W)}`, numbers)).join("")}${
    line(result, at(what), "made")}</tbody></table>`;
}

const matrix = (A, kind = "") => `<table class="matrix ${kind}"><tbody>${A.map((row) => `<tr>${
  row.map((v) => `<td>${fixed(v, 3)}</td>`).join("")}</tr>`).join("")}</tbody></table>`;

const WEIGHTS = [["W_xh", "B4", "x", 0, "da"], ["W_hh", "B5", "h", -1, "da"], ["W_hy", "B6", "h", 0, "dy"]];

// The terms of the weights, from the last step back to step t.
function explainedSum({p, activations, flow}, {t}) {
  const seen = range(t, 3).reverse();
  const row = ([key, id, left, shift, right]) => `<div class="sum"><span class="named">(${id}) ${
    math(`d${key}`)}${t > 1 ? ", so far" : ""}${matrix(gradientSum(p, activations, flow, t, 3)[key], "total")}
    </span>${seen.map((s, i) => `<b>${i ? "+" : "="}</b><span class="named s${s}">${
    math(`${left}_${s + shift}ᵀ`)} ${math(`${right}_${s}`)}${
    matrix(gradientSum(p, activations, flow, s, s)[key], `s${s}`)}</span>`).join("")}</div>`;
  return WEIGHTS.map(row).join("");
}

const explainedStep = ({p, gradient, after, losses}) => `<p>(U1) Each weight takes a step:
  old − ${RATE} · gradient = new. <b>${math("L")} goes from ${show(losses[0])} to ${show(losses[1])}.</b></p>
  ${WEIGHTS.map(([key]) => `<div class="sum"><span class="named">${math(key)}${matrix(p[key])}</span>
  <b>− ${RATE} ·</b><span class="named">${math(`d${key}`)}${matrix(gradient[key], "total")}</span>
  <b>=</b><span class="named">new ${math(key)}${matrix(after[key])}</span></div>`).join("")}`;

// The true change of L by a nudge, and what the derivative says, once it is computed.
function nudgeInWords(now, {what, t}, by) {
  const letter = what.replace("d", "");
  if (!["a", "h", "y"].includes(letter)) return "Go to a cell of a, h or y, or of dy, dh or da, to nudge it.";
  const which = `${letter === "y" ? "" : "unit 1 of "}${math(`${letter}_${t}`)}`;
  if (by === 0) return `Nudge ${which}: will ${math("L")} rise or fall? Predict, then move the slider.`;
  const {p, activations, target, window, losses: [loss], flow} = now;
  const change = nudgedLoss(p, activations, target, window, {what: letter, t, by}) - loss;
  const slope = flow[`d${letter}`][t][0][0];
  return `Nudge ${which} by ${fixed(by)}: ${math("L")} changes by <b>${fixed(change, 5)}</b>. ${
    what === letter ? "The backward pass will predict it." : `${math(`${what}_${t}`)} predicts
    ${fixed(slope, 3)} · ${fixed(by)} = <b>${fixed(slope * by, 5)}</b>.`}`;
}

function drawNetwork(state) {
  const now = smallUpdate(state.numbers, state.k2), moments = momentsOf(now.window);
  state.at = clamp(state.at, 0, moments.length - 1);
  const moment = moments[state.at], {what, t} = moment;
  element("network-drawing").innerHTML = networkSvg(now, moments, state.at, widthOf("network-drawing", 640));
  const name = {sum: `terms of step ${t}`, step: "the step", loss: math(`ℓ_${t}`)}[what] ?? math(`${what}_${t}`);
  showSlider("network-at", state.at, name, {max: moments.length - 1});
  showSlider("network-by", state.by, fixed(state.by));
  element("network-k2").value = state.k2;
  element("network-detail").innerHTML = what === "sum" ? explainedSum(now, moment)
    : what === "step" ? explainedStep(now) : explained(now, moment);
  element("network-nudge").innerHTML = nudgeInWords(now, moment, state.by);
  drawTranspose(now);
}

// W_hh with one column, or one row, in the colour of its pass, and the sum over it.
function sumOver(W, left, index, pass) {
  const isForward = pass === "forward", weight = (i) => (isForward ? W[i][index] : W[index][i]);
  const rows = W.map((row, i) => `<tr><th scope="row">from ${i + 1}</th>${row.map((w, j) =>
    `<td class="${(isForward ? j : i) === index ? pass : ""}">${fixed(w)}</td>`).join("")}</tr>`);
  const terms = left.map((v, i) => `${fixed(v)} · ${weight(i) < 0 ? `(${fixed(weight(i))})` : fixed(weight(i))}`);
  return `<table class="weights"><thead><tr><td></td><th scope="col">to 1</th><th scope="col">to 2</th></tr>
    </thead><tbody>${rows.join("")}</tbody></table><p class="${pass}">${terms.join(" + ")} =
    <b>${fixed(sum(left.map((v, i) => v * weight(i))), 3)}</b></p>`;
}

function drawTranspose({p: {W_hh}, activations: {h}, flow: {da}}) {
  const unit = Number(element("transpose-unit").value);
  element("transpose-forward").innerHTML = `<p>Forward, unit ${unit} receives, by column ${unit}</p>
    ${sumOver(W_hh, h[1][0], unit - 1, "forward")}`;
  element("transpose-backward").innerHTML = `<p>Backward, unit ${unit} gets back, by row ${unit}</p>
    ${sumOver(W_hh, da[2][0], unit - 1, "backward")}`;
}

// The reader's own numbers: one input for each, in the order of SMALL.
function readNumbers() {
  const inputs = [...element("network-numbers").querySelectorAll("input")];
  const numbers = inputs.map(({value}) => Number(value.trim().replace("−", "-") || NaN));
  inputs.forEach((input, i) => input.setAttribute("aria-invalid", String(!(Math.abs(numbers[i]) <= 9))));
  if (!numbers.every((v) => Math.abs(v) <= 9)) return;
  const taken = Object.entries(SMALL).map(([key, list]) => [key, numbers.splice(0, list.length)]);
  FIGURES.network.set({numbers: Object.fromEntries(taken)});
}

figure("network", {at: 0, by: 0, k2: 3, numbers: SMALL}, drawNetwork);
if (element("network")) {
  const move = (by) => FIGURES.network.set({at: FIGURES.network.state.at + by});
  onClick("network-back", () => move(-1));
  onClick("network-next", () => move(1));
  element("network-drawing").addEventListener("click", ({target}) => {
    const {state, set} = FIGURES.network, moments = momentsOf({...smallUpdate(SMALL, state.k2).window});
    const at = moments.findIndex(({what, t}) => `${what}_${t}` === target.closest("[data-at]")?.dataset.at);
    if (at >= 0) set({at});
  });
  element("transpose-unit").addEventListener("input", redraw);
  element("network-numbers").innerHTML = Object.entries(SMALL).map(([key, list]) => `<fieldset>
    <legend>${key === "target" ? "targets" : math(key)}</legend>${list.map((v, i) => `<input type="text"
    size="4" inputmode="decimal" value="${v}" aria-label="${key}, number ${i + 1}">`).join("")}</fieldset>`).join("");
  element("network-numbers").addEventListener("input", readNumbers);
}
