// Delayed recall: 32 small networks learn to repeat the input of d steps ago, by TBPTT(1, k2). A window of k2 ≤ d
// steps does not reach the step at which that input was written into the state.

const RECALL = {
  networks: 32, B: 4, H: 8, updates: 800, rate: 0.2, deviations: {W_xh: 0.1, W_hh: 0.2, W_hy: 0.3}, steps: 10,
};
const LEARNED = 0.5;  // mean squared error; 1 is that of a network that has learned nothing
const EVERY = 25;  // updates per point of the curves
const recall = {runs: {}, queue: [], work: null};  // and the figure's state

// A stream of random signs as inputs, and the inputs of d steps ago as targets, in the batch form of rnn.js.
function recallSeries(d, steps, seed = 1) {
  const {B} = RECALL, draw = uniform(seed);
  const signs = range(1, steps + d).map(() => range(1, B).map(() => [draw() < 0.5 ? -1 : 1]));
  return {x: [null, ...signs.slice(d)], target: [null, ...signs.slice(0, steps)]};
}

function recallNetwork(seed) {
  const {H, deviations: {W_xh, W_hh, W_hy}} = RECALL, draw = uniform(1000 + seed);
  return {
    W_xh: normalMatrix(draw, 1, H, W_xh), W_hh: normalMatrix(draw, H, H, W_hh), W_hy: normalMatrix(draw, H, 1, W_hy),
    b_h: null, b_y: null, h_0: null,
  };
}

// The training of all networks, one update of each at a time. points: [update, 10th percentile, median, 90th] of the loss.
function newRecall(d, k2) {
  const {networks, B, H, updates, rate} = RECALL, {x, target} = recallSeries(d, updates);
  const options = {k1: 1, k2, rate, mean: true};
  const all = range(1, networks).map((seed) => ({
    losses: [], p: recallNetwork(seed), steps: train(recallNetwork(seed), x, target, zeros(B, H), options),
  }));
  return {d, k2, all, done: 0, points: []};
}

const quantile = (ordered, share) => ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)];
const lately = ({losses}) => sum(losses.slice(-EVERY)) / Math.min(EVERY, losses.length);

function advance(trial) {
  for (const network of trial.all) {
    const {loss, p} = network.steps.next().value;
    network.losses.push(2 * loss);  // ½ of the squared error, doubled
    network.p = p;
  }
  trial.done++;
  if (trial.done % EVERY) return;
  const ordered = trial.all.map(lately).map((v) => (Number.isFinite(v) ? v : Infinity)).sort((a, b) => a - b);
  trial.points.push([trial.done, ...[0.1, 0.5, 0.9].map((share) => quantile(ordered, share))]);
  trial.learned = ordered.filter((v) => v < LEARNED).length;
}

const trialOf = (d, k2) => recall.runs[`${d} ${k2}`];

function drawRecall() {
  const {d, k2} = recall.state, trial = trialOf(d, k2), points = trial?.points ?? [];
  showSlider("recall-d", d, `${d}`);
  showSlider("recall-k2", k2, `${k2}`);
  element("recall-train").textContent = recall.work === null ? "Train 32 networks" : "Stop";
  const whole = widthOf("recall-plots", 640), width = whole >= 540 ? Math.floor(whole / 2) - 8 : whole;
  const curve = plot({
    title: `error while training, k₂ = ${k2}`, x: [0, RECALL.updates], y: [0, 1.2], xLabel: "update", width, height: 170,
    lines: [
      {kind: "level", points: [[0, 1], [RECALL.updates, 1]]},
      {kind: "band", points: points.map(([u, low]) => [u, low]), upper: points.map(([u, , , high]) => [u, high])},
      {kind: "ink", points: points.map(([u, , middle]) => [u, middle])},
    ],
  });
  const ends = range(1, 8).map((k) => [k, trialOf(d, k)?.points.at(-1)]).filter(([, point]) => point);
  const byLength = plot({
    title: `error after training, by k₂`, x: [0.5, 8.5], y: [0, 1.2], xLabel: "", width, height: 170,
    lines: [
      {kind: "level", points: [[0.5, 1], [8.5, 1]]}, {kind: "cut", points: [[d + 0.5, 0], [d + 0.5, 1.2]]},
      ...ends.flatMap(([k, [, low, middle, high]]) => [
        {kind: "whisker", points: [[k, low], [k, high]]},
        {kind: "tick", points: [[k - 0.25, middle], [k + 0.25, middle]]},
      ]),
    ],
    xTicks: range(1, 8).map((k) => [k, `${k}`]),
  });
  element("recall-plots").innerHTML = `<div>${curve}${byLength}</div><div>${recallMatrix(trial, width)}</div>`;
  element("recall-text").innerHTML = recallInWords(trial);
}

// The components of the network with the median loss, on the first steps of the stream.
function recallMatrix(trial, room) {
  const {d, k2} = recall.state, {steps, B, H} = RECALL, {x, target} = recallSeries(d, steps);
  const all = trial?.all ?? [{p: recallNetwork(1), losses: [0]}];
  const {p} = [...all].sort((a, b) => lately(a) - lately(b))[Math.floor((all.length - 1) / 2)];
  return matrixOf({
    norm: normsOf(p, forward(p, x, zeros(B, H), "tanh"), target, "tanh"), schedule: windows(steps, 1, k2), limits: [-4, 0],
    framed: (t, s) => t - s === d, label: `The terms that TBPTT(1, ${k2}) keeps; those of lag ${d} are framed`, room: Math.min(room, 320),
  });
}

function recallInWords(trial) {
  const {d, k2} = recall.state, {networks} = RECALL;
  const steps = (n) => `${n} step${n > 1 ? "s" : ""}`;
  const reach = k2 > d
    ? `The window of ${steps(k2)} reaches the input that is asked for, ${steps(d)} back.`
    : `The window of ${steps(k2)} ends before the input that is asked for, ${steps(d)} back: the framed terms are cut.`;
  if (!trial?.points.length) return reach;
  const [, , middle] = trial.points.at(-1);
  const echo = k2 > d || trial.learned === 0 ? "" : ` Some learn without it: the initial state of the window carries an echo of
    older inputs, which the random weights wrote there, and the output learns to read it.`;
  return `${reach} After ${trial.done} updates <b>${trial.learned} of ${networks} networks have learned</b> (error below
    ${LEARNED}); the median error is ${show(middle, 2)}.${echo}`;
}

function stopRecall() {
  clearTimeout(recall.work);
  Object.assign(recall, {work: null, queue: []});
  drawRecall();
}

function recallSlice() {
  const {d, k2} = recall.state, trial = (recall.runs[`${d} ${k2}`] ??= newRecall(d, k2));
  const until = performance.now() + 40;
  while (performance.now() < until && trial.done < RECALL.updates) advance(trial);
  if (trial.done === RECALL.updates) {
    if (!recall.queue.length) return stopRecall();
    recall.state.k2 = recall.queue.shift();
  }
  recall.work = setTimeout(recallSlice, 0);
  if (performance.now() - (recall.drawn ?? 0) > 150) {
    drawRecall();
    recall.drawn = performance.now();
  }
  return undefined;
}

function trainRecall(lengths) {
  if (recall.work !== null) return stopRecall();
  const [first, ...later] = lengths;
  recall.state.k2 = first;
  recall.queue = later;
  if (trialOf(recall.state.d, first)?.done === RECALL.updates && !later.length) delete recall.runs[`${recall.state.d} ${first}`];
  recallSlice();
  return drawRecall();
}

// A slider that moves while networks train stops them.
function changeRecall() {
  if (recall.state === undefined) recall.state = FIGURES.recall.state;
  if (recall.work === null) drawRecall();
  else stopRecall();
}

if (figure("recall", "live-recall", {d: [3, whole(1, 5)], k2: [3, whole(1, 8)]}, changeRecall)) {
  onClick("recall-train", () => trainRecall([recall.state.k2]));
  onClick("recall-all", () => trainRecall(range(1, 8)));
}
