"""The life of a request: from HTTP to the worker that owns the model, and back as a clip."""

import os

# PyTorch's threads spin while they wait, and starve each other as soon as a DAW shares the cores:
# on two cores with one taken by another program an iteration took 2.06 s, sleeping 0.11 s. With
# both cores free, 0.06 and 0.09 s. Read once, when torch loads: every module here comes after it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The compiler of an idle server keeps to one core too.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
