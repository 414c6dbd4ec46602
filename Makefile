PYTHON ?= .venv/bin/python

.PHONY: format lint typecheck test test-all

format:
	$(PYTHON) -m ruff format ssl_bench tests benchmarks
	$(PYTHON) -m ruff check --fix ssl_bench tests benchmarks

lint:
	$(PYTHON) -m ruff format --check ssl_bench tests benchmarks
	$(PYTHON) -m ruff check ssl_bench tests benchmarks

typecheck:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -q -m "not slow"

test-all:
	$(PYTHON) -m pytest -q
