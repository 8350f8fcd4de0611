// Shared by all figures: how numbers and symbols are written, sliders, and curves with their axes.
// Without a document, as in tests, no element exists and no figure is drawn.
"use strict";

lesson.figures = (() => {
const element = (id) => globalThis.document?.getElementById(id) ?? null;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function show(v, digits = 3) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  const isPlain = size >= 1e-3 && size < 1e4;
  const text = isPlain ? v.toPrecision(digits) : v.toExponential(digits - 1);
  return text.replaceAll("-", "−");
}

const fixed = (v, digits = 2) => v.toFixed(digits).replace("-", "−");

// A name such as dh_2 or W_hhᵀ, with its index below the line.
function math(name) {
  const [letters, index = ""] = name.split("_");
  return `<i>${letters}</i><sub>${index.replace("ᵀ", "")}</sub>${name.endsWith("ᵀ") ? "ᵀ" : ""}`;
}

// A figure: draw() shows its state, set(changes) changes it. The control of the field k1 of the
// figure windows has the id windows-k1. A figure that other figures depend on has them redrawn.
const FIGURES = {};

function figure(name, state, draw) {
  if (!element(name)) return;
  const set = (changes) => { Object.assign(state, changes); draw(state); };
  FIGURES[name] = {state, set, draw: () => draw(state)};
  for (const key of Object.keys(state)) {
    element(`${name}-${key}`)?.addEventListener("input", ({target: {type, value, checked}}) =>
      set({[key]: type === "checkbox" ? checked : Number(value)}));
  }
}

const redraw = () => Object.values(FIGURES).forEach(({draw}) => draw());
const onClick = (id, f) => element(id).addEventListener("click", f);

// Shows a number in its slider, and as text next to it, which screen readers say too.
function showSlider(id, value, text) {
  element(id).value = value;
  element(`${id}-output`).innerHTML = text;
  element(id).setAttribute("aria-valuetext", element(`${id}-output`).textContent);
}

// The width of a drawing that fills its place.
const widthOf = (id, most) => clamp(Math.floor(element(id).clientWidth || most), 250, most);

const svg = (width, height, label, content) => `<svg width="${width}" height="${height}"
  viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">${content}</svg>`;
const label = (x, y, words, kind = "") => `<text class="${kind}" x="${x}" y="${y}">${words}</text>`;

let plotCount = 0;  // every plot has a clip path of its own

// Curves over one axis. lines: {kind, points, label, at}; a label is written at [x, y]. x, y: the
// lowest and the highest value; what is outside is clipped. xTicks, yTicks: [value, words] each.
function plot({title, lines, marks = [], x, y, xTicks, yTicks, xLabel, logarithmic = false, width,
  height = 190}) {
  const [left, right] = [44, width - 16];
  const [top, bottom] = [26, height - 34];
  const level = logarithmic ? (v) => Math.log10(Math.max(v, 1e-300)) : (v) => v;
  const X = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (right - left);
  const Y = (v) => bottom - clamp((level(v) - level(y[0])) / (level(y[1]) - level(y[0])), -1, 2)
    * (bottom - top);
  const clipId = `clip-${++plotCount}`;
  const path = ({kind, points}) => {
    const corners = points.map(([u, v]) => `${X(u).toFixed(1)} ${Y(v).toFixed(1)}`);
    return `<path class="${kind}" d="M${corners.join("L")}"/>`;
  };
  const names = lines.filter((line) => line.label).map(({kind, label: words, at: [u, v]}) =>
    label(X(u), Y(v), words, kind));
  const dots = marks.map(([u, v, kind]) =>
    `<circle class="${kind}" cx="${X(u)}" cy="${Y(v)}" r="5"/>`);
  return svg(width, height, title, `<clipPath id="${clipId}"><rect x="${left}" y="${top - 2}"
    width="${right - left}" height="${bottom - top + 4}"/></clipPath>${label(left, 14, title)}
    <path class="axis" d="M${left} ${top}V${bottom}H${right}"/>
    ${yTicks.map(([v, words]) => label(left - 5, Y(v) + 4, words, "end")).join("")}
    ${xTicks.map(([v, words]) => label(X(v), bottom + 15, words, "middle")).join("")}
    ${label((left + right) / 2, bottom + 29, xLabel, "middle")}
    <g class="curves" clip-path="url(#${clipId})">${lines.map(path).join("")}${dots.join("")}</g>
    <g class="names">${names.join("")}</g>`);
}

// The text that a button copies is selected too, for a browser that refuses the clipboard.
function copyText(button) {
  const source = element(button.dataset.copy);
  getSelection().selectAllChildren(source);
  navigator.clipboard?.writeText(source.textContent).catch(() => {});
  button.textContent = "Copied";
}

// When all scripts have run.
function start() {
  redraw();
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copyText(button));
  }
}

globalThis.document?.addEventListener("DOMContentLoaded", start);

return {
  element, clamp, show, fixed, math, FIGURES, figure, redraw, onClick, showSlider,
  widthOf, svg, label, plot,
};
})();
