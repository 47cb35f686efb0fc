"""The workshop: data sets, training, distillation and ONNX export. Never needed to play."""
