# The everyday commands.  CMake does the work (CMakeLists.txt, CMakePresets.json).
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup build run test check docs asan tsan fuzz clean

# Where models stand.  The program's own default is the user's data folder; a checkout keeps its own.
export DAMSO_MODELS_DIR ?= $(CURDIR)/models
# make run PROMPT='...' passes the text through the environment, so that no quote or $ in it is
# seen by make or the shell; $(value) keeps make from expanding it.
override PROMPT := $(value PROMPT)
export PROMPT
FUZZ_SECONDS ?= 60

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the missing system packages (Debian; root or sudo)
	@tools/setup.sh

build: setup ## build the web app and build/damso
	@tools/web.sh
	@echo "== building build/damso"
	@[ -f build/build.ninja ] || cmake --preset release >build.log 2>&1 || { cat build.log; exit 1; }
	@cmake --build --preset release -t damso

run: build ## load the default model once, then serve it (or answer PROMPT='...' and end)
	@echo "== the model"
	@build/damso pull
	@if [ -n "$$PROMPT" ]; then exec build/damso run -- "$$PROMPT"; else exec build/damso serve; fi

test: build ## load two models and the API clients once, then run every test
	@echo "== building the tests"
	@cmake --build --preset release
	@echo "== the test models"
	@build/damso pull all-tests
	@echo "== the clients and the database for the tests"
	@tests/postgres.sh install
	@tests/mpi.sh install
	@tools/clients.sh
	@echo "== the tests"
	@DAMSO_TEST_MODELS="$$DAMSO_MODELS_DIR" DAMSO_TEST_CLIENTS=1 ctest --test-dir build --output-on-failure

check: build ## run the house checks only (layers, format, sizes, headers, docs)
	@cmake --build --preset release
	@ctest --test-dir build --output-on-failure -L house

docs: build ## bring the pages up to date that the program writes (docs/CONF.md, docs/EXIT.md)
	@tools/docs.sh "$(CURDIR)/build/damso" --write

# The leak sanitizer cannot work within the server's sandbox.
asan tsan: setup
	@tests/postgres.sh install
	@echo "== building build-$@"
	@cmake --preset $@ >build.log 2>&1 || { cat build.log; exit 1; }
	@cmake --build --preset $@
	@DAMSO_SANDBOX=off DAMSO_TEST_MODELS="$$DAMSO_MODELS_DIR" ctest --test-dir build-$@ --output-on-failure -LE house

asan: ## run the tests with the address and undefined-behaviour sanitizers
tsan: ## run the tests with the thread sanitizer

fuzz: setup ## run each fuzzer for FUZZ_SECONDS (60); finds stay in build-fuzz/
	@echo "== building build-fuzz"
	@cmake --preset fuzz >build.log 2>&1 || { cat build.log; exit 1; }
	@cmake --build --preset fuzz
	@cd build-fuzz && for f in tests/*_fuzz; do \
		name=$$(basename $$f _fuzz); mkdir -p found/$$name; echo "== $$name, $(FUZZ_SECONDS) s"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1 \
			found/$$name ../tests/corpus/$$name || exit 1; done

clean: ## remove what was built (not the models)
	@rm -rf web/dist web/node_modules web/.built build build-asan build-tsan build-fuzz build-debug build.log
