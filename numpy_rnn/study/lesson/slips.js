// The one mistake that explains gradients of the reader's own program.
"use strict";

lesson.slips = (() => {
const {
  sum, norm, transpose, largest, elementwise, eachParameter, forward, adjoints, gradientSum,
  windows,
} = lesson.rnn;
const {show, showFactor} = lesson.figures;
const {LINES, SIZES, exercise, withD, mistakes} = lesson.lines;
const {expectedOf, fitOf, agrees} = lesson.judging;

const {T} = SIZES;
const SLIPS = [  // of the forward pass or the loss
  {
    message: "h_0 is zero in your program: pass the h_0 of this network.",
    differences: {h_0: 0},
  },
  {
    message: "The bias is added twice: set one of PyTorch's bias_ih_l0 and bias_hh_l0 to zero.",
    differences: {b_h: 2},
  },
  {
    message: "Only the last step has a loss in your program; here every step has one.",
    differences: {steps: [{start: 0, lossStart: T - 1, stop: T}]},
  },
  {
    message: "The loop ends before step 1: range(T, 0, -1) has it, range(T, 1, -1) has not.",
    differences: {steps: [{start: 1, lossStart: 0, stop: T}]},
  },
  {
    message: "The way back is cut after two steps, as in chunks of 2.",
    differences: {steps: windows(T, 2, 2)},
  },
  {
    message: "W_hh is transposed in your forward pass: PyTorch's weight_hh_l0 is loaded with"
      + " W_hh.T.",
    differences: {W_hh: transpose(exercise.p.W_hh)},
  },
];

function slipGradients({h_0 = 1, b_h = 1, W_hh = exercise.p.W_hh, steps = windows(T, T, T)}) {
  const scaled = (A, factor) => elementwise((v) => factor * v, A);
  const p = {...exercise.p, W_hh, b_h: scaled(exercise.p.b_h, b_h)};
  const pass = forward(p, exercise.x, scaled(exercise.h_0, h_0));
  const parts = steps.map((window) => {
    const first = window.start + 1;
    const flow = adjoints(p, pass, exercise.target, window, exercise.N, first);
    return gradientSum(p, pass, flow, first, window.stop);
  });
  return withD(eachParameter((...terms) => sum(terms), ...parts));
}

// The one mistake, or the factor, that gives all of these arrays, in words.
function mistakeOf(pastedGradients) {
  const zeros = pastedGradients.filter(({numbers}) => largest(numbers) === 0);
  if (zeros.length === pastedGradients.length) {
    return "All numbers are 0: print .grad after backward() and before zero_grad().";
  }
  const explains = (wrong) => pastedGradients.every((gradient) => {
    const explanation = wrong[`d${gradient.key}`];
    return explanation && agrees(gradient, explanation.flat());
  });
  const known = mistakes.find(({gradients}) => explains(gradients));
  if (known) {
    const {id, code, message} = known;
    return `These are the numbers of ${LINES[id][0]} = ${code} in (${id}). ${message}`;
  }
  const slip = SLIPS.find(({differences}) => explains(slipGradients(differences)));
  if (slip) return slip.message;
  if (zeros.length) return "An array of zeros is not filled yet.";
  return commonFactor(pastedGradients) ?? "No mistake of the list explains all of these numbers.";
}

// The factor of all arrays, in words; null where they have none in common.
function commonFactor(gradients) {
  const numbers = gradients.flatMap((gradient) => gradient.numbers);
  const factor = fitOf({numbers}, gradients.flatMap(({key}) => expectedOf(key)));
  const isCommon = gradients.every((gradient) => {
    const halves = gradient.halves.map((v) => 2 * v);
    return agrees({...gradient, halves}, expectedOf(gradient.key).map((v) => factor * v));
  });
  if (!isCommon) return null;
  const isClipped = factor > 0 && factor < 1;
  const clip = isClipped ? `clipped by norm (now ${show(norm(numbers))}), or ` : "";
  return `All are ${showFactor(factor)} times the right ones: ${clip}another factor in the loss.`;
}

return {mistakeOf};
})();
