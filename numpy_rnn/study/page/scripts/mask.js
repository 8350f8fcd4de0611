// The matrix of temporal components, the mask that the truncation puts on it, and what the cut costs.
"use strict";

// The decimal logarithms of the smallest and the largest norm that have a colour of their own, before and after
// training.
function normLimits() {
  const ends = [run.snapshots[0], run.snapshots.at(-1)];
  const all = ends.flatMap((seen) => computed(seen).norm.flat()).filter((v) => v > 0);
  const highest = Math.log10(all.reduce((a, b) => Math.max(a, b), 1e-300));
  return [Math.max(highest - 6, Math.log10(all.reduce((a, b) => Math.min(a, b), Infinity))), highest];
}

const GREY = "#b9b9bf";  // of a component that is 0
const heat = (v, [low, high]) => (v > 0 ? between(HEAT, (Math.log10(v) - low) / (high - low || 1)) : GREY);

// The components that the quantity of this moment sums, or, for a loss and its error, that begin with it.
function isSummed({moment: {name: what, t: step}, window, first}, t, s) {
  if (t <= window.lossStart || t > window.stop || s < first) return false;
  if (what === "loss" || what === "dy") return t === step;
  return what === "clip" || what === "step" || (["dh", "da", "dW"].includes(what) && s === step);
}

// The matrix as SVG: full squares are kept by the windows, small ones are cut. framed: which components have a frame.
function matrixOf({norm: norms, schedule, limits, framed = () => false, window = null, label}) {
  const T = norms.length - 1, edge = 34, size = clamp(Math.floor(280 / T), 7, 40), side = edge + T * size;
  const squares = schedule.flatMap(({start, lossStart, stop}, n) => range(lossStart + 1, stop).flatMap((t) =>
    range(1, t).map((s) => {
      const kept = s > start, inset = kept ? 0.5 : size / 3;
      const frame = framed(t, s) ? ` framed${size < 12 ? " thin" : ""}` : "";
      return `<g class="component" data-t="${t}" data-s="${s}"><rect class="hit" x="${edge + (s - 1) * size}"
        y="${edge + (t - 1) * size}" width="${size}" height="${size}"/><rect class="${kept ? "kept" : "cut"}${frame}"
        data-t="${t}" data-s="${s}" x="${edge + (s - 1) * size + inset}" y="${edge + (t - 1) * size + inset}"
        width="${size - 2 * inset}" height="${size - 2 * inset}" fill="${
        heat(norms[t][s], limits)}"/><title>t = ${t}, s = ${s}: ${
        show(norms[t][s])}, ${kept ? "kept" : "cut"} by update ${n + 1}</title></g>`;
    })));
  const ticks = range(1, T).filter((t) => T < 10 || t === 1 || t === T || t % 5 === 0 && T - t > 1);
  const numbers = ticks.map((t) => `<text class="step" x="${edge + (t - 0.5) * size}" y="${edge - 5}">${t}</text>
    <text class="end" x="${edge - 5}" y="${edge + (t - 0.5) * size + 4}">${t}</text>`);
  const bars = range(0, 29).map((i) => `<rect x="${edge + i * 4}" y="${side + 8}" width="4.2" height="9"
    fill="${between(HEAT, i / 29)}"/>`);
  const text = (x, y, words, kind = "") => `<text class="${kind}" x="${x}" y="${y}">${words}</text>`;
  const outline = ({start, lossStart, stop}) => `<rect class="row" x="${edge + start * size}" y="${
    edge + lossStart * size}" width="${(stop - start) * size}" height="${(stop - lossStart) * size}"/>`;
  const width = Math.max(side + 4, 300), outlined = window === null ? "" : outline(window);
  return `<svg width="${width}" height="${side + 34}" viewBox="0 0 ${width} ${side + 34}" role="img"
    aria-label="${label}">
    ${text(edge, 12, "s, step of the parameters →")}
    <text class="end" transform="translate(10 ${edge}) rotate(-90)">← t, step of the loss</text>
    ${numbers.join("")}${squares.join("")}${outlined}${bars.join("")}
    ${text(edge, side + 30, show(10 ** limits[0], 2))}${text(edge + 120, side + 30, show(10 ** limits[1], 2), "end")}
    ${text(edge + 128, side + 17, "‖G[t, s]‖, logarithmic")}</svg>`;
}

function drawMask(now) {
  run.limits ??= normLimits();
  element("mask").innerHTML = matrixOf({
    norm: now.seen.norm, schedule: now.schedule, limits: run.limits, window: now.window,
    framed: (t, s) => isSummed(now, t, s),
    label: "Which components are kept",
  });
  const kept = now.schedule.reduce((count, w) => count + sum(range(w.lossStart + 1, w.stop).map((t) => t - w.start)), 0);
  element("kept").textContent = kept;
  element("all-components").textContent = (T * (T + 1)) / 2;
}

function curves(kind, title, now) {
  const at = (k1, k2) => costAt(now.seen, k1, k2)[kind];
  const lines = [
    ["sliding", "sliding (1, k)", range(1, T).map((k) => [k, at(1, k)])],
    ["chunks", "chunks (k, k)", range(1, T).map((k) => [k, at(k, k)])],
    ["chosen", `(${shown.k1}, k)`, range(shown.k1, T).map((k) => [k, at(shown.k1, k)])],
  ].slice(0, shown.k1 === 1 ? 2 : 3);
  const all = lines.flatMap(([, , points]) => points.map(([, v]) => v)).filter((v) => v !== null);
  const chosen = at(shown.k1, shown.k2);
  const y = kind === "bias" ? [0, Math.max(...all, 1e-12)] : [Math.min(...all, 0), 1];
  return plot({
    title, x: [1, T], y,
    lines: lines.map(([key, label, points]) => ({kind: key, label: kind === "bias" ? label : null, points})),
    xLabel: "k₂, steps", marked: chosen === null ? null : [shown.k2, chosen], width: 318, height: 104,
    summary: ` by k2: ${chosen === null ? "none" : show(chosen)} at ${shown.k2}`,
  });
}

function drawCost(now) {
  const {cosine, bias} = costAt(now.seen, shown.k1, shown.k2);
  element("cosine").textContent = cosine === null ? "none, as a gradient is 0" : show(cosine);
  element("bias").textContent = bias === null ? "none, as the full gradient is 0" : show(bias);
  element("curves").innerHTML = now.moment.name === "step" ? stepCurve(now)
    : curves("cosine", "cosine with the full gradient", now) + curves("bias", "relative bias", now);
}
