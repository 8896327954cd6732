# make chapter5     the chapter: every figure, every number, one page (chapter5/index.html)
# make test         the tests, without those that need a browser
# make test-fast    those of them that take under two minutes together
# make test-browser the tests in a real Chromium
# make test-integrations  the tests with trainers and trackers, in an environment within .venv that has these, too
# make attack       20,000 spoiled inputs, from file to page: docs/reliability.md (some ten minutes)
# make zoo          every network of the zoo examined: docs/zoo.md (a few minutes)
# make clinic       the doctor among broken, healthy and hopeless trainings: docs/clinic.md (about an hour)
# make lock         constraints-hashed.txt: every package that undertow[all] needs, with the hashes of its files
# make sbom         build/undertow.cdx.json: the same as a bill of materials (CycloneDX), for a release
# make lint         style, types, and the direction of imports
# make docs         docs/rules.md, docs/remedies.md, docs/glossary.md, docs/public-api.md, docs/schemas and what pages' snippets print
# make site         the site, in site/: opens without a network; its notebooks are run
# make gallery      every study's page, quick and on small digits, for the site's gallery: some minutes
# make pictures     docs/pictures/run.png, a run's page, and a picture of every rule; the README's others are figures of studies
# What a target needs is installed into .venv on first use, and again when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INTEGRATIONS := $(VENV)/integrations
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# A file's tests share what they compute; tests/conftest.py puts the longest files first, and there they stay.
LONGEST_FIRST := --dist loadfile --no-loadscope-reorder

# A quarter of the time all tests wait for processes that they started; one worker more than cores fills it.
ONE_MORE := $(shell $(PYTHON) -c "import os; print(os.cpu_count() + 1)")

# Tests start many processes, each of which would compile all of undertow anew where nothing may be kept.
unexport PYTHONDONTWRITEBYTECODE

# Only these are collected, which takes half a minute for all.
BROWSER_TESTS = $(shell grep -rlE --include="test_*.py" "mark\.browser" tests)

.PHONY: chapter5 test test-fast test-browser test-integrations zoo clinic attack lint docs site gallery pictures clean

chapter5: $(VENV)/.installed-studies
	$(BIN)/undertow chapter5

test: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not browser and not integrations" -n $(ONE_MORE) $(LONGEST_FIRST)

test-fast: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not browser and not integrations and not slow" -n auto $(LONGEST_FIRST)

test-browser: $(VENV)/.installed-dev
	$(BIN)/pytest -m browser $(BROWSER_TESTS)

test-integrations: $(VENV)/.installed-integrations $(VENV)/.installed-docs
	$(INTEGRATIONS)/bin/python -m pytest -m integrations -n auto $(LONGEST_FIRST) tests/integrations src/undertow/integrations

attack: $(VENV)/.installed-dev
	$(BIN)/python tests/attack/run.py

zoo: $(VENV)/.installed-dev
	$(BIN)/python tests/zoo/run.py

clinic: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/clinic.py treat
	$(BIN)/python benchmarks/clinic.py page

LOCKED := constraints-hashed.txt

lock: $(VENV)/.installed-release
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	  --custom-compile-command "make lock" --extra all -c constraints.txt -o $(LOCKED) pyproject.toml

sbom: $(VENV)/.installed-release
	mkdir -p build
	$(BIN)/cyclonedx-py requirements $(LOCKED) --pyproject pyproject.toml --output-reproducible --of JSON \
	  -o build/undertow.cdx.json

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	$(BIN)/python -c "from undertow.remedies.explained import page; print(page(), end='')" > docs/remedies.md
	$(BIN)/python -c "import undertow.rules; from undertow.rules.explained import page; print(page(), end='')" > docs/rules.md
	$(BIN)/python -c "from undertow.glossary import page; print(page(), end='')" > docs/glossary.md
	$(BIN)/python docs/public_api.py
	$(BIN)/python tests/documents.py docs/tutorial.md docs/explanation/*.md docs/howto/*.md
	mkdir -p docs/schemas
	for name in $$($(BIN)/undertow schema | cut -d' ' -f1); do \
	  $(BIN)/undertow schema $$name > docs/schemas/$$name.json; done

site: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(INTEGRATIONS)/bin/python -m mkdocs build --strict

gallery: $(VENV)/.installed-dev
	for name in $$($(BIN)/undertow study | cut -d' ' -f1); do \
	  $(BIN)/undertow study $$name --quick --data digits --out gallery/$$name || exit 1; done

pictures: $(VENV)/.installed-dev
	$(BIN)/python docs/pictures/run.py
	$(BIN)/python docs/site/rule_pictures.py

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.installed-studies: $(VENV)/.installed
	$(PIP) -e ".[studies]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e ".[dev]"
	touch $@

# An environment of its own that sees the first one: what tests of the core take to be missing stays missing there.
$(VENV)/.installed-integrations: $(VENV)/.installed-dev
	test -x $(INTEGRATIONS)/bin/python || $(BIN)/python -m venv $(INTEGRATIONS)
	$(BIN)/python -c "import sysconfig as s; print('import site; site.addsitedir(' + repr(s.get_path('purelib')) + ')')" \
	  > "$$($(INTEGRATIONS)/bin/python -c "import sysconfig as s; print(s.get_path('purelib'))")/outer.pth"
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[integrations]"
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "fastai>=2.8" "timm>=1.0"
	touch $@

# Beside the trainers, where the core's tests don't see it either.
$(VENV)/.installed-docs: $(VENV)/.installed-integrations
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

$(VENV)/.installed-release: $(VENV)/.installed
	$(PIP) -e ".[release]"
	touch $@

clean:
	rm -rf $(VENV) chapter5 gallery site undertow-demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
