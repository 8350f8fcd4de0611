// The terms that windows keep, and the sums of the terms of each lag in the network of the opening.
"use strict";

lesson.windows = (() => {
const {range, sum, norm, zeros, largest, forward, adjoints, gradientSum, windows} = lesson.rnn;
const {element, clamp, show, figure, showSlider} = lesson.figures;
const {TASK, LEARNED, AVERAGED, delaySeries, errorAt, delay} = lesson.delay;

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

return {SUMMED, lagSums};
})();
