# What a change must pass, as jobs that `make` runs two at a time. `.ci/run` calls it in a clean checkout.
# All jobs test what pip has installed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
alone := ../alone
readme_command := $(shell grep -E '^python3 -m venv .*pytest' README.md)

all: documents
.PHONY: all installed readme alone numpy_alone documents without_simd types

# The README's test command as written, in two parts: the installation and the tests, with random examples.
# The tests and the documents use both cores; what uses one core comes before, as one core installs.
installed:
	command='$(readme_command)'; echo "$$command"; eval "$${command% && *}"

readme: installed numpy_alone types without_simd
	export HYPOTHESIS_PROFILE=random; command='$(readme_command)'; eval "$${command##* && }"

# An environment without torch and Matplotlib.
alone:
	python3 -m venv $(alone)
	$(alone)/bin/pip install --quiet uv
	$(alone)/bin/uv pip install --quiet --python $(alone) . --group dev

# NumPy and JAX, without torch, Matplotlib and SIMD: the fast tests, but for those of hints, which no kernel
# changes; and all tests with JAX.
numpy_alone: alone
	! $(alone)/bin/python -c 'import torch' 2>/dev/null
	! $(alone)/bin/python -c 'import matplotlib' 2>/dev/null
	.ci/without_simd $(alone)/bin/pytest -q --packages=numpy_rnn -m 'not slow' --ignore-glob='*/test_hints*'
	$(alone)/bin/pytest -q --packages=numpy_rnn tests/benchmarks tests/conformance/test_module_ports.py -k 'JAX or jax'

# The numbers of torch_rnn without SIMD.
without_simd: installed
	.ci/without_simd .venv/bin/pytest -q --packages=torch_rnn tests/core/test_window.py tests/core/test_runs.py

# The commands, outputs and install lines of the documents.
documents: readme
	.venv/bin/python .ci/documents

types: alone installed
	$(alone)/bin/ruff check .
	$(alone)/bin/ruff format --check .
	$(alone)/bin/mypy --python-executable .venv/bin/python
