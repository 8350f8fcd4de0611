// The worked example of section 4.1 of the derivation: two steps, one weight that is used twice. Each use has a copy of
// its own here, so that the two partial derivatives, and their sum, can be seen. All sizes are 1, φ is the identity,
// and x, h_0, W_xh and W_hy are 1.

const EXAMPLE = {targets: [null, 2, 6], reach: 0.3};

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

function exampleDiagram({h, e, d, partial}, {first, second, wrong}, width) {
  const apart = Math.min((width - 68) / 2, 200), x = (t) => 26 + apart * t, y = 116;
  const text = (at, v, kind, words) => `<text class="${kind}" x="${at}" y="${v}">${words}</text>`;
  const sub = (letter, t) => `${letter}${"₀₁₂"[t]}`;
  const node = (t) => `<circle cx="${x(t)}" cy="${y}" r="23"/>${text(x(t), y + 5, "value", two(h[t]))}
    ${text(x(t), y + 40, "", sub("h", t))}`;
  const loss = (t) => `${text(x(t), 14, "", `target ${EXAMPLE.targets[t]}`)}${text(x(t), 30, "", `error ${two(e[t])}`)}
    ${text(x(t), 46, "", `loss ${two(e[t] ** 2 / 2)}`)}<path class="up" d="M${x(t)} ${y - 24}V54"/>`;
  const copy = (t, w) => `<path class="s${t}" d="M${x(t - 1) + 24} ${y}H${x(t) - 30}"/>
    ${text(x(t - 0.5), y - 9, `s${t}`, `1 + h·w`)}${text(x(t - 0.5), y + 19, `s${t}`, `w = ${two(w)}`)}`;
  const twice = wrong ? `<path class="twice" d="M${x(0) + 26} ${y + 27}H${x(2) - 26}"/>` : "";
  return `<svg width="${x(2) + 40}" height="${y + 88}" viewBox="0 0 ${x(2) + 40} ${y + 88}" role="img"
    aria-label="Two steps: h1 = ${two(h[1])}, h2 = ${two(h[2])}, dh1 = ${two(d[1])},
    dh2 = ${two(d[2])}, derivatives by the copies ${two(partial[1])} and ${two(partial[2])}">
    <defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto"><path
    d="M0 0L8 4L0 8z"/></marker></defs>
    ${twice}${[0, 1, 2].map(node).join("")}${[1, 2].map(loss).join("")}${copy(1, first)}${copy(2, second)}
    ${text(x(2), y + 62, "back", `${sub("dh", 2)} = ${two(d[2])}`)}
    ${text(x(1), y + 82, "back", `${sub("dh", 1)} = ${two(e[1])} ${plus(d[2])}·${two(second)} = ${two(d[1])}`)}</svg>`;
}

// The loss along a nudge of the first copy, the second, or both, with the line that its derivative predicts.
function exampleCurves(seen, {first, second, wrong}) {
  const {reach} = EXAMPLE, nudges = range(-30, 30).map((i) => (i / 30) * reach);
  const lossAt = [[1, 0], [0, 1], [1, 1]].map(([u, v]) => (nudge) => exampleAt(first + u * nudge, second + v * nudge).loss);
  const highest = Math.max(...nudges.map(lossAt[2]), 1);
  const line = (slope) => [[-reach, seen.loss - slope * reach], [reach, seen.loss + slope * reach]];
  const room = widthOf("example-curves", 640), width = room > 560 ? Math.floor(room / 3) - 5 : room;
  const wrongLine = {kind: "cut", points: line(seen.double), label: `slope ${two(seen.double)}: no tangent`};
  const one = (nudged, f, kind, slope) => plot({
    title: `L by ${nudged}: slope ${two(slope)}`, x: [-reach, reach], y: [0, highest], xLabel: "nudge", width,
    height: width === room ? 120 : 150, marked: [0, seen.loss],
    lines: [
      {kind, points: nudges.map((nudge) => [nudge, f(nudge)])}, {kind: "section", points: line(slope)},
      ...(wrong && kind === "ink" ? [wrongLine] : []),
    ],
  });
  return one("copy 1", lossAt[0], "s1", seen.partial[1]) + one("copy 2", lossAt[1], "s2", seen.partial[2])
    + one("both", lossAt[2], "ink", seen.sum);
}

function drawExample(state, changes = {}) {
  if ("both" in changes && !("first" in changes)) {
    const by = state.both - (state.first + state.second) / 2;
    for (const copy of ["first", "second"]) state[copy] = clamp(Math.round((state[copy] + by) * 100) / 100, 1, 3);
  }
  const {first, second, wrong} = state, seen = exampleAt(first, second), {h, d, partial} = seen;
  state.both = 2;  // not kept: the two copies are
  showSlider("example-first", first, two(first));
  showSlider("example-second", second, two(second));
  showSlider("example-both", (first + second) / 2, first === second ? two(first) : `${two(first)} and ${two(second)}`);
  element("example-wrong").checked = Boolean(wrong);
  element("example-diagram").innerHTML = exampleDiagram(seen, state, widthOf("example-diagram", 460));
  element("example-curves").innerHTML = exampleCurves(seen, state);
  const slope = (t, left, right) => `<p class="s${t}">∂L/∂w<sup>(${t})</sup> =
    dh<sub>${t}</sub>·h<sub>${t - 1}</sub> = ${two(left)}·${two(right)} = <b>${two(partial[t])}</b></p>`;
  const again = plus(d[2] * (h[1] + second * h[0]));
  element("example-sum").innerHTML = `<p>L = <b>${two(seen.loss)}</b></p>${slope(1, d[1], h[0])}${slope(2, d[2], h[1])}
    <p>dL/dw = ${two(partial[1])} ${plus(partial[2])} = <b>${two(seen.sum)}</b></p>
    ${!wrong ? "" : `<p class="cut">Wrong: dh<sub>1</sub>·h<sub>0</sub> + dh<sub>2</sub>·(h<sub>1</sub> +
    w·h<sub>0</sub>) = ${two(partial[1])} ${again} = <b>${two(seen.double)}</b>. The path from copy 1 to h<sub>2</sub> (red)
    is in dh<sub>1</sub> already, and is added again with the derivative of h<sub>2</sub> by w.</p>`}`;
}

figure("example", "live-example", {
  first: [2, decimal(1, 3)], second: [2, decimal(1, 3)], both: [2, decimal(1, 3)], wrong: [0, flag],
}, drawExample);
