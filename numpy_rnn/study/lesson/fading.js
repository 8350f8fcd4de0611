// How much is left of a change of the state, and a loss with a cliff that one can step along.
"use strict";

lesson.fading = (() => {
const {
  slopeOf, range, norm, zeros, times, elementwise, forward, stepLoss, adjoints, gradientSum,
  uniform, normalMatrix,
} = lesson.rnn;
const {
  element, clamp, show, fixed, math, FIGURES, figure, onClick, showSlider, widthOf, plot,
} = lesson.figures;

const LAGS = 30;

// The length of a small change of h_0 after each step, in a network of 8 units, each of which feeds
// the next with the weight `gain`, with inputs of the size `drive`.
function changeByLag(gain, drive) {
  const draw = uniform(3);
  const units = range(0, 7);
  const W_xh = normalMatrix(draw, 1, 8, 1);
  const W_hh = units.map((i) => units.map((j) => (j === (i + 1) % 8 ? gain : 0)));
  const x = [null, ...normalMatrix(draw, LAGS, 1, drive).map((row) => [row])];
  const {h} = forward({W_xh, W_hh, W_hy: zeros(8, 1), b_h: null, b_y: null}, x, zeros(1, 8));
  let change = [units.map(() => 8 ** -0.5)];
  return range(0, LAGS).map((t) => {
    if (t) change = elementwise((v, state) => v * slopeOf(state), times(change, W_hh), h[t]);
    return [t, norm(change[0])];
  });
}

// One unit without input, h_t = tanh(w h_{t−1} + b) from 0, and the loss ½ (h_T − 0.3)².
const CLIFF = {w: 1.5, T: 10, target: 0.3, rate: 0.05, max: 0.1};

function cliffAt(b) {
  const {w, T} = CLIFF;
  const p = {W_xh: [[0]], W_hh: [[w]], W_hy: [[1]], b_h: [b], b_y: null};
  const x = [null, ...range(1, T).map(() => [[0]])];
  const target = x.map(() => [[CLIFF.target]]);
  const pass = forward(p, x, [[0]]);
  const flow = adjoints(p, pass, target, {lossStart: T - 1, stop: T}, 1);
  return {
    loss: stepLoss(pass.y[T], target[T]),
    slope: gradientSum(p, pass, flow, 1, T).b_h[0],
  };
}

// One update of b, with the slope clipped to a length or not.
function cliffStep(b, isClipped) {
  const {slope} = cliffAt(b);
  const factor = isClipped ? Math.min(1, CLIFF.max / Math.abs(slope)) : 1;
  return b - CLIFF.rate * slope * factor;
}

function drawGrowth(state) {
  const {gain, drive, steps} = state;
  const changes = changeByLag(gain, drive);
  const [, left] = changes[steps];
  showSlider("growth-gain", gain, fixed(gain, 1));
  showSlider("growth-drive", drive, fixed(drive, 1));
  showSlider("growth-steps", steps, `${steps}`);
  element("growth-drawing").innerHTML = plot({
    title: "length of a change of the state", xLabel: "steps later", height: 230,
    width: widthOf("growth-drawing", 460), logarithmic: true, x: [0, LAGS], y: [1e-6, 1e6],
    xTicks: [0, 10, 20, 30].map((v) => [v, v]),
    yTicks: [[1e-6, "10⁻⁶"], [1e-3, "10⁻³"], [1, "1"], [1e3, "10³"], [1e6, "10⁶"]],
    lines: [
      {kind: "level", points: range(0, LAGS).map((lag) => [lag, gain ** lag])},
      {kind: "backward", points: changes},
    ],
    marks: [[steps, left, "forward"]],
  });
  element("growth-text").innerHTML = `After ${steps} steps a change of 1 has the length
    <b>${show(left)}</b>; the bound, dashed, is ${show(gain ** steps)}.`;
}

function drawCliff(state) {
  const {b, isClipped, path} = state;
  const {loss, slope} = cliffAt(b);
  showSlider("cliff-b", b, fixed(b, 3));
  element("cliff-isClipped").checked = isClipped;
  const dots = path.map((v) => [v, cliffAt(v).loss, "cut"]);
  element("cliff-drawing").innerHTML = plot({
    title: "loss by the bias b", xLabel: "b", width: widthOf("cliff-drawing", 460), height: 230,
    x: [-0.8, 0.4], y: [0, 1], xTicks: [-0.8, -0.4, 0, 0.4].map((v) => [v, fixed(v, 1)]),
    yTicks: [[0, "0"], [1, "1"]], marks: [...dots, [b, loss, "here"]],
    lines: [{kind: "ink", points: range(-800, 400).map((i) => [i / 1000, cliffAt(i / 1000).loss])}],
  });
  const count = path.length === 1 ? "1 step" : `${path.length} steps`;
  element("cliff-text").innerHTML = `${count}: ${math("b")} = ${fixed(b, 3)}, loss
    <b>${fixed(loss, 3)}</b>, slope ${show(slope)}.`;
}

figure("growth", {gain: 1.5, drive: 1, steps: 20}, drawGrowth);
figure("cliff", {b: 0.006, isClipped: false, path: []}, drawCliff);
if (element("cliff")) {
  const {state, set} = FIGURES.cliff;
  onClick("cliff-step", () => set({
    b: clamp(cliffStep(state.b, state.isClipped), -0.8, 0.4), path: [...state.path, state.b],
  }));
  onClick("cliff-again", () => set({b: 0.006, path: []}));
  element("cliff-b").addEventListener("input", () => set({path: []}));
}

return {changeByLag, cliffAt};
})();
