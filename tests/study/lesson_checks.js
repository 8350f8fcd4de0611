// What test_lesson_*.py ask of the scripts of the lesson, in node, and of its page, in a browser.
"use strict";
const {range, train} = lesson.rnn;
const {FIGURES, redraw} = lesson.figures;
const {TASK, SUMMED, delay, delaySeries, delayNetwork, lagSums} = lesson.delay;
const {SMALL, MOMENTS, smallUpdate, nudgedLoss} = lesson.network;
const {changeByLag, cliffAt} = lesson.fading;
const {
  LineError, evaluate, exercise, exercisePass, correct, environment, MISTAKES, checkLine,
} = lesson.lines;
const {pasted} = lesson.paste;

const CHECKS = {
  exercise: () => ({...exercisePass, ...correct, ...exercise}),
  trained: ({p, x, target, h_0, options}) => [...train(p, x, target, h_0, options)],
  // The sums by lag at some weights, and what they are of.
  sums: () => {
    const p = delayNetwork(3), series = delaySeries(2, SUMMED + 20);
    return {p, series, sums: lagSums(p, series)};
  },

  // The derivatives of the small network by a nudge, and by its backward pass.
  nudges: () => {
    const {p, x, target, flow, losses} = smallUpdate();
    const change = (what, t, by) => nudgedLoss(p, x, target, {what, t, by});
    const slope = (what, t) => (change(what, t, 1e-5) - change(what, t, -1e-5)) / 2e-5;
    return range(1, 3).flatMap((t) => ["y", "h", "a"].map((what) =>
      [slope(what, t), flow[`d${what}`][t][0][0], losses[1] < losses[0]]));
  },
  cuts: () => ({...SMALL, cuts: [0, 1, 2].map(smallUpdate)}),

  stills: () => ({
    cliffs: [-0.3, 0.004, 0.006, 0.1].map((b) => [b, ...Object.values(cliffAt(b))]),
    changes: [[1.5, 0], [0.8, 1], [1.5, 1]].map((one) => changeByLag(...one).map(([, v]) => v)),
  }),

  // The value of each line at step 2, or null where the language refuses it.
  values: (texts) => texts.map((text) => {
    try {
      return evaluate(text, environment(2));
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      return null;
    }
  }),
  verdicts: (lines) => lines.map((line) => Object.values(checkLine(...line))),

  // Each mistake, and what its line is told.
  mistaken: () => Object.entries(MISTAKES).flatMap(([id, messages]) =>
    Object.entries(messages).map(([code, message]) =>
      [message, checkLine(id, `0 + (${code})`).message])),
  pastes: (texts) => texts.map(pasted),

  // In a browser: controls that change nothing, shapes outside of their drawing, and the heights of
  // the figure of the network at all moments.
  hasLearned: () => delay.done === TASK.updates,
  redraw,
  openAll: () => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    redraw();
  },
  unmoved: () => [...document.querySelectorAll("input, select, textarea")].filter(({id}) => id)
    .filter((control) => {
      const before = document.body.innerHTML, {type, min, max, value} = control;
      if (type === "checkbox") control.click();
      else {
        control.value = type === "range" ? (value === max ? min : max)
          : type === "select-one" ? control.options[1].value : "dh[t]";
        control.dispatchEvent(new Event("input", {bubbles: true}));
      }
      return before === document.body.innerHTML;
    }).map(({id}) => id),
  outside: () => [...document.querySelectorAll("svg")].flatMap((svg) =>
    [...svg.querySelectorAll("rect, text, circle")].filter((e) => {
      const [one, all] = [e, svg].map((either) => either.getBoundingClientRect());
      const beyond = [all.left - one.left, all.top - one.top, one.right - all.right,
        one.bottom - all.bottom];
      return !e.closest("clipPath, [clip-path]") && Math.max(...beyond) > 1;
    }).map((e) => e.outerHTML)),
  heights: () => [...new Set([0, 1, 2].flatMap((cut) => MOMENTS.map((_, at) => {
    FIGURES.network.set({at, cut});
    FIGURES.network.set({by: 0.1});
    return document.querySelector("#network > .live").getBoundingClientRect().height;
  })))],
  kept: ([k1, k2]) => {
    FIGURES.windows.set({k1, k2});
    return [...document.querySelectorAll(".kept")].map(({style}) =>
      [style.gridRowStart - 1, style.gridColumnStart - 1]);
  },
};
