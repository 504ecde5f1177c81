# Each target makes its own virtual environment when there is none: nothing but python3 is needed.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
PIP = $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-rest test-all deep mutation lint format naive bench clean

demo: $(VENV)/base  ## a convolutional network on the digits, with its page
	rm -rf runs/demo
	$(PY) experiments/cnn.py --batch-size 32 --epochs 15 --label-smoothing 0.1 --workdir runs/demo

# Files stay together: their tests share what they have compiled.
test: $(VENV)/dev  ## the suite, under ten minutes on two cores
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# These compile as a user's programs are compiled; for `make test` see tests/conftest.py.
test-rest test-all deep: export JAX_DISABLE_MOST_OPTIMIZATIONS = 0

# JAXCV_TESTS_UNTIL (seconds since 1970) leaves out, by name, the tests that would begin later.
test-rest: $(VENV)/dev  ## what `make test` leaves out: every script for an epoch, faults, Ray, PyTorch as an outside oracle
	$(PIP) --editable '.[dev,oracle,ray]'
	$(PY) -m pytest -m "(oracle or every_script or ray or faults) and not deep" \
	  -p no:randomly --numprocesses auto --maxprocesses 4 --dist worksteal

test-all: test-rest  ## that, the suite as users compile, and this machine's own proof
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
	$(PY) -m jaxcv verify

deep: $(VENV)/dev  ## 10,000 examples of every op in every mode, and the deep proof: hours
	JAXCV_EXAMPLES=10000 $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  tests/ops/test_agreement.py tests/layers/test_agreement.py tests/test_functions.py
	$(PY) -m pytest -m "faults or deep" --numprocesses auto --maxprocesses 4 --dist loadfile tests/faults
	$(PY) -m jaxcv verify --deep

mutation: $(VENV)/dev  ## plant faults in the numerical code and count those found; can be resumed
	$(PY) scripts/mutation.py

lint: $(VENV)/dev  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(PY)

format: $(VENV)/dev  ## mend what can be mended
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

naive: $(VENV)/base  ## how much slower the reference's loops are than the operations
	$(PY) scripts/naive.py

bench: $(VENV)/base  ## training speed beside Keras, PyTorch and plain Flax, on a quiet machine; takes long
	$(PY) scripts/bench.py --startup 10 --startup-deep 3

clean:  ## forget environments and runs
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/base: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $(VENV)/base $@
