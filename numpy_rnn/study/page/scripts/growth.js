// Vanishing and exploding. First the recurrent matrix is scaled to a spectral radius that the reader moves, and the growth
// of a small change of the state is drawn by lag, with the bound of the product formula.

const RADIUS = {steps: 30, H: 6, places: 40};  // places of the slider, per power of ten
const MAX_SLOPE = {tanh: 1, sigmoid: 0.25};

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

function drawRadius(state) {
  const {steps} = RADIUS, {drive, kind, phi, rho} = state, most = MAX_SLOPE[phi];
  const {slopes, largestStretch, by_lag} = growth({rho, drive, kind, phi}), lags = range(0, steps);
  showSlider("radius-place", Math.round(RADIUS.places * Math.log10(rho)), show(rho, 3));
  showSlider("radius-drive", drive, drive.toFixed(1));
  for (const key of ["kind", "phi"]) element(`radius-${key}`).value = state[key];
  const powers = (v) => lags.map((lag) => [lag, v ** lag]), width = widthOf("radius-plots", 640);
  element("radius-plots").innerHTML = plot({
    title: "largest growth of a change of h, by lag", x: [0, steps], y: [1e-8, 1e8], xLabel: "lag, steps",
    logarithmic: true, width, height: 230,
    lines: [
      {kind: "level", points: [[0, 1], [steps, 1]]},
      {kind: "cut", label: `bound (${most}·‖Wₕₕ‖)^lag`, points: powers(most * largestStretch)},
      {kind: "level", label: `(${most}·ρ)^lag`, points: powers(most * rho)},
      {kind: "backward", label: "this network", points: by_lag.map((v, lag) => [lag, v])},
    ],
  }) + plot({
    title: "slopes φ′(a) by step, a curve per unit", x: [1, steps], y: [0, 1], xLabel: "step", width, height: 130,
    lines: slopes[0].map((_, i) => ({kind: "unit", points: slopes.map((row, t) => [t + 1, row[i]])})),
  });
  element("radius-text").innerHTML = radiusInWords(rho, largestStretch, most, by_lag.at(-1), sum(slopes.flat()) / slopes.flat().length);
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
    show(mean, 3)}. ${bound} In this network, the largest growth over all ${steps} steps together is ${show(last, 2)}: ${found}.`;
}

if (figure("radius", "live-radius", {
  rho: [1, decimal(0.2, 3.2)], drive: [0.3, decimal(0, 3)], kind: ["random", oneOf("random", "rotation", "run")],
  phi: ["tanh", oneOf("tanh", "sigmoid")],
}, drawRadius)) {
  element("radius-place").addEventListener("input", ({target: {value: v}}) =>
    FIGURES.radius.set({rho: Number((10 ** (v / RADIUS.places)).toFixed(3))}));
}

const CLIFF = {w: [-1, 4], b: [-1.5, 1.5], target: 0.3, across: 94, down: 76};
const CLIFF_FIRST = {w: 2.5, b: 0.5, rate: 0.5, clip: 0.5, steps: 100, length: 10};

// A network of one unit and its series: no input, an output that is the state, a loss at the last step alone.
const oneUnit = (w, b) => ({W_xh: [[0]], W_hh: [[w]], W_hy: [[1]], b_h: [b], b_y: [0], h_0: null});
const noInput = (length) => [null, ...range(1, length).map(() => [[0]])];

// The loss alone: (F1, F2, L1) of `oneUnit` written out, since the surface needs thousands of them.
function surfaceLoss(w, b, length) {
  let h = 0;
  for (let t = 1; t <= length; t++) h = Math.tanh(h * w + b);
  return 0.5 * (h - CLIFF.target) ** 2;
}

// Gradient descent on W_hh and b_h: point, loss and norm of the gradient before every step, and after the last.
function descend({w, b, rate, steps, length}, max_norm) {
  let p = oneUnit(w, b);
  const inputs = noInput(length), targets = inputs.map(() => [[CLIFF.target]]), result = [];
  for (let step = 0; step <= steps; step++) {
    const activations = forward(p, inputs, [[0]], "tanh");
    const flow = adjoints(p, activations, targets, {lossStart: length - 1, stop: length}, 1, "tanh");
    const {W_hh, b_h} = gradientSum(p, activations, flow, 1, length), both = {W_hh, b_h};
    result.push({w: p.W_hh[0][0], b: p.b_h[0], loss: stepLoss(activations.y[length], targets[length]), norm: globalNorm(both)});
    p = {...p, ...descent({W_hh: p.W_hh, b_h: p.b_h}, clipped(both, max_norm), rate)};
  }
  return result;
}

function paintSurface(canvas, length) {
  if (canvas.dataset.length === `${length}`) return;
  canvas.dataset.length = length;
  const {across, down} = CLIFF;
  Object.assign(canvas, {width: across, height: down});
  const context = canvas.getContext("2d"), image = context.createImageData(across, down);
  const highest = 0.5 * (1 + CLIFF.target) ** 2;
  range(0, across * down - 1).forEach((i) => {
    const w = CLIFF.w[0] + ((i % across) + 0.5) / across * (CLIFF.w[1] - CLIFF.w[0]);
    const b = CLIFF.b[1] - (Math.floor(i / across) + 0.5) / down * (CLIFF.b[1] - CLIFF.b[0]);
    image.data.set([...mixed(HEAT, surfaceLoss(w, b, length) / highest), 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}

const alongW = axis(...CLIFF.w), alongB = axis(...CLIFF.b);

function drawCliff(cliff) {
  for (const key of Object.keys(CLIFF_FIRST)) {
    cliff[key] = showExact(`cliff-${key}`, cliff[key]);  // the slider keeps it between its ends, and on its places
  }
  const plain = descend(cliff, null), held = descend(cliff, cliff.clip);
  const all = widthOf("cliff-surface", 640), [edgeX, edgeY] = [44, 6], width = all - edgeX - 8;
  const height = Math.round(clamp(0.55 * width, 190, 300)), bottom = edgeY + height, tall = bottom + 40;
  const X = (w) => edgeX + alongW(w) * width, Y = (b) => edgeY + (1 - alongB(b)) * height;
  const canvas = element("cliff-canvas");
  paintSurface(canvas, cliff.length);
  Object.assign(canvas.style, {left: `${edgeX}px`, top: `${edgeY}px`, width: `${width}px`, height: `${height}px`});
  const path = (points, kind) => {
    const far = ({w, b}) => [clamp(X(w), -2000, 3000), clamp(Y(b), -2000, 3000)].map((v) => v.toFixed(1));
    const line = points.map((point, i) => `${i ? "L" : "M"}${far(point).join(" ")}`).join("");
    const dots = points.map((point) => `<circle cx="${far(point)[0]}" cy="${far(point)[1]}" r="2.2"/>`);
    return `<g class="${kind}"><path class="under" d="${line}"/><path d="${line}"/>${dots.join("")}</g>`;
  };
  const ticks = (from, to, by) => range(Math.ceil(from / by), Math.floor(to / by)).map((i) => i * by);
  element("cliff-paths").innerHTML = `<svg width="${all}" height="${tall}" viewBox="0 0 ${all} ${tall}" role="img"
    aria-label="The loss over W_hh and b_h, and two paths of gradient descent">
    <clipPath id="cliff-inside"><rect x="${edgeX}" y="${edgeY}" width="${width}" height="${height}"/></clipPath>
    ${ticks(...CLIFF.w, 1).map((w) => `<text class="step" x="${X(w)}" y="${bottom + 17}">${signedText(w)}</text>`).join("")}
    ${ticks(...CLIFF.b, 0.5).map((b) => `<text class="end" x="${edgeX - 6}" y="${Y(b) + 4}">${show(b, 2)}</text>`).join("")}
    <text class="step" x="${edgeX + width / 2}" y="${bottom + 33}">Wₕₕ</text>
    <text x="2" y="${edgeY + 0.42 * height}">bₕ</text>
    <g clip-path="url(#cliff-inside)">${path(plain, "plain")}${path(held, "held")}
    <circle class="begin" cx="${X(cliff.w)}" cy="${Y(cliff.b)}" r="6"/></g></svg>`;
  drawCliffCurves(cliff, plain, held);
  const outside = ({w, b}) => alongW(w) < 0 || alongW(w) > 1 || alongB(b) < 0 || alongB(b) > 1;
  const end = (points) => `loss ${show(points.at(-1).loss, 3)}${outside(points.at(-1)) ? ", outside the figure" : ""}`;
  const steepest = (points) => show(points.reduce((most, {norm: v}) => Math.max(most, v), 0), 3);
  element("cliff-text").innerHTML = `After ${cliff.steps} steps, without clipping: ${end(plain)}; the largest gradient on the way has
    length ${steepest(plain)}. With clipping at ${cliff.clip}: ${end(held)}; the largest gradient, before clipping, has length
    ${steepest(held)}.`;
}

// Shows a number in a slider that has steps of its own, and returns the number that the slider made of it.
function showExact(id, v) {
  element(id).value = v;
  element(`${id}-output`).textContent = signedText(Number(element(id).value));
  return Number(element(id).value);
}

// The loss and the length of the gradient along both paths.
function drawCliffCurves(cliff, plain, held) {
  const whole = widthOf("cliff-curves", 640), width = whole >= 540 ? Math.floor(whole / 2) - 6 : whole;
  const numbered = (path, quantity) => path.map((point, i) => [i, quantity(point)]);
  const both = (quantity) => [
    {kind: "ink", label: "with clipping", points: numbered(held, quantity)},
    {kind: "cut", label: "without clipping", points: numbered(plain, quantity)},  // dashed, so on top both are seen
  ];
  element("cliff-curves").innerHTML = [
    plot({title: "loss, by step of training", lines: both(({loss: v}) => v), x: [0, cliff.steps], y: [0, 0.9],
      xLabel: "step", width, height: 110}),
    plot({title: "length of the gradient, before clipping", lines: both(({norm: v}) => v), x: [0, cliff.steps], y: [1e-6, 1e3],
      xLabel: "step", logarithmic: true, width, height: 110}),
  ].join("");
}

if (figure("cliff", "live-cliff", Object.fromEntries(
  Object.entries(CLIFF_FIRST).map(([key, v]) => [key, [v, decimal(-200, 200)]])), drawCliff)) {
  element("cliff-paths").addEventListener("click", (event) => {
    const box = element("cliff-canvas").getBoundingClientRect();
    const w = CLIFF.w[0] + (event.clientX - box.left) / box.width * (CLIFF.w[1] - CLIFF.w[0]);
    FIGURES.cliff.set({w, b: CLIFF.b[1] - (event.clientY - box.top) / box.height * (CLIFF.b[1] - CLIFF.b[0])});
  });
}
