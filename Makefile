# Everything happens inside this folder: .venv/ and target/ are all that is made.
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
REQUIREMENTS := tests/emulated_aws/requirements.txt
INSTALLED := $(VENV)/.installed

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv build ## Show the whole story on an emulated AWS, no account needed
	@$(TARGET_DIR)/debug/demo

.PHONY: test
test: lint build test-rust test-emulated-aws ## Run every check and every test, as CI does

.PHONY: judge
judge: venv build ## Let Terraform judge converge (needs terraform and its AWS provider)
	@$(TARGET_DIR)/debug/terraform-judge

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
	rm -rf $(VENV) .aws-sam

# The parts of test and lint.
.PHONY: fmt-check lint-template clippy test-rust test-emulated-aws

fmt-check:
	cargo fmt --all --check

lint-template: venv
	$(VENV)/bin/cfn-lint template.yaml

clippy:
	cargo clippy $(CARGO_FLAGS) -- -D warnings

# Without --all-targets, as that would leave out the examples in the documentation; the packages and
# so the features are the same. The end-to-end tests run the binaries that build makes.
test-rust: venv build
	cargo test --locked --workspace

test-emulated-aws: venv
	cd tests && ../$(PYTHON) -m pytest -q -p no:cacheprovider emulated_aws

# Done again whenever the requirements change; the stamp comes last, so that a failure is no success.
$(INSTALLED): $(REQUIREMENTS)
	@echo "setting up $(VENV) …"
	@python3 -m venv $(VENV) || { echo "Python 3.11 or newer with its venv module is needed" >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement $(REQUIREMENTS)
	@touch $@
