// One update of a network, moment by moment: its window, the order in which it computes, and the numbers and words of
// every moment.

const inSteps = (rows) => [null, ...rows.map((row) => [row])];  // a series as a batch of one sequence, from step 1

// Two units and three steps with the numbers that the reader chose, trained here by full BPTT.
function smallRun({x, target, W_xh, W_hh, W_hy}) {
  const learning_rate = 0.2, h_0 = [0, 0];
  let parameters = {W_xh, W_hh, W_hy, b_h: null, b_y: null, h_0: null};
  const snapshots = [{epoch: 0, parameters}];
  for (let epoch = 1; epoch <= 100; epoch++) {
    const options = {k1: 3, k2: 3, rate: learning_rate};
    for (const {p} of train(parameters, inSteps(x), inSteps(target), [h_0], options)) parameters = p;
    if ([1, 2, 5, 10, 20, 50, 100].includes(epoch)) snapshots.push({epoch, parameters});
  }
  return {
    sizes: {T: 3, D: 1, H: 2, O: 1}, nonlinearity: "tanh", reduction: "sum", learning_rate,
    update: {momentum: 0, nesterov: false, weight_decay: 0, max_norm: null}, x, target, h_0, snapshots,
  };
}

const RUNS = {};
if (element("data")) RUNS.full = JSON.parse(element("data").textContent);

// first: the first step that the gradient reaches.
function momentsOf({start, lossStart, stop}, first, clips) {
  const forwards = range(start + 1, stop).flatMap((t) =>
    ["a", "h", "y", ...(t > lossStart ? ["loss"] : [])].map((what) => ({what, t})));
  const back = range(first, stop).reverse();
  return [
    {what: "enter", t: start}, ...forwards, ...back.flatMap((t) => ["dy", "dh", "da"].map((what) => ({what, t}))),
    ...back.map((t) => ({what: "dW", t})), ...(clips ? [{what: "clip", t: stop}] : []), {what: "step", t: stop},
  ];
}

// The forward pass at a snapshot's parameters, which is computed once.
function passOf(run, seen) {
  if (seen.activations) return seen;
  const h_0 = seen.parameters.h_0 && [seen.parameters.h_0];
  seen.p = {...seen.parameters, h_0};
  seen.activations = forward(seen.p, inSteps(run.x), h_0 ?? [run.h_0], run.nonlinearity);
  return seen;
}

// The same quantity, at the same step if it is there, else at the step nearest to it: its place in the list.
function nearestMoment(list, {what, t}) {
  const distance = (moment) => (moment.what === what ? Math.abs(moment.t - t) : Infinity);
  return list.reduce((best, moment, i) => (distance(moment) < distance(list[best]) ? i : best), 0);
}

const momentAt = (text) => { const [what, t] = text.split("_"); return {what, t: Number(t)}; };

// Everything about one moment. epoch: the number of a snapshot; row: of the weights' matrices, in the table; uncut:
// whether the gradient flows past the start of the window; at: a moment, "dh_2".
function momentOf(run, {epoch = 0, k1, k2, update, uncut = 0, rate = run.learning_rate, row = 1, at}) {
  const {T, D, H, O} = run.sizes, seen = passOf(run, run.snapshots[epoch]), {activations} = seen;
  const schedule = windows(T, k1, k2), window = schedule[update - 1], first = uncut ? 1 : window.start + 1;
  const p = first === 1 ? seen.p : {...seen.p, h_0: null};  // no window after the first learns h_0
  const N = run.reduction === "mean" ? (window.stop - window.lossStart) * O : 1;  // (L2)
  const moments = momentsOf(window, first, run.update.max_norm !== null), place = nearestMoment(moments, momentAt(at));
  const target = inSteps(run.target);
  return {
    run, T, D, H, O, k1, k2, uncut, rate, row, seen, activations, schedule, window, first, p, N, target, moments, place,
    moment: moments[place], flow: adjoints(p, activations, target, window, N, run.nonlinearity),
  };
}

// A quantity at step t as a list of numbers.
function value({activations, flow, target}, which, t) {
  if (which === "target") return target[t][0];
  if (which === "loss") return [stepLoss(activations.y[t], target[t])];
  return (which in flow ? flow[which][t] : activations[which === "enter" ? "h" : which][t])[0];
}

const isSumming = ({moment: {what}}) => ["dW", "clip", "step"].includes(what);

// The gradient as far as it is summed at this moment; null before its first term.
function gradientSoFar(now) {
  const {p, activations, flow, first, window, moment: {what, t}} = now;
  if (!isSumming(now)) return null;
  const total = gradientSum(p, activations, flow, what === "dW" ? t : first, window.stop);
  return what === "dW" ? total : clipped(total, now.run.update.max_norm);
}

// The update: the direction Δ, and the loss of its new steps as a function of the parameters, from the same state.
function stepOf(now) {
  const {run, p, activations: {x, h}, window: {start, lossStart, stop}, N, target} = now, from = now.uncut ? 0 : start;
  const delta = direction(p, gradientSoFar(now), run.update);
  const lossAt = (parameters) => {
    const inputs = [null, ...x.slice(from + 1, stop + 1)];
    const {y} = forward(parameters, inputs, parameters.h_0 ?? h[from], run.nonlinearity);
    return sum(range(lossStart + 1, stop).map((t) => stepLoss(y[t - from], target[t]))) / N;
  };
  const after = descent(p, delta, now.rate);
  return {delta, after, losses: [lossAt(p), lossAt(after)], lossOfRate: (rate) => lossAt(descent(p, delta, rate))};
}

const rowIn = (parameter, row) => (Array.isArray(parameter[0]) ? parameter[Math.min(row, parameter.length) - 1] : parameter);
const indexIn = (parameter, row) => (Array.isArray(parameter[0]) ? `[${Math.min(row, parameter.length)}]` : "");
const present = (p) => Object.keys(p).filter((which) => p[which] !== null);
const BACK = {W_xh: "B4", W_hh: "B5", W_hy: "B6", b_h: "B7", b_y: "B8", h_0: "B9"};

function explained(now) {
  const {moment: {what, t}, p} = now;
  const at = (letter, step = t) => value(now, letter, step);
  const given = (letter, step = t) => [name(letter, step), at(letter, step)];
  const own = () => [name(what, t), at(what), true];
  const product = (left, which, right = "") => `${left} ${theta(which)}${right}`;
  switch (what) {
    case "enter": return {equations: ["T3"], rows: [own()]};
    case "a": return {equations: ["F1"], rows: [
      [product(name("x", t), "W_xh"), times([at("x")], p.W_xh)[0]],
      [product(name("h", t - 1), "W_hh"), times([at("h", t - 1)], p.W_hh)[0]],
      ...(p.b_h ? [[theta("b_h"), p.b_h]] : []), own()]};
    case "h": return {equations: ["F2"], rows: [given("a"), own()]};
    case "y": return {equations: ["F3"], rows: [
      [product(name("h", t), "W_hy"), times([at("h")], p.W_hy)[0]], ...(p.b_y ? [[theta("b_y"), p.b_y]] : []), own()]};
    case "loss": return {equations: ["L1"], rows: [
      given("y"), given("target"), [`${name("y", t)} − ${name("target", t)}`, at("y").map((v, o) => v - at("target")[o])], own()]};
    case "dy": return {equations: ["B1"], rows: [given("y"), given("target"), ...(now.N === 1 ? [] : [["N", [now.N]]]), own()]};
    case "dh": return {equations: ["B2"], rows: [
      [product(name("dy", t), "W_hy", "ᵀ"), timesTransposed([at("dy")], p.W_hy)[0]],
      [product(name("da", t + 1), "W_hh", "ᵀ"),
        t === now.window.stop ? null : timesTransposed([at("da", t + 1)], p.W_hh)[0]], own()]};
    case "da": return {equations: ["B3"], rows: [
      given("dh"), [`φ′(${name("a", t)})`, at("h").map(SLOPE[now.run.nonlinearity])], own()]};
    case "dW": return explainedTerms(now);
    default: return explainedUpdate(now);
  }
}

function explainedTerms(now) {
  const {p, activations, flow, row, moment: {t}} = now;
  const terms = gradientSum(p, activations, flow, t, t), total = gradientSoFar(now);
  const factors = {W_xh: ["x", t, "da"], W_hh: ["h", t - 1, "da"], W_hy: ["h", t, "dy"]};
  return {equations: present(p).map((which) => BACK[which]), columns: true, rows: present(p).flatMap((which) => {
    const [left, step, right] = factors[which] ?? [];
    const label = left ? `${name(left, step)}${indexIn(p[which], row)} ${name(right, t)}` : `term of d${theta(which)}`;
    return [[label, rowIn(terms[which], row)],
      [`d${theta(which)}${indexIn(p[which], row)} so far`, rowIn(total[which], row), true]];
  })};
}

function explainedUpdate(now) {
  const {p, activations, flow, first, window, row, run: {update}, moment: {what}} = now;
  if (what === "clip") {
    const before = gradientSum(p, activations, flow, first, window.stop), after = gradientSoFar(now);
    return {equations: ["U2", "U3"], columns: true, rows: [
      ["‖dθ‖, the norm before and after", [globalNorm(before), globalNorm(after)]],
      ...present(p).flatMap((which) => [[`d${theta(which)}${indexIn(p[which], row)}`, rowIn(before[which], row)],
        ["clipped", rowIn(after[which], row), true]])]};
  }
  const {delta, after} = stepOf(now);
  return {equations: ["U1"], columns: true, rows: present(p).flatMap((which) => [
    [`${theta(which)}${indexIn(p[which], row)}`, rowIn(p[which], row)],
    [`− η ${update.momentum || update.weight_decay ? "Δ" : `d${theta(which)}`}`, rowIn(delta[which], row).map((v) => -now.rate * v)],
    [`new ${theta(which)}${indexIn(p[which], row)}`, rowIn(after[which], row), true]])};
}

// The same as the HTML of a table; where many columns do not fit into `room` pixels, as lines.
function numbersTable(now, room = 600) {
  const {rows, columns} = explained(now), count = Math.max(...rows.map(([, numbers]) => (numbers ? numbers.length : 0)));
  const heads = columns ? "column " : count === 1 ? "" : ["y", "loss", "dy"].includes(now.moment.what) ? "output " : "unit ";
  if (130 + 80 * count > room) {
    return rows.map(([label, numbers, made]) => `<p class="numbers${made ? " made" : ""}"><b>${label}</b>: ${
      numbers ? numbers.map((v) => show(v)).join(", ") : "none: no later step in the window"}</p>`).join("");
  }
  const cell = (v) => `<td class="number">${show(v)}</td>`;
  const line = ([label, numbers, made]) => `<tr${made ? ' class="made"' : ""}><th scope="row">${label}</th>${numbers
    ? numbers.map(cell).join("") + "<td></td>".repeat(count - numbers.length)
    : `<td colspan="${count}">none: no later step in the window</td>`}</tr>`;
  return `<table class="numbers"><thead><tr><td></td>${range(1, count).map((i) => `<th scope="col">${heads}${i}</th>`).join("")}
    </tr></thead><tbody>${rows.map(line).join("")}</tbody></table>`;
}

const MADE = {
  enter: "the initial state of the window, a constant", a: "the pre-activation", h: "the hidden state", y: "the output",
  loss: "the loss of this step", dy: "the error of the output, on steps with a loss, else 0",
  dh: "the part from this step’s output, and the part from the next step",
  da: "dh times the slope",
};

function momentInWords(now) {
  const {what, t} = now.moment, ids = explained(now).equations.join(", ");
  const beyond = t <= now.window.start && ["dy", "dh", "da", "dW"].includes(what)
    ? ` Beyond the cut: TBPTT(${now.k1}, ${now.k2}) does not compute this.` : "";
  const row = now.H > 1 ? ` The table has row ${now.row} of each matrix.` : "";
  if (what === "dW") return `Step ${t}: <b>its term is added</b> to the gradient of each weight (${ids}).${beyond}${row}`;
  if (what === "clip") return `<b>The gradient is clipped</b> to a norm of at most ${show(now.run.update.max_norm)} (${ids}).${row}`;
  if (what === "step") return `<b>The step</b>, with η = ${show(now.rate, 2)} (U1). ${stepInWords(now)}${row}`;
  const way = what === "enter" ? "Before the first step" : what.startsWith("d") ? "Backward" : "Forward";
  return `${way}, step ${t}: <b>${name(what, t)}</b>, ${MADE[what]} (${ids}).${beyond}`;
}

// The effect of the step on the loss of its own update; where it raises it, why, and which η does not.
function stepInWords(now) {
  const {delta, losses: [before, after], lossOfRate} = stepOf(now), {momentum, weight_decay} = now.run.update;
  const options = [weight_decay && `weight decay ${weight_decay}`, momentum && `momentum ${momentum}`].filter(Boolean);
  const first = options.length ? `Δ is the direction of a first update, with ${options.join(" and ")}. ` : "";
  const change = `${first}The loss of this update goes from ${show(before)} to ${show(after)}.`;
  const gradient = gradientSum(now.p, now.activations, now.flow, now.first, now.window.stop);
  const fall = now.rate * dot(numbersOf(gradient), numbersOf(delta));
  const smaller = range(1, 40).map((n) => now.rate / 2 ** n).find((rate) => lossOfRate(rate) < before);
  if (after <= before || fall <= 0 || smaller === undefined) return change;
  return `${change} <b>The learning rate is too large here.</b> The gradient is right: to first order the loss falls by
    η dθ·Δ = ${show(fall, 2)}. But along so long a step the loss curves upwards. With η = ${show(smaller, 2)} the same
    direction lowers it.`;
}
