// Vanishing and exploding: the recurrent matrix is scaled to a spectral radius that the reader moves, and the growth
// of a small change of the state is drawn by lag, with the bound of the product formula.
"use strict";

const RADIUS = {steps: 30, H: 6, places: 40};  // places of the slider, per power of ten
const MAX_SLOPE = {tanh: 1, sigmoid: 0.25};
const radius = {place: 0, drive: 0.3, kind: "random", phi: "tanh"};

// The matrices, before they are scaled. A rotation is normal: its singular values are the moduli of its eigenvalues.
function recurrentMatrix(kind) {
  const {H} = RADIUS, random = normalMatrix(uniform(5), H, H, 1);
  if (kind === "run" && RUNS.full) return RUNS.full.snapshots.at(-1).parameters.W_hh;
  if (kind === "rotation") {
    // rows of the random matrix, made orthonormal (Gram and Schmidt)
    return random.reduce((rows, row) => {
      const rest = rows.reduce((v, other) => v.map((w, i) => w - dot(row, other) * other[i]), row);
      return [...rows, rest.map((w) => w / norm(rest))];
    }, []);
  }
  return random;
}

// The largest singular values of ∂h_T/∂h_{T−lag}, by lag, and what bounds them.
function growth({rho, drive, kind, phi}) {
  const matrix = recurrentMatrix(kind), factor = rho / spectralRadius(matrix), H = matrix.length, {steps} = RADIUS;
  const W_hh = matrix.map((row) => row.map((w) => factor * w)), draw = uniform(6);
  const p = {W_xh: normalMatrix(draw, 1, H, 1), W_hh, W_hy: zeros(H, 1), b_h: null, b_y: null, h_0: null};
  const x = [null, ...normalMatrix(draw, steps, 1, drive).map((row) => [row])];
  const {h} = forward(p, x, [PHI[phi](0)].flatMap((v) => [Array(H).fill(v)]), phi);
  const slopes = h.slice(1).map(([states]) => states.map(SLOPE[phi]));
  return {
    W_hh, h, slopes, largestStretch: singularValues(W_hh)[0],
    by_lag: jacobiansBack(W_hh, h, steps, phi).map((J) => singularValues(J)[0]),
  };
}

function drawRadius() {
  const {steps} = RADIUS, {place, drive, kind, phi} = radius, rho = 10 ** (place / RADIUS.places),
    most = MAX_SLOPE[phi];
  const {slopes, largestStretch, by_lag} = growth({rho, drive, kind, phi}), lags = range(0, steps);
  showSlider("radius-place", place, show(rho, 3));
  showSlider("radius-drive", drive, drive.toFixed(1));
  for (const key of ["kind", "phi"]) element(`radius-${key}`).value = radius[key];
  const powers = (v) => lags.map((lag) => [lag, v ** lag]);
  element("radius-curve").innerHTML = plot({
    title: "largest growth of a change of h, by lag", x: [0, steps], y: [1e-8, 1e8], xLabel: "lag, steps",
    logarithmic: true, width: widthIn("radius-curve", 640), height: 250,
    lines: [
      {kind: "axis", points: [[0, 1], [steps, 1]]},
      {kind: "bound", label: `bound (${most}·‖Wₕₕ‖)^lag`, points: powers(most * largestStretch)},
      {kind: "power", label: `(${most}·ρ)^lag`, points: powers(most * rho)},
      {kind: "chunks", label: "this network", points: by_lag.map((v, lag) => [lag, v])},
    ],
  });
  element("radius-slopes").innerHTML = plot({
    title: "slopes φ′(a) by step, a curve per unit", x: [1, steps], y: [0, 1], xLabel: "step",
    width: widthIn("radius-slopes", 640), height: 250,
    lines: slopes[0].map((_, i) => ({kind: "unit", points: slopes.map((row, t) => [t + 1, row[i]])})),
  });
  element("radius-text").innerHTML = radiusInWords(
    rho, largestStretch, most, by_lag.at(-1), sum(slopes.flat()) / slopes.flat().length,
  );
}

function radiusInWords(rho, largestStretch, most, last, mean) {
  const reach = most * largestStretch, {steps} = RADIUS, matrix = "‖W<sub>hh</sub>‖";
  const bound = reach < 1
    ? `<b>Vanishing is certain</b>: ${most}·${matrix} = ${show(reach, 3)} is below 1, so each step back shrinks every vector,
      whatever the states are (sufficient).`
    : `${most}·${matrix} = ${show(reach, 3)} is not below 1, so the bound allows growth: exploding <b>is possible,
      not certain</b> (necessary).`;
  const found = last < 0.1 ? "it vanishes" : last > 10 ? "it explodes" : "it does neither";
  return `Spectral radius ρ = ${show(rho, 3)}, largest singular value ${matrix} = ${show(largestStretch, 3)}, mean slope ${
    show(mean, 3)}. ${bound} In this network, over ${steps} steps, the largest growth is ${show(last, 2)}: ${found}.`;
}

function setRadius(changes, byReader = true) {
  Object.assign(radius, changes);
  radius.place = clamp(Math.round(radius.place), -28, 20);
  radius.drive = clamp(radius.drive, 0, 3);
  if (!["random", "rotation", "run"].includes(radius.kind)) radius.kind = "random";
  if (!(radius.phi in MAX_SLOPE)) radius.phi = "tanh";
  drawRadius();
  if (byReader) keepInAddress("radius");
}

if (element("live-radius")) {
  for (const key of ["place", "drive"]) onInput(`radius-${key}`, ({value: v}) => setRadius({[key]: Number(v)}));
  for (const key of ["kind", "phi"]) onInput(`radius-${key}`, ({value: v}) => setRadius({[key]: v}));
  FIGURES.radius = {
    id: "live-radius", redraw: drawRadius, first: {rho: "1", drive: "0.3", kind: "random", phi: "tanh"},
    words: () =>
      `rho=${(10 ** (radius.place / RADIUS.places)).toFixed(3)}&drive=${radius.drive}&kind=${
        radius.kind}&phi=${radius.phi}`,
    set: ({rho, drive, kind, phi}) => setRadius({
        place: RADIUS.places * Math.log10(Math.max(decimal(rho), 0.1)), drive: decimal(drive) ?? 0.3, kind, phi,
      }),
  };
  setRadius({}, false);
}
