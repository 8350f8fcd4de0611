// Last: all figures are there, and the page's address may ask for a state of one of them.
"use strict";

listenToLinks();
