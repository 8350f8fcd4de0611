// The small network with the reader's own numbers: forwards, a nudge, the transpose, and the gradients that add up.

const NUMBERS = {x: [3], target: [3], W_xh: [1, 2], W_hh: [2, 2], W_hy: [2, 1]};  // shapes
const FIRST_NUMBERS = "0.9,0.7,0.3,0.7,0.3,-0.1,0.5,-0.4,0.6,-0.3,0.2,0.5,0.7,-0.5";
const FORWARD = range(1, 3).flatMap((t) => ["a", "h", "y", "loss"].map((what) => `${what}_${t}`));
const BACKWARD = range(1, 3).reverse().flatMap((t) => ["dy", "dh", "da"].map((what) => `${what}_${t}`));

// Fourteen numbers between −9 and 9, separated by commas; null if they are not.
function ownNumbers(text) {
  const numbers = text.split(",").map(decimal(-9, 9));
  return numbers.length === 14 && !numbers.includes(null) ? text : null;
}

// The run of these numbers.
function ownRun(text) {
  const numbers = text.split(",").map(Number);
  const take = ([rows, columns]) => range(1, rows).map(() => (columns ? numbers.splice(0, columns) : numbers.splice(0, 1)));
  return smallRun(Object.fromEntries(Object.entries(NUMBERS).map(([key, shape]) => [key, take(shape)])));
}

const smallNow = (at) => momentOf(RUNS.small, {k1: 3, k2: 3, update: 1, at});
const move = (list, at, by) => list[clamp(list.indexOf(at) + by, 0, list.length - 1)];

// Clicks on cells choose a moment of the list.
function chooseCells(id, list, choose) {
  element(id).addEventListener("click", (event) => {
    const {what, t} = event.target.closest("[data-what]")?.dataset ?? {};
    if (list.includes(`${what}_${t}`)) choose(`${what}_${t}`);
  });
}

function stepButtons(name, list) {
  for (const [which, by] of [["back", -1], ["forward", 1]]) {
    onClick(`${name}-${which}`, () => FIGURES[name].set({at: move(list, FIGURES[name].state.at, by)}));
  }
}

function drawForward(state, changes = {}) {
  if (!RUNS.small || RUNS.small.text !== state.numbers) RUNS.small = {...ownRun(state.numbers), text: state.numbers};
  const now = smallNow(state.at), inputs = [...element("net-inputs").querySelectorAll("input")];
  inputs.forEach((input, i) => { if (document.activeElement !== input) input.value = state.numbers.split(",")[i]; });
  element("net-drawing").innerHTML = unrolledSvg(now, widthOf("net-drawing", 640), {both: false, all: true});
  element("net-table").innerHTML = `<p>${momentInWords(now)}</p>${numbersTable(now)}`;
  if ("numbers" in changes) Object.values(FIGURES).forEach((other) => { if (other !== FIGURES.net) other.draw(); });
}

function readNumbers() {
  const inputs = [...element("net-inputs").querySelectorAll("input")];
  const text = inputs.map((input) => input.value.trim().replace("−", "-").replace(/^(-?)\./, "$10.")).join(",");
  inputs.forEach((input) => input.setAttribute("aria-invalid", String(decimal(-9, 9)(input.value.trim()) === null)));
  if (ownNumbers(text) !== null) FIGURES.net.set({numbers: text});
}

// The loss of the network where unit 1 of a quantity is moved by `by` at the place where it is computed.
function nudgedLoss({p, activations: {x, h: [h_0]}, target}, {what, t}, by) {
  const moved = (letter, step, v) => (letter === what && step === t ? [[v[0][0] + by, ...v[0].slice(1)]] : v);
  let h = h_0, loss = 0;
  const seen = [];
  for (let step = 1; step < x.length; step++) {
    const a = moved("a", step, add(times(x[step], p.W_xh), times(h, p.W_hh)));
    h = moved("h", step, a.map((row) => row.map(Math.tanh)));
    const y = moved("y", step, times(h, p.W_hy));
    loss += stepLoss(y, target[step]);
    seen[step] = y[0][0];
  }
  return {loss, y: seen};
}

function drawNudge(state) {
  const now = smallNow(state.at), {what, t} = now.moment, letter = what.slice(1), by = state.by / 100;
  element("nudge-drawing").innerHTML = unrolledSvg(now, widthOf("nudge-drawing", 640),
    {all: true, moved: {what: letter, t}});
  showSlider("nudge-by", state.by, signedText(by.toFixed(2)));
  const [before, after] = [nudgedLoss(now, {what: letter, t}, 0), nudgedLoss(now, {what: letter, t}, by)];
  const [slope] = value(now, what, t), unit = now.H > 1 && letter !== "y" ? ", unit 1," : "";
  element("nudge-table").innerHTML = `<p>${momentInWords(now)}</p>${numbersTable(now)}`;
  element("nudge-text").innerHTML = `Nudge ${name(letter, t)}${unit} by ${signedText(by.toFixed(2))}: the loss goes from ${
    show(before.loss, 5)} to ${show(after.loss, 5)}, a change of <b>${show(after.loss - before.loss, 3)}</b>. ${
    name(what, t)} says ${show(slope, 3)} · ${signedText(by.toFixed(2))} = <b>${show(slope * by, 3)}</b>.`;
}

// W_hh with one column, or one row, in the colour of its pass, and the sum over it.
function sumOver(W, left, index, pass) {
  const isForward = pass === "forward", chosen = (i, j) => (isForward ? j : i) === index;
  const cell = (w, i, j) => `<td class="${chosen(i, j) ? pass : ""}">${show(w, 2)}</td>`;
  const rows = W.map((row, i) => `<tr><th scope="row">from ${i + 1}</th>${row.map((w, j) => cell(w, i, j)).join("")}</tr>`);
  const terms = left.map((v, i) => `${show(v, 2)}·(${show(isForward ? W[i][index] : W[index][i], 2)})`).join(" + ");
  const total = sum(left.map((v, i) => v * (isForward ? W[i][index] : W[index][i])));
  return `<table class="weights"><thead><tr><td></td>${W[0].map((_, j) => `<th scope="col">to ${j + 1}</th>`).join("")}</tr></thead>
    <tbody>${rows.join("")}</tbody></table><p class="sum ${pass}">${terms} = <b>${show(total, 3)}</b></p>`;
}

function drawTranspose(state) {
  const now = smallNow("h_1"), {W_hh} = now.p, unit = Number(state.unit) - 1;
  element("transpose-unit").value = state.unit;
  element("transpose-forward").innerHTML = `<h3>Forward: what unit ${state.unit} receives</h3>
    <p>Part of a<sub>2</sub>, a sum over <b>column ${state.unit}</b>, the units i that feed it: Σ<sub>i</sub> h<sub>1,i</sub> W<sub>i${state.unit}</sub></p>
    ${sumOver(W_hh, now.activations.h[1][0], unit, "forward")}`;
  element("transpose-backward").innerHTML = `<h3>Backward: what unit ${state.unit} gets back</h3>
    <p>Part of dh<sub>1</sub>, a sum over <b>row ${state.unit}</b>, the units j that it feeds: Σ<sub>j</sub> da<sub>2,j</sub> W<sub>${state.unit}j</sub></p>
    ${sumOver(W_hh, now.flow.da[2][0], unit, "backward")}`;
}

const FACTORS = {W_xh: ["x", 0, "da"], W_hh: ["h", -1, "da"], W_hy: ["h", 0, "dy"]};

function drawAdds(state) {
  const T = 3, now = smallNow("step_3"), first = T + 1 - state.steps, {p, activations, flow} = now;
  showSlider("adds-steps", state.steps, `${state.steps} of ${T}`);
  const matrix = (A, kind, there = true) => `<table class="term ${kind}"><tbody>${A.map((row) => `<tr>${row.map((v) =>
    `<td>${there ? show(v, 2) : ""}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
  const block = (which) => {
    const [left, shift, right] = FACTORS[which];
    const terms = range(1, T).reverse().map((t) => {
      const term = gradientSum(p, activations, flow, t, t)[which], there = t >= first;
      return `<div class="one${there ? "" : " later"}"><span class="caption"><span class="badge s${t}">${t}</span> ${
        name(left, t + shift)}ᵀ ${name(right, t)}</span>${matrix(term, `s${t}`, there)}</div>`;
    });
    const total = gradientSum(p, activations, flow, first, T)[which];
    return `<div class="sum-row"><div class="one"><span class="caption">d${theta(which)}</span>${matrix(total, "total")}</div>
      <span class="sign">=</span>${terms.join('<span class="sign">+</span>')}</div>`;
  };
  element("adds-sums").innerHTML = ["W_hh", "W_xh", "W_hy"].map(block).join("");
}

const among = (list) => oneOf(...list);

figure("net", "live-net", {numbers: [FIRST_NUMBERS, ownNumbers], at: ["a_2", among(FORWARD)]}, drawForward);
figure("nudge", "live-nudge", {at: ["dh_1", among(BACKWARD)], by: [10, whole(-50, 50)]}, drawNudge);
figure("transpose", "live-transpose", {unit: ["1", oneOf("1", "2")]}, drawTranspose);
figure("adds", "live-adds", {steps: [1, whole(1, 3)]}, drawAdds);
if (FIGURES.net) {
  element("net-inputs").addEventListener("input", readNumbers);
  onClick("net-reset", () => FIGURES.net.set({numbers: FIRST_NUMBERS}));
  chooseCells("net-drawing", FORWARD, (at) => FIGURES.net.set({at}));
  stepButtons("net", FORWARD);
}
if (FIGURES.nudge) {
  chooseCells("nudge-drawing", BACKWARD, (at) => FIGURES.nudge.set({at}));
  stepButtons("nudge", BACKWARD);
}
