// The unrolled network: the cells of every step, the arrows between them, the cut, and the shared weights at the left.
"use strict";

const BOX = 42;  // size of the drawing of a weight
const MAX_CELLS = 1600;  // of a weight whose numbers are drawn
const WEIGHTS = {W_hy: ["y", "h"], W_hh: ["h", "a"], W_xh: ["a", "x"]};  // between which rows it is used
let GROUPS = null;

// The place of each kind of cells: top and height, number of cells, and whether it belongs to the backward pass.
function layout() {
  const place = {}, unit = H <= 3 ? 22 : clamp(100 / H, 2.5, 12), other = H <= 3 ? 22 : 11;
  let top = 60;
  for (const [names, count, gap] of [[["loss"], 1, 8], [["target"], O, 2], [["y", "dy"], O, 26], [["h", "dh"], H, 26],
    [["a", "da"], H, 26], [["x"], D, 8]]) {
    const size = names[0] === "h" || names[0] === "a" ? unit : other;
    names.forEach((group, i) => { place[group] = {top, size, height: size * count, backward: i === 1}; });
    top += size * count + gap;
  }
  return {place, bottom: top};
}

// The width of a step fits the figure into its column, unless there are too many steps; then it scrolls. Measured
// when the column changes, not at every drawing, which would wait for the layout.
let STEP = 42, CELL = 13, room = 800;

function fit() {
  room = element("steps").clientWidth || 760;
  STEP = clamp(Math.floor((room - 12) / (T + 1)), 26, T <= 5 ? 190 : 42);
  GROUPS = layout();
  CELL = Math.floor((STEP - 13) / 2);
}

const left = (t, backward) => 4 + t * STEP + (backward ? CELL + 1 : 0);
const railOf = (which) => {
  const [above, below] = WEIGHTS[which].map((group) => GROUPS.place[group]);
  return (above.top + above.height + below.top) / 2;
};
// Where the rail of a weight meets the arrow of step t that multiplies by it.
const crossing = (which, t) => (which === "W_hh" ? (left(t - 1) + CELL + left(t)) / 2 : left(t) + CELL / 2);

function cells(now, group, t, scale, kind) {
  const {top, size, height, backward} = GROUPS.place[group];
  const u = left(t, backward), numbers = value(now, group, t);
  const drawn = numbers.map((v, i) =>
    `<rect x="${u}" y="${top + i * size}" width="${CELL}" height="${size}" fill="${signed(v, scale)}"/>`);
  const dashes = size < 6 ? [] : numbers.map((v, i) => v < 0 ? `M${u + 0.3 * CELL} ${top + (i + 0.5) * size}h${0.4 * CELL}` : "");
  const strong = largest(numbers) > scale / 2, written = CELL >= 36 && size >= 20;
  const texts = !written ? [] : numbers.map((v, i) =>
    `<text class="inside${Math.abs(v) > 0.6 * scale ? " strong" : ""}" x="${u + CELL / 2}" y="${
      top + (i + 0.5) * size + 4}">${show(v, 2)}</text>`);
  return `<g class="cells ${kind}" data-name="${group}" data-t="${t}">
    <title>${LETTER[group] ?? group}_${t} = ${numbers.map((v) => show(v)).join(", ")}</title>${drawn.join("")}
    ${written ? texts.join("") : `<path class="dash${strong ? " strong" : ""}" d="${dashes.join("")}"/>`}
    <rect class="frame" x="${u}" y="${top}" width="${CELL}" height="${height}"/></g>`;
}

function empty(group, t) {
  const {top, height, backward} = GROUPS.place[group];
  return `<rect class="empty" data-name="${group}" data-t="${t}" x="${left(t, backward)}" y="${top}" width="${CELL}"
    height="${height}"/>`;
}

// The arrow from one group of cells to another, in the forward or the backward pass.
function arrow(from, t, to, u, kind) {
  const [a, b] = [GROUPS.place[from], GROUPS.place[to]];
  const [p, q] = [left(t, a.backward), left(u, b.backward)];
  if (t !== u) {
    const [out, into] = t < u ? [p + CELL, q] : [p, q + CELL];
    return `<path class="${kind}" d="M${out} ${a.top + a.height / 2}L${into} ${b.top + b.height / 2}"/>`;
  }
  const [out, into] = a.top > b.top ? [a.top, b.top + b.height] : [a.top + a.height, b.top];
  return `<path class="${kind}" d="M${p + CELL / 2} ${out}L${q + CELL / 2} ${into}"/>`;
}

function activeArrows({moment: {name: what, t}, window}) {
  const arrows = {
    a: [["x", t, "a", t], ["h", t - 1, "a", t]], h: [["a", t, "h", t]], y: [["h", t, "y", t]], loss: [["y", t, "loss", t]],
    dy: t > window.lossStart ? [["loss", t, "dy", t]] : [],
    dh: [["dy", t, "dh", t], ...(t < window.stop ? [["da", t + 1, "dh", t]] : [])], da: [["dh", t, "da", t]],
  };
  return (arrows[what] ?? []).map(([from, u, to, v]) => arrow(from, u, to, v, "active")).join("");
}

// ---- the shared weights: a box each, and a rail with one arrow per step ---------------------------------------------

// The steps at which a weight is used at this moment, and whether its gradient comes back from there.
function used(which, {moment: {name: what, t}, window}) {
  const forwards = {a: ["W_xh", "W_hh"], y: ["W_hy"]}[what] ?? [];
  if (forwards.includes(which)) return [t, "into"];
  if (what === "dh" && which === "W_hy") return [t, "into"];
  if (what === "dh" && which === "W_hh" && t < window.stop) return [t + 1, "into"];
  return what === "dW" ? [t, "back"] : [null];
}

function rail(which, now) {
  const y = railOf(which), steps = range(1, now.window.stop), [at, way] = used(which, now);
  const added = (t) => isSumming(now) && t >= now.first && (now.moment.name !== "dW" || t >= now.moment.t);
  const heads = steps.map((t) => {
    const u = crossing(which, t);
    return `<path class="entry${added(t) ? " added" : ""}" d="M${u - 4} ${y - 3}L${u + 1} ${y}L${u - 4} ${y + 3}z"/>`;
  });
  const active = at === null ? "" : `<path class="active ${way}" d="${way === "into" ? `M0 ${y}H${crossing(which, at)}`
    : `M${crossing(which, at)} ${y}H1`}"/>`;
  return `<path class="rail" d="M0 ${y}H${crossing(which, now.window.stop)}"/>${heads.join("")}${active}`;
}

function box(prefix, matrix, scale, x, y, which, so) {
  const [rows, columns] = [matrix.length, matrix[0].length];
  const size = BOX / Math.max(rows, columns), [width, height] = [columns * size, rows * size];
  const top = y - height / 2;
  const drawn = rows * columns > MAX_CELLS ? [] : matrix.flatMap((row, i) => row.map((v, j) => `<rect x="${x + j * size}"
    y="${top + i * size}" width="${size}" height="${size}" fill="${signed(v, scale)}"><title>${prefix}${which}[${i + 1}, ${
    j + 1}] = ${show(v)}</title></rect>`));
  const chosen = Math.min(shown.row, rows);
  const choices = matrix.map((_, i) => `<rect class="choice${so && i + 1 === chosen ? " chosen" : ""}" data-row="${i + 1}" x="${x}"
    y="${top + i * size}" width="${width}" height="${size}"/>`);
  return `<g class="weight" data-weight="${which}"><text x="${x}" y="${top - 6}">${prefix}${
    which.replace(/_(\w+)/, '<tspan class="sub" dy="2">$1</tspan>')}</text>${drawn.join("")}
    <g class="pick">${choices.join("")}</g><rect class="frame" x="${x}" y="${top}" width="${width}" height="${height}"/></g>`;
}

function drawWeights(now) {
  const stepped = now.moment.name === "step", so = gradientSoFar(now);
  const p = stepped ? stepOf(now).after : now.p;
  const whole = gradientSum(now.p, now.activations, now.flow, now.first, now.window.stop);
  const scale = (parameters) => largest(Object.keys(WEIGHTS).flatMap((which) => parameters[which].flat()));
  const boxes = Object.keys(WEIGHTS).map((which) => {
    const y = railOf(which);
    const end = `<path class="rail${used(which, now)[0] === null ? "" : " on"}" d="M90 ${y}H140"/>`;
    const grown = so === null ? "" : box("d", so[which], scale(whole), 96, y, which, true);
    return (so === null ? end : "") + box(stepped ? "new " : "", p[which], scale(p), 44, y, which, so !== null) + grown;
  });
  const labels = Object.entries(GROUPS.place).filter(([, place]) => !place.backward).map(([group, place]) =>
    `<text x="0" y="${place.top + place.height / 2 + 4}">${LETTER[group] ?? group}${`d${group}` in GROUPS.place ? `, d${group}` : ""}</text>`);
  element("weights").innerHTML = `<svg width="140" height="${GROUPS.bottom}" viewBox="0 0 140 ${GROUPS.bottom}" role="img"
    aria-label="The weights, one box each, that all steps share${so === null ? "" : ", and their gradients"}">
    <text x="0" y="12">step</text><text x="0" y="26">window</text><text x="0" y="38">losses</text>
    ${labels.join("")}${boxes.join("")}</svg>`;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

const bar = (from, to, y, kind) =>
  `<rect class="${kind}" x="${left(from + 1) - 3}" y="${y}" width="${(to - from) * STEP - 8}" height="6"/>`;

// The state passes, the gradient does not: a line across the network, and scissors on the arrow.
function cut({start}) {
  if (!start) return "";
  const u = crossing("W_hh", start + 1), y = railOf("W_hh"), late = start > T / 2;
  return `<g class="cut-line${shown.uncut ? " open" : ""}"><path d="M${u} 46V${GROUPS.bottom - 4}"/>
    <text class="${late ? "end" : ""}" x="${u + (late ? -5 : 5)}" y="53">${shown.uncut ? "not detached" : "detach here"}</text>
    ${shown.uncut ? "" : `<path class="scissors" d="M${u - 5} ${y - 15}L${u + 4} ${y - 28}M${u + 5} ${y - 15}L${u - 4} ${y - 28}"/>
    <circle class="scissors" cx="${u - 6}" cy="${y - 12}" r="3"/><circle class="scissors" cx="${u + 6}" cy="${y - 12}" r="3"/>`}</g>`;
}

function drawUnrolled(now) {
  const {window, moment} = now;
  const done = new Set(now.moments.slice(0, shown.moment + 1).map(({name: what, t}) => `${what} ${t}`));
  const known = (group, t) => group === "x" || group === "target" ? t <= window.stop : group === "h" && t === 0
    || t <= window.start && !GROUPS.place[group].backward || done.has(`${group} ${t}`);
  const kind = (group, t) => {
    if (GROUPS.place[group].backward) return t > window.start ? "" : "beyond";
    return t < window.start || t === window.start && group !== "h" ? "faded" : "";
  };
  const scale = {};
  for (const group of Object.keys(GROUPS.place)) {
    const steps = GROUPS.place[group].backward ? range(now.first, window.stop) : range(group === "h" ? 0 : 1, T);
    scale[group] = largest(steps.flatMap((t) => value(now, group, t)));
  }
  scale.y = scale.target = Math.max(scale.y, scale.target);
  const steps = range(0, T).map((t) => `<text class="step" x="${left(t) + CELL}" y="12">${t}</text>`);
  const grey = range(1, window.stop).flatMap((t) => [
    arrow("x", t, "a", t, "arrow"), arrow("h", t - 1, "a", t, "arrow"), arrow("a", t, "h", t, "arrow"),
    arrow("h", t, "y", t, "arrow")]);
  const groups = Object.keys(GROUPS.place).flatMap((group) => range(group === "h" ? 0 : 1, T).map((t) =>
    known(group, t) ? cells(now, group, t, scale[group], kind(group, t)) : empty(group, t)));
  const width = left(T + 1) + 4;
  element("unrolled").style.setProperty("--width", width);  // on paper both drawings shrink by the same factor
  element("steps").innerHTML = `<svg width="${width}" height="${GROUPS.bottom}" viewBox="0 0 ${width} ${GROUPS.bottom}"
    role="img" aria-label="${T} steps; the window is (${window.start}, ${window.stop}]">
    <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="4" markerHeight="4" orient="auto">
    <path d="M0 0L8 4L0 8z"/></marker></defs>${steps.join("")}
    ${bar(window.start, window.stop, 20, "window")}${bar(window.lossStart, window.stop, 32, "losses")}
    ${grey.join("")}${Object.keys(WEIGHTS).map((which) => rail(which, now)).join("")}${cut(window)}
    ${groups.join("")}${activeArrows(now)}${marker(moment)}</svg>`;
  drawWeights(now);
  followMarker(moment);
  const rows = ["x", "a", "h", "y", "loss", "dy", "dh", "da"], named = {...LETTER, y: "y and target"};
  element("scales").innerHTML = `In each step the left column is the way forward, the right one the way back. Orange is
    positive; purple is negative, with a dash. Empty: not computed yet. Faded: before the window. Strongest colour of each row:
    ${rows.map((group) => `${named[group] ?? group} ±${show(scale[group])}`).join(", ")}.`;
}

// Around the cells that are computed; while terms are added, around the whole step.
function marker({name: what, t}) {
  if (what === "clip" || what === "step") return "";
  const {top, height, backward} = GROUPS.place[what === "enter" ? "h" : what] ?? {top: 58, height: GROUPS.bottom - 64};
  const width = what === "dW" ? 2 * CELL + 4 : CELL + 3;
  return `<rect class="marker" x="${left(t, backward) - 1.5}" y="${top - 1.5}" width="${width}" height="${height + 3}"/>`;
}

function followMarker({t}) {
  const steps = element("steps"), margin = 1.5 * STEP;
  if (left(T + 1) + 4 <= room) return;
  steps.scrollLeft = clamp(steps.scrollLeft, left(t + 1) + margin - room, Math.max(0, left(t) - margin));
}
