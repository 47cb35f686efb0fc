"""The life of a request: from HTTP to the worker that owns the model, and back as a clip."""

import os

# PyTorch's threads spin while they wait, and starve each other as soon as a DAW shares the cores.
# On two cores the compiled network there and back took 47 ms with both free and 82 with one taken
# by another program where threads sleep after 1,000 turns, 36 and 143 after 4,000, 34 and 377
# after 30,000. 4,000 it is, since where others compute there are soon fewer threads (see
# `segue.server.ditto.crew`).
# GNU's OpenMP knows the count, others the policy. Read once, when torch loads: every module here
# comes after it.
os.environ.setdefault("GOMP_SPINCOUNT", "4000")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The compiler of an idle server keeps to one core too.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
