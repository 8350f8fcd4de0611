// The task of the lesson, which opens it: repeat the input of d steps ago. Two networks with the
// same first weights learn it by TBPTT(1, k2), one with k2 = d and one with k2 = d + 1.
"use strict";

lesson.delay = (() => {
const {range, sum, zeros, forward, train, uniform, normalMatrix} = lesson.rnn;
const {
  element, clamp, show, figure, redraw, onClick, showSlider, widthOf, plot,
} = lesson.figures;

const TASK = {B: 4, H: 8, updates: 800, rate: 0.2, sizes: {W_xh: 0.1, W_hh: 0.2, W_hy: 0.3}};
const LEARNED = 0.5;  // mean squared error; 1 is that of an output of 0
const AVERAGED = 25;  // updates
const SHOWN = 16;  // steps of the test series
const MARKED = 2;  // of them

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

// The mean of the newest errors after n updates.
function errorAt(errors, n) {
  const newest = errors.slice(Math.max(0, n - AVERAGED), n);
  return sum(newest) / newest.length;
}

// runs: for each network its further updates, and the errors and weights after them.
// done: the number of updates so far.
const delay = {seed: 1, d: 5, done: 0, runs: [], timer: null};

// Signs as squares, black for 1 and white for −1: inputs, targets, and the outputs of both
// networks. An input is marked, and where it belongs in the other rows.
function signsHtml({d, done, runs}) {
  const {x, target} = delaySeries(d, 60, 99);
  const rows = [["input", x, MARKED], [`input ${d} ago`, target, MARKED + d]];
  runs.forEach(({weights}, i) => {
    const {y} = forward(weights[done - 1], x, zeros(TASK.B, TASK.H));
    rows.push([`k₂ = ${d + i}`, y, MARKED + d]);
  });
  const sign = (v, isMarked) => `<i class="${isMarked ? "sign asked" : "sign"}"
    style="--black: ${clamp((v + 1) / 2, 0, 1)}"></i>`;
  const drawn = rows.map(([words, list, marked]) => {
    const signs = list.slice(-SHOWN).map(([[v]], i) => sign(v, i === marked));
    return `<span>${words}</span>${signs.join("")}`;
  });
  return `<div class="signs" role="img" aria-label="Inputs, targets and outputs after
    ${done} updates">${drawn.join("")}</div>`;
}

function drawDelay({d, done, runs}) {
  const {updates} = TASK;
  showSlider("delay-lag", d, `${d}`);
  const curve = ({errors}, i) => ({
    kind: i ? "forward" : "cut", label: `k₂ = ${d + i}`,
    at: [updates * 0.87, i ? 0.12 : 0.68],
    points: range(1, done).map((n) => [n, errorAt(errors, n)]),
  });
  element("delay-drawing").innerHTML = signsHtml(delay) + plot({
    title: "mean squared error while they learn", xLabel: "update",
    width: widthOf("delay-drawing", 640), x: [0, updates], y: [0, 1.25],
    xTicks: [0, 200, 400, 600, 800].map((v) => [v, v]), yTicks: [[0, "0"], [1, "1"]],
    lines: [{kind: "level", points: [[0, 1], [updates, 1]]}, ...runs.map(curve)],
  });
  if (done < updates) return;
  const [short, long] = runs.map(({errors}) => show(errorAt(errors, done), 2));
  element("delay-text").textContent = `After ${done} updates the error is ${short} with
    k₂ = ${d} and ${long} with k₂ = ${d + 1}.`;
}

function learnBoth(changes = {}) {
  Object.assign(delay, changes, {done: 0, runs: []});
  const {d, seed} = delay;
  const {x, target} = delaySeries(d, TASK.updates);
  for (const k2 of [d, d + 1]) {
    const options = {k1: 1, k2, rate: TASK.rate};
    const updates = train(delayNetwork(seed), x, target, zeros(TASK.B, TASK.H), options);
    delay.runs.push({updates, errors: [], weights: []});
  }
  clearTimeout(delay.timer);
  learnOn();
}

// As many updates as a tenth of a second allows, so that the page answers meanwhile.
function learnOn() {
  const end = performance.now() + 100;
  while (delay.done < TASK.updates && performance.now() < end) {
    for (const {updates, errors, weights} of delay.runs) {
      const {loss, p} = updates.next().value;
      errors.push(2 * loss);
      weights.push(p);
    }
    delay.done++;
  }
  drawDelay(delay);
  const next = delay.done < TASK.updates ? learnOn : redraw;
  delay.timer = setTimeout(next);
}

figure("delay", delay, drawDelay);
if (element("delay")) {
  element("delay-lag").addEventListener("input", ({target}) =>
    learnBoth({d: Number(target.value)}));
  onClick("delay-again", () => learnBoth({seed: delay.seed + 1}));
  learnBoth();
}

return {
  TASK, LEARNED, AVERAGED, delaySeries, delayNetwork, errorAt, delay,
};
})();
