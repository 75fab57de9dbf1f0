# Everything runs in .venv, which the first command makes:  make demo   make test   make help
PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
STAMPS := $(VENV)/demo $(VENV)/test $(VENV)/dev $(VENV)/docs
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The environment is made anew where an installation was cut off, its Python is gone, or the folder was moved.
SOUND := $(shell test "$$(cat $(READY) 2>/dev/null)" = "$$(pwd)" && $(BIN)/python -c "" 2>/dev/null && echo yes)
ifneq ($(SOUND),yes)
.PHONY: $(READY) $(STAMPS)
endif

# $(1) is the package with its extras. There is no $(READY) while pip is at work; where pip merely fails, it comes back.
pip = $(BIN)/python -m pip install -q -c constraints.txt $(PIP_FLAGS)
install = @echo "installing $(1) into $(VENV) (make $(MAKECMDGOALS) PIP_FLAGS=-v shows more)"; rm -f $(READY); \
	$(pip) hatchling editables && $(pip) --no-build-isolation -e "$(1)"; status=$$?; \
	pwd > $(READY); test $$status -eq 0 && touch $@

# The benchmark: pictures with truth, the head model (see docs/benchmark.md), trained baselines.
TRUTH ?= benchmarks/data/synface64_val.npz
MODEL ?= ict_facekit.npz
BASELINES ?= benchmarks/weights
TRAINED := build/baselines
GPU_TRAINING := --data $(MODEL) --views 1 --width 1 --batch-size 64 --device cuda

.PHONY: help demo test test-slow check bench benchmark benchmark-quick baselines docs clean
help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

demo: $(VENV)/demo  ## reconstruct the bundled picture into results/demo
	$(BIN)/python -m gan2shape demo

test: $(VENV)/test  ## run the fast tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/test  ## run the slow tests
	$(BIN)/python -m pytest -m slow

check: $(VENV)/dev  ## lint, format, types, layers
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

bench: $(VENV)/demo  ## time renderer and generator into benchmarks/results
	$(BIN)/python benchmarks/render.py
	$(BIN)/python benchmarks/generator.py

benchmark-quick: $(VENV)/demo  ## the table of docs/benchmark.md, on two CPU cores
	$(BIN)/python benchmarks/synface.py --truth $(TRUTH) --workers 2 --baselines $(BASELINES) --presets paper-synface+pretrained default
	$(BIN)/python benchmarks/synface_figure.py --truth $(TRUTH)

benchmark: $(VENV)/demo baselines  ## everything on a GPU: trains the baselines, all pictures, the oracle; needs MODEL=FILE
	$(BIN)/python benchmarks/synface.py --truth $(TRUTH) --workers 1 --device cuda --pictures 0-99 --baselines $(TRAINED)
	$(BIN)/python benchmarks/synface_figure.py --truth $(TRUTH)
	$(BIN)/python benchmarks/oracle.py --model $(MODEL) --truth $(TRUTH)

baselines: $(TRAINED)/supervised.safetensors $(TRAINED)/unsup3d.safetensors  ## train them at full width on a GPU; needs MODEL=FILE

$(TRAINED)/%.safetensors: | $(VENV)/demo
	$(BIN)/python -m gan2shape train $* $(GPU_TRAINING) --validate $(TRUTH) --resume -o $(TRAINED)/$*
	cp $(TRAINED)/$*/snapshots/weights.safetensors $@
	cp $(TRAINED)/$*/history.jsonl $(TRAINED)/$*.jsonl

docs: $(VENV)/docs  ## build the documentation into build/docs
	$(BIN)/python -m sphinx -q -W -b html docs build/docs
	@echo "open build/docs/index.html"

clean:  ## remove the environment and what was built; results stay
	rm -rf $(VENV) build dist .*_cache

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or later is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@pwd > $@

$(VENV)/demo: pyproject.toml constraints.txt | $(READY)
	$(call install,.)

$(VENV)/test: $(VENV)/demo
	$(call install,.[test])

$(VENV)/dev: $(VENV)/test
	$(call install,.[dev])

$(VENV)/docs: $(VENV)/demo
	$(call install,.[docs])
