# The two commands of a new user are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV ?= .venv
PY := $(VENV)/bin/python
WHEELS := $(wildcard ../shared/wheels)
STATE ?= /var/lib/llmtrain-cluster
export LLMTRAIN_CLUSTER_STATE := $(STATE)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.done: pyproject.toml constraints/dev.txt constraints/cuda.txt
	@# Debian and Ubuntu ship Python without venv; where pip is at hand that is enough.
	@python3 -c 'import ensurepip' 2>/dev/null || (apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q $(if $(WHEELS),--find-links $(WHEELS)) -r constraints/dev.txt -c constraints/cuda.txt 'setuptools>=77'
	$(VENV)/bin/pip install -q --no-deps --no-build-isolation -e .
	touch $@

.PHONY: venv
venv: $(VENV)/.done ## Install everything that the tests need into .venv

.PHONY: generate
generate: venv ## Write what is generated: CRDs, roles, rules, dashboards, references
	$(PY) -m llmtrain.api.crd --write charts/llmtrain/templates/crds
	$(PY) -m llmtrain_operator.permissions --write charts/llmtrain/templates
	$(PY) -m llmtrain.observe --write charts/llmtrain
	$(PY) hack/docs --write

.PHONY: lint
lint: venv ## Format, lint, types, layers, generated files
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m llmtrain.api.crd --check charts/llmtrain/templates/crds
	$(PY) -m llmtrain_operator.permissions --check charts/llmtrain/templates
	$(PY) -m llmtrain.observe --check charts/llmtrain
	$(PY) hack/docs --check

.PHONY: test-unit
test-unit: venv ## Unit tests; they need nothing but Python
	$(PY) -m pytest tests/unit -n auto --dist worksteal

.PHONY: binaries
binaries:
	python3 hack/cluster build

.PHONY: test-api
test-api: venv ## Tests against a real kube-apiserver, Helm and Prometheus
	python3 hack/cluster build --only etcd,kube-apiserver,kubectl,helm,helm3,kubeconform,prometheus,promtool,versitygw
	@# Half of the time is waiting for programs: more processes than cores. Each has an apiserver of its own.
	$(PY) -m pytest tests/api -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: test-kwok
test-kwok: venv ## Kills, a faulty apiserver and a hostile tenant, with pods on KWOK nodes
	python3 hack/cluster build --only etcd,kube-apiserver,kubectl,kube-scheduler,kube-controller-manager,kwok
	$(PY) -m pytest tests/kwok -n 2 --dist loadfile

.PHONY: test-long
test-long: venv binaries ## What takes too long for every change: crash matrix, kills, meshes, soak
	$(PY) -m pytest tests/long --timeout 7200

.PHONY: test-browser
test-browser: venv ## Pages as a real headless Chromium shows them
	@command -v chromium >/dev/null || (apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core)
	$(PY) -m pytest tests/browser --timeout 300

.PHONY: up
up: ## Start the one-node Kubernetes, build the images and load them
	python3 hack/cluster up
	python3 hack/images build
	python3 hack/images load

.PHONY: down
down: ## Stop the one-node Kubernetes and remove every trace of it
	python3 hack/cluster down

.PHONY: test-e2e
test-e2e: venv up ## Tests on the real node with real pods
	$(PY) -m pytest tests/e2e --timeout 1500

.PHONY: test
test: lint test-unit test-browser test-api test-kwok test-e2e ## Everything that CI runs

.PHONY: scan
scan: venv ## Say what is known to be vulnerable in the built images; ADVISORIES is a folder of OSV records
	$(PY) hack/images scan $(if $(ADVISORIES),--advisories $(ADVISORIES))

.PHONY: bench
bench: venv up ## Print latencies and overheads of the control plane
	$(PY) -m pytest tests/bench -s --timeout 1500 --ignore tests/bench/scale

.PHONY: bench-scale
bench-scale: venv ## Pods per second beside KubeRay, and a thousand jobs; wants a quiet machine
	$(PY) -m pytest tests/bench/scale -s --timeout 7200

# A cluster that KUBECONFIG names is used as it is; the one-node Kubernetes' own is not "another cluster".
GIVEN := $(filter-out $(STATE)/admin.kubeconfig,$(KUBECONFIG))

.PHONY: clients
clients:
	python3 hack/cluster build --only kubectl,helm

.PHONY: demo
demo: venv $(if $(GIVEN),clients,up) ## Run the main job and show what it cost; the cluster stays up
	bash demo/run.sh

.PHONY: demo-down
demo-down: ## Remove every trace of the demo
	bash demo/down.sh
