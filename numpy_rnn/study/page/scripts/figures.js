// Shared by all figures: how numbers and names are written, colours, sliders, and curves with their axes.

const element = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const largest = (numbers) => numbers.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

function show(v, digits = 4) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "undefined" : v > 0 ? "∞" : "−∞";
  const size = Math.abs(v);
  const text = v === 0 ? "0" : size >= 1e-3 && size < 1e4 ? v.toPrecision(digits) : v.toExponential(digits - 1);
  return text.replaceAll("-", "−");
}

// A power of ten as such: 1e−6 as 10⁻⁶.
const withExponent = (text) => text.replace(/^1e\+?(−?\d+)$/, (_, power) => `10${
  [...power].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["−0123456789".indexOf(sign)]).join("")}`);

const signedText = (v) => `${v}`.replace("-", "−");

const LETTER = {loss: "ℓ", enter: "h", clip: "dW", step: "W"};
const name = (letter, t) => `${LETTER[letter] ?? letter}<sub>${t}</sub>`;
const theta = (which) => which.replace(/_(\w+)/, "<sub>$1</sub>");

const DARK = matchMedia("(prefers-color-scheme: dark)");
const TONES = {  // the weakest colour, the strongest one under a number, and the strongest one of a cell without
  light: {forward: ["eef3f7", "8fc6ea", "00558c"], backward: ["f8f1e7", "f3b768", "a84c00"]},
  dark: {forward: ["20262b", "1e5f8c", "7cc4f5"], backward: ["2b2620", "84500f", "f5b35a"]},
};
const HEAT = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"];

function mixed(colours, share) {
  const place = clamp(share, 0, 1) * (colours.length - 1);
  const low = Math.min(Math.floor(place), colours.length - 2);
  return range(0, 2).map((i) => {
    const [a, b] = [colours[low], colours[low + 1]].map((colour) => parseInt(colour.slice(2 * i, 2 * i + 2), 16));
    return Math.round(a + (b - a) * (place - low));
  });
}

const between = (colours, share) => `rgb(${mixed(colours, share).join()})`;

// The colour of a number of the pass "forward" or "backward"; scale: the largest number of its kind.
function tone(pass, v, scale, written) {
  const [weak, under, strong] = TONES[DARK.matches ? "dark" : "light"][pass];
  return between([weak, written ? under : strong], scale ? Math.abs(v) / scale : 0);
}

// The place of a number on an axis from `low` to `high`, as a share of its length; an axis may be logarithmic.
function axis(low, high, logarithmic = false) {
  const of = (v) => (logarithmic ? Math.log10(v) : v);
  return (v) => (high === low ? 0.5 : (of(v) - of(low)) / (of(high) - of(low)));
}

const finite = (points) => points.filter(([, v]) => v !== null && Number.isFinite(v));

// Curves over one axis, as SVG. lines: {kind, label, points} each; the label is that of the legend, none if left out;
// with `upper`, a band between two lists of points. x, y: [lowest, highest]; what is outside is not drawn. marked: a
// point with a ring. xTicks: [place, text] each, instead of the two ends.
function plot({
  title, lines, x, y, xLabel, logarithmic = false, marked = null, width = 300, height = 150, summary = "",
  xTicks = null,
}) {
  const edge = 50, top = 24, right = width - 8, bottom = height - 18;
  const inside = `inside-${plot.count = (plot.count ?? 0) + 1}`;
  const [alongX, alongY] = [axis(...x), axis(...y, logarithmic)];
  const X = (v) => edge + alongX(v) * (right - edge), Y = (v) => bottom - clamp(alongY(v), -2, 3) * (bottom - top);
  const seen = (points) => finite(points).filter(([, v]) => !logarithmic || v > 0);
  const path = (points) => points.map(([u, v], i) => `${i ? "L" : "M"}${X(u).toFixed(1)} ${Y(v).toFixed(1)}`).join("");
  const drawn = lines.filter(({points}) => seen(points).length).map(({kind, points, upper}) => (upper
    ? `<path class="${kind}" d="${path([...seen(points), ...seen(upper).reverse()])}Z"/>`
    : `<path class="${kind}" d="${path(seen(points))}"/>`));
  const legend = lines.filter(({label}) => label);
  const places = legend.reduce((list, {label}) => {
    const [at, row] = list.at(-1), next = at + 36 + 6.6 * label.length;
    if (next > width && at > 4) list.splice(-1, 1, [4, row + 1], [4 + next - at, row + 1]);
    else list.push([next, row]);
    return list;
  }, [[4, 0]]);
  const keys = legend.map(({kind, label}, i) => {
    const [at, row] = places[i], v = height + 7 + 15 * row;
    return `<path class="${kind}" d="M${at} ${v}h18"/><text x="${at + 22}" y="${v + 4}">${label}</text>`;
  });
  const full = height + (legend.length ? 16 + 15 * places[legend.length - 1][1] : 0);
  const ring = marked === null ? "" : `<circle class="here" cx="${X(marked[0])}" cy="${Y(marked[1])}" r="5"/>`;
  const label = (v) => withExponent(show(v, logarithmic || Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? 1 : 2));
  const ticks = (xTicks ?? [[x[0], signedText(x[0])], [x[1], signedText(x[1])]]).map(([at, text], i, all) =>
    `<text class="${i === all.length - 1 && at === x[1] ? "end" : "step"}" x="${X(at)}"
    y="${bottom + 14}">${text}</text>`);
  return `<svg class="curve" width="${width}" height="${full}" viewBox="0 0 ${width} ${full}" role="img"
    aria-label="${title}${summary}"><clipPath id="${inside}"><rect x="${edge}" y="${top - 3}"
    width="${right - edge + 3}"
    height="${bottom - top + 6}"/></clipPath><text x="${edge}" y="14">${title}</text>
    <path class="axis" d="M${edge} ${top}V${bottom}H${right}"/>
    <text class="end" x="${edge - 4}" y="${top + 6}">${label(y[1])}</text>
    <text class="end" x="${edge - 4}" y="${bottom + 2}">${label(y[0])}</text>${ticks.join("")}
    <text class="step" x="${(edge + right) / 2}" y="${bottom + 14}">${xLabel}</text>
    <g clip-path="url(#${inside})">${drawn.join("")}</g>${ring}${keys.join("")}</svg>`;
}

// Shows a number in its slider and in the words next to it, which screen readers say too. Words may have a subscript.
function showSlider(id, value, text, limits = {}) {
  Object.assign(element(id), {...limits, value});
  const output = element(`${id}-output`);
  output.innerHTML = text;
  element(id).setAttribute("aria-valuetext", output.textContent);
}

// The width of a drawing that fills its place, between two limits. Read before anything is drawn.
const widthOf = (id, most, least = 250) => clamp(Math.floor(element(id).clientWidth || most), least, most);
const onClick = (id, f) => element(id).addEventListener("click", f);

// A matrix as a table of numbers, with the numbers for which `wrong` holds marked.
function matrixTable(rows, label, wrong = () => false) {
  const cell = (v, i, j) => `<td class="number${wrong(i, j) ? " wrong" : ""}">${show(v, 3)}</td>`;
  const lines = rows.map((row, i) => `<tr>${row.map((v, j) => cell(v, i, j)).join("")}</tr>`);
  return `<table class="matrix"><caption>${label}</caption><tbody>${lines.join("")}</tbody></table>`;
}

// The state of all figures, in the page's address: "#explore/k1=1&k2=3;recall/d=2". The figure that the reader changed
// last is the first one there, and the page opens at it. What is as at first is left out. What an address says
// wrongly is as if it were not there.

const FIGURES = {};  // by name, in the order of the page
const MAX_ADDRESS = 4000;  // characters
let writing = null, latest = null;

// What a field may be: functions of the text in the address that return the value, or null.
const whole = (low, high) => (text) => (/^-?\d{1,9}$/.test(text) && low <= text && text <= high ? Number(text) : null);
const decimal = (low, high) => (text) =>
  (/^-?\d{1,9}(\.\d{1,9})?$/.test(text) && low <= text && text <= high ? Number(text) : null);
const oneOf = (...names) => (text) => (names.includes(text) ? text : null);
const flag = whole(0, 1);

// A figure whose state has these fields, by name: [value at first, reader of a text]. The control of the field k1 of the
// figure explore has the id explore-k1. draw(state) shows the state; it may correct it.
function figure(name, id, fields, draw) {
  if (!element(id)) return null;
  const first = Object.fromEntries(Object.entries(fields).map(([key, [value]]) => [key, value]));
  const state = {...first};
  const made = {
    id, first, state, fields, draw: () => draw(state),
    set(changes, byReader = true) {
      Object.assign(state, changes);
      draw(state, changes);
      if (byReader) keepInAddress(name);
    },
    words: () => Object.keys(fields).filter((key) => state[key] !== first[key])
      .map((key) => `${key}=${encodeURIComponent(state[key])}`).join("&"),
    go: (words) => made.set({...first, ...readWords(fields, words)}, false),
  };
  FIGURES[name] = made;
  for (const key of Object.keys(fields)) listen(made, key, element(`${name}-${key}`));
  return made;
}

function listen(made, key, control) {
  if (!control) return;
  const value = {checkbox: () => Number(control.checked), range: () => Number(control.value)}[control.type];
  control.addEventListener("input", () => made.set({[key]: (value ?? (() => control.value))()}));
}

function readWords(fields, words) {
  const result = {};
  for (const word of words.split(/[&\s]+/)) {
    const [key, text = ""] = word.split("=");
    if (!Object.hasOwn(fields, key)) continue;
    let value = null;
    try { value = fields[key][1](decodeURIComponent(text)); } catch (error) { if (!(error instanceof URIError)) throw error; }
    if (value !== null) result[key] = value;
  }
  return result;
}

function address() {
  const names = [latest, ...Object.keys(FIGURES).filter((name) => name !== latest && FIGURES[name].words())];
  return `#${names.map((name) => `${name}/${FIGURES[name].words()}`).join(";")}`;
}

// Not at once: browsers limit how often an address may change.
function keepInAddress(name) {
  latest = name;
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", address()), 300);
}

function followAddress() {
  const parts = location.hash.slice(1).split(";").map((part) => part.split("/"));
  const known = parts.filter(([name, words]) => Object.hasOwn(FIGURES, name) && words !== undefined);
  if (!known.length || location.hash.length > MAX_ADDRESS) return;
  clearTimeout(writing);
  for (const [name, words] of known) FIGURES[name].go(words);
  [[latest]] = known;
  element(FIGURES[latest].id).scrollIntoView();
}

const redrawAll = () => Object.values(FIGURES).forEach(({draw}) => draw());

// Last, when all figures exist. A link leads to its figure by its own address, "#explorer", the id of its element.
function start() {
  redrawAll();
  for (const link of document.querySelectorAll("a[data-set]")) {
    const [name, made] = Object.entries(FIGURES).find(([, {id}]) => link.hash === `#${id}`);
    link.addEventListener("click", () => { made.go(link.dataset.set); keepInAddress(name); });
  }
  DARK.addEventListener("change", redrawAll);
  let width = innerWidth;
  addEventListener("resize", () => requestAnimationFrame(() => {
    if (innerWidth === width) return;  // a telephone's bars come and go
    width = innerWidth;
    redrawAll();
  }));
  addEventListener("hashchange", followAddress);
  followAddress();
}
