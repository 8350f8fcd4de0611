// Vanishing and exploding, live: the run's network with W_hh times a factor, and all that changes with it.
"use strict";

const MAX_UNITS = 48;  // whose singular values are computed while a slider moves
const POSITIONS = 50;  // of the slider, per power of ten
const scaling = {epoch: 0, factor: 0};  // factor: the position, 0 in the middle

// States, slopes, the singular values of ∂h_T/∂h_s and the norms of da_s of the last loss, by the lag T − s.
function scaled(parameters, factor) {
  const p = {...parameters, W_hh: parameters.W_hh.map((row) => row.map((w) => factor * w))};
  const activations = forward(p, x, p.h_0 ?? data.h_0, data.nonlinearity), {h} = activations;
  const {da} = adjoints(p, activations, target, {lossStart: T - 1, stop: T}, 1, data.nonlinearity);
  return {
    h, slopes: h.slice(1).map((states) => states.map(SLOPE[data.nonlinearity])),
    singular: H > MAX_UNITS ? null : jacobiansBack(p.W_hh, h, T, data.nonlinearity).map(singularValues),
    norms: range(1, T).map((s) => norm(da[s])).reverse(),
  };
}

function drawScale() {
  const seen = data.snapshots[scaling.epoch], factor = 10 ** (scaling.factor / POSITIONS);
  const {h, slopes, singular, norms} = scaled(seen.parameters, factor);
  const radius = factor * seen.spectral_radius;
  const units = (rows, first) => range(0, H - 1).map((i) => ["unit", null, rows.map((row, t) => [t + first, row[i]])]);
  const states = data.nonlinearity === "tanh" ? [-1, 1] : [0, Math.max(1, largest(h.flat().filter(Number.isFinite)))];
  const growth = {x: [0, T], y: [1e-8, 1e4], xLabel: "lag, steps", logarithmic: true};
  const one = ["axis", null, [[0, 1], [T, 1]]];
  const panels = [
    plot({title: "states h_t, a curve per unit", lines: units(h, 0), x: [0, T], y: states, xLabel: "t, step"}),
    plot({title: "slopes φ′(a_t), a curve per unit", lines: units(slopes, 1), x: [1, T], y: [0, 1], xLabel: "t, step"}),
    singular === null ? "" : plot({...growth, title: `singular values of ∂h_${T}/∂h_s, s = ${T} − lag`, lines: [
      one, ["sliding", "largest", singular.map((values, lag) => [lag, values[0]])],
      ["chosen", "smallest", singular.map((values, lag) => [lag, values.at(-1)])],
      ["power", "ρ to the lag", singular.map((_, lag) => [lag, radius ** lag])]]}),
    plot({...growth, title: `norm of da_s of ℓ_${T}, relative to lag 0`, lines: [
      one, ["chunks", null, norms.map((v, lag) => [lag, norms[0] ? v / norms[0] : NaN])]]}),
  ];
  element("scale-panels").innerHTML = panels.join("");
  const texts = {factor: show(factor, 3), epoch: `${seen.epoch}`};
  const grown = singular === null ? "" : ` The largest singular value of ∂h_${T}/∂h_0 is ${show(singular.at(-1)[0], 3)}.`;
  element("scale-text").textContent = `This network, W_hh times ${texts.factor}: spectral radius ${show(radius, 3)}, mean slope ${
    show(sum(slopes.flat()) / (T * H), 3)}.${grown} From step ${T} to step 1, the norm of da changes by the factor ${
    show(norms.at(-1) / norms[0], 3)}.`;
  for (const slider of ["factor", "epoch"]) {
    element(`scale-${slider}`).value = scaling[slider];
    element(`scale-${slider}`).setAttribute("aria-valuetext", texts[slider]);
    element(`scale-${slider}-output`).textContent = texts[slider];
  }
}

function setScale(changes, byReader = true) {
  Object.assign(scaling, changes);
  scaling.epoch = clamp(scaling.epoch, 0, data.snapshots.length - 1);
  scaling.factor = clamp(scaling.factor, -POSITIONS, POSITIONS);
  drawScale();
  if (byReader) keepInAddress("scale");
}

if (element("scale")) {
  FIGURES.scale = {
    id: "scale",
    words: () => `factor=${(10 ** (scaling.factor / POSITIONS)).toFixed(3)}&epoch=${data.snapshots[scaling.epoch].epoch}`,
    set(asked) {
      const factor = decimal(asked.factor), epoch = number(asked.epoch);
      const place = data.snapshots.findIndex((seen) => seen.epoch === epoch);
      setScale({
        ...(factor > 0 ? {factor: Math.round(POSITIONS * Math.log10(factor))} : {}), ...(place >= 0 ? {epoch: place} : {}),
      });
    },
  };
  Object.assign(element("scale-epoch"), {max: data.snapshots.length - 1});
  for (const slider of ["factor", "epoch"]) {
    element(`scale-${slider}`).addEventListener("input", (event) => setScale({[slider]: Number(event.target.value)}));
  }
  setScale({}, false);
}
