// A gradient that the reader's own program prints: names, shapes and orientation are recognised, and the tolerance is that
// of the digits that are there.

const FLOAT32 = 4e-6;  // rounding of a program in float32, relative to the largest number of a tensor
const SHAPES = Object.fromEntries(Object.entries(tiny.p).map(([key, theta]) => [key, shapeOf(theta)]));
const ALIASES = {
  W_xh: ["wxh", "wih", "wx", "win"], W_hh: ["whh", "wh", "wrec", "recurrentkernel"], W_hy: ["why", "who", "wy", "wout"],
  b_h: ["bh", "biasih", "biashh", "bih", "bhh"], b_y: ["by", "bo", "bhy"], h_0: ["h0", "hprev", "hx", "hnext", "hinit"],
};
const TORCH = {weightih: "W_xh", weighthh: "W_hh"};  // whose arrays are the transposes
// Sizes that are printed beside a name: torch.Size([4, 3]), (4, 3), [4, 3] tensor, 4x4. They are no numbers of an array.
const SIZES = new RegExp([/(?:shape|size|float\d+)[\s=:(]*\[[\d,\s]*\]/, /\(\s*[1-9]\d*(?:\s*[,x×]\s*[1-9]\d*)*\s*,?\s*\)/,
  /\[\d+(?:, ?\d+)*\](?=:?\s+(?:tensor|array|\[))/, /\b\d+ ?[x×] ?\d+\b/].map(({source}) => source).join("|"), "gi");
const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?\b(?:nan|inf)(?:inity)?\b/gi;

// Which parameter a name means, and whether it is PyTorch's; null where the name says nothing, and the shape decides.
function meaning(text) {
  const plain = text.toLowerCase().replace(/\.grad\b.*|_grad\b|_l0\b|\.(data|numpy|detach|cpu)\b.*/g, "").split(/[.\/]/).at(-1);
  const letters = plain.replaceAll("_", ""), short = letters.replace(/^(grad|gradient|d|g)(?=w|b|h|u|v)/, "");
  if (Object.hasOwn(TORCH, letters)) return {key: TORCH[letters], torch: !/\.t$/i.test(text)};
  const key = Object.keys(ALIASES).find((one) => ALIASES[one].includes(letters) || ALIASES[one].includes(short));
  return key ? {key, torch: false} : null;
}

// The arrays of a text, each with the last name before it: {name, texts, numbers, factor, shape, short}. One number is none.
function readArrays(text) {
  const clean = text.replace(SIZES, " ").replace(/\b(?:grad_fn|dtype|device|requires_grad)\s*=\s*(?:<[^>]*>|[\w.'":]+)/g, "").replace(/−/g, "-");
  const result = [], token = /([A-Za-z_][\w.\/]*)|\[|[-+]?(?:\d|\.\d)\S*/g;
  let name = null, factor = 1;
  for (let match; (match = token.exec(clean));) {
    const [found, word] = match;
    if (word) {
      if (meaning(word) || /weight|bias|kernel/i.test(word)) name = word;
      continue;
    }
    token.lastIndex = found === "[" ? closing(clean, match.index) : blockEnd(clean, match.index);
    const body = clean.slice(match.index, token.lastIndex), texts = body.match(NUMERAL) ?? [];
    const scale = /^(\S+)\s*\*\s*$/.exec(body.trim());  // PyTorch's common factor: 1.0000e-02 * [[…]]
    if (scale) factor = Number(scale[1]);
    if (scale || !texts.length || (found !== "[" && texts.length === 1)) continue;
    result.push({
      name, texts, factor, numbers: texts.map((v) => factor * Number(v.replace(/inf\w*/i, "Infinity"))),
      shape: found === "[" ? shapeInBrackets(body) : shapeOfRows(body), short: body.includes("..."),
    });
    [name, factor] = [null, 1];
  }
  return result;
}

// The index after the bracket that closes the one at `from`.
function closing(text, from) {
  for (let i = from, depth = 0; i < text.length; i++) {
    depth += (text[i] === "[") - (text[i] === "]");
    if (depth === 0) return i + 1;
  }
  return text.length;
}

// Rows of numbers without brackets end at the next name or bracket.
function blockEnd(text, from) {
  const next = /[[*]|[A-Za-z_]{2}/.exec(text.slice(from));
  return next ? from + next.index + Number(next[0] === "*") : text.length;
}

// Sizes of nested brackets; [] where parts differ in shape.
function shapeInBrackets(body) {
  const tokens = body.match(new RegExp(`[[\\]]|${NUMERAL.source}`, "gi"));
  let at = 0;
  const part = () => {
    if (tokens[at++] !== "[") return [];
    const shapes = [];
    while (at < tokens.length && tokens[at] !== "]") shapes.push(part());
    at++;
    return shapes.some((shape) => shape === null || `${shape}` !== `${shapes[0]}`) ? null : [shapes.length, ...(shapes[0] ?? [])];
  };
  return part() ?? [];
}

function shapeOfRows(body) {
  const rows = body.split(/[\n;]/).map((row) => (row.match(NUMERAL) ?? []).length).filter(Boolean);
  return new Set(rows).size > 1 ? [] : rows.length > 1 ? [rows.length, rows[0]] : [rows[0]];
}

// Half a unit of the last digit of every number. An array is printed with the same number of decimals throughout, or of
// significant digits; zeros at the end may be left out.
function resolutions({texts, factor}) {
  const parts = texts.map((text) => /([\d.]+)(?:e([-+]?\d+))?/i.exec(text) ?? ["", "", 0]);
  const decimals = Math.max(...parts.map(([, digits]) => (digits.split(".")[1] ?? "").length));
  const significant = Math.max(...parts.map(([, digits]) => digits.replace(".", "").replace(/^0+/, "").length));
  return parts.map(([, digits, power = 0]) => {
    const size = Math.floor(Math.log10(Math.abs(Number(digits)) || 1e-99));
    return 0.5 * factor * 10 ** Number(power) * Math.max(10 ** -decimals, 10 ** (size - significant + 1));
  });
}

// The numbers of an (m, n) matrix, row by row, from those of its transpose.
const transposedList = (list, [m, n]) => list.map((_, k) => list[(k % n) * m + Math.floor(k / n)]);
const squeezed = (shape) => shape.filter((size) => size !== 1);
const sameShape = (u, v) => `${squeezed(u)}` === `${squeezed(v)}`;
const shapeWords = (shape) => (shape.length ? `(${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "of rows that differ in length");

// The parameter, its numbers in the orientation of this page, and their tolerance; or what is wrong with the shape.
function recognised(array) {
  const meant = array.name && meaning(array.name), {shape} = array, flipped = [...squeezed(shape)].reverse();
  const fitting = Object.keys(SHAPES).filter((key) => sameShape(shape, SHAPES[key]) || sameShape(flipped, SHAPES[key]));
  const key = meant?.key ?? fitting[0], label = array.name ?? `an array ${shapeWords(shape)}`;
  if (!key) return {label, problem: `${label}: shape ${shapeWords(shape)} is that of no gradient of this network.`};
  const expected = SHAPES[key], straight = sameShape(shape, expected);
  if (array.short) return {label, problem: `${label}: the array is abbreviated with “...”; print all of its numbers.`};
  if (!straight && !sameShape(flipped, expected)) {
    return {label, problem: `${label}: the shape is ${shapeWords(shape)}, expected ${shapeWords(expected)}${
      expected.length > 1 && expected[0] !== expected[1] && key !== "h_0" ? `, or ${shapeWords([...expected].reverse())} as in PyTorch` : ""}.`};
  }
  const square = expected.length === 2 && expected[0] === expected[1];
  const isTransposed = !straight || square && Boolean(meant?.torch);
  const turned = (list) => (isTransposed ? transposedList(list, expected) : list);
  return {label, key, square, isTransposed, named: Boolean(meant), torch: Boolean(meant?.torch),
    numbers: turned(array.numbers), half: turned(resolutions(array))};
}

const tolerances = ({half}, expected) => half.map((v) => 1.01 * v + FLOAT32 * largest(expected));
const agrees = (one, expected) => {
  const allowed = tolerances(one, expected);
  return one.numbers.every((v, i) => Math.abs(v - expected[i]) <= allowed[i]);
};
const rightOf = (key) => right[`d${key}`].flat();

// A square matrix may be transposed without showing it: it is taken as the others are, or as it is right.
function oriented(all) {
  const matrices = all.filter(({key, square}) => !square && key.startsWith("W")), others = matrices.some(({isTransposed}) => isTransposed);
  const swap = (one) => ({...one, isTransposed: !one.isTransposed,
    numbers: transposedList(one.numbers, SHAPES.W_hh), half: transposedList(one.half, SHAPES.W_hh)});
  return all.map((one) => (one.square && !one.torch && others ? swap(one) : one)).map((one) => {
    if (!one.square || (matrices.length && !one.torch) || agrees(one, rightOf(one.key)) || !agrees(swap(one), rightOf(one.key))) return one;
    return {...one, swapped: true};
  });
}

function verdictOn(one) {
  const expected = rightOf(one.key), name = `d${one.key}`;
  const as = {W_xh: "weight_ih_l0", W_hh: "weight_hh_l0", W_hy: "the weight of nn.Linear"}[one.key];
  const which = one.label === name || one.label === one.key ? name
    : `${one.label}: this is ${name}${one.isTransposed ? `ᵀ${one.torch ? "" : `, as ${as} in PyTorch`}` : ""}`;
  const size = largest(expected), coarse = largest(one.half);
  const apart = largest(one.numbers.map((v, i) => v - expected[i])) / size;
  if (one.numbers.some((v) => !Number.isFinite(v))) return {right: false, text: `${which}: wrong, not all of its numbers are finite.`};
  if (agrees(one, tiny.p[one.key].flat())) return {right: false, text: `${which}: these are the weights themselves; print their .grad.`};
  if (!agrees(one, expected)) {
    const turned = !one.swapped ? "" : ` It is the transpose of the right one: ${one.torch ? "PyTorch’s own gradient has the other orientation."
      : "if your program stores W_hh as PyTorch does, it is right; else swap h[t-1] and da[t] in (B5)."}`;
    return {right: false, text: `${which}: ${one.swapped && !one.torch ? "transposed" : "wrong"}, the largest difference is ${show(apart, 2)} of its largest number.${turned}`};
  }
  if (coarse > 0.02 * size) return {right: true, text: `${which}: cannot be told, too few digits are printed; print at least four.`};
  return {right: true, text: `${which}: right${coarse > FLOAT32 * size ? ", to the digits that are printed" : ""}.`};
}

const FACTORS_OF_LOSS = {  // words, and a reason
  2: ["2", "nn.MSELoss has no ½, or backward() ran twice without zero_grad()"],
  "-1": ["−1", "the sign is wrong"], 0.5: ["½", "a ½, or 1/B, too many"],
  [tiny.N]: ["N", "the loss is a sum, not a mean"],
  [TINY_SIZES.T]: ["T", "the mean is not over the steps"], [TINY_SIZES.O]: ["O", "the mean is not over the outputs"],
  [TINY_SIZES.B * TINY_SIZES.T]: ["T·B", "the mean is over the outputs alone"],
  [TINY_SIZES.B * TINY_SIZES.O]: ["B·O", "the mean is over the steps alone"],
};
const SLIPS = [  // of the forward pass or the loss: words, and what is different
  ["h_0 is zero in your program: pass the h_0 of this network.", {p: {h_0: 0}}],
  ["The bias is added twice: PyTorch adds bias_ih_l0 and bias_hh_l0, so set one of them to zero.", {p: {b_h: 2}}],
  ["There is no hidden bias in your program.", {p: {b_h: 0}}],
  ["There is no output bias in your program.", {p: {b_y: 0}}],
  ["Only the last step has a loss in your program; here every step has one.", {first: TINY_SIZES.T}],
  ["Only the last step has a loss in your program, and the mean is over it alone; here every step has one.",
    {first: TINY_SIZES.T, N: tiny.N / TINY_SIZES.T}],
  ["W_hh is transposed in your forward pass: PyTorch's weight_hh_l0 is loaded with W_hh.T.", {weights: {W_hh: transpose(tiny.p.W_hh)}}],
  ["The nonlinearity is relu in your program; here it is tanh.", {nonlinearity: "relu"}],
  ["The nonlinearity is the logistic function in your program; here it is tanh.", {nonlinearity: "sigmoid"}],
  ["Steps and sequences are exchanged, and h_0 is zero: x is (T, B, D), so no batch_first=True.", {exchanged: true}],
];

function slipGradients([, {p: factors = {}, weights = {}, first = 1, N = tiny.N, nonlinearity = "tanh", exchanged = false}]) {
  const p = {...tiny.p, ...weights}, turned = (list) => (exchanged ? [null, ...transpose(list.slice(1))] : list);
  for (const [key, factor] of Object.entries(factors)) p[key] = each((v) => factor * v, p[key]);
  if (exchanged) p.h_0 = zeros(TINY_SIZES.T, TINY_SIZES.H);
  const x = turned(tiny.x), stop = x.length - 1, activations = forward(p, x, p.h_0, nonlinearity);
  const flow = adjoints(p, activations, turned(tiny.target), {lossStart: first - 1, stop}, N, nonlinearity);
  return Object.fromEntries(Object.entries(gradientSum(p, activations, flow, 1, stop)).map(([key, d]) => [`d${key}`, d]));
}

// Every candidate: its words, and its gradients. A mistake of (B2) may be one of (B9) too.
function candidates() {
  const functions = parsedLines(rightLines());
  const gradients = (lines) => byLines({...functions, ...parsedLines(lines)}, null).result;
  const lines = mistakenValues.flatMap(({line: id, text, message}) => {
    const words = `These are the numbers of ${LINES[id].left} = ${text} in (${id}). ${message}`;
    const paired = id === "B2" && SAME_LINE[text];
    return [[words, gradients({[id]: text})], ...(paired ? [[words, gradients({B2: text, B9: paired})]] : [])];
  });
  return [["", right], ...lines, ...SLIPS.map((slip) => [slip[0], slipGradients(slip)])];
}

let known = null;  // made when the first numbers are pasted

// The words about the one mistake, with or without a factor, that gives all of these tensors.
function mistakeOf(all) {
  known ??= candidates();
  for (const factor of ["1", ...Object.keys(FACTORS_OF_LOSS)]) {
    const fits = ([, result]) => all.every((one) => result[`d${one.key}`] && agrees(one, result[`d${one.key}`].flat().map((v) => factor * v)));
    const found = known.find((one) => fits(one) && (one[0] || factor !== "1"));
    const [times, why] = FACTORS_OF_LOSS[factor] ?? [];
    if (found) return !times ? found[0] : found[0] ? `${found[0]} And there is a factor of ${times}: ${why}.` : `All are ${times} times the right ones: ${why}.`;
  }
  return null;
}

// A message for each array of the text, and one for the mistake that explains the wrong ones. Beside others, what fits nothing is left out.
function pasted(text) {
  const arrays = readArrays(text);
  if (!arrays.length) return ["No numbers are found: paste arrays, each after its name, such as dW_hh = [[…]]."];
  const read = arrays.map(recognised), all = oriented(read.filter(({problem}) => !problem));
  const problems = read.filter(({problem}, i) => problem && (arrays[i].name || !all.length)).map(({problem}) => problem);
  const verdicts = all.map(verdictOn), messages = [...problems, ...verdicts.map(({text: words}) => words)];
  if (all.every((one, i) => verdicts[i].right || one.swapped)) return messages;
  return [...messages, mistakeOf(all) ?? "No mistake of the list explains all of these numbers."];
}

if (element("paste-text")) {
  element("paste-text").addEventListener("input", ({target: {value: text}}) => {
    const messages = text.trim() ? pasted(text) : [];
    element("paste-result").replaceChildren(...messages.map((words) => Object.assign(document.createElement("p"), {textContent: words})));
  });
  const asNumPy = (key, A) => `${key} = np.array(${JSON.stringify(A)})`;
  element("paste-numbers").textContent = [
    ...Object.entries(tiny.p).map(([key, theta]) => asNumPy(key, theta)),
    asNumPy("x", tiny.x.slice(1)), asNumPy("target", tiny.target.slice(1)),
    "# a_t = x_t W_xh + h_{t-1} W_hh + b_h, h_t = tanh(a_t), y_t = h_t W_hy + b_y",
    "# L = ((y - target)**2).mean() / 2; x and target are (T, B, …)",
  ].join("\n");
}
