# Commands for development. All targets need Rust; `test`, `rig` and `cluster` need Go, Node.js and
# buildah as well, and `image` needs buildah.
.DEFAULT_GOAL := help
.PHONY: help demo test soak check advisories rig cluster image bench docs clean

# Built once, in about a minute. Building it for release would take three times as long, to check a
# second faster.
deny_version := 0.20.2
deny_root := $(or $(CARGO_TARGET_DIR),target)/tools/cargo-deny-$(deny_version)
deny := $(deny_root)/bin/cargo-deny

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## Show everything the webhook does, over TLS, without a cluster
	@cargo build --quiet --bin velero-trust --example demo
	@cargo run --quiet --example demo

test: check rig ## Run every test, including those on the real servers
	cargo test --workspace

soak: rig ## Restart both replicas 40 times under load, on the real servers (about 5 minutes)
	RESTARTS=40 cargo test --test real -- restarts::fail_no_write

check: $(deny) ## Check formatting, lints and rustdoc, and the licences, sources and advisories of dependencies
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --workspace --no-deps --document-private-items
	$(deny) --locked --workspace check -D warnings licenses bans sources
	@$(MAKE) --no-print-directory advisories

# Says so and goes on where the database cannot be fetched, so that `make test` also works there.
advisories: $(deny) ## Check dependencies for known vulnerabilities (RustSec, by git)
	@if $(deny) --locked fetch db; then \
		$(deny) --locked --workspace check -D warnings advisories; \
	else \
		echo "advisories NOT checked: the RustSec database cannot be fetched" >&2; \
	fi

$(deny):
	@echo "building cargo-deny $(deny_version) (once)" >&2
	@CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --debug --locked \
		--version $(deny_version) --root $(deny_root) cargo-deny

rig: ## Build the real servers into target/rig (once, about 15 minutes)
	tests/rig/build

cluster: rig ## Run a real API server, Velero and MinIO with velero-trust on loopback
	cargo build --quiet --workspace
	$${CARGO_TARGET_DIR:-target}/debug/cluster

image: ## Build the image as target/image/velero-trust-ARCH.tar (release build)
	manifests/image/build

bench: ## Measure CPU, memory, binary size and startup (release build)
	cargo bench --bench perf

docs: ## Regenerate the generated parts of the documentation
	UPDATE_DOCS=1 cargo test --quiet --test offline docs

clean: ## Remove all build output
	cargo clean
