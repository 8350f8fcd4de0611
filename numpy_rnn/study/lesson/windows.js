// The terms that windows keep, and the sums of the terms of each lag in the network of the opening.
"use strict";

lesson.windows = (() => {
const {range, sum, norm, zeros, largest, forward, adjoints, gradientSum, windows} = lesson.rnn;
const {element, clamp, show, FIGURES, figure, showSlider, widthOf, svg, label} = lesson.figures;
const {TASK, LEARNED, AVERAGED, delaySeries, errorAt, AFTER_LEARNING, delay} = lesson.delay;

const STEPS = 12;
const SUMMED = 600;  // steps of the sums
const MOST_LAG = 8;

// Where in its training the network of the opening is shown: a quarter of the way to the update
// at which its error falls below LEARNED.
function shownUpdate({losses}) {
  const first = losses.findIndex((_, i) => i >= AVERAGED && errorAt(losses, i) < LEARNED);
  return Math.max(1, Math.round((first < 0 ? losses.length : first) / 4));
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

// A full square is kept, a small one is cut. A box around each update's window: its rows are the
// steps with a loss, its columns the steps that it reaches.
function termsSvg(schedule, d, width) {
  const edge = 38;
  const size = (width - edge - 4) / STEPS;
  const position = (step) => edge + (step - 1) * size;
  const square = (t, s, isKept) => {
    const inset = isKept ? 1 : size * 0.36;
    const side = size - 2 * inset;
    return `<rect class="${isKept ? "kept" : "lost"}${t - s === d ? " asked" : ""}" data-t="${t}"
      data-s="${s}" x="${position(s) + inset}" y="${position(t) + inset}" width="${side}"
      height="${side}"/>`;
  };
  const update = ({start, lossStart, stop}) => {
    const squares = range(lossStart + 1, stop).flatMap((t) =>
      range(1, t).map((s) => square(t, s, s > start)));
    return `${squares.join("")}<rect class="box" x="${position(start + 1)}"
      y="${position(lossStart + 1)}" width="${(stop - start) * size}"
      height="${(stop - lossStart) * size}"/>`;
  };
  const numbers = range(1, STEPS).map((t) => label(position(t + 0.5), edge - 6, t, "middle")
    + label(edge - 6, position(t + 0.5) + 4, t, "end"));
  return svg(width, width - 2, `The terms that the windows keep; those of lag ${d} are framed`,
    `${label(edge, 13, "step of the weights, s →")}
    <g transform="translate(12 ${edge}) rotate(-90)">
    ${label(0, 0, "← step of the loss, t", "end")}</g>
    ${numbers.join("")}${schedule.map(update).join("")}`);
}

// A bar for each lag, filled as far as the windows keep its terms.
function lagsSvg(name, lengths, share, d, width) {
  const most = largest(lengths);
  const [left, top, height] = [40, 24, 100];
  const bottom = top + height;
  const wide = (width - left - 8) / lengths.length;
  const bar = (v, lag) => {
    const size = (v / most) * height;
    const x = left + lag * wide + 2;
    const part = (kind, high) => `<rect class="${kind}" x="${x}" y="${bottom - high}"
      width="${wide - 4}" height="${high}"/>`;
    return part(lag === d ? "whole asked" : "whole", size) + part("kept", size * share(lag))
      + label(x + wide / 2 - 2, bottom + 15, lag, "middle");
  };
  return svg(width, bottom + 34, `${name}: lengths by lag, ${lengths.map((v) => show(v, 2))}`,
    `${label(left, 14, `${name}: length of the sum, by lag`)}
    <path class="axis" d="M${left} ${top}V${bottom}H${width - 6}"/>
    ${label(left - 5, top + 8, show(most, 2), "end")}${label(left - 5, bottom, 0, "end")}
    ${lengths.map(bar).join("")}${label(left + 2, bottom + 30, "lag, in steps")}`);
}

function drawWindows(state) {
  state.k1 = Math.min(state.k1, state.k2);
  const {k1, k2} = state;
  const {d} = delay;
  const terms = STEPS * (STEPS + 1) / 2;
  const schedule = windows(STEPS, k1, k2);
  for (const key of ["k1", "k2"]) showSlider(`windows-${key}`, state[key], `${state[key]}`);
  element("windows-drawing").innerHTML = termsSvg(schedule, d, widthOf("windows-drawing", 330));
  const kept = schedule.flatMap(({start, lossStart, stop}) =>
    range(lossStart + 1, stop).map((t) => t - start));
  element("windows-text").innerHTML = `TBPTT(${k1}, ${k2}): updates per pass: ${schedule.length};
    forward steps: ${sum(schedule.map(({start, stop}) => stop - start))};
    <b>kept: ${sum(kept)} of ${terms} terms</b>, and ${kept.filter((steps) => steps > d).length} of
    the ${STEPS - d} of lag ${d}.`;
  if (delay.done === TASK.updates) drawLags(state);
}

// The lengths of the sums by lag, once the networks have learned.
function drawLags(state) {
  const {k1, k2} = state;
  const {d, runs} = delay;
  if (state.run !== runs[1]) {  // the sums do not depend on the window
    const at = shownUpdate(runs[1]);
    const series = delaySeries(d, 20 + SUMMED, 99);
    Object.assign(state, {run: runs[1], at, sums: lagSums(runs[1].weights[at - 1], series)});
  }
  const share = (lag) => clamp(k2 - lag, 0, k1) / k1;
  const width = widthOf("windows-lags", 330);
  element("windows-lags").innerHTML = lagsSvg("W_xh", state.sums.W_xh, share, d, width)
    + lagsSvg("W_hh", state.sums.W_hh, share, d, width) + `<p class="note">The network with
    k₂ = ${d + 1}, after ${state.at} updates; over ${SUMMED} steps.</p>`;
}

figure("windows", {k1: 1, k2: 5}, drawWindows);
if (element("windows")) AFTER_LEARNING.push(FIGURES.windows.draw);

return {SUMMED, lagSums};
})();
