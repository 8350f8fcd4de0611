// The terms that windows keep, in the network of the opening; and how often networks learn.
"use strict";
const STEPS = 12;

// The terms over the last of some steps, in the network of the opening that learns: where in its
// training the error falls below LEARNED.
function delayTerms() {
  const {losses, weights} = delay.runs[1], {x, target} = delaySeries(delay.d, 20 + STEPS, 99);
  const first = losses.findIndex((_, i) => i >= AVERAGED && errorAt(losses, i) < LEARNED);
  const p = weights.at(first), h_0 = forward(p, x.slice(0, 21), zeros(TASK.B, TASK.H)).h[20];
  const last = (list) => [null, ...list.slice(21)];
  return termNorms(p, forward(p, last(x), h_0), last(target));
}

// A full square is kept, a small one is cut; the darker, the longer the term. A box around each
// update's window: its rows are the steps with a loss, its columns the steps that it reaches.
function termsSvg(terms, schedule, d, width) {
  const edge = 38, size = (width - edge - 4) / STEPS, place = (step) => edge + (step - 1) * size;
  const shade = (v) => clamp(1 + Math.log10(v / largest(terms.flat())) / 2.5, 0.04, 1).toFixed(2);
  const square = (t, s, isKept) => {
    const inset = isKept ? 1 : size * 0.36, side = size - 2 * inset;
    return `<rect class="${isKept ? "kept" : "lost"}${t - s === d ? " asked" : ""}" data-t="${t}"
      data-s="${s}" x="${place(s) + inset}" y="${place(t) + inset}" width="${side}" height="${side}"
      style="fill-opacity:${shade(terms[t][s])}"/>`;
  };
  const update = ({start, lossStart, stop}) => `${range(lossStart + 1, stop).map((t) =>
    range(1, t).map((s) => square(t, s, s > start)).join("")).join("")}
    <rect class="box" x="${place(start + 1)}" y="${place(lossStart + 1)}"
    width="${(stop - start) * size}" height="${(stop - lossStart) * size}"/>`;
  const numbers = range(1, STEPS).map((t) => label(place(t + 0.5), edge - 6, t, "middle")
    + label(edge - 6, place(t + 0.5) + 4, t, "end"));
  return svg(width, width - 2, `The terms that the windows keep; those of lag ${d} are framed`,
    `${label(edge, 13, "step of the weights, s →")}
    <g transform="translate(12 ${edge}) rotate(-90)">
    ${label(0, 0, "← step of the loss, t", "end")}</g>
    ${numbers.join("")}${schedule.map(update).join("")}`);
}

function drawWindows(state) {
  state.k1 = Math.min(state.k1, state.k2);
  const schedule = windows(STEPS, state.k1, state.k2), {d} = delay, terms = STEPS * (STEPS + 1) / 2;
  for (const key of ["k1", "k2"]) showSlider(`windows-${key}`, state[key], `${state[key]}`);
  element("windows-drawing").innerHTML =
    termsSvg(delayTerms(), schedule, d, widthOf("windows-drawing", 460));
  const kept = schedule.flatMap(({start, lossStart, stop}) =>
    range(lossStart + 1, stop).map((t) => t - start));
  element("windows-text").innerHTML = `TBPTT(${state.k1}, ${state.k2}): updates per pass:
    ${schedule.length}; forward steps: ${sum(schedule.map(({start, stop}) => stop - start))};
    <b>kept: ${sum(kept)} of ${terms} terms</b>, and ${kept.filter((steps) => steps > d).length} of
    the ${STEPS - d} of lag ${d}.`;
}

// How many of the recorded networks learned, by d (rows) and k (columns).
function recordedTable(counts, words) {
  const cell = (n, k, d) => `<td class="${k > d ? "contains" : ""}${n > 24 ? " most" : ""}"
    style="--share:${n / RECORDED.networks}">${n}</td>`;
  const heads = counts[0].map((_, j) => `<th scope="col">${j + 1}</th>`);
  const rows = counts.map((list, i) => `<tr><th scope="row">${i + 1}</th>${
    list.map((n, j) => cell(n, j + 1, i + 1)).join("")}</tr>`);
  return `<table class="learned"><caption>${words}</caption><thead><tr><th scope="col">
    lag</th>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function drawLearned() {
  element("learned-tables").innerHTML =
    recordedTable(RECORDED.sliding, "sliding windows, TBPTT(1, k), by k")
    + recordedTable(RECORDED.chunks, "chunks, TBPTT(k, k), by k");
}

figure("windows", {k1: 1, k2: 5}, drawWindows);
figure("learned", {}, drawLearned);
