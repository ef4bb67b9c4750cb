# Everything there is to do, by name. Each target installs what it needs: from the package registries, under .cluster/
# (on Debian and Ubuntu, as root, also from apt; elsewhere it says what is missing and how to get it).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := menu
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

TOP     := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
STATE   := $(TOP)/.cluster
TOOLS   := $(STATE)/tools
CLUSTER := $(TOP)/tests/cluster
PHASE   := $(TOP)/tests/phase.sh
export PATH := $(STATE)/bin:$(TOOLS)/bin:$(PATH)

.PHONY: menu
menu: ## print this menu
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo

##@ See it

.PHONY: demo bench
demo: ## a real cluster on this machine, and in it a full disk that grows by itself
	@$(TOP)/tests/e2e/demo.sh

bench: ## measure: times, memory, API requests; prints runs, min, median, max
	@$(TOP)/tests/e2e/bench.sh

##@ Change it

.PHONY: check test fmt fmt-check clippy unit docs licences chart-lint shell gen tools
check: tools ## everything that needs no cluster (under 5 minutes when built before)
	@$(PHASE) "format"                 $(MAKE) fmt-check
	@$(PHASE) "shell scripts"          $(MAKE) shell
	@$(PHASE) "licences, bans, sources" $(MAKE) licences
	@$(PHASE) "chart"                  $(MAKE) chart-lint
	@$(PHASE) "lints"                  $(MAKE) clippy
	@$(PHASE) "documentation"          $(MAKE) docs
	@$(PHASE) "tests without a cluster" $(MAKE) unit

test: check ## `check`, the driver's conformance, and the tests on a real cluster, which is stopped at the end
	@$(TOP)/tests/all.sh

fmt: ## format the Rust code
	cargo fmt --all

gen: tools ## write the generated files again: docs/reference, the golden files
	REGENERATE=1 cargo test --locked --test fast generated

fmt-check:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

# The generated files and the golden ones are compared by the tests in tests/fast.
unit:
	cargo test --locked --lib --bins --test fast

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --document-private-items

# --offline: the crates are there once anything was compiled; without it a network is asked for an index.
licences:
	cargo deny --locked check licenses bans sources

chart-lint:
	helm lint --strict --quiet chart

shell:
	git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR

tools:
	@$(TOP)/tests/tools.sh
