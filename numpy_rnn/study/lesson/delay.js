// The task of the lesson, which opens it: repeat the input of d steps ago. Two networks with the
// same first weights learn it by TBPTT(1, k2), one with k2 = d and one with k2 = d + 1.
"use strict";

const TASK = {B: 4, H: 8, updates: 800, rate: 0.2, sizes: {W_xh: 0.1, W_hh: 0.2, W_hy: 0.3}};
const LEARNED = 0.5;  // mean squared error; 1 is that of an output of 0
const AVERAGED = 25;  // updates
const SHOWN = 16;  // steps of the test series

// A stream of random signs as inputs, and the inputs of d steps ago as targets.
function delaySeries(d, steps, seed = 1) {
  const draw = uniform(seed);
  const signs = range(1, steps + d).map(() => range(1, TASK.B).map(() => [draw() < 0.5 ? -1 : 1]));
  return {x: [null, ...signs.slice(d)], target: [null, ...signs.slice(0, steps)]};
}

function delayNetwork(seed) {
  const {H, sizes: {W_xh, W_hh, W_hy}} = TASK, draw = uniform(1000 + seed);
  return {
    W_xh: normalMatrix(draw, 1, H, W_xh), W_hh: normalMatrix(draw, H, H, W_hh),
    W_hy: normalMatrix(draw, H, 1, W_hy), b_h: null, b_y: null,
  };
}

// The mean squared error of every update, and the weights after it.
function learnDelay({d, k1 = 1, k2, seed, updates = TASK.updates}) {
  const {x, target} = delaySeries(d, updates * k1), options = {k1, k2, rate: TASK.rate, mean: true};
  const all = [...train(delayNetwork(seed), x, target, zeros(TASK.B, TASK.H), options)];
  return {losses: all.map(({loss}) => 2 * loss), weights: all.map(({p}) => p)};
}

const errorAt = (losses, n) => sum(losses.slice(Math.max(0, n - AVERAGED), n)) / Math.min(AVERAGED, n);
const hasLearned = (losses) => errorAt(losses, losses.length) < LEARNED;

const delay = {seed: 1, d: 5, done: 0, runs: [], timer: null};

function drawDelay({d, done, runs}) {
  const width = widthOf("delay-drawing", 640), {x, target} = delaySeries(d, 60, 99);
  const outputs = runs.map(({weights}) => {
    const p = done ? weights[done - 1] : delayNetwork(delay.seed);
    return forward(p, x, zeros(TASK.B, TASK.H)).y;
  });
  const left = width < 460 ? 76 : 120, size = Math.min(30, (width - left - 4) / SHOWN), steps = range(60 - SHOWN + 1, 60);
  const row = (list, y, words) => `${label(left - 8, y + size / 2 + 4, words, "end")}${steps.map((t, i) =>
    `<rect class="sign" x="${left + i * size + 1}" y="${y}" width="${size - 2}" height="${size - 2}"
    fill-opacity="${clamp((list[t][0][0] + 1) / 2, 0, 1).toFixed(2)}"/>`).join("")}`;
  const gap = size + 8, center = (i) => left + (i + 0.5) * size;
  const arrow = `<path class="lag" d="M${center(2)} ${size + 4}L${center(2 + d)} ${gap + 5}"/>`;
  const rows = [[x, "input"], [target, `input ${d} ago`], [outputs[0], `k₂ = ${d}`], [outputs[1], `k₂ = ${d + 1}`]];
  element("delay-drawing").innerHTML = svg(width, 4 * gap + 22, `Inputs, targets and outputs of both networks after
    ${done} updates`, rows.map(([list, words], i) => row(list, 4 + i * gap + (i > 1 ? 14 : 0), words)).join("") + arrow)
    + plot({
      title: "mean squared error while they learn", width, height: 180, x: [0, TASK.updates], y: [0, 1.25],
      xLabel: "update", xTicks: [0, 200, 400, 600, 800].map((v) => [v, `${v}`]), yTicks: [[0, "0"], [1, "1"]],
      lines: [
        {kind: "level", points: [[0, 1], [TASK.updates, 1]]},
        ...runs.map(({losses}, i) => ({
          kind: i ? "forward" : "cut", label: `k₂ = ${d + i}`, at: [TASK.updates * 0.87, i ? 0.12 : 0.8],
          points: range(1, done).map((n) => [n, errorAt(losses, n)]),
        })),
      ],
    });
  const errors = runs.map(({losses}) => show(errorAt(losses, Math.max(done, 1)), 2));
  element("delay-text").innerHTML = `After ${done} updates the error is ${errors[0]} with k₂ = ${d} and
    ${errors[1]} with k₂ = ${d + 1}.`;
  showSlider("delay-lag", d, `${d}`);
}

// Both are trained at once, which takes a moment, and then shown as they learned.
function learnBoth(changes = {}) {
  Object.assign(delay, changes);
  clearInterval(delay.timer);
  const {d, seed} = delay, still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  Object.assign(delay, {done: still ? TASK.updates : 0, runs: [d, d + 1].map((k2) => learnDelay({d, k2, seed}))});
  drawDelay(delay);
  if (!still) delay.timer = setInterval(() => {
    FIGURES.delay.set({done: Math.min(delay.done + 5, TASK.updates)});
    if (delay.done === TASK.updates) clearInterval(delay.timer);
  }, 30);
}

figure("delay", delay, drawDelay);
if (element("delay")) {
  delay.runs = [5, 6].map((k2) => learnDelay({d: 5, k2, seed: 1}));
  element("delay-lag").addEventListener("input", ({target: {value}}) => learnBoth({d: Number(value)}));
  onClick("delay-again", () => learnBoth({seed: delay.seed + 1}));
  setTimeout(learnBoth, 600);
}
