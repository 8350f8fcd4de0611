// The task of the lesson, which opens it: repeat the input of d steps ago. Two networks with the
// same first weights learn it by TBPTT(1, k2), one with k2 = d and one with k2 = d + 1.
"use strict";

lesson.delay = (() => {
const {
  range, sum, norm, zeros, largest, forward, adjoints, gradientSum, windows, train, uniform,
  normalMatrix,
} = lesson.rnn;
const {element, clamp, show, figure, redraw, onClick, showSlider, widthOf, plot} = lesson.figures;

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

// Section 7: which terms windows keep, and the sums of the terms of each lag.
const STEPS = 12;
const SUMMED = 600;  // steps of the sums
const MOST_LAG = 8;

// Where in its training the network of the opening is shown: a quarter of the way to the update
// at which its error falls below LEARNED.
function shownUpdate({errors}) {
  const first = errors.findIndex((_, i) => i >= AVERAGED && errorAt(errors, i) < LEARNED);
  return Math.max(1, Math.round((first < 0 ? errors.length : first) / 4));
}

// The mean over many steps t of the terms ∂ℓ_t/∂θ_{t-lag}, as a length for each lag. The windows
// that end at these steps are one batch.
function lagSums(p, {x, target}) {
  const T = x.length - 1;
  const stop = MOST_LAG + 1;  // the steps of a window
  const ends = range(T - SUMMED + 1, T);
  const batchAt = (list, lag) => ends.flatMap((t) => list[t - lag]);
  const {h} = forward(p, x, zeros(TASK.B, TASK.H));
  const inputs = [null, ...range(1, stop).map((step) => batchAt(x, stop - step))];
  const targets = inputs.map(() => batchAt(target, 0));
  const pass = forward(p, inputs, batchAt(h, stop));
  const flow = adjoints(p, pass, targets, {lossStart: stop - 1, stop}, targets[0].length);
  const terms = range(0, MOST_LAG).map((lag) => gradientSum(p, pass, flow, stop - lag, stop - lag));
  const lengths = (key) => terms.map((term) => norm(term[key].flat()));
  return {W_xh: lengths("W_xh"), W_hh: lengths("W_hh")};
}

// An element at grid lines, which begin with 1 at the numbers of the steps.
const at = (kind, top, left, bottom, right, words = "") => `<span class="${kind}"
  style="grid-area: ${top} / ${left} / ${bottom} / ${right}">${words}</span>`;

// A full square is kept, a small one is cut. A box around each update's window: its rows are
// the steps with a loss, its columns the steps that it reaches.
function termsHtml(schedule, d) {
  const squares = [];
  for (const t of range(1, STEPS)) {
    squares.push(at("", t + 1, 1, t + 2, 2, t), at("", 1, t + 1, 2, t + 2, t));
  }
  for (const {start, lossStart, stop} of schedule) {
    for (const t of range(lossStart + 1, stop)) {
      for (const s of range(1, t)) {
        const kind = `${s > start ? "kept" : "lost"}${t - s === d ? " asked" : ""}`;
        squares.push(at(kind, t + 1, s + 1, t + 2, s + 2));
      }
    }
    squares.push(at("box", lossStart + 2, start + 2, stop + 2, stop + 2));
  }
  return `<p>Columns: step <i>s</i> of the weights. Rows: step <i>t</i> of the loss.</p>
    <div class="terms" role="img" aria-label="The terms that the windows keep; those of lag
    ${d} are framed">${squares.join("")}</div>`;
}

// A bar for each lag, filled as far as the windows keep its terms.
function lagsHtml(name, lengths, share, d) {
  const most = largest(lengths);
  const bars = lengths.map((v, lag) => `<span><i class="${lag === d ? "bar asked" : "bar"}"
    style="--size: ${v / most}; --kept: ${share(lag)}"></i>${lag}</span>`);
  return `<p>${name}: length of the sum, by lag in steps. The longest is ${show(most, 2)}.</p>
    <div class="bars" role="img" aria-label="${name}: lengths by lag,
    ${lengths.map((v) => show(v, 2))}">${bars.join("")}</div>`;
}

function drawWindows(state) {
  state.k1 = Math.min(state.k1, state.k2);
  const {k1, k2} = state;
  const {d} = delay;
  const schedule = windows(STEPS, k1, k2);
  for (const key of ["k1", "k2"]) showSlider(`windows-${key}`, state[key], `${state[key]}`);
  element("windows-drawing").innerHTML = termsHtml(schedule, d);
  const kept = schedule.flatMap(({start, lossStart, stop}) =>
    range(lossStart + 1, stop).map((t) => t - start));
  element("windows-text").innerHTML = `TBPTT(${k1}, ${k2}): updates per pass: ${schedule.length};
    forward steps: ${sum(schedule.map(({start, stop}) => stop - start))};
    <b>kept: ${sum(kept)} of ${STEPS * (STEPS + 1) / 2} terms</b>, and
    ${kept.filter((steps) => steps > d).length} of the ${STEPS - d} of lag ${d}.`;
  if (delay.done === TASK.updates) drawLags(state);
}

// The lengths of the sums by lag, once the networks have learned.
function drawLags(state) {
  const {k1, k2} = state;
  const {d, runs} = delay;
  if (state.run !== runs[1]) {  // the sums do not depend on the window
    const update = shownUpdate(runs[1]);
    const series = delaySeries(d, 20 + SUMMED, 99);
    const sums = lagSums(runs[1].weights[update - 1], series);
    Object.assign(state, {run: runs[1], update, sums});
  }
  const share = (lag) => clamp(k2 - lag, 0, k1) / k1;
  const bars = ["W_xh", "W_hh"].map((name) => lagsHtml(name, state.sums[name], share, d));
  element("windows-lags").innerHTML = `${bars.join("")}<p class="note">The network with
    k₂ = ${d + 1}, after ${state.update} updates; over ${SUMMED} steps.</p>`;
}

figure("windows", {k1: 1, k2: 5}, drawWindows);

return {TASK, SUMMED, delaySeries, delayNetwork, delay, lagSums};
})();
