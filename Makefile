# Every target builds the environment in .venv when it is missing or older than the lock file. Bytecode is compiled then:
# torch and transformers load in 8 s instead of 26, and every replica and test worker loads them (4 slow, shared cores).
PYTHON ?= python3
BIN := .venv/bin
ENVIRONMENT := .venv/.complete

.PHONY: demo test check bench lock clean

demo: $(ENVIRONMENT)
	$(BIN)/prelabel demo

test: $(ENVIRONMENT)
	$(BIN)/python -m pytest

check: $(ENVIRONMENT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: $(ENVIRONMENT)
	$(BIN)/python -m benchmarks ratios

lock: $(ENVIRONMENT)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--no-annotate --no-header --group dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv build dist demo-out .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(ENVIRONMENT): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "prelabel needs Python 3.11 or newer; got " + sys.version.split()[0])'
	test -x $(BIN)/uv || ($(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install --quiet uv)
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@
