"""What --help says beside the options: what the commands do, and examples in which every option occurs."""

ABOUT = {
    "train": """\
An Elman network learns to predict the next row of a series. Without options: a sine wave, one point at a time, 300
epochs over 20 points, six hidden units. Other commands, each with a --help of its own: `compare` holds another
implementation against this one; `study`, of numpy_rnn, makes a page on how the gradient comes about.

Exit status: 0; 2 for input that cannot be used; 3 for a run whose numbers went out of range; 130 after Ctrl-C, 143
after the order to end.""",
    "compare": """\
Run this package and another implementation on the same configuration: both loss columns, every update of both held to
its rounding bounds, the first divergence with what it looks like, and the drift of the two left to run freely. Exit
status 1 when one of them is wrong.""",
    "study": """\
The derivation of the gradient, executed on one run: every equation beside independent witnesses, the item matrix and
what each truncation keeps of it, what truncation costs, why gradients vanish or explode, where implementations
disagree, and what the known mistakes do. Makes a folder with a page, study.html, that needs no network and can be
explored, its figures as SVG and PNG, and its numbers as JSON. Needs matplotlib; torch and python-flint are witnesses
where they are installed.""",
}
OTHER = "a package such as {other}, a Python port as module:object, a program that speaks the protocol, or a trace file"
EXAMPLES = {
    "train": """\
examples:
  python -m {name}                                   the main job
  python -m {name} --epochs 1000 --log-every 100     longer, and every hundredth epoch printed
  python -m {name} --k1 1 --k2 5                     gradients that reach five steps back
  python -m {name} --k1 20 --reduction mean          one update an epoch, by the mean loss
  python -m {name} --hidden-size 12 --nonlinearity relu --bias --dtype float64
                                                        another network
  python -m {name} --seed 7 --generate 100           other initial weights; the network runs on freely for 100 steps
  python -m {name} --seeds 100                       100 initial weights at once: median and band
  python -m {name} --learning-rate 0.01,0.03,0.1     a network for every rate, in one run
  python -m {name} --learning-rate 0.01,0.03 --seeds 20
                                                        20 for every rate
  python -m {name} --momentum 0.9 --nesterov --learning-rate 0.02
                                                        Nesterov momentum, with a smaller rate
  python -m {name} --momentum 0.9 --dampening 0.9    a running mean of the gradients
  python -m {name} --k1 20 --k2 20 --max-norm 0.1    full BPTT, with clipping so that it does not diverge
  python -m {name} --learn-initial-state             the state that every epoch starts from is learned too
  python -m {name} --save run.npz --save-every 10    keep the weights, and the run; also after Ctrl-C
  python -m {name} --resume run.npz --epochs 600 --save run.npz
                                                        continue that run to epoch 600, and save it
  python -m {name} --weights run.npz --no-plot       start anew from its weights; no picture
  python -m {name} --trace trace.npz --epochs 10     everything of every update, in one file
  python -m {name} --data series.csv --columns 2     a series of your own, a row a time step: its second column
  python -m {name} --data sunspots.csv --columns sunspots --standardize --held-out 50 \\
      --hidden-size 8 --bias --reduction mean --k1 10 --k2 10 --learning-rate 0.01 --momentum 0.9 \\
      --weight-decay 1e-3 --max-norm 1 --epochs 100
  python -m {name} --plot sine.svg --show            the picture as a file, and in a window
  python -m {name} --no-progress --seeds 1000        no progress bar""",
    "compare": """\
examples:
  python -m {name} compare {other}                 the same run in both packages, every update judged
  python -m {name} compare {other} --momentum 0.9 --learning-rate 0.01
                                                        with these options, or any others of the run
  python -m {name} compare {other} --json found.json --plot compare.pdf
                                                        what was found, as numbers and as a picture
  python -m {name} compare my_rnn:port               the same against an implementation of your own
  python -m {name} compare trace.npz                 a trace, from --trace or from any other program""",
    "study": """\
examples:
  python -m {name} study                             of the main job, into the folder study
  python -m {name} study --k1 1 --k2 5 --bias --seed 7 --folder sliding
                                                        of another run
  python -m {name} study --nonlinearity relu --reduction mean --hidden-size 4 --dtype float64 --learn-initial-state
                                                        of another network
  python -m {name} study --momentum 0.9 --dampening 0.5 --weight-decay 1e-4 --max-norm 1 --learning-rate 0.01
                                                        with another update
  python -m {name} study --momentum 0.9 --nesterov --learning-rate 0.01
                                                        and with another
  python -m {name} study --data series.csv --columns 2 --standardize --steps 30 --epochs 50 --seeds 64
                                                        of the first 30 steps of your own series, on 64 networks
  python -m {name} study --weights run.npz           from weights that --save wrote""",
}
