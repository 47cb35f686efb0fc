"""The maths: distilled diffusion and inference-time optimization of its starting noise."""

import os

# Threads that wait by spinning starve each other as soon as a DAW shares the cores: measured four
# times slower then, and no faster alone. It is read when torch loads, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
