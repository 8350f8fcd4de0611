// The figure in which the reader pastes gradients: a message for each of them.
"use strict";

lesson.paste = (() => {
const {element} = lesson.figures;
const {LineError} = lesson.arrays;
const {exercise} = lesson.lines;
const {readArrays} = lesson.reading;
const {recognised, oriented, verdictOn} = lesson.judging;
const {mistakeOf} = lesson.slips;

// A message for each array of the text, and one for the mistake that explains the wrong ones.
function pasted(text) {
  let arrays = [];
  try {
    arrays = readArrays(text);
  } catch (error) {
    const problem = error instanceof LineError ? error.message : "the JSON is not complete";
    return [`Not read: ${problem}.`];
  }
  if (!arrays.length) return ["No numbers are found: paste arrays, such as dW_hh = [[…]]."];
  const recognisedArrays = arrays.map(recognised);
  const problems = recognisedArrays.flatMap(({problem}) => problem ?? []);
  const gradients = oriented(recognisedArrays.filter(({problem}) => !problem));
  const verdicts = gradients.map((gradient) => verdictOn(gradient, gradients));
  const words = gradients.map((gradient, i) => `${nameInWords(gradient)}: ${verdicts[i].words}.`);
  const isWrong = verdicts.some((verdict) => verdict.isWrong);
  return [...problems, ...words, ...(isWrong ? [mistakeOf(gradients)] : [])];
}

function nameInWords({words, key, isTransposed}) {
  if ([`d${key}`, key].includes(words)) return `d${key}`;
  return `${words}: this is d${key}${isTransposed ? "ᵀ, as PyTorch has it" : ""}`;
}

if (element("paste-text")) {
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-text").addEventListener("input", ({target: {value}}) => {
    element("paste-result").innerText = value.trim() ? pasted(value).join("\n") : "";
  });
  element("paste-network").textContent = [
    "import numpy as np", ...Object.entries(exercise.p).map(([key, theta]) => asNumPy(key, theta)),
    ...["h_0", "x", "target"].map((key) => asNumPy(key, exercise[key].filter(Boolean))),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …), and x[0] is x_1",
  ].join("\n");
}

return {pasted};
})();
