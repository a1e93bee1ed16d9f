# `make demo` shows the gate at work, `make test` runs every test. Both fetch what they need into `.tools/` and leave
# the system as it was.

TOOLS := $(CURDIR)/.tools
# The system's protoc where there is one: less to fetch for those who only build.
export PROTOC ?= $(or $(shell command -v protoc 2>/dev/null),$(TOOLS)/bin/protoc)
CARGO := cargo
# nextest where it is installed: it runs the test binaries side by side.
TEST := $(if $(shell command -v cargo-nextest 2>/dev/null),nextest run --no-fail-fast,test --no-fail-fast)

.PHONY: demo test needs tools build bench lint doc clean

demo: tools
	@tests/env/demo.sh

test: tools
	$(CARGO) $(TEST) --locked
	$(CARGO) test --locked --doc

# Said before anything is fetched: without them the build ends in a page of noise.
needs:
	@command -v $(CARGO) >/dev/null || { echo 'make: error: cargo is missing: https://rustup.rs (with sudo, keep your own: sudo env PATH="$$PATH" HOME="$$HOME" make ...)' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'make: error: a C compiler is missing: apt install build-essential' >&2; exit 1; }

tools: needs
	@tests/env/tools.sh $(TOOLS)

build: tools
	$(CARGO) build --locked --release

bench: tools
	$(CARGO) bench --locked --bench peers --bench gates

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --no-default-features -- -D warnings

doc: tools
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib

clean:
	$(CARGO) clean
	rm -rf $(TOOLS)
