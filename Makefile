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
PHASE   := $(TOP)/tests/phase.sh
export PATH := $(STATE)/bin:$(TOOLS)/bin:$(PATH)

.PHONY: menu
menu: ## print this menu
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo

##@ See it

.PHONY: demo picture bench soak
demo: ## a real cluster on this machine, and in it a volume that rso expands before it is full
	@$(TOP)/tests/e2e/demo.sh

picture: ## record the demo and draw the picture in the README from it: docs/images/demo.svg
	@$(TOP)/tests/e2e/picture.sh

bench: ## measure times, memory, requests (over an hour; ONLY=burst for one part); writes docs/proof/load.md; SYNC=1m: kubelet defaults
	@$(MAKE) cluster-up deploy
	@cargo test --locked --quiet --profile model --test bench

soak: ## a real cluster under chaos: make soak DURATION=30m; writes its figures to docs/proof/load.md
	@$(MAKE) cluster-up deploy
	@cargo test --locked --quiet --test soak

##@ Change it

.PHONY: check test model mutants faults scale fuzz fuzz-merge fmt fmt-check clippy unit docs licences chart-lint shell gen tools
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

# Those that a plain `cargo test` leaves out are none of "all targets". What ships is looked at alone: there the compiler sees
# what nothing calls, as the feature `testing` is off.
clippy:
	cargo clippy --locked --workspace --all-targets --test faults --test scale --test csi --test bench --test soak --test picture -- -D warnings
	cargo clippy --locked --lib --bins -- -D warnings

# The generated files and the golden ones are compared by the tests in tests/fast.
unit:
	cargo test --locked --lib --bins --test fast --test model

model: ## explore the protocol of the recreate, all of it (long); writes its tables to docs/proof/model.md
	MODEL=full cargo test --locked --profile model --test model -- --nocapture --test-threads 1 every nothing
	cargo test --locked --test model the_page

faults: ## fail at every write of the operator, in every way, on a control plane of its own (hours); writes docs/proof/faults.md
	FAULTS=full $(TOP)/tests/faults/sweep.sh

# PEER=/path/to/pvc-autoresizer: measures that one beside it.
scale: binaries ## the operator with 10,000 volumes and under its memory limit (45 minutes; SCALE=load, small, large: a part); writes docs/scale.md
	SCALE=$(or $(SCALE),full) $(TOP)/tests/scale/scale.sh

# SECONDS for each target; TARGET=… for one of them. A finding is a file in fuzz/artifacts: it becomes a named one in
# fuzz/corpus, which the tests run. fuzz-merge takes over what reaches new code.
SECONDS ?= 60
fuzz: ## fuzz every target for SECONDS=60, or one TARGET=…; writes its table to docs/proof/fuzzing.md
	@fuzz/run.sh time $(SECONDS) $(TARGET)

fuzz-merge:
	@fuzz/run.sh merge $(TARGET)

mutants: ## change the deciding code in every way that a tool can think of: does a test notice? (about an hour); writes docs/proof/mutation.md
	$(TOP)/tests/mutants/run.sh

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --lib --document-private-items

licences:
	cargo deny --locked check licenses bans sources

chart-lint:
	helm lint --strict --quiet chart

shell:
	git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR

tools:
	@$(TOP)/tests/tools.sh

##@ Try it

# CLUSTER=current: the cluster of your own kubeconfig, instead of one on this machine. CLUSTER_ID=1 … 15: a further one.
CLUSTER    ?= local
CLUSTER_ID ?= 0
export CLUSTER CLUSTER_ID
ifneq ($(CLUSTER),current)
export KUBECONFIG := $(STATE)/kubeconfig$(if $(filter-out 0,$(CLUSTER_ID)),-$(CLUSTER_ID))
endif
K8S := $(TOP)/tests/cluster

.PHONY: cluster-up cluster-down cluster-status cluster-programs binaries image image-load deploy undeploy
ifeq ($(CLUSTER),current)
cluster-up cluster-down cluster-status:
	@echo "CLUSTER=current: yours is left as it is: $$(kubectl config current-context)"
else
cluster-up: ## start a real Kubernetes on this machine (nothing to do when it is up); SYNC=1m: kubelet defaults
	@$(K8S)/status.sh 2>/dev/null || { $(MAKE) cluster-programs binaries && $(K8S)/up.sh; }

cluster-down: ## stop it and leave no trace
	@$(K8S)/down.sh

cluster-status: ## is it up and well, and with which profile
	@$(K8S)/status.sh
endif

cluster-programs:
	@$(K8S)/deps.sh
	@$(K8S)/build.sh

# Static programs: they run in an empty image, and on any Linux. PROFILE=release: the ones that are published, smaller
# and slower to link.
PROFILE ?= dist
TRIPLE  := $(shell uname -m)-unknown-linux-musl
binaries: ## static rso and rso-agent, into .cluster/bin
	@$(K8S)/deps.sh build
	@rustup target list --installed 2>/dev/null | grep -qx $(TRIPLE) || rustup target add $(TRIPLE)
	@echo "  rso, rso-agent: cargo build ($(PROFILE)) ..."
	@cargo build --locked --quiet --profile $(PROFILE) --target $(TRIPLE) --bins && echo "  built after $$SECONDS s"
	@mkdir -p $(STATE)/bin
	@install -C -m 755 -t $(STATE)/bin $${CARGO_TARGET_DIR:-$(TOP)/target}/$(TRIPLE)/$(PROFILE)/rso $${CARGO_TARGET_DIR:-$(TOP)/target}/$(TRIPLE)/$(PROFILE)/rso-agent

image: binaries ## container images of the two programs, as archives in .cluster/images.built
	@for program in rso rso-agent; do \
	  root=$$(mktemp -d); trap 'rm -rf "$$root"' EXIT; \
	  cp $(STATE)/bin/$$program $$root/; \
	  $(K8S)/image.sh localhost/$$program:dev $$root $(STATE)/images.built/$$program.tar --entrypoint /$$program --user 65532:65532; \
	  rm -rf "$$root"; \
	done

image-load: ## bring an image archive into the cluster: make image-load TAR=my-image.tar
	@$(K8S)/load.sh $(TAR)

deploy: $(if $(filter current,$(CLUSTER)),,image) ## install or upgrade the operator from this checkout
	@$(K8S)/deploy.sh

undeploy: ## uninstall the operator; volumes and sets stay as they are
	@helm uninstall rso --namespace rso-system --wait
