// The task of the lesson, which opens it: repeat the input of d steps ago. Two networks with the
// same first weights learn it by TBPTT(1, k2), one with k2 = d and one with k2 = d + 1.
"use strict";

lesson.delay = (() => {
const {range, sum, zeros, forward, train, uniform, normalMatrix} = lesson.rnn;
const {
  element, clamp, show, figure, onClick, showSlider, widthOf, svg, label, plot,
} = lesson.figures;

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
  const {H, sizes: {W_xh, W_hh, W_hy}} = TASK;
  const draw = uniform(1000 + seed);
  return {
    W_xh: normalMatrix(draw, 1, H, W_xh), W_hh: normalMatrix(draw, H, H, W_hh),
    W_hy: normalMatrix(draw, H, 1, W_hy), b_h: null, b_y: null,
  };
}

// Update by update, the mean squared error, and the weights after it.
function* learning({d, k2, seed}) {
  const {x, target} = delaySeries(d, TASK.updates);
  const options = {k1: 1, k2, rate: TASK.rate};
  const updates = train(delayNetwork(seed), x, target, zeros(TASK.B, TASK.H), options);
  for (const {loss, p} of updates) yield {error: 2 * loss, weights: p};
}

const emptyRun = () => ({losses: [], weights: []});  // by update

// The mean of the newest losses after n updates.
function errorAt(losses, n) {
  const newest = losses.slice(Math.max(0, n - AVERAGED), n);
  return sum(newest) / newest.length;
}

const LASTS = 3500;  // milliseconds that they take to learn
const AFTER_LEARNING = [];  // what other figures draw of the weights that are learned
const delay = {seed: 1, d: 5, done: 0, runs: [], learners: [], began: 0, timer: null};

// Signs as squares, black for 1 and white for −1: inputs, targets, and the outputs of both.
function signsSvg({d, done, runs}, width) {
  const {x, target} = delaySeries(d, 60, 99);
  const left = width < 460 ? 76 : 110;
  const size = Math.min(30, (width - left - 4) / SHOWN);
  const gap = size + 8;
  const outputs = runs.map(({weights}) => forward(weights[done - 1], x, zeros(TASK.B, TASK.H)).y);
  const sign = (v, i, y) => `<rect class="sign" x="${left + i * size + 1}" y="${y}"
    width="${size - 2}" height="${size - 2}" fill-opacity="${clamp((v + 1) / 2, 0, 1)}"/>`;
  const row = (list, y, words) => label(left - 8, y + size / 2 + 4, words, "end")
    + list.slice(-SHOWN).map(([[v]], i) => sign(v, i, y)).join("");
  const rows = [["input", x], [`input ${d} ago`, target],
    ...outputs.map((y, i) => [`k₂ = ${d + i}`, y])];
  const drawnRows = rows.map(([words, list], i) =>
    row(list, 4 + i * gap + (i > 1 ? 14 : 0), words));
  const from = left + 2.5 * size;
  const lag = `<path class="lag" d="M${from} ${size + 4}L${from + d * size} ${gap + 5}"/>`;
  const words = `Inputs, targets and outputs after ${done} updates`;
  return svg(width, 4 * gap + 22, words, drawnRows.join("") + lag);
}

function drawDelay(state) {
  const {d, done, runs} = state;
  const {updates} = TASK;
  const width = widthOf("delay-drawing", 640);
  showSlider("delay-lag", d, `${d}`);
  if (!done) return;
  const curve = ({losses}, i) => ({
    kind: i ? "forward" : "cut", label: `k₂ = ${d + i}`, at: [updates * 0.87, i ? 0.12 : 0.68],
    points: range(1, done).map((n) => [n, errorAt(losses, n)]),
  });
  element("delay-drawing").innerHTML = signsSvg(state, width) + plot({
    title: "mean squared error while they learn", xLabel: "update", width, x: [0, updates],
    y: [0, 1.25], yTicks: [[0, "0"], [1, "1"]], xTicks: [0, 200, 400, 600, 800].map((v) => [v, v]),
    lines: [{kind: "level", points: [[0, 1], [updates, 1]]}, ...runs.map(curve)],
  });
  const errors = runs.map(({losses}, i) => `${show(errorAt(losses, done), 2)} with k₂ = ${d + i}`);
  element("delay-text").textContent = `After ${done} updates the error is ${errors.join(" and ")}.`;
}

// They learn while one looks on, a few updates at a time.
function learnBoth(changes = {}) {
  Object.assign(delay, {done: 0, runs: [emptyRun(), emptyRun()]}, changes);
  delay.learners = [delay.d, delay.d + 1].map((k2) => learning({d: delay.d, k2, seed: delay.seed}));
  goOn();
}

function goOn() {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  clearInterval(delay.timer);
  delay.began = performance.now() - (delay.done / TASK.updates) * LASTS;
  delay.timer = setInterval(() => {
    const share = still ? 1 : (performance.now() - delay.began) / LASTS;
    learnUntil(Math.min(TASK.updates, Math.ceil(share * TASK.updates)), performance.now() + 100);
    const isEnd = delay.done === TASK.updates;
    if (isEnd) pause();
    if (isEnd || !still) drawDelay(delay);
    if (isEnd) AFTER_LEARNING.forEach((draw) => setTimeout(draw));
  }, 40);
  showPause();
}

// As many updates as there is time for.
function learnUntil(updates, end) {
  while (delay.done < updates && performance.now() < end) {
    delay.learners.forEach((learner, i) => {
      const {error, weights} = learner.next().value;
      delay.runs[i].losses.push(error);
      delay.runs[i].weights.push(weights);
    });
    delay.done++;
  }
}

function pause() {
  clearInterval(delay.timer);
  delay.timer = null;
  showPause();
}

function showPause() {
  const isEnd = delay.done === TASK.updates;
  element("delay-pause").textContent = delay.timer || isEnd ? "Pause" : "Go on";
  element("delay-pause").disabled = isEnd;
  element("delay-text").setAttribute("aria-live", delay.timer ? "off" : "polite");
}

figure("delay", delay, drawDelay);
if (element("delay")) {
  element("delay-lag").addEventListener("input", ({target}) =>
    learnBoth({d: Number(target.value)}));
  onClick("delay-again", () => learnBoth({seed: delay.seed + 1}));
  onClick("delay-pause", () => (delay.timer ? pause() : goOn()));
}

return {
  TASK, LEARNED, AVERAGED, delaySeries, delayNetwork, errorAt, AFTER_LEARNING, delay, learnBoth,
};
})();
