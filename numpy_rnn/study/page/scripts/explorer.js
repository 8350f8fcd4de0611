// The explorer's controls: sliders, buttons, keys and clicks, all of which go through change().
"use strict";

const SLIDERS = ["epoch", "k1", "k2", "update", "moment", "rate"];
const RATE_STEPS = 20;  // positions of the slider of η, per power of ten
const ENDS = {clip: "clipping", step: "the step"};

function drawControls(now) {
  const {window, seen, moment: {name: what, t}} = now;
  const limits = {
    epoch: run.snapshots.length - 1, k1: T, k2: T, update: now.schedule.length, moment: now.moments.length - 1,
  };
  const places = {...shown, rate: Math.round(RATE_STEPS * Math.log10(shown.rate))};
  const texts = {
    epoch: `${seen.epoch}`, k1: `${shown.k1}`, k2: `${shown.k2}`, update: `${shown.update} of ${now.schedule.length}`,
    moment: `${shown.moment} of ${now.moments.length - 1}: ${ENDS[what] ?? `${LETTER[what] ?? what}_${t}`}`,
    rate: show(shown.rate, 2),
  };
  for (const slider of SLIDERS) {
    showSlider(slider, places[slider], texts[slider], slider in limits ? {max: limits[slider]} : {});
  }
  element("moment-output").innerHTML = `${shown.moment} of ${now.moments.length - 1}: ${ENDS[what] ?? name(what, t)}`;
  element("uncut").checked = Boolean(shown.uncut);
  for (const size of Object.keys(RUNS)) {
    element(`size-${size}`).setAttribute("aria-pressed", String(size === shown.size));
  }
  element("state").innerHTML = `${H} units, ${T} steps. Weights after epoch ${seen.epoch}, spectral radius of ${theta("W_hh")} ${
    show(spectralRadius(seen.p.W_hh), 2)}. TBPTT(${shown.k1}, ${shown.k2}), update ${
    shown.update} of ${now.schedule.length}: window (${window.start}, ${window.stop}], losses of (${
    window.lossStart}, ${window.stop}].`;
}

function drawNumbers(now) {
  const {equations, rows, columns} = explained(now);
  for (const one of document.querySelectorAll("#detail [data-equation]")) {
    one.hidden = !equations.includes(one.dataset.equation);
  }
  element("summary").innerHTML = summaryOf(now);
  const count = Math.max(...rows.map(([, numbers]) => (numbers ? numbers.length : 0)));
  const heads = columns ? "column " : count === 1 ? "" : ["y", "loss", "dy"].includes(now.moment.name) ? "output " : "unit ";
  const cell = (v) => `<td class="number">${show(v)}</td>`;
  element("numbers").innerHTML = `<thead><tr><td></td>${range(1, count).map((i) =>
    `<th scope="col">${heads}${i}</th>`).join("")}</tr></thead><tbody>${rows.map(([label, numbers, made]) =>
    `<tr${made ? ' class="made"' : ""}><th scope="row">${label}</th>${numbers
      ? numbers.map(cell).join("") + "<td></td>".repeat(count - numbers.length)
      : `<td colspan="${count}">none: the window has no later step</td>`}</tr>`).join("")}</tbody>`;
}

// ---- every change ---------------------------------------------------------------------------------------------------

// Where the reader went last, by time or update: other changes keep this step and this quantity if they are there.
let visited = null;

function change(changes) {
  Object.assign(shown, changes);
  shown.epoch = clamp(shown.epoch, 0, run.snapshots.length - 1);
  shown.k1 = clamp(shown.k1, 1, T);
  shown.k2 = clamp(shown.k2, 1, T);
  if (shown.k1 > shown.k2) Object.assign(shown, "k2" in changes ? {k1: shown.k2} : {k2: shown.k1});
  shown.rate = clamp(shown.rate, ...RATES);
  shown.row = clamp(shown.row, 1, Math.max(D, H));
  if (!("update" in changes) && visited) shown.update = Math.ceil(visited.stop / shown.k1);
  shown.update = clamp(shown.update, 1, Math.ceil(T / shown.k1));
  if (!("moment" in changes)) shown.moment = visited ? sameMoment(visited) : 0;
  shown.moment = clamp(shown.moment, 0, momentsNow().length - 1);
  const now = current();
  if (!visited || "update" in changes || "moment" in changes) visited = {...now.moment, stop: now.window.stop};
  for (const draw of [drawControls, drawUnrolled, drawNumbers, drawMask, drawCost]) draw(now);
  keepInAddress("explore");
}

function momentsNow() {
  const window = windows(T, shown.k1, shown.k2)[shown.update - 1];
  return moments(window, shown.uncut ? 1 : window.start + 1);
}

// The same quantity, at the same step if it is there, else at the step nearest to it.
function sameMoment({name: what, t}) {
  const list = momentsNow();
  const distance = (moment) => (moment.name === what ? Math.abs(moment.t - t) : Infinity);
  return list.reduce((best, moment, i) => (distance(moment) < distance(list[best]) ? i : best), 0);
}

// The update that uses the loss of step t, when its backward pass is at step s.
function showComponent(t, s, how) {
  if (!(1 <= s && s <= t && t <= T)) return;
  const update = Math.ceil(t / shown.k1), needed = Math.min(update * shown.k1, T) - s + 1;
  if (needed > shown.k2) change(how === "longer" ? {k2: needed, update} : {uncut: 1, update});
  else change({update});
  change({moment: sameMoment({name: "da", t: s})});
}

// ---- play, keys and clicks ------------------------------------------------------------------------------------------

let playing = null;

function play(start) {
  clearInterval(playing);
  playing = start ? setInterval(() => {
    if (shown.moment === momentsNow().length - 1) play(false);
    else change({moment: shown.moment + 1});
  }, 700) : null;
  element("play").textContent = start ? "Stop" : "Play";
  element("play").setAttribute("aria-pressed", String(start));
}

// With reduced motion, Play advances by one moment per press.
function pressPlay() {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) change({moment: shown.moment + 1});
  else play(playing === null);
}

const KEYS = {
  unrolled: {
    ArrowLeft: () => change({moment: shown.moment - 1}), ArrowRight: () => change({moment: shown.moment + 1}),
    ArrowUp: () => change({update: shown.update + 1}), ArrowDown: () => change({update: shown.update - 1}),
    Home: () => change({moment: 0}), End: () => change({moment: Infinity}), " ": pressPlay,
    "[": () => change({row: shown.row - 1}), "]": () => change({row: shown.row + 1}),
  },
  mask: {
    ArrowLeft: () => change({k2: shown.k2 - 1}), ArrowRight: () => change({k2: shown.k2 + 1}),
    ArrowUp: () => change({k1: shown.k1 + 1}), ArrowDown: () => change({k1: shown.k1 - 1}),
  },
};

function listen() {
  for (const slider of SLIDERS) {
    const read = (v) => (slider === "rate" ? Number((10 ** (v / RATE_STEPS)).toPrecision(2)) : Number(v));
    onInput(slider, ({value: v}) => change({[slider]: read(v)}));
  }
  for (const size of Object.keys(RUNS)) onClick(`size-${size}`, () => explore(size));
  element("back").addEventListener("click", () => change({moment: shown.moment - 1}));
  element("forward").addEventListener("click", () => change({moment: shown.moment + 1}));
  element("play").addEventListener("click", pressPlay);
  element("uncut").addEventListener("change", (event) => change({uncut: Number(event.target.checked)}));
  for (const [id, keys] of Object.entries(KEYS)) {
    element(id).addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
  element("unrolled").addEventListener("click", (event) => {
    const group = event.target.closest("[data-name]"), row = event.target.closest("[data-row]");
    if (row) change({row: Number(row.dataset.row)});
    if (!group) return;
    const index = momentsNow().findIndex(({name: what, t}) => what === group.dataset.name && t === Number(group.dataset.t));
    if (index >= 0) change({moment: index});
  });
  element("mask").addEventListener("click", (event) => {
    const component = event.target.closest(".component");
    if (component) showComponent(Number(component.dataset.t), Number(component.dataset.s), "uncut");
  });
}

// ---- in words -------------------------------------------------------------------------------------------------------

FIGURES.explore = {
  id: "explorer",
  words() {
    const {seen, moment} = current();
    return `size=${shown.size}&epoch=${seen.epoch}&k1=${shown.k1}&k2=${shown.k2}&update=${
      shown.update}&at=${moment.name}_${moment.t}${
      shown.row > 1 ? `&row=${shown.row}` : ""}${shown.uncut ? "&uncut=1" : ""}${
      shown.rate === run.learning_rate ? "" : `&rate=${shown.rate}`}`;
  },
  redraw() { fit(); change({}); },
  // Without a size it is the full network. at=dh is any step, component=9,3 the update with loss 9 at step 3.
  set(asked) {
    explore(asked.size in RUNS ? asked.size : Object.keys(RUNS).at(-1));
    const [epoch, k1, k2, update, row, uncut] =
      ["epoch", "k1", "k2", "update", "row", "uncut"].map((key) => number(asked[key]));
    const nearest = (a, b) => (Math.abs(b.epoch - epoch) < Math.abs(a.epoch - epoch) ? b : a);
    if (epoch !== null) change({epoch: run.snapshots.indexOf(run.snapshots.reduce(nearest))});
    const given = {k1, k2, rate: decimal(asked.rate) || null};
    change(Object.fromEntries(Object.entries(given).filter(([, v]) => v !== null)));
    if (row !== null) change({row});
    change({uncut: Number(uncut > 0)});
    if (update !== null) change({update});
    if (asked.component) showComponent(...asked.component.split(",").map(number), "longer");
    else if (asked.at) {
      const [name, step] = asked.at.split("_");
      const t = number(step) ?? current().moment.t;
      if (momentsNow().some((moment) => moment.name === name)) change({moment: sameMoment({name, t})});
    }
  },
};

// At first: the first window that cuts, at the step before its last in the backward pass.
function explore(size) {
  play(false);
  use(size);
  visited = null;
  fit();
  const number = windows(T, shown.k1, shown.k2).findIndex(({start}) => start > 0);
  shown.update = Math.max(1, number + 1);
  const {window} = current();
  change({moment: sameMoment({name: "dh", t: Math.max(window.stop - 1, window.start + 1)})});
}

if (element("explorer")) {
  use("small");
  fit();
  listen();
  explore("small");
  clearTimeout(writing);  // the address stays as it is until the reader changes something
}
