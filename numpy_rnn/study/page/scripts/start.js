// Last: all figures exist, and the page's address may ask for a state of one of them.
"use strict";

const redrawAll = () => Object.values(FIGURES).forEach(({redraw}) => redraw());

listenToLinks();
DARK.addEventListener("change", redrawAll);
addEventListener("resize", () => requestAnimationFrame(redrawAll));
