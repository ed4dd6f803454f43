# The three commands of this project; each works on a bare clone.
.PHONY: setup run test check lock

PYTHON ?= python3.11
VENV := .venv

setup:
	PYTHON=$(PYTHON) tools/setup.sh

# Installs what is missing, starts every process and prints the address.
run: setup
	$(VENV)/bin/avatar up

# Installs the test tools too (Chromium, Node packages), then checks and tests everything.
test: setup
	tools/setup.sh --test
	tools/check.sh
	$(VENV)/bin/pytest

check: setup
	tools/setup.sh --test
	tools/check.sh

# Brings requirements.lock in step with pyproject.toml.
lock:
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
		--no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements.lock
