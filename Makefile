# `make check` is what every commit passes: form, types, imports, and the quick tests.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,.hive/venv/bin/python)

.PHONY: check form types imports quick test lock

check: form types imports quick

form:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy packages/hive-os/src/hive packages/hive-a2a-sdk/src/hive_a2a packages/hive-guest/src/hive_guest

imports:
	$(dir $(PYTHON))lint-imports --no-logo

quick:
	$(PYTHON) -m pytest tests/unit tests/architecture tests/docs

test:
	./scripts/test

# The locks hold hashes and no addresses; uv.lock stays out of the repository because it records them.
lock:
	uv lock --upgrade
	uv export -q --format requirements-txt --no-emit-workspace --no-header --no-annotate --package hive-os --no-dev -o requirements.lock > /dev/null
	uv export -q --format requirements-txt --no-emit-workspace --no-header --no-annotate --all-packages --all-groups -o requirements-dev.lock > /dev/null
