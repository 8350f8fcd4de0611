// The explorer: one update of any window, moment by moment, and the component matrix of all windows.

const RATES = [0.0001, 1];  // the smallest and the largest learning rate
const RATE_PLACES = 20;  // of the slider of η, per power of ten
const ENDS = {clip: "clipping", step: "the step"};

// The state with numbers that fit the network: 1 ≤ k1 ≤ k2 ≤ T. When k1 changes, the update stays where it ends.
function fitState(state, changes, run) {
  const {T, D, H} = run.sizes;
  state.k1 = clamp(state.k1, 1, T);
  state.k2 = clamp(state.k2, 1, T);
  if (state.k1 > state.k2) Object.assign(state, "k2" in changes && !("k1" in changes) ? {k1: state.k2} : {k2: state.k1});
  if (!("update" in changes) && state.stop) state.update = Math.ceil(Math.min(state.stop, T) / state.k1);
  state.update = clamp(state.update, 1, Math.ceil(T / state.k1));
  state.stop = Math.min(state.update * state.k1, T);
  state.row = clamp(state.row, 1, Math.max(D, H));
}

// Where the reader chose no weights, those before training of the small network, and the trained ones of the run's.
function snapshotOf({size, snapshot}) {
  const last = RUNS[size].snapshots.length - 1;
  return Math.min(snapshot ?? (size === "small" ? 0 : last), last);
}

function exploredNow(state) {
  const run = RUNS[state.size];
  return momentOf(run, {...state, epoch: snapshotOf(state), rate: state.rate ?? run.learning_rate});
}

function drawExplorer(state, changes = state) {
  const run = RUNS[state.size];
  if ("size" in changes && Object.keys(changes).length === 1) Object.assign(state, {rate: null, snapshot: null});
  fitState(state, changes, run);
  const now = exploredNow(state), {window, moment: {what, t}, T, H} = now;
  state.at = `${what}_${t}`;
  const last = now.moments.length - 1;
  showSlider("explore-snapshot", snapshotOf(state), `${now.seen.epoch}`, {max: run.snapshots.length - 1});
  showSlider("explore-k1", state.k1, `${state.k1}`, {max: T});
  showSlider("explore-k2", state.k2, `${state.k2}`, {max: T});
  showSlider("explore-update", state.update, `${state.update} of ${now.schedule.length}`, {max: now.schedule.length});
  showSlider("explore-moment", now.place, `${now.place} of ${last}: ${ENDS[what] ?? name(what, t)}`, {max: last});
  showSlider("explore-place", Math.round(RATE_PLACES * Math.log10(now.rate)), show(now.rate, 2));
  showSlider("explore-row", state.row, `${state.row}`, {max: Math.max(H, now.D)});
  element("explore-row").closest("div").hidden = !isSumming(now) || H === 1;
  element("explore-uncut").checked = Boolean(state.uncut);
  element("explore-size").value = state.size;
  element("explore-state").innerHTML = `TBPTT(${state.k1}, ${state.k2}), update ${state.update}: window (${window.start}, ${window.stop}],
    loss of ${window.stop - window.lossStart > 1 ? `steps ${window.lossStart + 1} to ${window.stop}` : `step ${window.stop}`}.`;
  element("explore-drawing").innerHTML = unrolledSvg(now, widthOf("explore-drawing", 1200), {bars: true});
  element("explore-summary").innerHTML = momentInWords(now);
  const {equations} = explained(now);
  for (const one of document.querySelectorAll("#explorer [data-equation]")) one.hidden = !equations.includes(one.dataset.equation);
  element("explore-table").innerHTML = numbersTable(now, widthOf("explore-table", 800));
}

let playing = null;

function play(begin) {
  clearInterval(playing);
  playing = begin ? setInterval(advanceMoment, 700) : null;
  element("explore-play").textContent = begin ? "Stop" : "Play";
}

function advanceMoment() {
  moveMoment(1);
  const {place, moments} = exploredNow(FIGURES.explore.state);
  if (place === moments.length - 1) play(false);
}

// At the end Play begins again. With reduced motion it advances by one moment per press.
function pressPlay() {
  const {place, moments} = exploredNow(FIGURES.explore.state);
  if (playing !== null) return play(false);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return moveMoment(1);
  if (place === moments.length - 1) moveMoment(-Infinity);
  return play(true);
}

function setMoment(place) {
  const {moments} = exploredNow(FIGURES.explore.state), {what, t} = moments[clamp(place, 0, moments.length - 1)];
  FIGURES.explore.set({at: `${what}_${t}`});
}

const moveMoment = (by) => setMoment(exploredNow(FIGURES.explore.state).place + by);
const changeBy = (key, by) => FIGURES.explore.set({[key]: FIGURES.explore.state[key] + by});
const EXPLORER_KEYS = {
  ArrowLeft: () => moveMoment(-1), ArrowRight: () => moveMoment(1), ArrowUp: () => changeBy("update", 1),
  ArrowDown: () => changeBy("update", -1), Home: () => moveMoment(-Infinity), End: () => moveMoment(Infinity), " ": pressPlay,
};

if (figure("explore", "explorer", {
  size: ["small", oneOf("small", "full")], snapshot: [null, whole(0, 99)], k1: [1, whole(1, 1000)], k2: [2, whole(1, 1000)],
  update: [3, whole(1, 1000)], at: ["dh_2", (text) => (/^(enter|a|h|y|loss|dy|dh|da|dW|clip|step)_\d{1,3}$/.test(text) ? text : null)],
  row: [1, whole(1, 1000)], uncut: [0, flag], rate: [null, decimal(...RATES)],
}, drawExplorer)) {
  const {state} = FIGURES.explore;
  element("explore-moment").addEventListener("input", ({target: {value: v}}) => setMoment(Number(v)));
  element("explore-place").addEventListener("input", ({target: {value: v}}) =>
    FIGURES.explore.set({rate: Number((10 ** (v / RATE_PLACES)).toPrecision(2))}));
  onClick("explore-back", () => moveMoment(-1));
  onClick("explore-forward", () => moveMoment(1));
  onClick("explore-play", pressPlay);
  element("explore-drawing").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !Object.hasOwn(EXPLORER_KEYS, event.key)) return;
    event.preventDefault();
    EXPLORER_KEYS[event.key]();
  });
  element("explore-drawing").addEventListener("click", (event) => {
    const {what, t} = event.target.closest("[data-what]")?.dataset ?? {};
    const place = exploredNow(state).moments.findIndex((moment) => moment.what === what && moment.t === Number(t));
    if (place >= 0) setMoment(place);
  });
}
