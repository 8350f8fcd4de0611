// The loss surface over two weights of a network of one unit, its cliff, and gradient descent on it, clipped and not.
"use strict";

const CLIFF = {w: [-1, 4], b: [-1.5, 1.5], width: 470, height: 380, target: 0.3, across: 94, down: 76};
const CLIFF_FIRST = {w: 2.5, b: 0.5, rate: 0.5, clip: 0.5, steps: 100, length: 10};
const cliff = {...CLIFF_FIRST};

// A network of one unit and its series: no input, an output that is the state, a loss at the last step alone.
const oneUnit = (w, b) => ({W_xh: [[0]], W_hh: [[w]], W_hy: [[1]], b_h: [b], b_y: [0], h_0: null});
const noInput = (length) => [null, ...range(1, length).map(() => [[0]])];

// The loss alone: (F1, F2, L1) of `oneUnit` written out, since the surface needs thousands of them.
function surfaceLoss(w, b, length) {
  let h = 0;
  for (let t = 1; t <= length; t++) h = Math.tanh(h * w + b);
  return 0.5 * (h - CLIFF.target) ** 2;
}

// Gradient descent on W_hh and b_h: point, loss and norm of the gradient before every step, and after the last.
function descend({w, b, rate, steps, length}, max_norm) {
  let p = oneUnit(w, b);
  const inputs = noInput(length), targets = inputs.map(() => [[CLIFF.target]]), result = [];
  for (let step = 0; step <= steps; step++) {
    const activations = forward(p, inputs, [[0]], "tanh");
    const flow = adjoints(p, activations, targets, {lossStart: length - 1, stop: length}, 1, "tanh");
    const {W_hh, b_h} = gradientSum(p, activations, flow, 1, length), both = {W_hh, b_h};
    result.push({w: p.W_hh[0][0], b: p.b_h[0], loss: stepLoss(activations.y[length], targets[length]), norm: globalNorm(both)});
    p = {...p, ...descent({W_hh: p.W_hh, b_h: p.b_h}, clipped(both, max_norm), rate)};
  }
  return result;
}

// ---- drawing --------------------------------------------------------------------------------------------------------

const [edgeX, edgeY] = [56, 8];
const alongW = axis(...CLIFF.w), alongB = axis(...CLIFF.b);
const cliffX = (w) => edgeX + alongW(w) * CLIFF.width, cliffY = (b) => edgeY + (1 - alongB(b)) * CLIFF.height;
let painted = null;  // the length whose surface is painted

function paintSurface() {
  if (painted === cliff.length) return;
  painted = cliff.length;
  const canvas = element("cliff-surface"), context = canvas.getContext("2d");
  const {across, down} = Object.assign(canvas, {width: CLIFF.across, height: CLIFF.down}) && CLIFF;
  const image = context.createImageData(across, down);
  const highest = 0.5 * (1 + CLIFF.target) ** 2;
  range(0, across * down - 1).forEach((i) => {
    const w = CLIFF.w[0] + ((i % across) + 0.5) / across * (CLIFF.w[1] - CLIFF.w[0]);
    const b = CLIFF.b[1] - (Math.floor(i / across) + 0.5) / down * (CLIFF.b[1] - CLIFF.b[0]);
    image.data.set([...mixed(HEAT, surfaceLoss(w, b, cliff.length) / highest), 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}

function pathOnSurface(points, kind) {
  const far = ({w, b}) => [clamp(cliffX(w), -2000, 3000), clamp(cliffY(b), -2000, 3000)];
  const path = points.map((point, i) => `${i ? "L" : "M"}${far(point).map((v) => v.toFixed(1)).join(" ")}`).join("");
  const dots = points.map((point) => `<circle cx="${far(point)[0].toFixed(1)}" cy="${far(point)[1].toFixed(1)}" r="2.2"/>`);
  return `<g class="${kind}"><path class="under" d="${path}"/><path d="${path}"/>${dots.join("")}</g>`;
}

function drawCliff() {
  paintSurface();
  const plain = descend(cliff, null), held = descend(cliff, cliff.clip);
  const {width, height} = CLIFF, bottom = edgeY + height, [all, tall] = [edgeX + width + 8, bottom + 42];
  const scale = Math.max(1, all / (element("cliff-paths").clientWidth || all));  // keeps the labels legible
  for (const [side, share] of Object.entries({left: edgeX / all, top: edgeY / tall, width: width / all, height: height / tall})) {
    element("cliff-surface").style[side] = `${100 * share}%`;
  }
  const ticks = (from, to, by) => range(Math.ceil(from / by), Math.floor(to / by)).map((i) => i * by);
  element("cliff-paths").innerHTML = `<svg viewBox="0 0 ${all} ${tall}" style="--scale: ${scale}" role="img"
    aria-label="The loss over W_hh and b_h, and two paths of gradient descent">
    <clipPath id="cliff-inside"><rect x="${edgeX}" y="${edgeY}" width="${width}" height="${height}"/></clipPath>
    ${ticks(...CLIFF.w, 1).map((w) => `<text class="step" x="${cliffX(w)}" y="${bottom + 18}">${signedText(w)}</text>`).join("")}
    ${ticks(...CLIFF.b, 0.5).map((b) => `<text class="end" x="${edgeX - 6}" y="${cliffY(b) + 4}">${show(b, 2)}</text>`).join("")}
    <text class="step" x="${edgeX + width / 2}" y="${bottom + 34}">W<tspan class="sub" dy="2">hh</tspan></text>
    <text class="step" transform="translate(12 ${edgeY + height / 3}) rotate(-90)">b<tspan
      class="sub" dy="2">h</tspan></text>
    <g clip-path="url(#cliff-inside)">${pathOnSurface(plain, "plain")}${pathOnSurface(held, "held")}
    <circle class="begin" cx="${cliffX(cliff.w)}" cy="${cliffY(cliff.b)}" r="6"/></g></svg>`;
  drawCliffCurves(plain, held);
  const outside = ({w, b}) => alongW(w) < 0 || alongW(w) > 1 || alongB(b) < 0 || alongB(b) > 1;
  const end = (path) => `loss ${show(path.at(-1).loss, 3)} at ${theta("W_hh")} = ${show(path.at(-1).w, 3)}, ${theta("b_h")} = ${show(path.at(-1).b, 3)}${
    outside(path.at(-1)) ? ", outside the figure" : ""}`;
  const steepest = (path) => path.reduce((a, b) => (b.norm > a.norm ? b : a));
  element("cliff-text").innerHTML = `This network, after ${cliff.steps} steps. Without clipping: ${end(plain)}; the largest gradient on
    the way has norm ${show(steepest(plain).norm, 3)}. With clipping at ${cliff.clip}: ${end(held)}; the largest gradient, before
    clipping, has norm ${show(steepest(held).norm, 3)}.`.replace(/\s+/g, " ");
}

// Beside it: the loss along both paths, and the loss along b_h where the path without clipping is steepest.
function drawCliffCurves(plain, held) {
  const {w, b, loss} = plain.reduce((a, one) => (one.norm > a.norm ? one : a));
  const width = widthIn("cliff-curves", 540);
  const section = range(0, 300).map((i) => CLIFF.b[0] + i / 300 * (CLIFF.b[1] - CLIFF.b[0]));
  const numbered = (path, quantity) => path.map((point, i) => [i, quantity(point)]);
  const both = (quantity) => [
    {kind: "plain-curve", label: "without clipping", points: numbered(plain, quantity)},
    {kind: "held-curve", label: "with clipping", points: numbered(held, quantity)},
  ];
  element("cliff-curves").innerHTML = [
    plot({title: "loss, by step of training", lines: both(({loss: v}) => v), x: [0, cliff.steps], y: [0, 0.9],
      xLabel: "step", width, height: 130}),
    plot({title: "norm of the gradient, before clipping", lines: both(({norm: v}) => v), x: [0, cliff.steps], y: [1e-6, 1e3],
      xLabel: "step", logarithmic: true, width, height: 130}),
    plot({title: `loss along bₕ, at Wₕₕ = ${show(w, 3)} (steepest)`, x: CLIFF.b, y: [0, 0.9], xLabel: "bₕ", width,
      height: 130, lines: [{kind: "section", points: section.map((v) => [v, surfaceLoss(w, v, cliff.length)])}],
      marked: alongB(b) >= 0 && alongB(b) <= 1 ? [b, loss] : null}),
  ].join("");
}

// ---- controls -------------------------------------------------------------------------------------------------------

const CLIFF_SLIDERS = Object.keys(CLIFF_FIRST);

function setCliff(changes, byReader = true) {
  for (const [slider, v] of Object.entries(changes)) {
    element(`cliff-${slider}`).value = v;  // the browser keeps it between the slider's ends, and on its steps
    cliff[slider] = Number(element(`cliff-${slider}`).value);
  }
  for (const slider of CLIFF_SLIDERS) element(`cliff-${slider}-output`).textContent = `${cliff[slider]}`;
  drawCliff();
  if (byReader) keepInAddress("cliff");
}

if (element("cliff")) {
  FIGURES.cliff = {
    id: "cliff",
    redraw: drawCliff, first: CLIFF_FIRST,
    words: () => CLIFF_SLIDERS.map((slider) => `${slider}=${cliff[slider]}`).join("&"),
    set: (asked) => setCliff(Object.fromEntries(CLIFF_SLIDERS.map((slider) => [slider, decimal(asked[slider])])
      .filter(([, v]) => v !== null))),
  };
  for (const slider of CLIFF_SLIDERS) {
    onInput(`cliff-${slider}`, ({value: v}) => setCliff({[slider]: Number(v)}));
  }
  element("cliff-paths").addEventListener("click", (event) => {
    const box = element("cliff-surface").getBoundingClientRect();
    const w = CLIFF.w[0] + (event.clientX - box.left) / box.width * (CLIFF.w[1] - CLIFF.w[0]);
    setCliff({w, b: CLIFF.b[1] - (event.clientY - box.top) / box.height * (CLIFF.b[1] - CLIFF.b[0])});
  });
  setCliff(cliff, false);
}
