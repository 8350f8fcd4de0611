// The figure in which the reader pastes gradients: a message for each of them.
// Uses rnn.js, figures.js, language.js, lines.js, reading.js, judging.js, slips.js.
"use strict";

// A message for each array of the text, and one for the mistake that explains the wrong ones.
function pasted(text) {
  let arrays = [];
  try {
    arrays = readArrays(text);
  } catch (error) {
    return [`Not read: ${error instanceof LineError ? error.message : "the JSON is not complete"}.`];
  }
  if (!arrays.length) return ["No numbers are found: paste arrays, such as dW_hh = [[…]]."];
  const read = arrays.map(recognised), all = oriented(read.filter(({problem}) => !problem));
  const verdicts = all.map((one) => verdictOn(one, all));
  const words = all.map((one, i) => {
    const {words: name, key, isTransposed} = one, torch = isTransposed ? "ᵀ, as PyTorch has it" : "";
    const start = [`d${key}`, key].includes(name) ? `d${key}` : `${name}: this is d${key}${torch}`;
    return `${start}: ${verdicts[i].words}.`;
  });
  const problems = read.flatMap(({problem}) => problem ?? []);
  const isWrong = verdicts.some((verdict) => verdict.isWrong);
  return [...problems, ...words, ...(isWrong ? [mistakeOf(all)] : [])];
}

if (element("paste-text")) {
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-text").addEventListener("input", ({target: {value}}) => {
    element("paste-result").innerText = value.trim() ? pasted(value).join("\n") : "";
  });
  element("paste-network").textContent = [
    "import numpy as np", ...Object.entries(tiny.p).map(([key, theta]) => asNumPy(key, theta)),
    ...["h_0", "x", "target"].map((key) => asNumPy(key, tiny[key].filter(Boolean))),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …), and x[0] is x_1",
  ].join("\n");
}
