# The few commands of this repository. Each of them installs what it lacks, says what it does and may be repeated.
.DEFAULT_GOAL := help

# demo, bench: further arguments for the program, such as ARGS=--exit.
export ARGS
# demo: your own ForeFlight export, such as LOGBOOK=~/logbook.csv.
export LOGBOOK

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { sub("%", "STEP", $$1); printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## Three devices, one club, no server (ARGS=--exit ends by itself, LOGBOOK=path imports your own)
	@scripts/demo.sh

.PHONY: test
test: ## Everything that must hold: format, lint, unit, doc, lan
	@scripts/test.sh

test-%: ## One step of it, such as make test-lint
	@scripts/test.sh $*

.PHONY: bench
bench: ## The figures of docs/performance.md, measured here (ARGS=replica runs one of them)
	@scripts/bench.sh

.PHONY: soak
soak: ## Simulated worlds for so many minutes, and a report (MINUTES=10)
	@scripts/soak.sh $(or $(MINUTES),10)

.PHONY: format
format: ## Bring every source file into the common format
	@cargo fmt --all
