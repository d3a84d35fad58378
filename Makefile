# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
# Most of an end-to-end test is waiting: three workers keep two cores busy.
TEST_WORKERS ?= 3
# Tests start the command some hundred times: without compiled files, each start costs half a second more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long properties lint clean reference bench lossless traces

demo: $(STAMP)
	$(BIN)/turnback demo

test: lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -m "not long" -q

test-long: lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -q --timeout 3600

# The properties with many more examples; TURNBACK_EXAMPLES=100000 for more still.
properties: $(TEST_STAMP)
	TURNBACK_EXAMPLES=$${TURNBACK_EXAMPLES:-10000} $(BIN)/python -m pytest -n $(TEST_WORKERS) -m "not long" -q --timeout 7200 tests/properties

lint: $(TEST_STAMP)
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(TEST_STAMP)
	$(BIN)/python -m benchmarks

reference: $(STAMP)
	$(BIN)/python -m turnback.entrypoints.reference > docs/reference.md

lossless: $(TEST_STAMP)
	$(BIN)/python -m tests.lossless > docs/lossless.md

traces: $(TEST_STAMP)
	PYTHONPATH=tests $(BIN)/python -m tests.traces > docs/traces.md

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "turnback needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python requirements.txt constraints.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(TEST_STAMP): $(STAMP) requirements-test.txt requirements-data.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-data.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build
