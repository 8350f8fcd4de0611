// The one mistake that explains gradients of the reader's own program.
// Uses rnn.js, figures.js, lines.js, judging.js.
"use strict";
const {T} = SIZES;
const SLIPS = [  // of the forward pass or the loss: words, and what is different
  ["h_0 is zero in your program: pass the h_0 of this network.", {h_0: 0}],
  ["The bias is added twice: set one of PyTorch's bias_ih_l0 and bias_hh_l0 to zero.", {b_h: 2}],
  ["Only the last step has a loss in your program; here every step has one.",
    {steps: [{start: 0, lossStart: T - 1, stop: T}]}],
  ["The loop ends before step 1: range(T, 0, -1) has it, range(T, 1, -1) has not.",
    {steps: [{start: 1, lossStart: 0, stop: T}]}],
  ["The way back is cut after two steps, as in chunks of 2.", {steps: windows(T, 2, 2)}],
  ["W_hh is transposed in your forward pass: PyTorch's weight_hh_l0 is loaded with W_hh.T.",
    {W_hh: transpose(tiny.p.W_hh)}],
];

function slipGradients({h_0 = 1, b_h = 1, W_hh = tiny.p.W_hh, steps = windows(T, T, T)}) {
  const scaled = (A, factor) => each((v) => factor * v, A);
  const p = {...tiny.p, W_hh, b_h: scaled(tiny.p.b_h, b_h)};
  const pass = forward(p, tiny.x, scaled(tiny.h_0, h_0));
  const parts = steps.map((one) => {
    const flow = adjoints(p, pass, tiny.target, one, tiny.N, one.start + 1);
    return gradientSum(p, pass, flow, one.start + 1, one.stop);
  });
  const total = Object.entries(eachParameter((...v) => sum(v), ...parts));
  return Object.fromEntries(total.map(([key, d]) => [`d${key}`, d]));
}

// The one mistake, or the factor, that gives all of these arrays, in words.
function mistakeOf(all) {
  const numbers = all.flatMap((one) => one.numbers);
  const zeros = all.filter((one) => largest(one.numbers) === 0);
  if (zeros.length === all.length) {
    return "All numbers are 0: print .grad after backward() and before zero_grad().";
  }
  const explains = (gradients) => all.every((one) => gradients[`d${one.key}`]
    && agrees(one, gradients[`d${one.key}`].flat()));
  const known = mistakes.find(({gradients}) => explains(gradients));
  if (known) {
    const {id, code, message} = known;
    return `These are the numbers of ${LINES[id][0]} = ${code} in (${id}). ${message}`;
  }
  const slip = SLIPS.find(([, options]) => explains(slipGradients(options)));
  if (slip) return slip[0];
  if (zeros.length) return "An array of zeros is not filled yet.";
  const factor = fitOf({numbers}, all.flatMap(({key}) => expectedOf(key)));
  if (all.every((one) => agrees({...one, halves: one.halves.map((v) => 2 * v)},
    expectedOf(one.key).map((v) => factor * v)))) {
    const clip = factor > 0 && factor < 1 ? `clipped by norm (now ${show(norm(numbers))}), or ` : "";
    return `All are ${showFactor(factor)} times the right ones: ${clip}another factor in the loss.`;
  }
  return "No mistake of the list explains all of these numbers.";
}
