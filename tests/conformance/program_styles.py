"""Right programs in the styles of other languages: python program_styles.py STYLE. Lists of float64, no NumPy.

octave: requests with decimal numbers, answers with JSON numbers. ruby: the options of torch.optim.SGD, hexadecimal
strings. go: always biases, answers with decimal strings. java: vectors in, classes out, and no JSON library.
"""

import itertools
import json
import math
import re
import sys

HELLOS = {
    "octave": {"numbers": "decimal", "capabilities": ["intermediates"], "lacks": ["relu", "mean", "bias"]},
    "ruby": {"capabilities": ["sgd_options"], "lacks": ["relu", "mean", "max_norm"]},
    "go": {"capabilities": [], "lacks": ["relu", "mean", "no biases"]},
    "java": {"capabilities": ["cross_entropy"], "lacks": ["relu", "mean", "bias", "squared_error", "distributions"]},
}


def rows(flat, n):
    return [flat[i : i + n] for i in range(0, len(flat), n)]


def times(vectors, W):
    """A product of matrices, of lists of rows."""
    return [[sum(a * w for a, w in zip(row, column)) for column in zip(*W)] for row in vectors]


def added(*matrices):
    return [[sum(numbers) for numbers in zip(*parts)] for parts in zip(*matrices)]


def flipped(W):
    return [list(column) for column in zip(*W)]


def window(p, x, target, h_0):
    """The intermediate values, the loss and the gradients; p, x, target and h_0 are nested lists."""
    T, K = len(x), len(target)
    bias = {
        name: [p.get(name) or [0.0] * n] * len(h_0) for name, n in (("b_h", len(h_0[0])), ("b_y", len(p["W_hy"][0])))
    }
    a, h = [], [h_0]
    for x_t in x:
        a.append(added(times(x_t, p["W_xh"]), times(h[-1], p["W_hh"]), bias["b_h"]))
        h.append([[math.tanh(v) for v in row] for row in a[-1]])
    y = [added(times(h_t, p["W_hy"]), bias["b_y"]) for h_t in h[1:]]
    dy = [[[0.0] * len(row) for row in y_t] for y_t in y[: T - K]]
    loss = 0.0
    for y_t, target_t in zip(y[T - K :], target):
        dy.append([])
        for row, wanted in zip(y_t, target_t):
            if isinstance(wanted, int):
                shifted = [v - max(row) for v in row]
                log_sum = math.log(sum(map(math.exp, shifted)))
                loss += log_sum - shifted[wanted]
                dy[-1].append([math.exp(v - log_sum) - (o == wanted) for o, v in enumerate(shifted)])
            else:
                dy[-1].append([v - w for v, w in zip(row, wanted)])
                loss += sum(e * e for e in dy[-1][-1]) / 2
    dh, da, flow = [None] * T, [None] * T, [[0.0] * len(row) for row in h_0]
    for t in reversed(range(T)):
        dh[t] = added(times(dy[t], flipped(p["W_hy"])), flow)
        da[t] = [[d * (1 - v * v) for d, v in zip(*both)] for both in zip(dh[t], h[t + 1])]
        flow = times(da[t], flipped(p["W_hh"]))
    d = {"W_xh": (x, da), "W_hh": (h, da), "W_hy": (h[1:], dy)}
    d = {name: added(*(times(flipped(u), v) for u, v in zip(*pair))) for name, pair in d.items()}
    d |= {
        name: [sum(column) for column in zip(*itertools.chain(*v))]
        for name, v in (("b_h", da), ("b_y", dy))
        if name in p
    }
    return {"loss": loss, "a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da}, d


def flat(value):
    return [number for each in value for number in flat(each)] if isinstance(value, list) else [value]


def stepped(theta, gradient, velocity, rate, momentum, dampening, nesterov, decay):
    """The new parameter and velocity, as torch.optim.SGD computes them."""
    g = [d + decay * w for d, w in zip(flat(gradient), flat(theta))]
    if not momentum:
        return [w - rate * d for w, d in zip(flat(theta), g)], None
    v = g if velocity is None else [momentum * b + (1 - dampening) * d for b, d in zip(velocity, g)]
    delta = [d + momentum * b for d, b in zip(g, v)] if nesterov else v
    return [w - rate * d for w, d in zip(flat(theta), delta)], v


def answered(style, request):
    def number(text):
        return float.fromhex(text) if isinstance(text, str) else text

    def numbers(given):
        return [number(v) for v in given]

    B, D, H, O = (request["sizes"][letter] for letter in "BDHO")
    widths = {"W_xh": H, "W_hh": H, "W_hy": O}
    p = {
        name: rows(numbers(v), widths[name]) if name in widths else numbers(v) for name, v in request["params"].items()
    }
    x, h_0 = rows(rows(numbers(request["x"]), D), B), rows(numbers(request["h_0"]), H)
    is_class = isinstance(request["target"][0], int) and request.get("loss") == "cross_entropy"
    target = rows(request["target"], B) if is_class else rows(rows(numbers(request["target"]), O), B)
    report, gradients = window(p, x, target, h_0)
    if "intermediates" not in HELLOS[style]["capabilities"]:
        report = {"loss": report["loss"]}
    report |= {"d" + name: gradient for name, gradient in gradients.items()}
    options = [number(request.get(name, 0)) for name in ("momentum", "dampening", "nesterov", "weight_decay")]
    for name, theta in p.items():
        before = (request.get("velocity") or {}).get("v" + name)
        new, v = stepped(theta, gradients[name], before and numbers(before), number(request["learning_rate"]), *options)
        report |= {name: new} | ({"v" + name: v} if v is not None else {})
    write = {"octave": float, "ruby": float.hex, "go": "{:.17g}".format, "java": str}[style]
    texts = {name: [write(v) for v in flat(value)] for name, value in report.items()}
    return {"id": request["id"]} | texts | {"loss": texts["loss"][0]}


def without_library(line):
    """A JSON object as one reads it with regular expressions: all flat lists, and all words, by their keys."""
    found = {key: re.findall(r'[^",\s]+', text) for key, text in re.findall(r'"(\w+)": \[([^]]*)\]', line)}
    found = {key: list(map(int, texts)) if key == "target" else texts for key, texts in found.items()}
    words = dict(re.findall(r'"(\w+)": "?([\w.+-]+)"?', line))
    params = {name: found.pop(name) for name in ("W_xh", "W_hh", "W_hy")} if found else {}
    sizes = {letter: int(words[letter]) for letter in "TBDHOK" if letter in words}
    return words | found | {"params": params, "sizes": sizes, "id": int(words.get("id", 0))}


def main(style):
    for line in sys.stdin:
        request = without_library(line) if style == "java" else json.loads(line)
        if request["type"] == "hello":
            answer = {"type": "hello", "protocol": 1, "name": style, "dtypes": ["float64"]} | HELLOS[style]
        else:
            answer = answered(style, request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
