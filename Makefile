# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := $(BIN)/python -m tests.bench
# One test more at a time than there are cores: a quarter of the time tests wait for processes.
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
AT_ONCE := --numprocesses $(shell expr $(CORES) + 1) --dist worksteal
CLUSTER = slurmctld slurmd slurm-client munge fuse3
PYTEST := $(BIN)/pytest $(AT_ONCE)
STAMP := $(VENV)/.installed
DEMO_HOME := $(CURDIR)/demo-out
# Byte code is kept, as pip keeps it: compiling autotune itself takes longer than importing NumPy, in each process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test programs test-programs test-cluster coverage lint types docs pictures speed bench comparison cluster faults clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[pyscf,test,lint,build,docs]'
	touch $@

demo: $(STAMP)  ## calibrate for two minutes, then the main job beside upstream's serial run
	mkdir -p $(DEMO_HOME)
	$(BIN)/autotune doctor
	AUTOTUNE_HOME=$(DEMO_HOME) $(BIN)/autotune calibrate --budget 2m --force
	AUTOTUNE_HOME=$(DEMO_HOME) $(BIN)/autotune run studies/workloads/water6.xyz --program pyscf --method hf \
		--basis '6-31g*' --max-nbody 3 -o $(DEMO_HOME)/water6.json --record $(DEMO_HOME)/water6-record.json
	AUTOTUNE_HOME=$(DEMO_HOME) $(BENCH) against_upstream --repeats 3 --case 'water6 HF/6-31G*'

test: $(STAMP)  ## autotune itself: plans, runs, faults, records, and upstream's bits with PySCF; eight minutes
	$(PYTEST) -m 'not programs and not cluster'

programs: $(STAMP)  ## install those of Psi4, NWChem, MOPAC, tblite, dftd4, geomeTRIC, Chromium that are missing
	for program in psi4 nwchem mopac chromium; do \
		command -v $$program >/dev/null || { apt-get update -qq && apt-get install -y -qq $$program >/dev/null; } || \
		{ echo "$$program cannot be installed here; install it and put it into PATH" >&2; exit 1; }; done
	$(BIN)/pip install --quiet --editable '.[programs,browser]'

test-programs: programs  ## the chemistry of all programs, Parsl, and the commands of the guide; fifteen minutes
	AUTOTUNE_REQUIRE_PROGRAMS=1 $(PYTEST) -m programs

test-cluster: $(STAMP)  ## several nodes under a real Slurm, which is installed and started for the tests; eight minutes
	for command in slurmctld munged sbatch fusermount3; do \
		command -v $$command >/dev/null || { apt-get update -qq && apt-get install -y -qq $(CLUSTER) >/dev/null; } || \
		{ echo "no Slurm can be installed here; install $(CLUSTER)" >&2; exit 1; }; done
	AUTOTUNE_CLUSTER=required $(BIN)/pytest tests/cluster

coverage: programs  ## which lines the tests run, in all processes
	$(BIN)/pip install --quiet --editable '.[coverage]'
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(AT_ONCE) -m 'not cluster'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy autotune autotune_plugins

docs: $(STAMP)  ## the guide, built strictly into site/, without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # not --quiet, which counts no warnings

pictures: $(STAMP)  ## of docs/scheduling.md, where the commands are, of simulated nodes, and of runs and reports; ten minutes
	$(BIN)/autotune simulate studies/workloads/methanol_water6.xyz --program pyscf --method hf --basis '6-31g*' \
		--max-nbody 3 --tuning none --cores 8 --memory 32 --plot docs/images/longest_first.svg
	$(BIN)/autotune simulate studies/workloads/methanol_water6.xyz --program pyscf --method hf --basis '6-31g*' \
		--max-nbody 3 --tuning none --cores 8 --memory 32 --strategies '' --plot docs/images/fixed_schedule.svg
	$(BIN)/autotune simulate studies/workloads/benzene3.xyz --program pyscf --method hf --basis '6-31g*' \
		--max-nbody 2 --tuning none --cores 8 --memory 4 --plot docs/images/memory.svg
	$(BENCH) nodes --pictures docs/images
	mkdir -p $(DEMO_HOME)
	AUTOTUNE_HOME=$(DEMO_HOME) $(BIN)/autotune run studies/workloads/water6.xyz --program pyscf --method hf \
		--basis '6-31g*' --max-nbody 3 -o $(DEMO_HOME)/result.json --record $(DEMO_HOME)/record.json
	$(BIN)/autotune report $(DEMO_HOME)/record.json -o $(DEMO_HOME)/report.html --picture docs/images/run.svg
	$(BIN)/pip install --quiet --editable '.[browser]'
	$(BIN)/python docs/_screenshots.py

speed: $(STAMP)  ## how long our own layers take; `autotune regress` compares what it stores in .benchmarks
	$(BIN)/pytest tests/bench/test_speed.py --benchmark-enable --benchmark-autosave

bench: $(STAMP)  ## the measurements in results/; leave the machine alone meanwhile; needs the programs of test-programs
	$(BIN)/pip install --quiet --editable '.[bench,programs]'
	$(BENCH) all --output results

comparison: $(STAMP)  ## against everyone else; two hours, with the programs of test-programs
	$(BIN)/pip install --quiet --editable '.[bench,programs]'
	$(BENCH) comparison --output results

cluster: $(STAMP)  ## as root: a real Slurm of two nodes, with the packages of test-cluster, a million tasks, unequal cores; three hours
	$(BIN)/pip install --quiet --editable '.[programs]'
	$(BENCH) cluster two_nodes million unequal --output results

faults: $(STAMP)  ## the records of faults in results/; about an hour
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	$(BENCH) faults killed memory fuzz --output results
	$(BENCH) faults --repeats 5 --output results/recovery.json

clean:
	rm -rf $(VENV) build dist site demo-out *.egg-info
