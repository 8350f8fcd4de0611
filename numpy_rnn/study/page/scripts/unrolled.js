// The unrolled network as SVG, drawn for the width that it has: the numbers of every step in cells, forwards at the left
// and backwards at the right, the arrows between them, and the cut.

const MARGIN = 42;  // for the names of the rows
const LEGIBLE = 27;  // width of a cell that holds a number of two digits
const ARROWS = {
  a: (t) => [["x", t, "a", t], ["h", t - 1, "a", t]], h: (t) => [["a", t, "h", t]], y: (t) => [["h", t, "y", t]],
  loss: (t) => [["y", t, "loss", t]], dy: (t) => [["loss", t, "dy", t]],
  dh: (t) => [["dy", t, "dh", t], ["da", t + 1, "dh", t]], da: (t) => [["dh", t, "da", t]],
};
const isBackward = (which) => ["dy", "dh", "da"].includes(which);

// Places and sizes. both: whether there are cells of the backward pass; bars: whether there is room for the window.
function layout({T, D, H, O}, width, both, bars) {
  const column = (width - MARGIN - 4) / (T + 0.62), gap = Math.max(2, column * (T > 5 ? 0.14 : 0.2));
  const cell = (column - gap) / (both ? 2 : 1), written = H <= 3 && Math.min(cell, 60) >= LEGIBLE;
  const size = {unit: written ? 22 : clamp(110 / H, 3, 13), other: written ? 22 : 12, space: written ? 28 : 20};
  const place = {};
  let top = bars ? 58 : 26;
  for (const [names, count, space] of [[["loss"], 1, 6], [["target"], O, 4], [["y", "dy"], O, size.space],
    [["h", "dh"], H, size.space + (written ? 12 : 6)], [["a", "da"], H, size.space], [["x"], D, 6]]) {
    const each = names[0] === "h" || names[0] === "a" ? size.unit : size.other;
    for (const which of names) place[which] = {top, size: each, height: each * count};
    top += each * count + space;
  }
  const begin = (t) => MARGIN + (t === 0 ? 0 : 0.62 * column + (t - 1) * column);
  const h0 = Math.min(cell, 0.62 * column - gap);
  return {
    place, bottom: top, column, gap, cell, written, width: (t) => (t === 0 ? h0 : cell),
    left: (t, which) => begin(t) + (isBackward(which) ? cell : 0),
    cutAt: (t) => begin(t + 1) - gap / 2,
  };
}

// A number as short as its cell asks for.
function fitted(v, cell) {
  if (cell >= 44) return show(v, 2);
  return Math.abs(v) >= 10 ? show(v, 1) : signedText(v.toFixed(Math.abs(v) < 1 ? 2 : 1)).replace("0.", ".");
}

function cells(now, L, which, t, scale, kind) {
  const {top, size, height} = L.place[which], x = L.left(t, which), w = L.width(t), pass = isBackward(which) ? "backward" : "forward";
  const numbers = value(now, which, t);
  const drawn = numbers.map((v, i) => {
    const y = top + i * size;
    const dash = !L.written && v < 0 && size >= 5 ? `<path class="dash" d="M${x + 0.25 * w} ${y + size / 2}h${0.5 * w}"/>` : "";
    const text = L.written ? `<text x="${x + w / 2}" y="${y + size / 2 + 4}">${fitted(v, w)}</text>` : "";
    return `<rect x="${x}" y="${y}" width="${w}" height="${size}" fill="${tone(pass, v, scale, L.written)}"/>${dash}${text}`;
  });
  return `<g class="cells ${pass} ${kind}" data-what="${which}" data-t="${t}"><title>${LETTER[which] ?? which}_${t} = ${
    numbers.map((v) => show(v)).join(", ")}</title>${drawn.join("")}<rect class="frame" x="${x}" y="${top}" width="${w}"
    height="${height}"/></g>`;
}

function arrowBetween(L, [from, t, to, u], kind) {
  const a = L.place[from], b = L.place[to], [p, q] = [L.left(t, from), L.left(u, to)];
  const middle = ({top, height}) => top + height / 2;
  if (t < u) return `<path class="${kind}" d="M${p + L.width(t)} ${middle(a)}L${q - 1} ${middle(b)}"/>`;
  if (t > u) return `<path class="${kind}" d="M${L.left(t, "a")} ${middle(a)}L${q + L.width(u) + 1} ${middle(b)}"/>`;
  const [out, into] = a.top > b.top ? [a.top, b.top + b.height + 1] : [a.top + a.height, b.top - 1];
  return `<path class="${kind}" d="M${p + L.width(t) / 2} ${out}L${q + L.width(u) / 2} ${into}"/>`;
}

// The state passes, the gradient does not: a line across the network, and scissors where the arrow crosses it.
function cutLine(L, {start}, T, uncut) {
  if (!start) return "";
  const x = L.cutAt(start), y = (L.place.h.top + L.place.h.height + L.place.a.top) / 2, late = start > T / 2;
  const scissors = uncut ? "" : `<path class="scissors" d="M${x - 6} ${y + 3}L${x + 5} ${y - 17}M${x + 6} ${y + 3}L${x - 5} ${y - 17}"/>
    <circle class="scissors" cx="${x - 7.5}" cy="${y + 6.5}" r="3.6"/><circle class="scissors" cx="${x + 7.5}" cy="${y + 6.5}" r="3.6"/>`;
  return `<g class="cut-line${uncut ? " open" : ""}"><path d="M${x} 44V${L.bottom - 4}"/>${scissors}
    <text class="${late ? "end" : ""}" x="${x + (late ? -5 : 5)}" y="53">${uncut ? "not detached" : "detach"}</text></g>`;
}

// options: both, whether the backward pass is drawn; bars, the window, its losses and the cut; all, every cell is known;
// moved, cells with a ring.
function unrolledSvg(now, width, {both = true, bars = false, all = false, moved = null}) {
  const {T, window, moment, moments, place} = now, L = layout(now, width, both, bars);
  const done = new Set(moments.slice(0, place + 1).map(({what, t}) => `${what} ${t}`));
  const groups = Object.keys(L.place).filter((which) => both || !isBackward(which));
  const known = (which, t) => all && !isBackward(which) || ["x", "target"].includes(which) && t <= window.stop
    || which === "h" && t === 0 || t <= window.start && !isBackward(which) || done.has(`${which} ${t}`);
  const kind = (which, t) => (isBackward(which) ? (t > window.start ? "" : "beyond")
    : t < window.start || t === window.start && which !== "h" ? "faded" : "");
  const steps = (which) => range(which === "h" ? 0 : isBackward(which) ? now.first : 1, isBackward(which) ? window.stop : T);
  const scale = Object.fromEntries(groups.map((which) => [which, largest(steps(which).flatMap((t) => value(now, which, t)))]));
  scale.y = scale.target = Math.max(scale.y, scale.target);
  const last = all ? T : window.stop;
  const grey = range(1, last).flatMap((t) => ["a", "h", "y"].flatMap((what) => ARROWS[what](t)));
  const active = ARROWS[moment.what]?.(moment.t).filter(([from, t]) =>
    !isBackward(from) && from !== "loss" || t <= window.stop && (from !== "loss" || t > window.lossStart)) ?? [];
  const every = (t) => T <= 8 || t === 1 || t === T || t % 5 === 0 && T - t > 2;
  const numbers = range(0, T).filter(every).map((t) => {
    const x = L.left(t, "h") + (t === 0 ? L.width(0) : (both ? 2 : 1) * L.cell) / 2;
    const badge = T <= 3 && t > 0 ? `<circle class="badge s${t}" cx="${x}" cy="10" r="9.5"/>` : "";
    return `${badge}<text class="step${badge ? " on" : ""}" x="${x}" y="14.5">${t}</text>`;
  });
  const cellsOf = groups.flatMap((which) => range(which === "h" ? 0 : 1, T).map((t) => (known(which, t)
    ? cells(now, L, which, t, scale[which], kind(which, t))
    : `<rect class="empty cells" data-what="${which}" data-t="${t}" x="${L.left(t, which)}" y="${L.place[which].top}" width="${
      L.width(t)}" height="${L.place[which].height}"/>`)));
  const labels = Object.entries({loss: "ℓ", target: "target", y: "y", h: "h", a: "a", x: "x"}).map(([which, letter]) =>
    `<text class="row-name${letter.length > 1 ? " word" : ""}" x="2" y="${L.place[which].top + L.place[which].height / 2 + 5}">${letter}</text>`);
  const bar = (from, to, y, which) => `<rect class="${which}" x="${L.left(from + 1, "h") - 2}" y="${y}" width="${
    (to - from) * L.column - L.gap + 4}" height="7" rx="3"/>`;
  const pass = moment.what.startsWith("d") ? "backward" : "forward";
  const tip = (id) => `<marker id="tip-${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="4.5" markerHeight="4.5"
    orient="auto"><path class="${id}" d="M0 0L8 4L0 8z"/></marker>`;
  return `<svg class="unrolled" width="${width}" height="${L.bottom}" viewBox="0 0 ${width} ${L.bottom}" role="img"
    aria-label="The network over ${T} steps; the window is (${window.start}, ${window.stop}]">
    <defs>${tip("forward")}${tip("backward")}</defs>${numbers.join("")}${labels.join("")}
    ${bars ? bar(window.start, window.stop, 24, "window") + bar(window.lossStart, window.stop, 34, "losses") : ""}
    ${grey.map((one) => arrowBetween(L, one, "arrow")).join("")}${bars ? cutLine(L, window, T, now.uncut) : ""}
    ${active.map((one) => arrowBetween(L, one, `active ${pass}`)).join("")}${cellsOf.join("")}
    ${ring(L, moment, both)}${moved ? ring(L, moved, both, "moved") : ""}</svg>`;
}

// Around the cells that are computed; while terms are added, around the whole step.
function ring(L, {what, t}, both, kind = "marker") {
  if (what === "clip" || what === "step") return "";
  const {top, height} = L.place[what === "enter" ? "h" : what] ?? {top: L.place.y.top, height: L.bottom - L.place.y.top - 6};
  const width = what === "dW" ? 2 * L.cell : L.width(t);
  return `<rect class="${kind}" x="${L.left(t, what) - 2}" y="${top - 2}" width="${width + 4}" height="${height + 4}" rx="3"/>`;
}
