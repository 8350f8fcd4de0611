// The terms of the gradient that the windows of TBPTT(k1, k2) keep, in the network of the opening;
// and how often networks learn the task of the lesson, by its lag and by k2, as recorded.
"use strict";

const STEPS = 12;

// The terms of the trained network of the opening over a few steps.
function delayTerms() {
  const {weights} = delay.runs[1], p = weights.at(-1), {x, target} = delaySeries(delay.d, STEPS, 99);
  return termNorms(p, forward(p, x, zeros(TASK.B, TASK.H)), target);
}

// A full square is kept, a small one is cut; the darker, the longer the term. A frame around each
// update's window: its rows are the steps with a loss, its columns the steps that it reaches.
function termsSvg(terms, schedule, d, width) {
  const edge = 38, size = (width - edge - 4) / STEPS, side = edge + STEPS * size;
  const place = (step, inset = 0) => edge + (step - 1) * size + inset;
  const most = largest(terms.flat()), shade = (v) => clamp(1 + Math.log10(v / most) / 4, 0.04, 1);
  const square = ({start}, t, s) => {
    const kept = s > start, inset = kept ? 1 : size * 0.36, edges = size - 2 * inset;
    const kind = `${kept ? "kept" : "cut-term"}${t - s === d ? " asked" : ""}`;
    return `<rect class="${kind}" data-t="${t}" data-s="${s}" x="${place(s, inset)}" y="${place(t, inset)}"
      width="${edges}" height="${edges}" style="fill-opacity:${shade(terms[t][s]).toFixed(2)}"/>`;
  };
  const squares = schedule.map((one) => range(one.lossStart + 1, one.stop).map((t) =>
    range(1, t).map((s) => square(one, t, s)).join("")).join(""));
  const frames = schedule.map(({start, lossStart, stop}) => `<rect class="frame" x="${place(start + 1)}"
    y="${place(lossStart + 1)}" width="${(stop - start) * size}" height="${(stop - lossStart) * size}"/>`);
  const numbers = range(1, STEPS).map((t) => label(place(t + 0.5), edge - 6, t, "middle")
    + label(edge - 6, place(t + 0.5) + 4, t, "end"));
  return svg(width, side + 2, `The terms that the windows keep; those of lag ${d} are framed`,
    `${label(edge, 13, "step of the weights, s →")}<g transform="translate(12 ${edge}) rotate(-90)">
    ${label(0, 0, "← step of the loss, t", "end")}</g>${numbers.join("")}${squares.join("")}${frames.join("")}`);
}

function drawWindows(state) {
  let {k1, k2} = state;
  if (k1 > k2) k1 = k2 = state.before === k1 ? k2 : k1;  // the one that was moved decides
  Object.assign(state, {k1, k2, before: k1});
  const schedule = windows(STEPS, k1, k2), {d} = delay;
  showSlider("windows-k1", k1, `${k1}`, {max: STEPS});
  showSlider("windows-k2", k2, `${k2}`, {max: STEPS});
  element("windows-drawing").innerHTML = termsSvg(delayTerms(), schedule, d, widthOf("windows-drawing", 460));
  const kept = schedule.map(({start, lossStart, stop}) => range(lossStart + 1, stop).map((t) => t - start));
  const asked = kept.flat().filter((steps) => steps > d).length, work = sum(schedule.map((w) => w.stop - w.start));
  element("windows-text").innerHTML = `TBPTT(${k1}, ${k2}): ${schedule.length} update${
    schedule.length > 1 ? "s" : ""} per pass, <b>${sum(kept.flat())} of ${STEPS * (STEPS + 1) / 2} terms</b> kept,
    ${work} forward steps for ${STEPS} steps of the series. ${asked} of the ${STEPS - d} losses that can have the
    framed term, lag ${d}, have it.`;
}

// How many of the recorded networks learned, by d (rows) and k2 (columns).
function recordedTable(counts, words) {
  const share = (n) => `style="--share:${(n / RECORDED.networks).toFixed(2)}"`;
  const row = (list, i) => `<tr><th scope="row">${i + 1}</th>${list.map((n, j) =>
    `<td class="${j > i ? "contains" : ""}${n > RECORDED.networks / 2 ? " most" : ""}" ${share(n)}>${n}</td>`).join("")}</tr>`;
  return `<table class="learned"><caption>${words}</caption><thead><tr><th scope="col">${math("d")}</th>${
    counts[0].map((_, j) => `<th scope="col">${j + 1}</th>`).join("")}</tr></thead><tbody>${
    counts.map(row).join("")}</tbody></table>`;
}

function drawLearned() {
  element("learned-tables").innerHTML = recordedTable(RECORDED.sliding, "sliding windows, TBPTT(1, k): k =")
    + recordedTable(RECORDED.chunks, "chunks, TBPTT(k, k): k =");
}

figure("windows", {k1: 1, k2: 5, before: 1}, drawWindows);
figure("learned", {}, drawLearned);
if (element("windows")) {
  for (const [id, k1, k2] of [["chunks", 6, 6], ["sliding", 1, 6], ["full", STEPS, STEPS]]) {
    onClick(`windows-${id}`, () => FIGURES.windows.set({k1, k2, before: k1}));
  }
}
