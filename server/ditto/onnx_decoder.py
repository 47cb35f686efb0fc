"""The shipped decoder, run by ONNX Runtime: CUDA when it is there, else the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segue.presets.vocabulary import Code, SegueError

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
INPUT, OUTPUT = "log_mel", "stereo"


class OnnxDecoder:
    """(channels, frames) natural-log mel in, (frames * hop, 2) float32 audio out."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise SegueError(
                Code.NO_MODEL,
                "ONNX Runtime is not installed: pip install 'segue[cpu]' or 'segue[cuda]'",
            ) from error
        providers = [p for p in PROVIDERS if p in onnxruntime.get_available_providers()]
        options = onnxruntime.SessionOptions()
        # Threads that spin take the cores from the DAW; asleep they were faster even alone.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its exception classes share no documented base
            raise SegueError(Code.NO_MODEL, f"can't use {path}: {error}") from error

    @property
    def providers(self) -> list[str]:
        """The providers in use, first choice first."""
        return list(self._session.get_providers())

    def __call__(self, log_mel: np.ndarray) -> np.ndarray:
        """Decode one clip."""
        batch = log_mel[None].astype(np.float32)
        (stereo,) = self._session.run([OUTPUT], {INPUT: batch})
        return np.ascontiguousarray(stereo[0].T)
