# `make help` lists the targets. Each sets up what it needs, on a machine with only Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
SYSTEM_PACKAGES := skopeo umoci buildah pigz docker-registry strace fuse3 rsync # independent tools: tests compare the core with them; fuse3: `mount` needs it
# Keep extras: otherwise pip takes "coverage[toml]" for a second, unpinned requirement when a newer version appears.
LOCK := uv pip compile --quiet --generate-hashes --no-strip-extras --no-emit-package soci --custom-compile-command "make lock"
LAMBDA := --python-platform aarch64-manylinux_2_28 --python-version 3.13 # no markers: see docs/adr/0017

python := $(VENV)/bin/python
node := PATH="$(abspath $(VENV)/bin):$$PATH" # so that npm's programs and the CDK find the Node.js of the lock
stamp := $(VENV)/.up-to-date
# A file's tests stay together, since they share its set-up. The files of tests/e2e come first, since they take longest.
# They wait at times, so there is one process more than a small machine has cores.
side_by_side := -n 3 --dist loadfile --no-loadscope-reorder
npm_stamp := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help venv layers demo docs test test-all check covered lint types synth mutants bench bench-start lock clean system-packages

help: ## List the targets.
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 10

venv: $(stamp) $(npm_stamp) ## Set up .venv and node_modules with everything.

$(stamp): .ci/make-venv requirements.txt requirements-lock.txt layers/soci/pyproject.toml
	@bash .ci/make-venv $(PYTHON) $(VENV)
	@touch $@

$(npm_stamp): package.json package-lock.json .npmrc | $(stamp)
	@$(node) npm ci --no-progress --loglevel=error
	@touch $@

layers: venv ## Build the Lambda layers into .layers. Only the first time needs the network.
	@$(python) -m infra.packaging

system-packages:
	@bash .ci/system-packages $(SYSTEM_PACKAGES)

demo: venv ## Run the whole service on this machine: push an image, watch its index appear, start a program from it.
	@bash .ci/system-packages fuse3 || echo "Without fuse3 the demo leaves out the start of a program."
	@$(python) -m local.demo

test: layers system-packages ## Run the tests; ARGS="tests/unit -k tar" runs some of them.
	$(python) -m pytest $(or $(ARGS),$(side_by_side))

test-all: layers system-packages ## Run the tests with every case; `make test` runs a sample of some.
	$(python) -m pytest -m "" $(or $(ARGS),$(side_by_side))

check: lint layers system-packages ## The gate: lint, format, types, synth, tests with branch coverage.
	@$(MAKE) --no-print-directory --jobs=2 covered types synth # types and synth fill the time in which tests wait

covered: layers system-packages
	$(python) -m pytest $(side_by_side) --cov --cov-report=term-missing:skip-covered

lint: venv ## Lint, and check the format.
	$(python) -m ruff check
	$(python) -m ruff format --check

types: venv ## Check the types.
	$(python) -m mypy

synth: layers ## Write the CloudFormation template to cdk.out; needs no credentials.
	$(node) CDK_DISABLE_CLI_TELEMETRY=true npx cdk synth --quiet --no-notices

docs: venv ## Write the generated parts of docs/: the tables of settings, the picture of the dashboard.
	$(python) -m docs.generate

mutants: venv ## List small changes of a module that its tests miss: MODULE=soci.build.plan ARGS="--sample 20 --jobs 2".
	@$(python) -m bench.mutants $(MODULE) $(ARGS)

bench: venv ## Compare engine and CLI with their floors, or with AGAINST=REVISION, on layers of real packages.
	$(python) -m bench $(if $(AGAINST),--against $(AGAINST)) $(ARGS)

bench-start: venv system-packages ## Time cold starts of real programs, by each way to load their image; as root, needs /dev/fuse.
	$(python) -m bench.start $(ARGS)

lock: ## Write the lock files again; ARGS=--upgrade takes newer versions.
	@test -x $(VENV)/bin/uv || $(MAKE) venv
	$(python) -m $(LOCK) $(ARGS) --universal --python-version 3.11 -o requirements-lock.txt \
		requirements.txt requirements-dev.txt
	$(python) -m $(LOCK) $(ARGS) $(LAMBDA) -o layers/dependencies/requirements.txt --extra service \
		--constraint requirements-lock.txt layers/soci/pyproject.toml
	$(node) npm $(if $(ARGS),update,install) --package-lock-only --no-progress

clean: ## Remove everything that the targets made, except the layers of the benchmark (.bench).
	rm -rf $(VENV) node_modules cdk.out .demo .layers .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
