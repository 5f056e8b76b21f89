# Every target installs what it misses from Debian packages (as root) and builds its tools under build/.
# The interpreter is always /usr/bin/python3: Debian's bcc lives there.

PYTHON  := /usr/bin/python3
TOOLS   := build/venv/bin/python
LIMIT   := 3600
ARGS    :=

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-appliance test-vm vm check bench simulate fuzz man deb clean

help: ## print the targets
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/\1|\2/p' Makefile \
	| while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: ## build a lab of network namespaces, run the daemon in it, tell what happens
	@sh tests/setup.sh runtime lab bpffs
	@$(PYTHON) -m tests.lab.demo $(ARGS)

lab: ## the lab of the demo, left running to play with
	@sh tests/setup.sh runtime lab bpffs
	@$(PYTHON) -m tests.lab.demo --keep $(ARGS)

# Side by side, file by file, run those tests that only compute, and then those with networks, which mostly wait. The
# virtual machine is emulated and has both processors to itself; its image, which the network makes wait for, is built
# meanwhile (a test that comes earlier waits for it, and says so if there is none).
# SIGINT lets pytest print its summary when the time is over; the status is then 124. 5: nothing was selected.
test: ## run every test that can run on this machine (ARGS="-k word" selects)
	@sh tests/setup.sh runtime lab tools bpffs vm deb package elasticsearch servers routers browser
	@passed=; failed=; \
	$(if $(findstring -k,$(ARGS)),,nice -n 19 $(PYTHON) -m tests.vm.image >build/image.log 2>&1 &) \
	run() { \
		timeout --foreground --signal=INT --kill-after=60 $(LIMIT) \
			$(TOOLS) -m pytest --timeout=300 -m 'not appliance' "$$@" $(ARGS); \
		case $$? in 0) passed=yes ;; 5) ;; *) failed=yes ;; esac; \
	}; \
	run -n 2 --dist loadfile tests/unit tests/dataplane; \
	run -n 4 --dist loadfile tests/package tests/netns tests/fleet tests/telemetry tests/web; \
	run tests/vm; \
	[ -n "$$passed" ] && [ -z "$$failed" ]

test-appliance: ## whole systems: the package on each release, its units under systemd, on Debian's kernel
	@sh tests/setup.sh runtime lab tools bpffs vm deb servers routers elasticsearch package
	@VC5_VM=required $(TOOLS) -m pytest --timeout=600 -m appliance $(ARGS)

test-vm: ## the tests in the virtual machine alone, which fail here where there can be none
	@sh tests/setup.sh runtime lab tools vm
	@VC5_VM=required $(TOOLS) -m pytest --timeout=300 tests/vm $(ARGS)

vm: ## build the image of the virtual machine (the tests do it themselves, too)
	@sh tests/setup.sh runtime vm
	@$(PYTHON) -m tests.vm.image

check: ## format, lint, types, import rules
	@sh tests/setup.sh runtime tools
	@$(TOOLS) -m ruff format --check .
	@$(TOOLS) -m ruff check .
	@$(TOOLS) -m mypy
	@$(TOOLS) -m pytest -q --timeout=300 tests/unit/house --deselect tests/unit/house/test_linters.py

bench: ## benchmarks (BENCH=packet,reload selects groups); writes build/bench.json
	@sh tests/setup.sh runtime lab bpffs browser
	@$(PYTHON) -m bench $(ARGS)

simulate: ## connections at a site of very many balancers (ARGS=--help); writes build/simulate
	@sh tests/setup.sh runtime plots
	@$(PYTHON) -m bench.simulate $(ARGS)

fuzz: ## the long profile: 100,000 packets against the model, a million inputs per parser, 1,000 reloads
	@sh tests/setup.sh runtime lab tools bpffs
	@VC5_PROFILE=fuzz $(TOOLS) -m pytest -m "hypothesis or soak" $(ARGS)

# They bear today's date, or that of SOURCE_DATE_EPOCH.
man: ## the manual pages vc5(1), vc5(8), vc5.yaml(5) and vc5-metrics(7), in build/man
	@mkdir -p build/man
	@$(PYTHON) -m appliance.cli.manual 1 >build/man/vc5.1
	@$(PYTHON) -m appliance.cli.manual 8 >build/man/vc5.8
	@$(PYTHON) -m appliance schema --man >build/man/vc5.yaml.5
	@$(PYTHON) -m appliance metrics --man >build/man/vc5-metrics.7

deb: ## the Debian package, in build/deb
	@sh tests/setup.sh runtime deb
	@sh packaging/build.sh

clean: ## remove everything that was built
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
