"""The workshop: data sets, training, distillation and ONNX export. Never needed to play."""

import segue.server  # noqa: F401 - how torch's threads wait, before torch is loaded
