# Commands for development. `make demo` needs Rust; the other targets need Rust and Go.
.DEFAULT_GOAL := help
.PHONY: help demo test check rig cluster bench docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## Show everything the webhook does, over TLS, without a cluster
	@cargo build --quiet --bin velero-trust --example demo
	@cargo run --quiet --example demo

test: check rig ## Run every test, including those on the real servers
	cargo test --workspace

check: ## Check formatting and lints
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings

rig: ## Build the real servers into target/rig (once, about 15 minutes)
	tests/rig/build

cluster: rig ## Run a real API server, Velero and MinIO with velero-trust on loopback
	cargo build --quiet --workspace
	$${CARGO_TARGET_DIR:-target}/debug/cluster

bench: ## Measure CPU, memory, binary size and startup (release build)
	cargo bench --bench perf

docs: ## Regenerate the generated parts of the documentation
	UPDATE_DOCS=1 cargo test --quiet --test offline docs

clean: ## Remove all build output
	cargo clean
