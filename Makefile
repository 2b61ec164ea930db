# The everyday commands.  CMake does the work (CMakeLists.txt, CMakePresets.json).
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup build test

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the missing system packages (Debian; root or sudo)
	@tools/setup.sh

build: setup ## build build/damso
	@[ -f build/build.ninja ] || cmake --preset release >build.log 2>&1 || { cat build.log; exit 1; }
	@cmake --build --preset release

test: build ## run every test
	@ctest --test-dir build --output-on-failure
