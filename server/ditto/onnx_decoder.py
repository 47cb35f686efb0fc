"""The shipped decoder, run by ONNX Runtime: CUDA when it is there, else the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segue.presets.vocabulary import Code, SegueError

if TYPE_CHECKING:
    from onnxruntime import IOBinding
    from torch import Tensor

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
INPUT, OUTPUT = "log_mel", "stereo"


class OnnxDecoder:
    """(channels, frames) natural-log mel in, (frames * hop, 2) float32 audio out.

    A mel that is a tensor on the device of the session is read where it lies (IO binding), and
    the audio is copied once, to the host.
    """

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

    @property
    def device(self) -> str:
        """Where the session computes: cuda or cpu."""
        return "cuda" if self.providers[0] == PROVIDERS[0] else "cpu"

    def __call__(self, log_mel: np.ndarray | Tensor) -> np.ndarray:
        """Decode one clip, given on the host or as a tensor on any device."""
        binding = self._session.io_binding()
        if isinstance(log_mel, np.ndarray) or log_mel.device.type != self.device:
            clip: object = self._from_host(binding, log_mel)
        else:
            clip = self._in_place(binding, log_mel)
        binding.bind_output(OUTPUT, self.device)
        self._session.run_with_iobinding(binding)
        del clip  # not before: the run reads its memory
        (stereo,) = binding.copy_outputs_to_cpu()
        return np.ascontiguousarray(stereo[0].T)

    def _from_host(self, binding: IOBinding, log_mel: np.ndarray | Tensor) -> np.ndarray:
        array = log_mel if isinstance(log_mel, np.ndarray) else log_mel.detach().cpu().numpy()
        batch = np.ascontiguousarray(array[None], np.float32)
        binding.bind_cpu_input(INPUT, batch)
        return batch

    def _in_place(self, binding: IOBinding, log_mel: Tensor) -> Tensor:
        batch = log_mel.detach()[None].float().contiguous()
        binding.bind_input(
            name=INPUT,
            device_type=self.device,
            device_id=batch.device.index or 0,
            element_type=np.float32,
            shape=tuple(batch.shape),
            buffer_ptr=batch.data_ptr(),
        )
        if batch.is_cuda:  # the session's stream doesn't wait for torch's
            import torch

            torch.cuda.current_stream(batch.device).synchronize()
        return batch
