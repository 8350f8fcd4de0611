// The last script, when all figures exist: they are drawn, and again when the width changes.
"use strict";

(() => {
const {element, redraw} = lesson.figures;
const {learnBoth} = lesson.delay;

// The text that a button copies is selected too, for a browser that refuses the clipboard.
function copyText(button) {
  const source = element(button.dataset.copy);
  getSelection().selectAllChildren(source);
  navigator.clipboard?.writeText(source.textContent).catch(() => {});
  button.textContent = "Copied";
}

function start() {
  redraw();
  learnBoth();
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copyText(button));
  }
  let width = innerWidth;
  addEventListener("resize", () => requestAnimationFrame(() => {
    if (innerWidth !== width) redraw();  // not when a telephone's bars come and go
    width = innerWidth;
  }));
}

if (globalThis.document) start();
})();
