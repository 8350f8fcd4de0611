// What all figures share: the run's data, how numbers and names are written, colours, and curves with their axes.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const {T, B, D, H, O} = data.sizes;

const element = (id) => document.getElementById(id);
const range = (from, to) => Array.from({length: Math.max(0, to - from + 1)}, (_, i) => from + i);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const largest = (numbers) => numbers.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

// ---- how numbers and names are written ------------------------------------------------------------------------------

function show(v, digits = 4) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "undefined" : v > 0 ? "∞" : "−∞";
  const size = Math.abs(v);
  const text = v === 0 ? "0" : size >= 1e-3 && size < 1e4 ? v.toPrecision(digits) : v.toExponential(digits - 1);
  return text.replaceAll("-", "−");
}

const signedText = (v) => `${v}`.replace("-", "−");

const LETTER = {loss: "ℓ", enter: "h", clip: "dW", step: "W"};
const name = (letter, t) => `${LETTER[letter] ?? letter}<sub>${t}</sub>`;
const theta = (which) => which.replace(/_(\w+)/, "<sub>$1</sub>");

// ---- colours: signed numbers from purple over white to orange, sizes from dark to light ------------------------------

const SIGNED = ["2d004b", "542788", "8073ac", "b2abd2", "d8daeb", "f7f7f7", "fee0b6", "fdb863", "e08214", "b35806", "7f3b08"];
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
const signed = (v, scale) => between(SIGNED, 0.5 + (scale ? v / scale / 2 : 0));

// ---- curves ---------------------------------------------------------------------------------------------------------

// The place of a number on an axis from `low` to `high`, as a share of its length; an axis may be logarithmic.
function axis(low, high, logarithmic = false) {
  const of = (v) => (logarithmic ? Math.log10(v) : v);
  return (v) => (high === low ? 0.5 : (of(v) - of(low)) / (of(high) - of(low)));
}

const finite = (points) => points.filter(([, v]) => v !== null && Number.isFinite(v));

// Curves over one axis, as SVG. lines: [kind, label, points] each; the label is that of the legend, null for none.
// x, y: [lowest, highest]; what is outside is cut. marked: one point, with a ring.
function plot({title, lines, x, y, xLabel, logarithmic = false, marked = null, width = 300, height = 150, summary = ""}) {
  const edge = 52, top = 22, right = width - 10, bottom = height - 18;
  const [alongX, alongY] = [axis(...x), axis(...y, logarithmic)];
  const X = (v) => edge + alongX(v) * (right - edge), Y = (v) => bottom - clamp(alongY(v), -0.02, 1.02) * (bottom - top);
  const path = (points) => points.map(([u, v], i) => `${i ? "L" : "M"}${X(u).toFixed(1)} ${Y(v).toFixed(1)}`).join("");
  const shown = lines.map(([kind, , points]) => [kind, finite(points).filter(([, v]) => !logarithmic || v > 0)]);
  const drawn = shown.map(([kind, points]) => `<path class="${kind}" d="${path(points)}"/>`);
  const legend = lines.filter(([, words]) => words !== null);
  let place = 4;
  const keys = legend.map(([kind, words]) => {
    const at = place;
    place += 32 + 6 * words.length;
    return `<path class="${kind}" d="M${at} ${height + 7}h18"/><text x="${at + 22}" y="${height + 11}">${words}</text>`;
  });
  const full = height + (legend.length ? 16 : 0);
  const ring = marked === null ? "" : `<circle class="here" cx="${X(marked[0])}" cy="${Y(marked[1])}" r="5"/>`;
  const middle = (edge + right) / 2;
  const label = (v) => show(v, logarithmic || Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? 1 : 2);
  return `<svg class="curve" width="${width}" height="${full}" viewBox="0 0 ${width} ${full}" role="img"
    aria-label="${title}${summary}"><text x="${edge}" y="14">${title}</text>
    <path class="axis" d="M${edge} ${top}V${bottom}H${right}"/>
    <text class="end" x="${edge - 4}" y="${top + 6}">${label(y[1])}</text>
    <text class="end" x="${edge - 4}" y="${bottom + 2}">${label(y[0])}</text>
    <text class="step" x="${edge}" y="${bottom + 14}">${signedText(x[0])}</text><text class="end" x="${right}" y="${bottom + 14}">${signedText(x[1])}</text>
    <text class="step" x="${middle}" y="${bottom + 14}">${xLabel}</text>${drawn.join("")}${ring}${keys.join("")}</svg>`;
}
