// The smallest recurrent network: one unit without a nonlinearity, two steps, one weight that is
// used twice. Each use has a copy of its own here, so that both derivatives and their sum are seen.
"use strict";

lesson.example = (() => {
const {element, fixed, math, figure, showSlider, widthOf, svg, label, HEADS} = lesson.figures;

const TARGETS = [null, 2, 6];

// Forward and backward pass with the copies w1 and w2 of one weight.
function exampleAt(w1, w2) {
  const h = [1], error = [null], d = [null];
  h[1] = 1 + h[0] * w1;
  h[2] = 1 + h[1] * w2;
  for (const t of [1, 2]) error[t] = h[t] - TARGETS[t];
  d[2] = error[2];  // dh
  d[1] = error[1] + d[2] * w2;
  const slopes = [null, d[1] * h[0], d[2] * h[1]];
  return {
    h, error, d, slopes, loss: (error[1] ** 2 + error[2] ** 2) / 2, sum: slopes[1] + slopes[2],
    // With the total derivative of h_2 by w, which has the path of d[1] again:
    twice: d[1] * h[0] + d[2] * (h[1] + w2 * h[0]),
  };
}

const plus = (v) => `${v < 0 ? "−" : "+"} ${fixed(Math.abs(v))}`;

function exampleDiagram({h, error, d}, {first, second, wrong}, width) {
  const apart = Math.min((width - 68) / 2, 190);
  const x = (t) => 28 + apart * t;
  const y = 100;
  const symbol = (letter, t) => `<tspan class="symbol">${letter}</tspan>${"₀₁₂"[t]}`;
  const node = (t) => `<circle cx="${x(t)}" cy="${y}" r="23"/>
    ${label(x(t), y + 5, fixed(h[t]), "value")}${label(x(t), y + 40, symbol("h", t))}`;
  const loss = (t) => `${label(x(t), 14, `target ${TARGETS[t]}`)}
    ${label(x(t), 31, `error ${fixed(error[t])}`)}<path class="arrow" d="M${x(t)} ${y - 24}V39"/>`;
  const copy = (t, w) => `<path class="s${t} arrow" d="M${x(t - 1) + 24} ${y}H${x(t) - 30}"/>
    ${label(x(t - 0.5), y - 9, `w = ${fixed(w)}`, `s${t}`)}`;
  const twice = wrong ? `<path class="cut arrow" d="M${x(0) + 26} ${y + 29}H${x(2) - 26}"/>` : "";
  const backward = `${symbol("dh", 1)} = ${fixed(error[1])} ${plus(d[2])} · ${fixed(second)} =
    ${fixed(d[1])}`;
  return svg(x(2) + 42, y + 86, `Two steps: h1 = ${fixed(h[1])}, h2 = ${fixed(h[2])}`,
    `${HEADS}${twice}${[0, 1, 2].map(node).join("")}${[1, 2].map(loss).join("")}
    ${copy(1, first)}${copy(2, second)}
    ${label(x(2), y + 60, `${symbol("dh", 2)} = ${fixed(d[2])}`, "backward")}
    ${label(x(1), y + 80, backward, "backward")}`);
}

function drawExample(state) {
  const {first, second, wrong} = state;
  const example = exampleAt(first, second);
  const {h, d, slopes} = example;
  showSlider("example-first", first, fixed(first));
  showSlider("example-second", second, fixed(second));
  const width = widthOf("example-diagram", 450);
  element("example-diagram").innerHTML = exampleDiagram(example, state, width);
  const line = (t) => `<p class="s${t}">copy ${t}: ${math(`dh_${t}`)} ${math(`h_${t - 1}`)} =
    ${fixed(d[t])} · ${fixed(h[t - 1])} = <b>${fixed(slopes[t])}</b></p>`;
  const total = `(${fixed(h[1])} + ${fixed(second)} · ${fixed(h[0])})`;
  const mistake = `Wrong: ${fixed(d[1])} · ${fixed(h[0])} ${plus(d[2])} · ${total} =
    <b>${fixed(example.twice)}</b>. The path through ${math("h_1")} is in ${math("dh_1")} already.`;
  element("example-sum").innerHTML = `<p>${math("L")} = ${fixed(example.loss)}</p>
    ${line(1)}${line(2)}
    <p>both: ${fixed(slopes[1])} ${plus(slopes[2])} = <b>${fixed(example.sum)}</b></p>
    <p class="cut">${wrong ? mistake : ""}</p>`;
}

figure("example", {first: 2, second: 2, wrong: false}, drawExample);

return {exampleAt};
})();
