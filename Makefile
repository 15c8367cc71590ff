# The two commands: `make demo` shows the whole way, `make test` passes the tests. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APT := dcmtk orthanc orthanc-dicomweb libpixelmed-java default-jre-headless gcc libc6-dev
# Qt needs a display to draw on: Xvfb, what Qt's xcb plugin loads, and letters for Chinese.
APT_QT := xvfb xauth libegl1 libgl1 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
  libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 fonts-dejavu-core fonts-noto-cjk
WEIGHTS := monai_bundles/mr_brain_extraction/models/fine_network.safetensors
# Tests at once: some wait more than they compute, so one more than the smallest machine has cores.
WORKERS ?= 3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c packaging/constraints.txt

# Tests start hundreds of processes: each would compile all modules for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-desktop soak check bench bench-gpu serve clean

demo: $(VENV)/.edge $(WEIGHTS)  ## the whole way on this machine; ARGS="--keep" leaves it running
	$(BIN)/wetread demo $(ARGS)

test: $(VENV)/.test $(WEIGHTS) check  ## linters, types, import contracts, all tests that need no GPU
	packaging/apt-install.sh $(APT)
	# In the order of the folders: the long files come first, the many small ones of tests/unit fill what is left.
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)
	$(MAKE) test-desktop

test-desktop: $(VENV)/.test  ## the panel: all of it with PySide6, the way through it also with PyQt6
	packaging/apt-install.sh $(APT_QT)
	tests/desktop/run.sh $(BIN)/python pyside6 -n 2 --dist loadfile $(ARGS)
	tests/desktop/run.sh $(BIN)/python pyqt6 -m both_bindings $(ARGS)

soak: $(VENV)/.test $(WEIGHTS)  ## the slow versions: 200 random kills, a power cut at every moment, a full disk at every write, 100,000 fuzzed conversations, the variants that `make test` leaves out
	packaging/apt-install.sh $(APT)
	API_EXAMPLES=500 KILL_ROUNDS=200 POWERCUT_CUTS=100000 POWERCUT_SEEDS=3 FUZZ_CONVERSATIONS=100000 $(BIN)/python -m pytest -q --timeout=0 \
	  tests/flow/test_kill_anywhere.py tests/flow/test_power_cut.py tests/flow/test_fuzz_listener.py \
	  tests/flow/test_api_fuzz.py $(ARGS)
	SOAK=1 $(BIN)/python -m pytest -q --timeout=0 -m soak $(ARGS)

check: $(VENV)/.test  ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test $(WEIGHTS)  ## speed and memory; packaging/docs/BENCHMARKS.md says what was measured where
	$(BIN)/python tests/bench/bench_infer.py
	$(BIN)/python tests/bench/bench_networks.py
	$(BIN)/python tests/bench/bench_end_to_end.py
	$(BIN)/python tests/bench/bench_memory.py
	$(BIN)/python tests/bench/bench_service.py
	$(BIN)/python tests/bench/bench_receive.py
	$(BIN)/python tests/bench/bench_queue.py
	$(BIN)/python tests/bench/bench_api.py
	$(BIN)/python tests/bench/bench_kill.py
	packaging/apt-install.sh $(APT_QT)
	xvfb-run --auto-servernum --server-args="-screen 0 1920x1200x24" $(BIN)/python tests/bench/bench_desktop.py

bench-gpu: $(VENV)/.test $(WEIGHTS)  ## what only a machine with an NVIDIA GPU can show
	$(BIN)/python tests/bench/bench_gpu.py

serve: $(VENV)/.edge $(WEIGHTS)  ## serve with ./wetread.toml
	$(BIN)/wetread serve $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && packaging/apt-install.sh python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.edge: pyproject.toml packaging/constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[edge,learn,demo]'
	touch $@

$(VENV)/.test: pyproject.toml packaging/constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[edge,learn,demo,desktop,napari,test]'
	# The reference for brain extraction, without the GUI it drags in. Tests only: the last three are LGPL or GPL.
	$(PIP) --no-deps deepbet==1.0.2 connected-components-3d==4.1.1 fill_voids==2.1.2 fastremap==1.21.0
	touch $@ $(VENV)/.edge

$(WEIGHTS): | $(VENV)/.edge
	$(BIN)/wetread bundle install mr_brain_extraction

clean:
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
