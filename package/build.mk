# `sam build` runs make at the top of the project with ARTIFACTS_DIR set, and one target per function:
# it shares no build between functions whose BuildMethod is makefile (FunctionBuildDefinition.__eq__ in
# samcli/lib/build/build_graph.py). The artifacts are the same bytes, so that it uploads them once.
# SAM hands the recipe no architecture: which of package/*/Makefile it was told to read says it
# (ContextPath in template.yaml).

PYTHON ?= $(or $(wildcard .venv/bin/python),python3)

.PHONY: build-ApiFunction build-WorkerFunction build-CompactFunction
build-ApiFunction build-WorkerFunction build-CompactFunction:
	@$(PYTHON) package/build.py $(ARCHITECTURE) "$(ARTIFACTS_DIR)"
