# Every target sets itself up: a fresh clone and python3 (3.11 or newer) are enough.
# Set-up happens once per extra and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
SPARK := .venv-spark

# Bytecode written once makes every later start two to three times faster.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH

.PHONY: help demo lab test check format bench bench-scale spark postgres calibrate soak fuzz picture clean

help:
	@echo "make demo       a full study on the embedded data; prints where index.html lies"
	@echo "make lab        JupyterLab on the notebooks"
	@echo "make test       the tests"
	@echo "make check      lint, format and types"
	@echo "make format     put the code in its layout"
	@echo "make bench      time against the peers; writes docs/benchmarks.md"
	@echo "make bench-scale  50 million rows in DuckDB against pandas; writes into docs/databases.md"
	@echo "make spark      the tests of databases on Spark (needs Java)"
	@echo "make postgres   the tests of tables of a PostgreSQL server; URL=postgres://..."
	@echo "make calibrate  bias and coverage over 1,000 simulated panels"
	@echo "make soak       kill a batch at random moments, 100 times; N=5 for five"
	@echo "make fuzz       malformed files for 10 minutes; MINUTES=60 for an hour"
	@echo "make picture    docs/report.png from the demo's report (needs Chromium)"
	@echo "make clean      remove the environments, the runs and the caches"

demo: $(VENV)/.study
	$(BIN)/ex-cx demo

lab: $(VENV)/.lab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/panel_regression.ipynb

test: $(VENV)/.test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

calibrate: $(VENV)/.test
	$(BIN)/python -m tests.calibration
	$(BIN)/python -m tests.calibration.clusters
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.calibration.mediation

soak: $(VENV)/.test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/soak.py $(or $(N),100)

fuzz: $(VENV)/.test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(or $(MINUTES),10)

picture: $(VENV)/.test
	$(BIN)/python docs/picture.py

# The peers pull in many packages, so they live apart from the project's own environment.
bench: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m benchmarks.bench --write docs/benchmarks.md

bench-scale: $(VENV)/.test
	cd tests && PYTHONPATH=. ../$(BIN)/python -m benchmarks.scale

# Spark lives apart: where it is installed, checking tables takes seconds to start.
spark: $(SPARK)/.spark
	@java -version >/dev/null 2>&1 || { echo "Spark needs Java 17 or newer, and there is none" \
		"(on Debian: apt-get install default-jre-headless)."; exit 1; }
	$(SPARK)/bin/python -m pytest tests/linkage/test_database_spark.py

# Tables are made and replaced in the database of the URL: give one that is for this alone.
postgres: $(VENV)/.test
	@test -n "$(URL)" || { echo "Name a server: make postgres URL=postgres://user:password@host/db"; \
		exit 1; }
	$(BIN)/python -m pip install --quiet --editable '.[postgres,test]'
	EX_CX_TEST_POSTGRES="$(URL)" $(BIN)/python -m pytest tests/linkage/test_connections.py

clean:
	rm -rf $(VENV) $(BENCH) $(SPARK) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ex_cx tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python $(BENCH)/bin/python $(SPARK)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ex_cx needs Python 3.11 or newer; '$(PYTHON)' is `$(PYTHON) -V 2>&1`." \
		"Say which one to use: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(@:/bin/python=)

# $(VENV)/.study, .lab, .test, .dev: the extra of that name is installed.
$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	$(BIN)/python -m compileall -q ex_cx
	@touch $@

$(BENCH)/.bench: pyproject.toml tests/benchmarks/requirements.txt | $(BENCH)/bin/python
	$(BENCH)/bin/python -m pip install --quiet --editable '.[lab]' \
		--requirement tests/benchmarks/requirements.txt
	$(BENCH)/bin/python -m compileall -q ex_cx
	@touch $@

$(SPARK)/.spark: pyproject.toml | $(SPARK)/bin/python
	$(SPARK)/bin/python -m pip install --quiet --editable '.[spark,test]'
	@touch $@
