# Segue on a bare machine: Python 3.11 (or newer) and make are enough.
#
#   make demo    a real region goes out over OSC; its continuation lands in demo-out/
#   make test    everything that must hold before a change goes in
#   make check   the quick part of it: format, lint, types
#   make clean   removes what the others made

ROOMS := server bridge export presets
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODERN := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.13 python3.12; do \
	"$$p" -c '$(MODERN)' 2>/dev/null && { echo "$$p"; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help demo test check clean foreign-osc jack daws

help:
	@sed -n 's/^#   //p' Makefile

demo: $(STAMP)
	$(BIN)/segue demo --out demo-out

test: check foreign-osc jack daws
	$(BIN)/pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	mkdir -p .types/segue
	for room in $(ROOMS); do ln -sfn ../../$$room .types/segue/$$room; done
	$(BIN)/mypy

# A second call does nothing until what is to be installed changes.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(MODERN)' || { \
		echo "Segue needs Python 3.11 or newer; '$(or $(PYTHON),python3)' is not." \
			"Say which one to use: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV) || { \
		echo "Python cannot make a virtual environment here" \
			"(on Debian: apt install python3-venv)." >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check \
		-c constraints.txt -e ".[cpu,demo,export,audio,mdns,dev]"
	@$(BIN)/python -m pip install --disable-pip-version-check --only-binary python-rtmidi \
		-c constraints.txt -e ".[midi]" || \
		echo "python-rtmidi has no wheel for this Python (3.12 has): MIDI's tests will be skipped"
	@touch $@

# liblo's oscsend and oscdump play the foreign client in the tests of the bridge; REAPER's scripts
# speak to it through LuaSocket and curl.
foreign-osc:
	@if ! { command -v oscsend && command -v curl && ls /usr/lib/*/lua/5.4/socket/core.so; } >/dev/null 2>&1 \
		&& [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
		export DEBIAN_FRONTEND=noninteractive; \
		get="timeout 120 apt-get install -qq -y liblo-tools lua-socket curl"; \
		$$get >/dev/null 2>&1 \
		|| { timeout 120 apt-get update -qq && $$get; } >/dev/null 2>&1 || true; \
	fi
	@command -v oscsend >/dev/null || \
		echo "liblo-tools is missing: tests that use oscsend and oscdump will be skipped"
	@ls /usr/lib/*/lua/5.4/socket/core.so >/dev/null 2>&1 || \
		echo "lua-socket is missing: tests of REAPER's scripts over a socket will be skipped"
	@command -v curl >/dev/null || \
		echo "curl is missing: tests of orders over HTTP and REAPER's scripts by curl will be skipped"

# JACK without a sound card carries the tests' MIDI and audio; PortAudio plays through it.
jack:
	@if ! { command -v jackd && ldconfig -p | grep -q libportaudio.so.2; } >/dev/null \
		&& [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
		export DEBIAN_FRONTEND=noninteractive; \
		get="timeout 120 apt-get install -qq -y --no-install-recommends jackd2 libportaudio2"; \
		$$get >/dev/null 2>&1 \
		|| { timeout 120 apt-get update -qq && $$get; } >/dev/null 2>&1 || true; \
	fi
	@command -v jackd >/dev/null || \
		echo "jackd2 is missing: tests that play MIDI and audio through JACK will be skipped"

# DAWs and a screen that is none: the tests of their scripts run in the real ones.
daws:
	@if ! { command -v ardour7-lua && command -v audacity && command -v Xvfb \
		&& ldconfig -p | grep -q libXtst.so.6; } >/dev/null \
		&& [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
		export DEBIAN_FRONTEND=noninteractive; \
		get="timeout 400 apt-get install -qq -y --no-install-recommends"; \
		get="$$get ardour audacity xvfb lua-check libxtst6"; \
		$$get >/dev/null 2>&1 \
		|| { timeout 120 apt-get update -qq && $$get; } >/dev/null 2>&1 || true; \
	fi
	@{ command -v ardour7-lua && command -v audacity && command -v Xvfb \
		&& ldconfig -p | grep -q libXtst.so.6; } >/dev/null || \
		echo "ardour, audacity, xvfb or libxtst6 is missing: tests in the real DAWs will be skipped"

clean:
	rm -rf $(VENV) .types .mypy_cache .pytest_cache .ruff_cache build dist demo-out *.egg-info
