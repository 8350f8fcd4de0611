// The state of all figures, in the page's address: "#explore/k1=1&k2=3;recall/d=2". The figure that the reader changed
// last is the first one there, and the page opens at it. What is as at first is left out. What an address says
// wrongly is as if it were not there.

const FIGURES = {};  // by name, in the order of the page
const MAX_ADDRESS = 4000;  // characters
let writing = null, latest = null;

// What a field may be: functions of the text in the address that return the value, or null.
const whole = (low, high) => (text) => (/^-?\d{1,9}$/.test(text) && low <= text && text <= high ? Number(text) : null);
const decimal = (low, high) => (text) =>
  (/^-?\d{1,9}(\.\d{1,9})?$/.test(text) && low <= text && text <= high ? Number(text) : null);
const oneOf = (...names) => (text) => (names.includes(text) ? text : null);
const flag = whole(0, 1);

// A figure whose state has these fields, by name: [value at first, reader of a text]. The control of the field k1 of the
// figure explore has the id explore-k1. draw(state) shows the state; it may correct it.
function figure(name, id, fields, draw) {
  if (!element(id)) return null;
  const first = Object.fromEntries(Object.entries(fields).map(([key, [value]]) => [key, value]));
  const state = {...first};
  const made = {
    id, first, state, fields, draw: () => draw(state),
    set(changes, byReader = true) {
      Object.assign(state, changes);
      draw(state, changes);
      if (byReader) keepInAddress(name);
    },
    words: () => Object.keys(fields).filter((key) => state[key] !== first[key])
      .map((key) => `${key}=${encodeURIComponent(state[key])}`).join("&"),
    go: (words) => made.set({...first, ...readWords(fields, words)}, false),
  };
  FIGURES[name] = made;
  for (const key of Object.keys(fields)) listen(made, key, element(`${name}-${key}`));
  return made;
}

function listen(made, key, control) {
  if (!control) return;
  const value = {checkbox: () => Number(control.checked), range: () => Number(control.value)}[control.type];
  control.addEventListener("input", () => made.set({[key]: (value ?? (() => control.value))()}));
}

function readWords(fields, words) {
  const result = {};
  for (const word of words.split(/[&\s]+/)) {
    const [key, text = ""] = word.split("=");
    if (!Object.hasOwn(fields, key)) continue;
    let value = null;
    try { value = fields[key][1](decodeURIComponent(text)); } catch (error) { if (!(error instanceof URIError)) throw error; }
    if (value !== null) result[key] = value;
  }
  return result;
}

function address() {
  const names = [latest, ...Object.keys(FIGURES).filter((name) => name !== latest && FIGURES[name].words())];
  return `#${names.map((name) => `${name}/${FIGURES[name].words()}`).join(";")}`;
}

// Not at once: browsers limit how often an address may change.
function keepInAddress(name) {
  latest = name;
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", address()), 300);
}

function followAddress() {
  const parts = location.hash.slice(1).split(";").map((part) => part.split("/"));
  const known = parts.filter(([name, words]) => Object.hasOwn(FIGURES, name) && words !== undefined);
  if (!known.length || location.hash.length > MAX_ADDRESS) return;
  clearTimeout(writing);
  for (const [name, words] of known) FIGURES[name].go(words);
  [[latest]] = known;
  element(FIGURES[latest].id).scrollIntoView();
}

const redrawAll = () => Object.values(FIGURES).forEach(({draw}) => draw());

// Last, when all figures exist. A link leads to its figure by its own address, "#explorer", the id of its element.
function start() {
  redrawAll();
  for (const link of document.querySelectorAll("a[data-set]")) {
    const [name, made] = Object.entries(FIGURES).find(([, {id}]) => link.hash === `#${id}`);
    link.addEventListener("click", () => { made.go(link.dataset.set); keepInAddress(name); });
  }
  DARK.addEventListener("change", redrawAll);
  let width = innerWidth;
  addEventListener("resize", () => requestAnimationFrame(() => {
    if (innerWidth === width) return;  // a telephone's bars come and go
    width = innerWidth;
    redrawAll();
  }));
  addEventListener("hashchange", followAddress);
  followAddress();
}
