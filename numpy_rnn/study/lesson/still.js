// Two still figures: how much is left of a change of the state, and a loss with a cliff.
"use strict";
// The length of a small change of h_0 after each step, in a network of 8 units, each of which feeds
// the next with the weight `size`, with inputs of the size `drive`.
function changeByLag(size, drive) {
  const draw = uniform(3), lags = 30, units = range(0, 7), W_xh = normalMatrix(draw, 1, 8, 1);
  const W_hh = units.map((i) => units.map((j) => (j === (i + 1) % 8 ? size : 0)));
  const x = [null, ...normalMatrix(draw, lags, 1, drive).map((row) => [row])];
  const {h} = forward({W_xh, W_hh, W_hy: zeros(8, 1), b_h: null, b_y: null}, x, zeros(1, 8));
  let change = [units.map(() => 8 ** -0.5)];
  return range(0, lags).map((t) => {
    if (t) change = each((v, state) => v * SLOPE.tanh(state), times(change, W_hh), h[t]);
    return [t, norm(change[0])];
  });
}

// One unit without input, h_t = tanh(w h_{t−1} + b) from 0, and the loss ½ (h_T − 0.3)².
const CLIFF = {w: 1.5, T: 10, target: 0.3, b: 0.006, rate: 0.05, max: 0.1};

function cliffAt(b) {
  const one = [[1]], p = {W_xh: [[0]], W_hh: [[CLIFF.w]], W_hy: one, b_h: [b], b_y: null};
  const x = [null, ...range(1, CLIFF.T).map(() => [[0]])], target = x.map(() => [[CLIFF.target]]);
  const pass = forward(p, x, [[0]]), last = {lossStart: CLIFF.T - 1, stop: CLIFF.T};
  const flow = adjoints(p, pass, target, last, 1);
  return {
    loss: stepLoss(pass.y[CLIFF.T], target[CLIFF.T]),
    slope: gradientSum(p, pass, flow, 1, CLIFF.T).b_h[0],
  };
}

function drawGrowth() {
  element("growth").innerHTML = plot({
    title: "length of a change of the state", xLabel: "steps later", width: widthOf("growth", 460),
    height: 260, logarithmic: true, x: [0, 30], y: [1e-6, 1e6],
    xTicks: [0, 10, 20, 30].map((v) => [v, v]),
    yTicks: [[1e-6, "10⁻⁶"], [1e-3, "10⁻³"], [1, "1"], [1e3, "10³"], [1e6, "10⁶"]],
    lines: [
      {kind: "level", points: [[0, 1], [30, 1]]},
      {kind: "level", points: range(0, 30).map((lag) => [lag, 0.8 ** lag])},
      {kind: "cut", label: "1.5, no input", at: [4, 1e4], points: changeByLag(1.5, 0)},
      {kind: "backward", label: "1.5", at: [14, 0.3], points: changeByLag(1.5, 1)},
      {kind: "forward", label: "0.8", at: [5, 1e-4], points: changeByLag(0.8, 1)},
    ],
  });
}

function drawCliff() {
  const {b, rate, max} = CLIFF, {loss, slope} = cliffAt(b), width = widthOf("cliff", 460);
  const [plain, clipped] = [1, Math.min(1, max / Math.abs(slope))].map((v) => b - rate * v * slope);
  const mark = (v, kind) => [v, cliffAt(v).loss, kind];
  element("cliff").innerHTML = plot({
    title: "loss by the bias b", xLabel: "b", width, height: 260, x: [-0.8, 0.2], y: [0, 1],
    xTicks: [-0.8, -0.4, 0, 0.2].map((v) => [v, fixed(v, 1)]), yTicks: [[0, "0"], [1, "1"]],
    lines: [{kind: "ink", points: range(-800, 200).map((i) => [i / 1000, cliffAt(i / 1000).loss])}],
    marks: [mark(b, "here"), mark(clipped, "forward"), mark(plain, "cut")],
  });
  element("cliff-text").innerHTML = `At ${math("b")} = ${b} (ring) the slope is ${show(slope)}. A
    step with the rate ${rate} goes to ${fixed(plain)} (red); clipped to the norm ${max}, to
    ${fixed(clipped, 3)} (blue).`;
}

figure("growth", {}, drawGrowth);
figure("cliff", {}, drawCliff);
