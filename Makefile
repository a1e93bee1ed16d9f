# `make demo` shows the gate at work, `make test` runs every test. Both fetch what they need into `.tools/` and leave
# the system as it was.

TOOLS := $(CURDIR)/.tools
# The system's protoc where there is one: less to fetch for those who only build.
export PROTOC ?= $(or $(shell command -v protoc 2>/dev/null),$(TOOLS)/bin/protoc)
CARGO := cargo
# nextest where it is installed: it runs the test binaries side by side.
TEST := $(if $(shell command -v cargo-nextest 2>/dev/null),nextest run --no-fail-fast,test --no-fail-fast)

.PHONY: demo test fuzz needs tools build bench lint doc clean

demo: tools
	@tests/env/demo.sh

test: tools
	$(CARGO) $(TEST) --locked
	$(CARGO) test --locked --doc

# Every target, or those in TARGETS, for so many seconds each. A find is written to fuzz/artifacts/TARGET-….
FUZZ_SECONDS ?= 60
TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# What libFuzzer is guided by. The stable compiler has it: only the address sanitizer, of which a crate without unsafe
# code gains little, would need another.
COVERAGE := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares

fuzz: tools
	$(CARGO) test --locked --test fuzz -- --ignored the_corpus_is_written
	cd fuzz && RUSTFLAGS="$(COVERAGE)" $(CARGO) build --locked --release --target $(HOST) $(TARGETS:%=--bin %)
	mkdir -p fuzz/artifacts
	set -e; for target in $(TARGETS); do \
		fuzz/target/$(HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
			-artifact_prefix=fuzz/artifacts/$$target- fuzz/corpus/$$target; \
	done

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
	@# The fuzzer has a lock of its own, which must follow each new dependency.
	cd fuzz && $(CARGO) metadata --locked --format-version 1 >/dev/null

doc: tools
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib

clean:
	$(CARGO) clean
	rm -rf $(TOOLS)
