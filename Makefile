# Everything works in a fresh clone: a command first makes .venv with the newest Python from 3.11 on that really runs,
# and installs what it needs and no more. A second run is instant; a changed pyproject.toml installs again.
#
#   make test ARGS="-k relay -x"       ARGS go to the command: pytest, wsprobe demo or the benchmarks
#   make test PYTHON=/path/to/python3  another Python; it is read when .venv is made, so `make clean` first
#   make test VENV=.venv-other         another folder than .venv

VENV = .venv
ARGS =
EXAMPLES = 200

.PHONY: help demo test install check bench fuzz predict-fuzz matrix clean
.NOTPARALLEL: # two installations at a time would get in each other's way

help: ## what there is
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1	/p' Makefile

demo: $(VENV)/.has-mitmproxy ## the 1011 incident on loopback, traced
	@$(VENV)/bin/wsprobe demo $(ARGS)

test: $(VENV)/.has-all ## the suite
	@$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

install: $(VENV)/.has-all ## everything, for development

check: $(VENV)/.has-dev ## format, lint, strict types, generated files in sync
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python docs/generate.py --check

bench: $(VENV)/.has-all ## the figures of bench/README.md
	@$(VENV)/bin/python bench/run.py $(ARGS)

fuzz: $(VENV)/.has-all ## the properties of the suite with new examples: mutated configs, records, reports
	@$(VENV)/bin/python -m pytest -n 2 -m hypothesis --hypothesis-profile=fuzz --ignore=tests/prediction $(ARGS)

predict-fuzz: $(VENV)/.has-all ## thousands of generated configs on the real proxies; EXAMPLES=500 says how many for each
	@WSPROBE_PREDICT_EXAMPLES=$(EXAMPLES) $(VENV)/bin/python -m pytest -n 2 --dist loadfile tests/prediction $(ARGS)

matrix: $(VENV)/.has-all ## every fault on every real proxy, and what is said of it
	@PYTHONPATH=. $(VENV)/bin/python bench/matrix.py $(ARGS)

clean: ## removes what the commands above made
	rm -rf .venv .venv-* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find addons bench docs tests wsprobe -name __pycache__ -prune -exec rm -rf {} +

# Who has more has less too.
$(VENV)/.has-mitmproxy: $(VENV)/bin/python pyproject.toml
	@sh .ci/venv $(VENV) mitmproxy
	@touch $@

$(VENV)/.has-dev: $(VENV)/bin/python pyproject.toml
	@sh .ci/venv $(VENV) mitmproxy,dev
	@touch $@ $(VENV)/.has-mitmproxy

$(VENV)/.has-all: $(VENV)/bin/python pyproject.toml
	@sh .ci/venv $(VENV) mitmproxy,dev,lab
	@touch $@ $(VENV)/.has-mitmproxy $(VENV)/.has-dev

# Missing, or a link to a Python that is gone: then the stamps above count for nothing.
$(VENV)/bin/python: ;
