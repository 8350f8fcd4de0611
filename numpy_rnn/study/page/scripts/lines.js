// The lines of the backward pass, and the usual mistakes in each: what the reader may have written, recognised by its
// value.

// right: the line that (B1) to (B9) give. summed: it is added up over the steps; once: it is computed after the last
// of them.
const LINES = {
  B1: {name: "dy", left: "dy[t]", right: "(y[t] - target[t]) / N"},
  B2: {name: "dh", left: "dh[t]", right: "dy[t] @ W_hy.T + da[t+1] @ W_hh.T"},
  B3: {name: "da", left: "da[t]", right: "dh[t] * (1 - h[t]**2)"},
  B4: {name: "dW_xh", left: "dW_xh +", right: "x[t].T @ da[t]", summed: true},
  B5: {name: "dW_hh", left: "dW_hh +", right: "h[t-1].T @ da[t]", summed: true},
  B6: {name: "dW_hy", left: "dW_hy +", right: "h[t].T @ dy[t]", summed: true},
  B7: {name: "db_h", left: "db_h +", right: "da[t].sum(axis=0)", summed: true},
  B8: {name: "db_y", left: "db_y +", right: "dy[t].sum(axis=0)", summed: true},
  B9: {name: "dh_0", left: "dh_0", right: "da[1] @ W_hh.T", once: true},
};

// The mistakes of (B2) whose second term makes dh_0 too, as in programs where both are one line.
const SAME_LINE = {
  "dy[t] @ W_hy.T + da[t+1] @ W_hh": "da[1] @ W_hh", "dy[t] @ W_hy.T + dh[t+1] @ W_hh.T": "dh[1] @ W_hh.T",
  "dy[t] @ W_hy.T + dh[t+1] @ W_hh": "dh[1] @ W_hh", "dy[t] @ W_hy.T - da[t+1] @ W_hh.T": "-da[1] @ W_hh.T",
  "dy[t] @ W_hy.T + da[t+1]": "da[1]", "dy[t] @ W_hy.T + dh[t+1]": "dh[1]", "dy[t] @ W_hy.T": "0 * h_0",
};

const MISTAKES = {
  B1: [
    ["(target[t] - y[t]) / N", "The sign is wrong: the derivative of ½(y − target)² by y is y − target."],
    ["2 * (y[t] - target[t]) / N", "A factor of 2 too much: the ½ of the loss cancels the 2 of the derivative; nn.MSELoss has no ½."],
    ["y[t] - target[t]", "The division by N is missing: the loss is a mean over T·B·O numbers."],
    ["(y[t] - target[t]) / B", "This divides by B alone: the mean is over all T·B·O numbers, N."],
    ["(y[t] - target[t])**2 / N", "This is the squared error, the loss itself. Its derivative has no square."],
    ["y[t] / N", "The target is missing: the error is y − target."],
  ],
  B2: [
    ["dy[t] @ W_hy.T + da[t+1] @ W_hh",
      "W_hh needs a transpose here: unit i collects from all units j that it affects, over the second index of W_hh."],
    ["dy[t] @ W_hy.T", "The second arrow of h[t] is missing: it also enters a[t+1], which gives da[t+1] @ W_hh.T. A detach() at every step does this."],
    ["da[t+1] @ W_hh.T", "The first arrow of h[t] is missing: its own output, dy[t] @ W_hy.T."],
    ["dy[t] @ W_hy.T + dh[t+1] @ W_hh.T",
      "da[t+1] belongs here, not dh[t+1]: the way back leads through the slope of step t + 1."],
    ["dy[t] @ W_hy.T + dh[t+1] @ W_hh", "da[t+1] belongs here, not dh[t+1], and W_hh needs a transpose."],
    ["dy[t] @ W_hy.T - da[t+1] @ W_hh.T", "The effects of both arrows add up: a plus sign."],
    ["dy[t] @ W_hy.T + da[t+1]", "The weight of the arrow from h[t] to a[t+1] is missing: W_hh.T."],
    ["dy[t] @ W_hy.T + dh[t+1]", "The way from h[t] to h[t+1] is missing: through a[t+1], so da[t+1] @ W_hh.T."],
    ["dy[t+1] @ W_hy.T + da[t+1] @ W_hh.T", "The output of the same step belongs here: dy[t], not dy[t+1]."],
  ],
  B3: [
    ["dh[t]", "The slope is missing: h[t] = tanh(a[t]), so a factor 1 − h[t]²."],
    ["dh[t] * (1 - h[t])", "A square is missing: tanh′ = 1 − tanh²."],
    ["dh[t] * (1 - a[t]**2)", "The slope is one minus the square of the value, h[t], and not of the argument, a[t]."],
    ["dh[t] * (1 - h[t-1]**2)", "This is the slope of the step before: h[t] belongs here, not h[t-1]."],
    ["dh[t] * h[t] * (1 - h[t])", "This is the slope of the logistic function. That of tanh is 1 − h[t]²."],
    ["dh[t] * (1 + h[t]**2)", "The sign is wrong: tanh′ = 1 − tanh²."],
    ["dh[t] * (1 - np.tanh(h[t])**2)", "tanh is applied twice: h[t] is tanh(a[t]) already."],
    ["dh[t] * h[t]**2", "“1 −” is missing: tanh′ = 1 − tanh²."],
    ["dh[t] * h[t]", "The slope is 1 − h[t]², not h[t]."],
    ["dh[t] / (1 - h[t]**2)", "Multiply by the slope: a small change of a[t] changes h[t] by slope times as much."],
    ["h[t] * (1 - h[t]**2)", "dh[t] belongs here, not h[t]: the derivative of the loss times the slope."],
  ],
  B4: [
    ["x[t].T @ dh[t]", "da[t] belongs here, not dh[t]: x[t] enters a[t], before the slope."],
    ["x[t].T @ da[t] / T", "No division by T: the gradients of the copies add up. The mean is in dy already."],
    ["x[t].T @ da[t] / B", "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
    ["x[t].T @ da[t+1]", "x[t] enters a[t]: da[t] belongs here, not da[t+1]."],
  ],
  B5: [
    ["h[t].T @ da[t]", "The state before the step belongs here, h[t-1]: it is what W_hh multiplies in a[t]."],
    ["h[t-1].T @ dh[t]", "da[t] belongs here, not dh[t]: W_hh enters a[t], before the slope."],
    ["h[t].T @ dh[t]", "h[t-1] and da[t] belong here: W_hh multiplies h[t-1] and enters a[t]."],
    ["da[t].T @ h[t-1]",
      "This is the transpose: rows belong to the unit that sends, h[t-1], and columns to the one that receives, da[t]."],
    ["h[t-1].T @ da[t+1]", "h[t-1] enters a[t]: da[t] belongs here, not da[t+1]."],
    ["h[t-1].T @ da[t] / T", "No division by T: the gradients of the copies add up. The mean is in dy already."],
    ["h[t-1].T @ da[t] / B", "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
  ],
  B6: [
    ["h[t-1].T @ dy[t]", "The state of the same step belongs here, h[t]: it is what W_hy multiplies in y[t]."],
    ["a[t].T @ dy[t]", "The state belongs here, h[t], and not the pre-activation a[t]."],
    ["h[t].T @ dy[t] / T", "No division by T: the gradients of the copies add up. The mean is in dy already."],
    ["h[t].T @ dy[t] / B", "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy already."],
    ["h[t].T @ (y[t] - target[t])", "The division by N is missing: dy[t] has it."],
  ],
  B7: [
    ["dh[t].sum(axis=0)", "da[t] belongs here, not dh[t]: b_h enters a[t], before the slope."],
    ["da[t].sum(axis=0) / B", "The right value times ½, which is 1/B: a sum over the batch, not a mean. The mean is in dy already."],
    ["da[t].sum(axis=0) / T", "A sum over the steps, not a mean: the mean is in dy already."],
  ],
  B8: [
    ["dy[t].sum(axis=0) / B", "The right value times ½, which is 1/B: a sum over the batch, not a mean. The mean is in dy already."],
    ["dy[t].sum(axis=0) / T", "A sum over the steps, not a mean: the mean is in dy already."],
    ["(y[t] - target[t]).sum(axis=0)", "The division by N is missing: dy[t] has it."],
  ],
  B9: [
    ["da[1] @ W_hh", "W_hh needs a transpose here, as in (B2)."],
    ["dh[1] @ W_hh.T", "da[1] belongs here, not dh[1]: the way back leads through the slope of step 1."],
    ["da[1]", "The weight of the arrow from h[0] to a[1] is missing: W_hh.T."],
    ["dh[1]", "The way from h[0] to h[1] is missing: through a[1], so da[1] @ W_hh.T."],
  ],
};
