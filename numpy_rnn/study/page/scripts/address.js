// The state in words, in the page's address and in links of the text: every figure that can be set has a name,
// "explore", and words, "epoch=300&k1=1&k2=3&update=6&at=dh_5". A link may leave words out: they are as at first.
"use strict";

const FIGURES = {};  // by name: {id of the element, words(), set(asked), redraw(), and the words at first, by name}
let writing = null;

const number = (text) => (/^\d{1,9}$/.test(text) ? Number(text) : null);
const decimal = (text) => (/^-?\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : null);

const parsed = (words) => Object.fromEntries(words.split(/[&\s]+/).map((word) => word.split("=")));

function goTo(figure, words) {
  FIGURES[figure]?.set({...FIGURES[figure].first, ...parsed(words)});
}

// Not at once: browsers limit how often an address may change.
function keepInAddress(figure) {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", `#${figure}/${FIGURES[figure].words()}`), 300);
}

function followAddress() {
  const [figure, words] = location.hash.slice(1).split("/");
  if (!Object.hasOwn(FIGURES, figure) || words === undefined) return;
  goTo(figure, words);
  clearTimeout(writing);  // it says what is shown already
  element(FIGURES[figure].id).scrollIntoView();
}

// A link leads to its figure by its own address, "#explorer", which is the id of the figure's element.
function listenToLinks() {
  for (const link of document.querySelectorAll("a[data-set]")) {
    const names = Object.keys(FIGURES).filter((figure) => link.hash === `#${FIGURES[figure].id}`);
    link.addEventListener("click", () => names.forEach((figure) => goTo(figure, link.dataset.set)));
  }
  addEventListener("hashchange", followAddress);
  followAddress();
}
