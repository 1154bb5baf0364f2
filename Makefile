# make demo    runs the main job: publish two packages, detect and classify through the REST service
# make test    runs the tests
# make check   runs what the tests do not: lint, types

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= openvino,torch,parquet,dev

.PHONY: demo test check types install clean

demo: install
	$(BIN)/raster-analysis demo --out demo-output

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) types

# mypy does not know that tools/ is raster_analysis.tools, so it is shown a copy where it lies inside.
types: install
	rm -rf build/typed && mkdir -p build/typed
	cp -r dlpk raster_analysis build/typed/ && cp -r tools build/typed/raster_analysis/tools
	cd build/typed && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output
