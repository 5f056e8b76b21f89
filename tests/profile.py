"""How many generated inputs a test draws: few by default, very many under VC5_PROFILE=fuzz (`make fuzz`).

A property test takes its number from here where the default of the profile does not fit:

    @settings(max_examples=PARSER_INPUTS)
    @given(...)
"""

from __future__ import annotations

import os

PROFILES = ("quick", "fuzz")
PROFILE = os.environ.get("VC5_PROFILE") or "quick"
FUZZ = PROFILE == "fuzz"

EXAMPLES = 20_000 if FUZZ else 100
"""Inputs of a property test that says nothing: plans, tables, state machines."""
PARSER_INPUTS = 1_000_000 if FUZZ else 300
"""Inputs of one parser of untrusted bytes or text."""
RELOADS = 1_000 if FUZZ else 40
"""Reloads in a row under traffic."""
PACKETS = 100_000 if FUZZ else 1_000
"""Packets that the loaded program and the Python model both judge."""
