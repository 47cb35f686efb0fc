"""The life of a request: from HTTP to the worker that owns the model, and back as a clip."""

import os

# PyTorch's threads spin while they wait, and starve each other as soon as a DAW shares the cores:
# on two cores with one taken by another program an iteration took 2.06 s, sleeping 0.11 s. A
# thousand turns before they sleep cost less than sleeping at once either way: the network there
# and back took 49 ms against 71 with both cores free, 94 against 115 with one.
# GNU's OpenMP knows the count, others the policy. Read once, when torch loads: every module here
# comes after it.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The compiler of an idle server keeps to one core too.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
