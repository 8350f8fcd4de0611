# What a change must pass, as jobs that `make` runs two at a time. `.ci/run` calls it in a clean checkout.
# All jobs test what pip has installed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
alone := ../alone
readme_command := $(shell grep -E '^python3 -m venv .*pytest' README.md)

all: documents without_simd types
.PHONY: all readme alone numpy_alone documents without_simd types

# The README's test command as written, with random examples.
readme:
	echo '$(readme_command)'
	export HYPOTHESIS_PROFILE=random; $(readme_command)

# An environment without torch and Matplotlib.
alone:
	python3 -m venv $(alone)
	$(alone)/bin/pip install --quiet uv
	$(alone)/bin/uv pip install --quiet --compile-bytecode --python $(alone) . --group dev

# The fast tests with NumPy and JAX, without torch, Matplotlib and SIMD; and all tests with JAX. They come after
# the README's, which use both cores and measure processor time.
numpy_alone: alone readme
	! $(alone)/bin/python -c 'import torch' 2>/dev/null
	! $(alone)/bin/python -c 'import matplotlib' 2>/dev/null
	.ci/without_simd $(alone)/bin/pytest -q -n auto --packages=numpy_rnn -m 'not slow'
	$(alone)/bin/pytest -q --packages=numpy_rnn tests/benchmarks tests/conformance/test_module_ports.py -k 'JAX or jax'

# The commands, outputs and install lines of the documents.
documents: readme
	.venv/bin/python .ci/documents

# Those of torch_rnn without SIMD.
without_simd: readme
	.ci/without_simd .venv/bin/pytest -q -n auto --packages=torch_rnn -m 'not slow' tests/core

types: readme numpy_alone
	$(alone)/bin/ruff check .
	$(alone)/bin/ruff format --check .
	$(alone)/bin/mypy --python-executable .venv/bin/python
