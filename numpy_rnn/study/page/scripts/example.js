// The worked example of section 4.1: two steps, one weight that is used twice. Each use has a copy of its own here,
// so that the two partial derivatives, and their sum, can be seen. All sizes are 1, φ is the identity, and x, h_0,
// W_xh and W_hy are 1.
"use strict";

const EXAMPLE = {targets: [null, 2, 6], low: 1, high: 3, reach: 0.3};
const example = {first: 2, second: 2, wrong: 0};

// Forward and backward pass with the copies w1 and w2 of one weight.
function exampleAt(w1, w2) {
  const h = [1], e = [null], d = [null];
  h[1] = 1 + h[0] * w1;
  h[2] = 1 + h[1] * w2;
  for (const t of [1, 2]) e[t] = h[t] - EXAMPLE.targets[t];
  d[2] = e[2];  // (B1, B2, B3): dy = dh = da
  d[1] = e[1] + d[2] * w2;
  const partial = [null, d[1] * h[0], d[2] * h[1]];  // (B5), a term for each copy
  return {
    h, e, d, partial, loss: (e[1] ** 2 + e[2] ** 2) / 2, sum: partial[1] + partial[2],
    // With the total derivative of a_2 by w, which has the path of d[1] again:
    double: d[1] * h[0] + d[2] * (h[1] + w2 * h[0]),
  };
}

const two = (v) => v.toFixed(2).replace("-", "−");
const plus = (v) => `${v < 0 ? "−" : "+"} ${two(Math.abs(v))}`;

function exampleDiagram(seen) {
  const {h, e, d, partial} = seen, {first, second, wrong} = example, xs = [34, 184, 334], y = 112;
  const node = (
    t,
  ) => `<circle cx="${xs[t]}" cy="${y}" r="23"/><text class="value" x="${xs[t]}" y="${y + 5}">${two(h[t])}</text>
    <text class="middle" x="${xs[t]}" y="${y + 40}">h<tspan class="sub" dy="3">${t}</tspan></text>`;
  const loss = (t) => `<text class="middle" x="${xs[t]}" y="20">target ${EXAMPLE.targets[t]}, error ${two(e[t])}</text>
    <text class="middle" x="${xs[t]}" y="38">loss ½·${two(e[t]).replace("−", "")}² = ${
    two(e[t] ** 2 / 2)}</text><path d="M${xs[t]} ${y - 24}V50"/>`;
  const copy = (t, w) => `<path class="copy${t}" d="M${xs[t - 1] + 24} ${y}H${xs[t] - 30}"/>
    <text class="middle copy${t}" x="${xs[t] - 75}" y="${y - 9}">1 + h·w<tspan class="sub" dy="-5">(${t})</tspan></text>
    <text class="middle copy${t}" x="${xs[t] - 75}" y="${y + 19}">w = ${two(w)}</text>`;
  const back = (t) =>
    `<text class="middle back" x="${xs[t]}" y="${y + 64}">dh<tspan class="sub" dy="3">${t}</tspan><tspan dy="-3"> = ${
      t === 2 ? two(d[2]) : `${two(e[1])} ${plus(d[2])}·${two(second)}`
    }</tspan></text>${t === 1 ? `<text class="middle back" x="${xs[t]}" y="${y + 82}">= ${two(d[1])}</text>` : ""}`;
  const twice = wrong ? `<path class="twice" d="M${xs[0] + 26} ${y + 26}H${xs[2] - 24}"/>` : "";
  return `<svg viewBox="0 0 410 ${y + 92}" role="img"
    aria-label="Two steps: h1 = ${two(h[1])}, h2 = ${two(h[2])}, dh1 = ${two(d[1])},
    dh2 = ${two(d[2])}, derivatives by the copies ${two(partial[1])} and ${two(partial[2])}">
    <defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto"><path
    d="M0 0L8 4L0 8z"/></marker></defs>
    ${twice}${[0, 1, 2].map(node).join("")}${[1, 2].map(loss).join("")}
    ${copy(1, first)}${copy(2, second)}${[1, 2].map(back).join("")}</svg>`;
}

// The loss along a nudge of the first copy, the second, or both, with the line that its derivative predicts.
function exampleCurves(seen) {
  const {first, second, wrong} = example, reach = EXAMPLE.reach;
  const nudges = range(-30, 30).map((i) => (i / 30) * reach);
  const lossAt = [[1, 0], [0, 1], [1, 1]].map(
    ([u, v]) => (nudge) => exampleAt(first + u * nudge, second + v * nudge).loss,
  );
  const highest = Math.max(...nudges.map(lossAt[2]), 1);
  const line = (slope) => [[-reach, seen.loss - slope * reach], [reach, seen.loss + slope * reach]];
  const room = widthIn("example-curves", 900), width = room > 640 ? Math.floor(room / 3) - 7 : room;
  const wrongLine = {kind: "plain-curve", points: line(seen.double), label: `slope ${two(seen.double)}: not a tangent`};
  const one = (nudged, f, kind, slope) => plot({
    title: `L by ${nudged}: slope ${two(slope)}`, x: [-reach, reach], y: [0, highest], xLabel: "nudge", width, height: 160,
    marked: [0, seen.loss],
    lines: [
      {kind, points: nudges.map((nudge) => [nudge, f(nudge)])}, {kind: "section", points: line(slope)},
      ...(wrong && kind === "both" ? [wrongLine] : []),
    ],
  });
  return one("copy 1", lossAt[0], "copy1", seen.partial[1]) + one("copy 2", lossAt[1], "copy2", seen.partial[2])
    + one("both", lossAt[2], "both", seen.sum);
}

function drawExample() {
  const {first, second, wrong} = example, seen = exampleAt(first, second), {h, d, partial} = seen;
  showSlider("example-first", first, two(first));
  showSlider("example-second", second, two(second));
  showSlider("example-both", (first + second) / 2, first === second ? two(first) : `${two(first)} and ${two(second)}`);
  element("example-wrong").checked = Boolean(wrong);
  element("example-diagram").innerHTML = exampleDiagram(seen);
  element("example-curves").innerHTML = exampleCurves(seen);
  const slope = (t, left, right) => `<p class="copy${t}">∂L/∂w<sup>(${t})</sup> =
    dh<sub>${t}</sub>·h<sub>${t - 1}</sub> = ${two(left)}·${two(right)} = <b>${two(partial[t])}</b></p>`;
  const again = plus(d[2] * (h[1] + second * h[0]));
  element("example-sum").innerHTML = `<p class="loss">L = <b>${two(seen.loss)}</b></p>
    ${slope(1, d[1], h[0])}${slope(2, d[2], h[1])}
    <p class="both">dL/dw = ${two(partial[1])} ${plus(partial[2])} = <b>${two(seen.sum)}</b></p>
    ${!wrong ? "" : `<p class="wrong">Wrong: dh<sub>1</sub>·h<sub>0</sub> + dh<sub>2</sub>·(h<sub>1</sub> +
    w·h<sub>0</sub>) = ${two(partial[1])} ${again} = <b>${two(seen.double)}</b>. The path from copy 1 to h<sub>2</sub> (red)
    is in dh<sub>1</sub> already, and is added again with the derivative of h<sub>2</sub> by w.</p>`}`;
}

function setExample(changes, byReader = true) {
  Object.assign(example, changes);
  for (const copy of ["first", "second"])
    example[copy] = clamp(Math.round(example[copy] * 100) / 100, EXAMPLE.low, EXAMPLE.high);
  drawExample();
  if (byReader) keepInAddress("example");
}

if (element("live-example")) {
  for (const copy of ["first", "second"]) onInput(`example-${copy}`, ({value: v}) => setExample({[copy]: Number(v)}));
  onInput("example-both", ({value: v}) => {
    const move = Number(v) - (example.first + example.second) / 2;
    setExample({first: example.first + move, second: example.second + move});
  });
  onInput("example-wrong", ({checked}) => setExample({wrong: Number(checked)}));
  FIGURES.example = {
    id: "live-example", redraw: drawExample, first: {first: "2", second: "2", wrong: "0"},
    words: () => `first=${example.first}&second=${example.second}&wrong=${example.wrong}`,
    set: (asked) => setExample(
        Object.fromEntries(
          ["first", "second", "wrong"].map((key) => [key, decimal(asked[key])]).filter(([, v]) => v !== null),
        ),
      ),
  };
  setExample({}, false);
}
