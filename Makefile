# Everything starts from Python 3.11 and make: each target builds .venv the first time.
PYTHON ?= python3.11
ifeq (, $(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: demo playground run test soak check format requirements clean

# The real bot answers questions in the terminal: no keys, no workspace. `make demo ARGS=--live` asks the real Claude. ARGS="--delivery stream": how replies arrive.
demo: $(READY)
	@$(BIN)/python -m bot demo $(ARGS)

# The same servers and the bot, left running: ask your own questions until Ctrl-C.
playground: $(READY)
	@$(BIN)/python -m bot playground $(ARGS)

# The bot, configured by the environment or .env.
run: $(READY)
	@$(BIN)/python -m bot run

test: $(READY)
	@$(BIN)/python -m pytest -n 5 --dist worksteal $(ARGS)

# A hundred rounds of questions to bots that are killed at random moments (half an hour; Redis needed).
soak: $(READY)
	@$(BIN)/python -m tests.soak $(ARGS)

# All gates: lint, format, types, tests (unless TESTED says that they have just run).
TESTED ?=
check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict bot
	@test -n "$(TESTED)" || $(MAKE) --no-print-directory test

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): requirements-dev.txt
	@echo "Preparing $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Pin anew after a change of pyproject.toml.
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links
requirements: $(READY)
	$(COMPILE) -o requirements.txt pyproject.toml
	$(COMPILE) --extra dev --extra playground -c requirements.txt -o requirements-dev.txt pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
