# `sam build` runs make at the top of the project with ARTIFACTS_DIR set, and one target per function.
# SAM hands the recipe no architecture: which of package/*/Makefile it was told to read says it
# (ContextPath in template.yaml).

PYTHON ?= $(or $(wildcard .venv/bin/python),python3)

.PHONY: build-ApiFunction
build-ApiFunction:
	@$(PYTHON) package/build.py $(ARCHITECTURE) "$(ARTIFACTS_DIR)"
