// The explorer: everything shown is looked up in the numbers of the run, or summed from them. Nothing is trained here.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const {T, B, D, H, O} = data.sizes;

// What is shown. Every change goes through change(), which keeps 1 ≤ k1 ≤ k2 ≤ T and draws anew.
const shown = {epoch: data.snapshots.length - 1, k1: data.k1, k2: Math.max(data.k2, Math.min(5, T)), update: 1, moment: 0};

const element = (id) => document.getElementById(id);
const range = (from, to) => Array.from({length: Math.max(0, to - from + 1)}, (_, i) => from + i);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const sum = (numbers) => numbers.reduce((total, v) => total + v, 0);
const largest = (numbers) => Math.max(0, ...numbers.map(Math.abs));

// ---- the schedule (T1, T2) and the order in which an update computes ------------------------------------------------

function windows(k1, k2) {
  return range(1, Math.ceil(T / k1)).map((n) => {
    const stop = Math.min(n * k1, T);
    return {start: Math.max(0, stop - k2), lossStart: (n - 1) * k1, stop};
  });
}

function moments({start, lossStart, stop}) {
  const forward = range(start + 1, stop).flatMap((t) =>
    ["a", "h", "y", ...(t > lossStart ? ["loss"] : [])].map((name) => ({name, t})));
  const backward = range(start + 1, stop).reverse().flatMap((t) => ["dy", "dh", "da"].map((name) => ({name, t})));
  return [{name: "enter", t: start}, ...forward, ...backward];
}

// ---- numbers of the current window ----------------------------------------------------------------------------------

const times = (row, W) => W[0].map((_, j) => sum(row.map((v, i) => v * W[i][j])));
const timesTransposed = (row, W) => W.map((weights) => sum(weights.map((w, j) => w * row[j])));

// dh_s and da_s of the window's loss: the sum of the components over its steps t with a loss, divided under "mean".
function delta(now, name, s) {
  const steps = range(Math.max(now.window.lossStart + 1, s), now.window.stop);
  return range(0, H - 1).map((i) => sum(steps.map((t) => now.seen[name][t - 1][s - 1][i])) / now.divisor);
}

function value(now, name, t) {
  const {seen} = now;
  if (name === "dh" || name === "da") return delta(now, name, t);
  if (name === "dy") return seen.dy[t - 1].map((v) => (t > now.window.lossStart ? v / now.divisor : 0));
  if (name === "x" || name === "target") return data[name][t - 1];
  if (name === "loss") return [seen.losses[t - 1]];
  return name === "h" || name === "enter" ? seen.h[t] : seen[name][t - 1];
}

function current() {
  const schedule = windows(shown.k1, shown.k2);
  const window = schedule[shown.update - 1];
  const list = moments(window);
  const lossSteps = window.stop - window.lossStart;
  return {
    schedule, window, moments: list, moment: list[shown.moment], seen: data.snapshots[shown.epoch],
    divisor: data.reduction === "mean" ? lossSteps * B * O : 1,
  };
}

// ---- how numbers and names are written ------------------------------------------------------------------------------

function show(v) {
  const size = Math.abs(v);
  const text = v === 0 ? "0" : size >= 1e-3 && size < 1e4 ? v.toPrecision(4) : v.toExponential(3);
  return text.replaceAll("-", "−");
}

const LETTER = {loss: "ℓ", enter: "h"};
const name = (letter, t) => `${LETTER[letter] ?? letter}<sub>${t}</sub>`;
const weight = (which, transposed) => `W<sub>${which}</sub>${transposed ? "ᵀ" : ""}`;

// The rows of the table of numbers, the last one being what is made; and the equation that makes it.
function explained(now) {
  const {name: what, t} = now.moment;
  const {parameters: p} = now.seen;
  const at = (letter, step = t) => value(now, letter, step);
  const own = [name(what, t), at(what)];
  const given = (letter, step = t) => [name(letter, step), at(letter, step)];
  const last = t === now.window.stop;
  switch (what) {
    case "enter": return {equation: "T3", rows: [own]};
    case "a": return {equation: "F1", rows: [
      [`${name("x", t)} ${weight("xh")}`, times(at("x"), p.W_xh)],
      [`${name("h", t - 1)} ${weight("hh")}`, times(at("h", t - 1), p.W_hh)],
      ...(p.b_h ? [["b<sub>h</sub>", p.b_h]] : []), own]};
    case "h": return {equation: "F2", rows: [given("a"), own]};
    case "y": return {equation: "F3", rows: [
      [`${name("h", t)} ${weight("hy")}`, times(at("h"), p.W_hy)], ...(p.b_y ? [["b<sub>y</sub>", p.b_y]] : []), own]};
    case "loss": return {equation: "L1", rows: [
      given("y"), given("target"), [`${name("y", t)} − ${name("target", t)}`, now.seen.dy[t - 1]], own]};
    case "dy": return {equation: "B1", rows: [given("y"), given("target"), ["N", [now.divisor]], own]};
    case "dh": return {equation: "B2", rows: [
      [`${name("dy", t)} ${weight("hy", true)}`, timesTransposed(at("dy"), p.W_hy)],
      [`${name("da", t + 1)} ${weight("hh", true)}`, last ? null : timesTransposed(at("da", t + 1), p.W_hh)], own]};
    default: return {equation: "B3", rows: [
      given("dh"), [`φ′(${name("a", t)})`, at("h").map((h) => (data.nonlinearity === "tanh" ? 1 - h * h : Number(h > 0)))],
      own]};
  }
}

const MADE = {
  enter: "the initial state of the window, a constant", a: "the pre-activation", h: "the hidden state", y: "the output",
  loss: "the loss of this step", dy: "∂L/∂y: the error, on steps with a loss, else 0",
  dh: "∂L/∂h: the part from this step's output, and the part from the next step",
  da: "∂L/∂a: dh times the slope",
};

// ---- colours: signed numbers from purple over white to orange, sizes from dark to light ------------------------------

const SIGNED = ["2d004b", "542788", "8073ac", "b2abd2", "d8daeb", "f7f7f7", "fee0b6", "fdb863", "e08214", "b35806", "7f3b08"];
const HEAT = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"];

function between(colours, share) {
  const place = clamp(share, 0, 1) * (colours.length - 1);
  const low = Math.min(Math.floor(place), colours.length - 2);
  const mix = (i) => {
    const [a, b] = [colours[low], colours[low + 1]].map((colour) => parseInt(colour.slice(2 * i, 2 * i + 2), 16));
    return Math.round(a + (b - a) * (place - low));
  };
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
}

const signed = (v, scale) => between(SIGNED, 0.5 + (scale ? v / scale / 2 : 0));

// ---- the unrolled network -------------------------------------------------------------------------------------------

const CELL = {width: T > 24 ? 9 : 13, small: 11, unit: clamp(132 / H, 2.5, 12)};
const STEP = 2 * CELL.width + 16;
const LEFT = 62;
const GROUPS = layout();

// The place of each kind of cells: top and height, number of cells, and whether it belongs to the backward pass.
function layout() {
  const place = {};
  let top = 50;
  for (const [names, count, gap] of [[["loss"], 1, 8], [["target"], O, 2], [["y", "dy"], O, 20], [["h", "dh"], H, 16],
    [["a", "da"], H, 20], [["x"], D, 8]]) {
    const size = count === H && names[0] !== "x" ? CELL.unit : CELL.small;
    names.forEach((group, i) => { place[group] = {top, size, height: size * count, backward: i === 1}; });
    top += size * count + gap;
  }
  return {place, bottom: top};
}

const left = (t, backward) => LEFT + t * STEP + (backward ? CELL.width + 1 : 0);

function cells(now, group, t, scale, faded) {
  const {top, size, height, backward} = GROUPS.place[group];
  const x = left(t, backward), numbers = value(now, group, t);
  const drawn = numbers.map((v, i) =>
    `<rect x="${x}" y="${top + i * size}" width="${CELL.width}" height="${size}" fill="${signed(v, scale)}"/>`);
  const dashes = size < 6 ? [] : numbers.map((v, i) => v < 0
    ? `M${x + 0.3 * CELL.width} ${top + (i + 0.5) * size}h${0.4 * CELL.width}` : "");
  const strong = largest(numbers) > scale / 2;
  return `<g class="cells${faded ? " faded" : ""}" data-name="${group}" data-t="${t}">
    <title>${LETTER[group] ?? group}_${t} = ${numbers.map(show).join(", ")}</title>${drawn.join("")}
    <path class="dash${strong ? " strong" : ""}" d="${dashes.join("")}"/>
    <rect class="frame" x="${x}" y="${top}" width="${CELL.width}" height="${height}"/></g>`;
}

function empty(group, t) {
  const {top, height, backward} = GROUPS.place[group];
  return `<rect class="empty" data-name="${group}" data-t="${t}" x="${left(t, backward)}" y="${top}"
    width="${CELL.width}" height="${height}"/>`;
}

// The arrow from one group of cells to another, in the forward or the backward pass.
function arrow(from, t, to, u, kind) {
  const [a, b] = [GROUPS.place[from], GROUPS.place[to]];
  const [x, X] = [left(t, a.backward), left(u, b.backward)];
  const middle = CELL.width / 2;
  if (t !== u) {
    const [out, into] = t < u ? [x + CELL.width, X] : [x, X + CELL.width];
    return `<path class="${kind}" d="M${out} ${a.top + a.height / 2}L${into} ${b.top + b.height / 2}"/>`;
  }
  const [out, into] = a.top > b.top ? [a.top, b.top + b.height] : [a.top + a.height, b.top];
  return `<path class="${kind}" d="M${x + middle} ${out}L${X + middle} ${into}"/>`;
}

function activeArrows({moment: {name: what, t}, window}) {
  const arrows = {
    enter: [], a: [["x", t, "a", t], ["h", t - 1, "a", t]], h: [["a", t, "h", t]], y: [["h", t, "y", t]],
    loss: [["y", t, "loss", t]], dy: t > window.lossStart ? [["loss", t, "dy", t]] : [],
    dh: [["dy", t, "dh", t], ...(t < window.stop ? [["da", t + 1, "dh", t]] : [])], da: [["dh", t, "da", t]],
  };
  return arrows[what].map(([from, u, to, v]) => arrow(from, u, to, v, "active")).join("");
}

function bar(from, to, y, kind, text) {
  const x = left(from + 1) - 3, width = (to - from) * STEP - 10;
  return `<text x="0" y="${y + 6}">${text}</text><rect class="${kind}" x="${x}" y="${y}" width="${width}" height="6"/>`;
}

function drawUnrolled(now) {
  const {window, moment} = now;
  const done = new Set(now.moments.slice(0, shown.moment + 1).map(({name: what, t}) => `${what} ${t}`));
  const known = (group, t) => group === "x" || group === "target" ? t <= window.stop : group === "h" && t === 0
    || t <= window.start && !GROUPS.place[group].backward || done.has(`${group} ${t}`);
  const before = (group, t) => t < window.start || t === window.start && group !== "h";
  const inside = range(window.start + 1, window.stop);
  const scale = {};
  for (const group of Object.keys(GROUPS.place)) {
    const steps = GROUPS.place[group].backward ? inside : range(group === "h" ? 0 : 1, T);
    scale[group] = largest(steps.flatMap((t) => value(now, group, t)));
  }
  scale.y = scale.target = Math.max(scale.y, scale.target);
  const labels = Object.entries(GROUPS.place).filter(([, place]) => !place.backward).map(([group, place]) =>
    `<text x="0" y="${place.top + place.height / 2 + 4}">${LETTER[group] ?? group}${`d${group}` in GROUPS.place ? `, d${group}` : ""}</text>`);
  const steps = range(0, T).map((t) => `<text class="step" x="${left(t) + CELL.width}" y="12">${t}</text>`);
  const grey = range(1, window.stop).flatMap((t) => [
    arrow("x", t, "a", t, "arrow"), arrow("h", t - 1, "a", t, "arrow"), arrow("a", t, "h", t, "arrow"),
    arrow("h", t, "y", t, "arrow")]);
  const groups = Object.keys(GROUPS.place).flatMap((group) => range(group === "h" ? 0 : 1, T).map((t) =>
    known(group, t) ? cells(now, group, t, scale[group], before(group, t)) : empty(group, t)));
  const at = GROUPS.place[moment.name === "enter" ? "h" : moment.name];
  const marker = `<rect class="marker" x="${left(moment.t, at.backward) - 1.5}" y="${at.top - 1.5}"
    width="${CELL.width + 3}" height="${at.height + 3}"/>`;
  const width = left(T + 1) + 4;
  element("unrolled").innerHTML = `<svg width="${width}" height="${GROUPS.bottom}" viewBox="0 0 ${width} ${GROUPS.bottom}"
    role="img" aria-label="${T} steps; the window is (${window.start}, ${window.stop}]">
    <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="4" markerHeight="4" orient="auto">
    <path d="M0 0L8 4L0 8z"/></marker></defs>
    <text x="0" y="12">step</text>${steps.join("")}
    ${bar(window.start, window.stop, 20, "window", "window")}${bar(window.lossStart, window.stop, 32, "losses", "losses")}
    ${grey.join("")}${groups.join("")}${labels.join("")}${activeArrows(now)}${marker}</svg>`;
  const rows = ["x", "a", "h", "y", "loss", "dy", "dh", "da"];
  element("scales").innerHTML = `In each step the left column is the way forward, the right one the way back. Orange is
    positive; purple is negative, with a dash. Empty: not computed yet. Faded: before the window. Strongest colour of each row:
    ${rows.map((group) => `${LETTER[group] ?? group} ±${show(scale[group])}`).join(", ")}.`;
}

function drawNumbers(now) {
  const {name: what, t} = now.moment;
  const {equation, rows} = explained(now);
  for (const shownEquation of document.querySelectorAll("#detail [data-equation]")) {
    shownEquation.hidden = shownEquation.dataset.equation !== equation;
  }
  const way = what === "enter" ? "Before the first step" : what.startsWith("d") ? "Backward" : "Forward";
  element("summary").innerHTML = `${way}, step ${t}: <b>${name(what, t)}</b>, ${MADE[what]} (${equation}).`;
  const count = Math.max(...rows.map(([, numbers]) => (numbers ? numbers.length : 0)));
  const unit = count === 1 ? "" : ["y", "loss", "dy"].includes(what) ? "output " : "unit ";
  element("numbers").innerHTML = `<thead><tr><td></td>${range(1, count).map((i) =>
    `<th scope="col">${unit}${i}</th>`).join("")}</tr></thead><tbody>${rows.map(([label, numbers], i) =>
    `<tr${i === rows.length - 1 ? ' class="made"' : ""}><th scope="row">${label}</th>${numbers
      ? numbers.map((v) => `<td class="number">${show(v)}</td>`).join("")
      : `<td colspan="${count}">none: the window has no later step</td>`}</tr>`).join("")}</tbody>`;
}

// ---- the component matrix and the cost of the cut ------------------------------------------------------------------------

const NORMS = data.snapshots.flatMap((seen) => seen.norm.flat()).filter((v) => v > 0);
const HIGHEST = Math.log10(NORMS.reduce((a, b) => Math.max(a, b), 1e-300));
const LOWEST = Math.max(HIGHEST - 6, Math.log10(NORMS.reduce((a, b) => Math.min(a, b), Infinity)));
const heat = (v) => (v > 0 ? between(HEAT, (Math.log10(v) - LOWEST) / (HIGHEST - LOWEST || 1)) : "#dddddd");  // 0: grey

function drawMask(now) {
  const size = clamp(Math.floor(440 / T), 9, 24), edge = 34, side = edge + T * size;
  const {name: what, t: step} = now.moment;
  const squares = now.schedule.flatMap(({start, lossStart, stop}, n) => range(lossStart + 1, stop).flatMap((t) =>
    range(1, t).map((s) => {
      const kept = s > start, inset = kept ? 0.5 : size / 3;
      const norm = now.seen.norm[t - 1][s - 1];
      const framed = kept && n + 1 === shown.update && s === step && (what === "dh" || what === "da");
      return `<rect class="${kept ? "kept" : "cut"}${framed ? " framed" : ""}" data-t="${t}" data-s="${s}"
        x="${edge + (s - 1) * size + inset}" y="${edge + (t - 1) * size + inset}" width="${size - 2 * inset}"
        height="${size - 2 * inset}" fill="${heat(norm)}"><title>t = ${t}, s = ${s}: ${show(norm)}, ${kept ? "kept" : "cut"}
        by update ${n + 1}</title></rect>`;
    })));
  const {start, lossStart, stop} = now.window;
  const ticks = [...new Set([1, ...range(1, T).filter((t) => t % 5 === 0), T])].filter((t) => t === T || T - t > 1 || T < 3);
  const numbers = ticks.map((t) => `<text class="step" x="${edge + (t - 0.5) * size}" y="${edge - 5}">${t}</text>
    <text class="end" x="${edge - 5}" y="${edge + (t - 0.5) * size + 4}">${t}</text>`);
  const bars = range(0, 39).map((i) => `<rect x="${edge + i * 4}" y="${side + 12}" width="4.2" height="10"
    fill="${between(HEAT, i / 39)}"/>`);
  const text = (x, y, words, kind = "") => `<text class="${kind}" x="${x}" y="${y}">${words}</text>`;
  element("mask").innerHTML = `<svg width="${side + 4}" height="${side + 42}" viewBox="0 0 ${side + 4} ${side + 42}"
    role="img" aria-label="Which components are kept">
    ${text(edge + T * size / 2, 12, "s, step of the parameters →", "step")}
    <text class="step" transform="translate(10 ${edge + T * size / 2}) rotate(-90)">← t, the step of the loss</text>
    ${numbers.join("")}${squares.join("")}
    <rect class="row" x="${edge + start * size}" y="${edge + lossStart * size}" width="${(stop - start) * size}"
    height="${(stop - lossStart) * size}"/>${bars.join("")}
    ${text(edge, side + 37, show(10 ** LOWEST))}${text(edge + 160, side + 37, show(10 ** HIGHEST), "end")}
    ${text(edge + 168, side + 21, "‖G[t, s]‖, logarithmic")}</svg>`;
  const kept = now.schedule.reduce((count, w) => count + sum(range(w.lossStart + 1, w.stop).map((t) => t - w.start)), 0);
  element("kept").textContent = kept;
  element("all-components").textContent = (T * (T + 1)) / 2;
}

function curves(kind, title, now) {
  const table = now.seen[kind], width = 300, height = 150, edge = 46, top = 24, foot = 30;
  const at = (k1, k2) => table[k1 - 1][k2 - k1];
  const lines = [
    ["sliding", "sliding (1, k)", range(1, T).map((k) => [k, at(1, k)])],
    ["chunks", "chunks (k, k)", range(1, T).map((k) => [k, at(k, k)])],
    ["chosen", `(${shown.k1}, k)`, range(shown.k1, T).map((k) => [k, at(shown.k1, k)])],
  ].slice(0, shown.k1 === 1 ? 2 : 3);
  const all = table.flat().filter((v) => v !== null);
  const low = kind === "bias" ? 0 : Math.min(...all, 1), high = kind === "bias" ? Math.max(...all, 1e-12) : 1;
  const x = (k) => edge + (T === 1 ? 0 : (k - 1) / (T - 1)) * (width - edge - 12);
  const y = (v) => height - foot - (high === low ? 1 : (v - low) / (high - low)) * (height - foot - top);
  const drawn = lines.map(([key, , points]) => `<path class="${key}" d="${points.filter(([, v]) => v !== null)
    .map(([k, v], i) => `${i ? "L" : "M"}${x(k).toFixed(1)} ${y(v).toFixed(1)}`).join("")}"/>`);
  const chosen = at(shown.k1, shown.k2);
  const dot = chosen === null ? "" : `<circle class="here" cx="${x(shown.k2)}" cy="${y(chosen)}" r="5"/>`;
  const legend = lines.map(([key, label], i) => `<path class="${key}" d="M${edge + 104 * i} ${height + 6}h18"/>
    <text x="${edge + 104 * i + 22}" y="${height + 10}">${label}</text>`);
  return `<svg class="curve" width="${width + 30}" height="${height + 16}" viewBox="0 0 ${width + 30} ${height + 16}"
    role="img" aria-label="${title} by k2: ${chosen === null ? "none" : show(chosen)} at ${shown.k2}">
    <text x="${edge}" y="14">${title}</text><path class="axis" d="M${edge} ${top}V${height - foot}H${width - 12}"/>
    <text class="end" x="${edge - 4}" y="${top + 4}">${show(high)}</text>
    <text class="end" x="${edge - 4}" y="${height - foot + 4}">${show(low)}</text>
    <text class="step" x="${x(1)}" y="${height - foot + 15}">1</text><text class="step" x="${x(T)}"
    y="${height - foot + 15}">${T}</text><text class="step" x="${(x(1) + x(T)) / 2}" y="${height - foot + 15}">k₂, steps</text>
    ${drawn.join("")}${dot}${legend.join("")}</svg>`;
}

function drawCost(now) {
  for (const kind of ["cosine", "bias"]) {
    const number = now.seen[kind][shown.k1 - 1][shown.k2 - shown.k1];
    element(kind).textContent = number === null ? "none, as the full gradient is 0" : show(number);
  }
  element("curves").innerHTML = curves("cosine", "cosine with the full gradient", now) + curves("bias", "relative bias", now);
}

// ---- sliders, buttons and keys --------------------------------------------------------------------------------------

const SLIDERS = ["epoch", "k1", "k2", "update", "moment"];

function drawControls(now) {
  const {window, seen} = now;
  const limits = {epoch: data.snapshots.length - 1, k1: T, k2: T, update: now.schedule.length, moment: now.moments.length - 1};
  const {name: what, t} = now.moment;
  const texts = {
    epoch: `${seen.epoch}`, k1: `${shown.k1}`, k2: `${shown.k2}`, update: `${shown.update} of ${now.schedule.length}`,
    moment: `${shown.moment} of ${now.moments.length - 1}: ${LETTER[what] ?? what}_${t}`,
  };
  for (const slider of SLIDERS) {
    Object.assign(element(slider), {max: limits[slider], value: shown[slider]});
    element(slider).setAttribute("aria-valuetext", texts[slider]);
    element(`${slider}-output`).textContent = texts[slider];
  }
  element("state").textContent = `Weights after epoch ${seen.epoch} (loss ${show(seen.loss)}, gradient norm ${
    show(seen.gradient_norm)}, spectral radius of W_hh ${show(seen.spectral_radius)}). TBPTT(${shown.k1}, ${shown.k2}), update ${
    shown.update} of ${now.schedule.length}: window (${window.start}, ${window.stop}], losses of (${
    window.lossStart}, ${window.stop}].`;
}

function change(changes) {
  const before = current().moment;
  Object.assign(shown, changes);
  shown.epoch = clamp(shown.epoch, 0, data.snapshots.length - 1);
  shown.k1 = clamp(shown.k1, 1, T);
  shown.k2 = clamp(shown.k2, 1, T);
  if (shown.k1 > shown.k2) Object.assign(shown, "k2" in changes ? {k1: shown.k2} : {k2: shown.k1});
  shown.update = clamp(shown.update, 1, Math.ceil(T / shown.k1));
  const list = moments(windows(shown.k1, shown.k2)[shown.update - 1]);
  if (!("moment" in changes)) shown.moment = sameMoment(list, before);
  shown.moment = clamp(shown.moment, 0, list.length - 1);
  const now = current();
  for (const draw of [drawControls, drawUnrolled, drawNumbers, drawMask, drawCost]) draw(now);
  keepInAddress();
}

// In another window: the same quantity, at the same step if it is there, else at the step nearest to it.
function sameMoment(list, {name: what, t}) {
  const distance = (moment) => (moment.name === what ? Math.abs(moment.t - t) : Infinity);
  return list.reduce((best, moment, i) => (distance(moment) < distance(list[best]) ? i : best), 0);
}

let playing = null;

function play(start) {
  clearInterval(playing);
  playing = start ? setInterval(() => {
    if (shown.moment === current().moments.length - 1) play(false);
    else change({moment: shown.moment + 1});
  }, 700) : null;
  element("play").textContent = start ? "Stop" : "Play";
  element("play").setAttribute("aria-pressed", String(start));
}

// With reduced motion, Play advances by one moment per press.
function pressPlay() {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) change({moment: shown.moment + 1});
  else play(playing === null);
}

const KEYS = {
  unrolled: {
    ArrowLeft: () => change({moment: shown.moment - 1}), ArrowRight: () => change({moment: shown.moment + 1}),
    ArrowUp: () => change({update: shown.update + 1}), ArrowDown: () => change({update: shown.update - 1}),
    Home: () => change({moment: 0}), End: () => change({moment: Infinity}), " ": pressPlay,
  },
  mask: {
    ArrowLeft: () => change({k2: shown.k2 - 1}), ArrowRight: () => change({k2: shown.k2 + 1}),
    ArrowUp: () => change({k1: shown.k1 + 1}), ArrowDown: () => change({k1: shown.k1 - 1}),
  },
};

function listen() {
  for (const slider of SLIDERS) {
    element(slider).addEventListener("input", (event) => change({[slider]: Number(event.target.value)}));
  }
  element("back").addEventListener("click", () => change({moment: shown.moment - 1}));
  element("forward").addEventListener("click", () => change({moment: shown.moment + 1}));
  element("play").addEventListener("click", pressPlay);
  for (const [id, keys] of Object.entries(KEYS)) {
    element(id).addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
  for (const link of document.querySelectorAll("a[data-set]")) {
    link.addEventListener("click", () => goTo(link.dataset.set));  // the link itself leads to the explorer
  }
  addEventListener("hashchange", followAddress);
  element("unrolled").addEventListener("click", (event) => {
    const group = event.target.closest("[data-name]");
    if (!group) return;
    const index = current().moments.findIndex(({name: what, t}) => what === group.dataset.name && t === Number(group.dataset.t));
    if (index >= 0) change({moment: index});
  });
}

// ---- the state in words: in the page's address, and in links of the text ---------------------------------------------

// "epoch=300&k1=1&k2=3&update=6&at=dh_5". Links may say less: at=dh is any step, component=9,3 the update with loss 9.
function stateInWords() {
  const {seen, moment} = current();
  return `epoch=${seen.epoch}&k1=${shown.k1}&k2=${shown.k2}&update=${shown.update}&at=${moment.name}_${moment.t}`;
}

function goTo(words) {
  const asked = Object.fromEntries(words.split(/[&\s]+/).map((word) => word.split("=")));
  const number = (text) => (/^\d{1,9}$/.test(text) ? Number(text) : null);
  const [epoch, k1, k2, update] = ["epoch", "k1", "k2", "update"].map((key) => number(asked[key]));
  const nearest = (a, b) => (Math.abs(b.epoch - epoch) < Math.abs(a.epoch - epoch) ? b : a);
  if (epoch !== null) change({epoch: data.snapshots.indexOf(data.snapshots.reduce(nearest))});
  if (k2 !== null) change({k2});
  if (k1 !== null) change({k1});
  if (update !== null) change({update});
  if ("component" in asked) showComponent(...asked.component.split(",").map(number));
  else if ("at" in asked) {
    const [name, step] = asked.at.split("_");
    const t = number(step) ?? current().moment.t, list = current().moments;
    if (list.some((moment) => moment.name === name)) change({moment: sameMoment(list, {name, t})});
  }
}

// The update that uses the loss of step t, when its backward pass is at step s; k2 grows if the component is cut.
function showComponent(t, s) {
  if (!(1 <= s && s <= t && t <= T)) return;
  const update = Math.ceil(t / shown.k1);
  const needed = Math.min(update * shown.k1, T) - s + 1;
  change({k2: Math.max(shown.k2, needed), update});
  change({moment: sameMoment(current().moments, {name: "da", t: s})});
}

const ADDRESS = "#explore/";
let writing = null;

// Not at once: browsers limit how often an address may change.
function keepInAddress() {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", ADDRESS + stateInWords()), 300);
}

function followAddress() {
  if (!location.hash.startsWith(ADDRESS)) return;
  goTo(location.hash.slice(ADDRESS.length));
  element("explorer").scrollIntoView();
}

// At first: the first window that cuts, at the step before its last in the backward pass.
function begin() {
  const number = windows(shown.k1, shown.k2).findIndex(({start}) => start > 0);
  shown.update = Math.max(1, number + 1);
  const {moments: list, window} = current();
  change({moment: list.findIndex(({name: what, t}) => what === "dh" && t === Math.max(window.stop - 1, window.start + 1))});
}

listen();
begin();
clearTimeout(writing);  // the address stays as it is until the reader changes something
followAddress();
