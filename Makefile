# Everything sets itself up: a Python from 3.11 on is all that has to be there.
#   make PYTHON=python3.13 test      with another Python (after `make clean`)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PARTS  := $(patsubst %/pyproject.toml,%,$(wildcard leadership_*/pyproject.toml))
SETUP  := pyproject.toml hatch_build.py $(PARTS:%=%/pyproject.toml)
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest
# Most of it is waiting for the clocks of servers, so three workers suit two processors.
ALL    := $(PYTEST) -n 3 --dist loadfile

ON_SERVERS := $(addprefix tests/,consul etcd zookeeper testing scenarios faults updates)

.PHONY: help demo test check soak faults format lint types servers clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo     watch an election'
	@echo 'make test     everything: format, lint, types, all tests, on real servers'
	@echo 'make check    the quick part of it, a minute or so: no servers, no builds, nothing slow'
	@echo 'make soak     the tests that run for minutes, and all on older servers; SEEDS=100000 for'
	@echo '              as many simulated elections'
	@echo 'make faults   all scenarios of the fault lab, and a page that shows them'
	@echo 'make format   put the code into shape'
	@echo 'make servers  get and build the servers that the tests start (once, for minutes; kept in ~/.cache)'
	@echo 'make clean    remove all that make has made here'

demo: $(VENV)/.parts
	$(BIN)/leadership demo

# What failed beside other tests is run again by itself, and fails the run if it fails again: three
# workers, clusters and paused processes share the processors, and a server may be late by that.
test: lint types servers
	$(ALL) || { test $$? -eq 1 && echo 'Once more, one after the other, what has failed:' && \
	  $(PYTEST) --last-failed --last-failed-no-failures none; }

check: lint types
	$(PYTEST) -n 2 --dist worksteal --durations 5 -m 'not server and not build and not slow and not soak' \
	  $(addprefix --ignore tests/,scenarios faults updates fuzz examples servers)

# Then everything that talks to servers on the older releases, one run after the other.
soak: $(VENV)/.tools servers
	$(ALL) -m soak --timeout 3600
	$(BIN)/python -m tests.servers.releases | while read -r releases; do \
	  LEADERSHIP_TEST_RELEASES=$$releases $(ALL) -m '' --timeout 3600 $(ON_SERVERS) </dev/null || exit 1; done

faults: $(VENV)/.tools servers
	$(ALL) -m '' tests/faults

format: $(VENV)/.tools
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

lint: $(VENV)/.tools
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/.tools
	$(BIN)/mypy

servers: $(VENV)/.python
	@$(BIN)/python -m tests.servers.provision

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the environment: made once, brought up to date when a pyproject file changes ---------

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	$(PYTHON) -m tools.environment $(VENV)
	@touch $@

# Editable, so that the command and the plugins are found and the working tree is what runs.
$(VENV)/.parts: $(VENV)/.python $(SETUP)
	$(PIP) install 'hatchling>=1.27' setuptools wheel  # the latter two for etcd3, a source package
	$(PIP) install --no-build-isolation $(PARTS:%=-e ./%)
	@touch $@

# By version, because pip takes a folder and its editable install for two rival distributions.
$(VENV)/.tools: $(VENV)/.parts
	LEADERSHIP_RELEASE=1 $(PIP) install --no-build-isolation '.[test]'
	@touch $@
