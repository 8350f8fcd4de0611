// Two still figures: how much of a change of the state is left after some steps, and a loss with a
// cliff.
"use strict";

// The largest factor by which A stretches a vector, its largest singular value (power iteration).
function stretch(A) {
  let v = A[0].map((_, i) => [1 / (i + 1)]);
  for (let i = 0; i < 500; i++) {
    v = transposedTimes(A, times(A, v));
    const length = norm(v.flat());
    if (length === 0) return 0;
    v = each((u) => u / length, v);
  }
  return norm(times(A, v).flat());
}

// The stretch of ∂h_T/∂h_s, by the lag T − s, in a network of 8 units whose W_hh has this stretch.
// drive: the size of the inputs.
function changeByLag({size, drive, lags = 30, seed = 3}) {
  const draw = uniform(seed), random = normalMatrix(draw, 8, 8, 1), W_xh = normalMatrix(draw, 1, 8, 1);
  const factor = size / stretch(random), W_hh = each((w) => factor * w, random);
  const x = [null, ...normalMatrix(draw, lags, 1, drive).map((row) => [row])];
  const {h} = forward({W_xh, W_hh, W_hy: zeros(8, 1), b_h: null, b_y: null}, x, zeros(1, 8));
  let product = W_hh.map((row, i) => row.map((_, j) => Number(i === j)));
  return range(0, lags).map((lag) => {
    if (lag) {
      const slopes = h[lags + 1 - lag][0].map(SLOPE.tanh);
      product = times(W_hh.map((row) => row.map((w, j) => w * slopes[j])), product);
    }
    return [lag, stretch(product)];
  });
}

// One unit without input, h_t = tanh(w h_{t−1} + b) from 0, and the loss ½ (h_T − 0.3)².
const CLIFF = {w: 2.5, T: 10, target: 0.3, b: 0.01, rate: 0.1, max: 1};

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
  const ticks = (list) => list.map((v) => [v, `${v}`]);
  element("growth").innerHTML = plot({
    title: "left of a change of the state", width: widthOf("growth", 460), height: 260, logarithmic: true,
    x: [0, 30], y: [1e-6, 1e4], xLabel: "steps later", xTicks: ticks([0, 10, 20, 30]),
    yTicks: [[1e-6, "10⁻⁶"], [1e-3, "10⁻³"], [1, "1"], [1e3, "10³"]],
    lines: [
      {kind: "level", points: [[0, 1], [30, 1]]},
      {kind: "level", points: range(0, 30).map((lag) => [lag, 0.8 ** lag])},
      {kind: "cut", label: "stretch 2.5, no input", at: [9, 2e2], points: changeByLag({size: 2.5, drive: 0})},
      {kind: "backward", label: "2.5, strong inputs", at: [17, 0.08], points: changeByLag({size: 2.5, drive: 3})},
      {kind: "forward", label: "0.8", at: [9, 1e-3], points: changeByLag({size: 0.8, drive: 1})},
    ],
  });
}

function drawCliff() {
  const {b, rate, max} = CLIFF, {loss, slope} = cliffAt(b);
  const length = Math.abs(slope), step = (clip) => b - rate * slope * Math.min(1, clip / length);
  const [plain, clipped] = [step(Infinity), step(max)];
  element("cliff").innerHTML = plot({
    title: "loss by the bias b", width: widthOf("cliff", 460), height: 260, x: [-1, 0.5], y: [0, 1],
    xLabel: "b", xTicks: [-1, -0.5, 0, 0.5].map((v) => [v, fixed(v, 1)]), yTicks: [[0, "0"], [1, "1"]],
    lines: [{kind: "ink", points: range(-500, 250).map((i) => [i / 500, cliffAt(i / 500).loss])}],
    marks: [[b, loss, "here"], [clipped, cliffAt(clipped).loss, "forward"], [plain, cliffAt(plain).loss, "cut"]],
  });
  element("cliff-text").innerHTML = `The slope at the ring is ${show(slope)}. A step with η = ${rate} ends at
    ${math("b")} = ${fixed(plain)} (red); clipped to the norm ${max}, at ${fixed(clipped)} (blue).`;
}

figure("growth", {}, drawGrowth);
figure("cliff", {}, drawCliff);
