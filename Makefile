# The only requirement is Python 3.11 or later; everything else is set up on demand.
#   make PYTHON=python3.13 test      with another Python (after `make clean`)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PARTS  := $(patsubst %/pyproject.toml,%,$(wildcard leadership_*/pyproject.toml))
SETUP  := pyproject.toml hatch_build.py $(PARTS:%=%/pyproject.toml)
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest
# Two thirds of the time is waiting for the clocks of servers, so four workers suit two processors.
# They take the files in the order of tests/conftest.py.
ALL    := $(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder

ON_SERVERS := $(addprefix tests/,integration/consul integration/etcd integration/kubernetes integration/zookeeper contract system)

.PHONY: help demo bench test check soak faults format lint types servers clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo     watch an election'
	@echo 'make bench    measure this library beside others, and write docs/benchmarks.md;'
	@echo '              BENCH="--quick --only handover" selects, and writes no page'
	@echo 'make test     format, lint, types, and all tests on real servers'
	@echo 'make check    the quick part, some minutes: no servers, no builds, no slow tests'
	@echo 'make soak     the tests that run for minutes, and all tests on older servers;'
	@echo '              SEEDS=100000 sets the number of simulated elections'
	@echo '              SOAK_SECONDS=60 the length of the hand-overs that take two hours'
	@echo 'make faults   all fault scenarios, and a page with their time lines'
	@echo 'make format   format the code'
	@echo 'make servers  get the servers, browser and shells of the tests (once, some minutes; in ~/.cache)'
	@echo 'make clean    remove all files that make has created'

demo: $(VENV)/.core
	$(BIN)/leadership demo

bench: $(VENV)/.tools
	$(BIN)/python -m tests.support.servers.provision etcd zookeeper consul redis
	$(BIN)/python -m tools.bench $(BENCH)

# Failed tests are repeated one after the other, and fail the run if they fail again: four workers,
# clusters and paused processes share the processors, which may delay a server.
test: lint types servers
	$(ALL) || { test $$? -eq 1 && echo 'Repeating the failed tests, one after the other:' && \
	  $(PYTEST) --last-failed --last-failed-no-failures none; }

check: lint types
	$(PYTEST) -n 2 --dist worksteal --durations 5 -m 'not server and not build and not slow and not soak' \
	  $(addprefix --ignore tests/,system fuzz integration/plugin support/servers)

# Then all tests with servers, on the older releases, one run after the other.
soak: $(VENV)/.tools servers
	$(ALL) -m soak --timeout 3600
	$(BIN)/python -m tests.support.servers.releases | while read -r releases; do \
	  LEADERSHIP_TEST_RELEASES=$$releases $(ALL) -m '' --timeout 3600 $(ON_SERVERS) </dev/null || exit 1; done

faults: $(VENV)/.tools servers
	$(ALL) -m fault tests/system

format: $(VENV)/.tools
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

lint: $(VENV)/.tools
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/.tools
	$(BIN)/mypy

servers: $(VENV)/.python
	@$(BIN)/python -m tests.support.servers.provision

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the environment: made once, and updated when a pyproject file changes ------------------

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	$(PYTHON) -m tools.environment $(VENV)
	@touch $@

# Editable, so that the command and the plugins run from the working tree. The demo needs no plugin,
# and whoever tries it first should not wait for those of all stores.
$(VENV)/.core: $(VENV)/.python leadership_core/pyproject.toml
	$(PIP) install 'hatchling>=1.27'
	$(PIP) install --no-build-isolation -e ./leadership_core
	@touch $@

$(VENV)/.parts: $(VENV)/.core $(SETUP)
	$(PIP) install setuptools wheel  # for etcd3, a source package
	$(PIP) install --no-build-isolation $(PARTS:%=-e ./%)
	@touch $@

# By version, because pip treats a folder and its editable install as two distributions.
$(VENV)/.tools: $(VENV)/.parts
	LEADERSHIP_RELEASE=1 $(PIP) install --no-build-isolation '.[test,examples]'
	@touch $@
