# NexusHub. `make help` lists what can be typed here.
.DEFAULT_GOAL := help
.PHONY: help run demo test check bench deb
python := .venv/bin/python

help: ## list these targets
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: ## install what is missing, then open NexusHub (root)
	@scripts/setup.sh run
	@exec $(python) -m nexushub

demo: ## the same on a lab of real WireGuard clients on this machine (root)
	@scripts/setup.sh run
	@$(python) -m nexushub lab up
	@exec $(python) -m nexushub

test: ## install what the tests need, then run every check and every test (root)
	@scripts/setup.sh test
	@scripts/check.sh all tests

check: ## format, lint, types, import contracts, sizes, shell scripts
	@scripts/setup.sh check
	@scripts/check.sh all

bench: ## run each benchmark; every line is one JSON document (root)
	@scripts/setup.sh test
	@scripts/check.sh bench

deb: ## build the Debian package
	@echo "make deb: the Debian package is not built by this version." >&2; exit 1
