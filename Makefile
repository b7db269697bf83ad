# Every target builds the environment in .venv when it is missing or older than the lock file. Bytecode is compiled then:
# torch and transformers load in 8 s instead of 26, and every replica and test worker loads them (4 slow, shared cores).
PYTHON ?= python3
BIN := .venv/bin
ENVIRONMENT := .venv/.complete
READERS := $(basename $(notdir $(wildcard tests/pipelines/formats/readers/*.in)))
PEERS := fastapi gliner label_studio_ml litserve

.PHONY: demo test test-statistics test-label-studio readers check bench bench-peers lock lock-peers lock-readers lock-label-studio clean

demo: $(ENVIRONMENT)
	$(BIN)/prelabel demo

test: $(ENVIRONMENT) readers
	$(BIN)/python -m pytest

# The claims of the decisions, each against many simulated trials; the ordinary tests hold them against a few.
test-statistics: $(ENVIRONMENT)
	$(BIN)/python -m pytest -m statistics --timeout 1800

# What a real Label Studio does with us, and we with it; a browser looks at it where there is one.
test-label-studio: $(ENVIRONMENT) .venv-label-studio/.complete
	$(BIN)/python -m pytest -n 0 -m label_studio tests/label_studio --timeout 600

.venv-label-studio/.complete: tests/label_studio/label_studio.txt | $(ENVIRONMENT)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-label-studio
	VIRTUAL_ENV=.venv-label-studio $(BIN)/uv pip sync --quiet --compile-bytecode $<
	touch $@

# The libraries that read our exports back in the tests, each in an environment of its own.
readers: $(READERS:%=.venv-readers/%/.complete)

.venv-readers/%/.complete: tests/pipelines/formats/readers/%.txt | $(ENVIRONMENT)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-readers/$*
	VIRTUAL_ENV=.venv-readers/$* $(BIN)/uv pip sync --quiet $<
	touch $@

check: $(ENVIRONMENT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: $(ENVIRONMENT)
	$(BIN)/python -m benchmarks ratios

# What the comparisons measure us against, each in an environment of its own.
bench-peers: $(PEERS:%=.venv-peers/%/.complete)

.venv-peers/%/.complete: benchmarks/peers/%.txt | $(ENVIRONMENT)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers/$*
	VIRTUAL_ENV=.venv-peers/$* $(BIN)/uv pip sync --quiet --compile-bytecode $<
	touch $@

lock: $(ENVIRONMENT)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--no-annotate --no-header --group dev pyproject.toml --output-file requirements.lock

lock-peers: $(ENVIRONMENT)
	for peer in $(PEERS); do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--no-annotate --no-header benchmarks/peers/$$peer.in --output-file benchmarks/peers/$$peer.txt || exit 1; done

lock-readers: $(ENVIRONMENT)
	for reader in $(READERS); do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--no-annotate --no-header tests/pipelines/formats/readers/$$reader.in \
		--output-file tests/pipelines/formats/readers/$$reader.txt || exit 1; done

lock-label-studio: $(ENVIRONMENT)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		tests/label_studio/label_studio.in --output-file tests/label_studio/label_studio.txt

clean:
	rm -rf .venv .venv-label-studio .venv-peers .venv-readers build dist demo-out .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(ENVIRONMENT): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "prelabel needs Python 3.11 or newer; got " + sys.version.split()[0])'
	test -x $(BIN)/uv || ($(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install --quiet uv)
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@
