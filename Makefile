.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11
export OMP_NUM_THREADS ?= 1

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-17s %s\n", $$1, $$2}'

venv: $(VENV)/installed ## Make .venv with everything pinned

# torch comes first and by its exact version: a plain `torch` would pull gigabytes of CUDA.
$(VENV)/installed: requirements/torch.txt requirements/dev.txt requirements/s3-test-server.txt requirements/oidc-test-server.txt requirements/axe.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/torch.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/s3-test-server.txt -r requirements/oidc-test-server.txt -r requirements/axe.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

model: build/models/tiny-a14b/model_index.json ## Build the tiny random model

build/models/tiny-a14b/model_index.json: models/build_tiny.py | venv
	$(BIN)/python models/build_tiny.py build/models/tiny-a14b

crds: venv ## Generate the CRD, its reference page and the chart's copy
	$(BIN)/python -m videofleet_operator.crd
	cp crds/videogenerators.yaml charts/videofleet/crds/

demo: venv model ## One command: cluster, fleet, prompt, video; then take it all down
	$(BIN)/videofleet demo

up: venv model ## The demo, left running
	$(BIN)/videofleet demo --keep

down: ## Stop what `make up` left running
	$(BIN)/videofleet dev down

check: venv ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: venv model ## The whole suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

test-freezes: venv model ## The suite while its processes stand still at random: what is flaky shows
	$(BIN)/python tests/freezes.py -n 3 --dist loadfile --no-loadscope-reorder --durations=10

bench: venv model ## Every benchmark there is
	@for bench in benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

bench-queue: venv ## The queue beside arq, taskiq and rq on the same Redis
	test -d build/venv-bench-queue || $(BIN)/python -m venv build/venv-bench-queue
	build/venv-bench-queue/bin/python -m pip install --quiet -r requirements/bench-queue.txt
	$(BIN)/python benchmarks/bench_queue.py --rivals build/venv-bench-queue/bin/python

bench-stages: venv model ## One worker over 500 jobs: start, memory, what runs beside what
	$(BIN)/python benchmarks/bench_stages.py

bench-worker: venv model ## The worker's goals: its loop, loading, encoding, start
	$(BIN)/python benchmarks/bench_worker.py

bench-memory: venv model ## A supervisor over 1,500 jobs without compute: does its heap grow?
	$(BIN)/python benchmarks/bench_memory.py

bench-media: venv ## A 720p clip's way from frames to files: gate, watermark, encoding
	$(BIN)/python benchmarks/bench_media.py

bench-load: venv model ## Weights: cold pull, after a kill, second start, flipped byte
	$(BIN)/python benchmarks/bench_load.py

bench-gateway: venv ## Submissions a second through HTTP, their latency, fairness
	$(BIN)/python benchmarks/bench_gateway.py

bench-operator: venv ## 1,000 VideoGenerators: time, calls, memory
	$(BIN)/python benchmarks/bench_operator.py

bench-faults: venv model ## From what is wrong to its reason in status, fault by fault
	$(BIN)/python benchmarks/bench_faults.py

bench-devcluster: venv ## The development cluster with 1,000 fleets and 10,000 fake pods
	$(BIN)/python benchmarks/bench_devcluster.py

bench-gpu: venv ## Full-size random models on this machine's GPU: speed, memory, share of the floor
	$(BIN)/python benchmarks/gpu

bench-control: venv ## How rollouts are judged and how fleets are scaled, simulated beside other rules (TRACE=file.csv)
	$(BIN)/python benchmarks/bench_rollout.py
	$(BIN)/python benchmarks/bench_abort.py
	$(BIN)/python benchmarks/bench_scaling.py $(if $(TRACE),--trace $(TRACE))
	$(BIN)/python benchmarks/control_goals.py

lock: ## Resolve pyproject.toml's extras anew into requirements/dev.txt
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet -r requirements/torch.txt
	build/lock/bin/pip install --quiet '.[dev]'
	echo '# What development, tests and the demo need, pinned. Made by `make lock` from the extra `dev`.' > requirements/dev.txt
	build/lock/bin/pip freeze --exclude videofleet --exclude torch >> requirements/dev.txt
	rm -rf build/lock

clean: ## Remove everything that was built
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help venv model crds demo up down check format test test-freezes bench bench-worker bench-stages bench-memory bench-media bench-load bench-gateway bench-queue bench-operator bench-faults bench-devcluster bench-gpu bench-control lock clean
