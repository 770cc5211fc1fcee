# The commands of this project. `make` alone lists them.
#
# Every command sets up what it needs: an environment is made again when its requirements change.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON := .venv/bin/python

.PHONY: help
help: ## list the commands
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1|/' | column -t -s '|'

.PHONY: demo
demo: .venv/ready .venv-aws-clients/ready ## walk the whole path once, on embedded defaults
	@$(PYTHON) -m tests.demo

.PHONY: test
test: .venv/ready .venv-aws-clients/ready ## lint, types, import contracts and all tests
	@tests/tools/with-toolchain $(PYTHON) -m tests.run

.PHONY: e2e
e2e: .venv/ready .venv-aws-clients/ready ## everything on a real cluster of one node, made here (Linux, root)
	@tests/tools/with-toolchain $(PYTHON) -m tests.run e2e

.PHONY: cluster-up
cluster-up: .venv/ready ## start such a cluster and leave it running (ROLESANYWHERE_CLUSTER=name for several)
	@tests/tools/with-toolchain $(PYTHON) -m tests.e2e up

.PHONY: cluster-down
cluster-down: .venv/ready ## end it, and all that a killed run left of it
	@$(PYTHON) -m tests.e2e down

.PHONY: kubectl
kubectl: .venv/ready ## talk to it (ARGS="get pods --all-namespaces")
	@$(PYTHON) -m tests.e2e kubectl $(ARGS)

.PHONY: bench-sidecar
bench-sidecar: .venv/ready ## measure the sidecar beside AWS's own helper (ARGS="--write docs/performance.md")
	@tests/tools/with-toolchain $(PYTHON) -m tests.bench.sidecar $(ARGS)

.PHONY: bench-operator
bench-operator: .venv/ready ## measure webhook and controller on a real API server (ARGS="--write docs/performance.md")
	@tests/tools/with-toolchain $(PYTHON) -m tests.bench.operator $(ARGS)

.PHONY: bench-pkcs11
bench-pkcs11: .venv/ready ## measure keys in hardware beside AWS's own helper (ARGS="--write docs/performance.md")
	@tests/tools/with-toolchain $(PYTHON) -m tests.bench.pkcs11 $(ARGS)

.PHONY: dashboard
dashboard: .venv/ready ## draw the dashboard's queries over all programs at work, into docs/dashboard.svg
	@tests/tools/with-toolchain $(PYTHON) -m tests.bench.dashboard docs/dashboard.svg

.PHONY: check
check: .venv/ready ## lint, types, import contracts and unit tests: offline, half a minute
	@$(PYTHON) -m tests.run lint types imports unit

.PHONY: simulate-fleet
simulate-fleet: .venv/ready ## start up to 10,000 sidecars at once, in virtual time
	@$(PYTHON) -m tests.bench.fleet

.PHONY: format
format: .venv/ready ## format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: crds
crds: ## copy crds/ into the chart
	cp crds/*.yaml charts/rolesanywhere/files/crds/

ROLES := operator sidecar pkcs11 dev
.PHONY: lock
lock: .venv/ready ## pin the newest releases that pyproject.toml allows, with hashes
	python3 -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	$(foreach role,$(ROLES),$(LOCK) --no-emit-package rolesanywhere --extra $(role) pyproject.toml --output-file requirements/$(role).txt;)
	$(foreach set,aws-clients go node,$(LOCK) requirements/$(set).in --output-file requirements/$(set).txt;)
	$(LOCK) tests/e2e/app/requirements.in --output-file tests/e2e/app/requirements.txt
	rm -rf .venv-lock
# No index address may be recorded, and a requirement holds for every platform.
LOCK := .venv-lock/bin/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header

.PHONY: clean
clean: ## remove the environments and caches of this checkout
	rm -rf .venv .venv-aws-clients .venv-lock .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/ready: requirements/dev.txt tests/tools/environment
	@tests/tools/environment .venv requirements/dev.txt --with-project

.venv-aws-clients/ready: requirements/aws-clients.txt tests/tools/environment
	@tests/tools/environment .venv-aws-clients requirements/aws-clients.txt
