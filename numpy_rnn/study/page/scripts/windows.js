// The windows of an epoch, and the matrix of the terms that they keep. Also the matrix of the delayed recall.

const GREY = "#b9b9bf";  // of a term that is 0
const heat = (v, [low, high]) => (v > 0 ? between(HEAT, (Math.log10(v) - low) / (high - low || 1)) : GREY);

// The lengths of the terms, [t][s], at these parameters.
function normsOf(p, activations, target, nonlinearity) {
  return componentsOf(p, activations, target, nonlinearity).map((row) => row && row.map((term) => term && norm(term)));
}

// The matrix as SVG: full squares are kept by the windows, small ones are cut. framed: which terms have a frame.
function matrixOf({norm: norms, schedule, limits, framed = () => false, window = null, label, room = 300}) {
  const T = norms.length - 1, edge = 36, size = clamp(Math.floor((room - edge - 4) / T), 6, 34), side = edge + T * size;
  const square = (n, start) => (t, s) => {
    const kept = s > start, inset = kept ? 0.5 : size * 0.36, place = (step) => edge + (step - 1) * size + inset;
    return `<rect class="${kept ? "kept" : "cut"}${framed(t, s) ? ` framed${size < 12 ? " thin" : ""}` : ""}" data-t="${t}"
      data-s="${s}" x="${place(s)}" y="${place(t)}" width="${size - 2 * inset}" height="${size - 2 * inset}" fill="${
      heat(norms[t][s], limits)}"><title>t = ${t}, s = ${s}: ${show(norms[t][s])}, ${kept ? "kept" : "cut"} by update ${
      n}</title></rect>`;
  };
  const squares = schedule.flatMap(({start, lossStart, stop}, n) =>
    range(lossStart + 1, stop).flatMap((t) => range(1, t).map((s) => square(n + 1, start)(t, s))));
  const ticks = range(1, T).filter((t) => T <= 10 || t === 1 || t === T || t % 5 === 0 && T - t > 1);
  const numbers = ticks.map((t) => `<text class="step" x="${edge + (t - 0.5) * size}" y="${edge - 5}">${t}</text>
    <text class="end" x="${edge - 5}" y="${edge + (t - 0.5) * size + 4}">${t}</text>`);
  const bars = range(0, 19).map((i) => `<rect x="${edge + i * 4}" y="${side + 9}" width="4.2" height="9" fill="${between(HEAT, i / 19)}"/>`);
  const text = (x, y, words, kind = "") => `<text class="${kind}" x="${x}" y="${y}">${words}</text>`;
  const outline = window === null ? "" : `<rect class="row" x="${edge + window.start * size}" y="${edge + window.lossStart * size}"
    width="${(window.stop - window.start) * size}" height="${(window.stop - window.lossStart) * size}"/>`;
  const width = Math.max(side + 4, Math.min(room, 270));
  return `<svg class="matrix-of" width="${width}" height="${side + 36}" viewBox="0 0 ${width} ${side + 36}" role="img" aria-label="${label}">
    ${text(edge, 13, "s, step of the weights →")}
    <text class="end" transform="translate(11 ${edge}) rotate(-90)">← t, step of the loss</text>
    ${numbers.join("")}${squares.join("")}${outline}${bars.join("")}
    ${text(edge, side + 32, `${withExponent(show(10 ** limits[0], 1))}`)}${text(edge + 84, side + 32, withExponent(show(10 ** limits[1], 1)), "end")}
    ${text(edge + 92, side + 18, "length, logarithmic")}</svg>`;
}

// The windows as bars, one update below the other.
function scheduleOf(schedule, T, chosen, room) {
  const edge = 36, size = clamp(Math.floor((room - edge - 2) / T), 6, 34), row = clamp(size, 9, 24);
  const place = (step) => edge + step * size, height = 40 + schedule.length * row;
  const bar = ({start, lossStart, stop}, n) => {
    const y = 36 + n * row, h = row - 3;
    const cut = start ? `<path class="cut-mark" d="M${place(start)} ${y - 1}v${h + 2}"/>` : "";
    return `<g class="update${n + 1 === chosen ? " chosen" : ""}" data-update="${n + 1}"><rect class="hit" x="0" y="${y - 1}" width="${
      place(T)}" height="${row}"/><rect class="window" x="${place(start)}" y="${y}" width="${(stop - start) * size}" height="${h}"/>
      <rect class="losses" x="${place(lossStart)}" y="${y}" width="${(stop - lossStart) * size}" height="${h}"/>${cut}</g>`;
  };
  const every = (n, all) => row >= 13 || n === 1 || n === all || n % 5 === 0;
  const names = schedule.map((_, n) => (every(n + 1, schedule.length) ? `<text class="end" x="${edge - 5}" y="${36 + n * row + row / 2 + 3}">${n + 1}</text>` : ""));
  const ticks = range(1, T).filter((t) => T <= 10 || t === 1 || t === T || t % 5 === 0 && T - t > 1)
    .map((t) => `<text class="step" x="${place(t - 0.5)}" y="31">${t}</text>`);
  return `<svg class="matrix-of" width="${place(T) + 2}" height="${height}" viewBox="0 0 ${place(T) + 2} ${height}" role="img"
    aria-label="The windows of ${schedule.length} updates"><text x="${edge}" y="13">step →</text>
    <text class="end" transform="translate(11 36) rotate(-90)">← update</text>${ticks.join("")}${schedule.map(bar).join("")}${names.join("")}</svg>`;
}

function normLimits(norms) {
  const all = norms.flat().filter((v) => v > 0), highest = Math.log10(all.reduce((a, b) => Math.max(a, b), 1e-300));
  return [Math.max(highest - 6, Math.log10(all.reduce((a, b) => Math.min(a, b), Infinity))), highest];
}

function drawWindows(state, changes = {}) {
  const {run} = RUNS.full ? {run: RUNS.full} : {run: RUNS.small}, {T} = run.sizes;
  state.k1 = clamp(state.k1, 1, T);
  state.k2 = clamp(state.k2, 1, T);
  if (state.k1 > state.k2) Object.assign(state, "k2" in changes && !("k1" in changes) ? {k1: state.k2} : {k2: state.k1});
  const schedule = windows(T, state.k1, state.k2), {k1, k2} = state;
  state.update = clamp(state.update, 1, schedule.length);
  showSlider("windows-k1", k1, `${k1}`, {max: T});
  showSlider("windows-k2", k2, `${k2}`, {max: T});
  showSlider("windows-update", state.update, `${state.update} of ${schedule.length}`, {max: schedule.length});
  const seen = passOf(run, run.snapshots.at(-1));
  seen.norms ??= normsOf(seen.p, seen.activations, inSteps(run.target), run.nonlinearity);
  const whole = widthOf("windows-drawing", 640), room = whole >= 540 ? Math.floor(whole / 2) - 8 : Math.min(whole, 360);
  element("windows-drawing").innerHTML = scheduleOf(schedule, T, state.update, room) + matrixOf({
    norm: seen.norms, schedule, limits: normLimits(seen.norms), window: schedule[state.update - 1], room,
    label: `The terms that TBPTT(${k1}, ${k2}) keeps`,
  });
  const {start, lossStart, stop} = schedule[state.update - 1];
  const kept = sum(schedule.map((w) => sum(range(w.lossStart + 1, w.stop).map((t) => t - w.start))));
  const work = sum(schedule.map((w) => w.stop - w.start)), all = T * (T + 1) / 2;
  element("windows-text").innerHTML = `TBPTT(${k1}, ${k2}): ${schedule.length} update${schedule.length > 1 ? "s" : ""} per pass,
    <b>${kept} of ${all} terms</b> kept, ${work} forward steps for ${T} steps of the series. Update ${state.update}: window
    (${start}, ${stop}], loss of ${stop - lossStart > 1 ? `steps ${lossStart + 1} to ${stop}` : `step ${stop}`}${
    start ? `, cut before step ${start + 1}` : ", nothing to cut"}.`;
}

if (figure("windows", "live-windows", {k1: [1, whole(1, 1000)], k2: [5, whole(1, 1000)], update: [8, whole(1, 1000)]}, drawWindows)) {
  element("windows-drawing").addEventListener("click", ({target}) => {
    const update = target.closest("[data-update]")?.dataset.update, {k1} = FIGURES.windows.state;
    if (update) FIGURES.windows.set({update: Number(update)});
    else if (target.dataset.t) FIGURES.windows.set({update: Math.ceil(target.dataset.t / k1)});
  });
}
