# Everything a person runs. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# No stage may reach a model hub; `musicgen fetch` alone lifts this.
export HF_HUB_OFFLINE := 1
# uv uses the Python that is there; it fetches none.
export UV_PYTHON_DOWNLOADS := never

RUST := $(shell find rust_loader -path rust_loader/target -prune -o -type f \( -name '*.rs' -o -name '*.cc' -o -name '*.h' -o -name 'Cargo.*' \) -print 2>/dev/null)

.PHONY: help setup build demo test lint sanitize dag digests bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.synced  ## make .venv with everything in requirements.lock

build: $(VENV)/.built  ## compile the Rust and C++ extension into .venv

demo: build  ## make a small corpus, then run the whole pipeline on it up to the report
	@[ -f data/demo/metadata.csv ] || musicgen demo-corpus --out data/demo
	snakemake --profile local
	echo
	run=$$(ls -td results/runs/*/ | head -n 1)
	sed -n 's/^report: \(.*?.*\)/\1/p' results/logs/report/$$(basename $$run).log | fold -s -w 140
	echo
	echo "report:  $${run}report.html"
	echo "samples: $${run}samples/"

test: build  ## run all tests: cargo's and pytest's
	@cd rust_loader && cargo test --locked --quiet
	cd .. && $(PY) -m pytest -q

lint: build  ## formatting, lints, types, stubs
	@ruff check .
	ruff format --check .
	mypy
	$(PY) -m mypy.stubtest musicgen_core._rust_loader
	cd rust_loader && cargo fmt --check && cargo clippy --locked --quiet --all-targets --all-features -- -D warnings

sanitize: build  ## run cargo's tests under the address sanitizer, the C++ kernels' undefined behaviour trapped
	@cd rust_loader && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address MUTANTS_PER_SEED=100 \
	ASAN_OPTIONS=allocator_may_return_null=1 CXXFLAGS="-fsanitize=address,undefined -fsanitize-undefined-trap-on-error" \
	cargo test --locked --quiet --target x86_64-unknown-linux-gnu --target-dir target/sanitize

dag: build  ## draw the graph of rules as docs/dag.svg (needs graphviz)
	@command -v dot >/dev/null || { echo "make dag needs graphviz: apt-get install graphviz"; exit 1; }
	[ -f data/demo/metadata.csv ] || musicgen demo-corpus --out data/demo
	snakemake --profile local --rulegraph dot | dot -Tsvg -o docs/dag.svg
	echo docs/dag.svg

digests: build  ## record the code of the stages, after versions in musicgen_core/stages were raised where results differ
	@$(PY) tests/house/stage_code.py && $(PY) tests/house/config_keys.py

bench: build  ## run every benchmark, each against a peer in the same run
	@uv=$$(command -v uv || echo .uv/bin/uv)
	$$uv pip install --quiet --python $(PY) --requirement benchmarks/requirements.txt
	for file in benchmarks/bench_*.py; do echo "== $$file"; $(PY) $$file; done

clean:  ## remove .venv and compiled files; music and results stay
	@rm -rf $(VENV) .uv rust_loader/target musicgen_core/*.so

$(VENV)/.synced: requirements.lock
	@command -v cargo >/dev/null || { echo "a Rust toolchain is missing: install one with rustup (rustc >= 1.89)"; exit 1; }
	command -v c++ >/dev/null || { echo "a C++ compiler is missing: apt-get install build-essential"; exit 1; }
	if ! command -v uv >/dev/null && [ ! -x .uv/bin/uv ]; then
	  echo "setting up: uv"
	  python3 -m venv .uv || { echo "python3 cannot make environments: apt-get install python3-venv"; exit 1; }
	  .uv/bin/python -m pip install --quiet uv
	fi
	uv=$$(command -v uv || echo .uv/bin/uv)
	echo "setting up: packages of requirements.lock in $(VENV) (about 6 GB, most of it torch)"
	[ -x $(PY) ] || $$uv venv --quiet --python '>=3.11' $(VENV)
	$$uv pip sync --python $(PY) requirements.lock
	touch $@

$(VENV)/.built: $(VENV)/.synced pyproject.toml $(RUST)
	@echo "building: the Rust and C++ extension (a minute the first time)"
	uv=$$(command -v uv || echo .uv/bin/uv)
	$$uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	touch $@
