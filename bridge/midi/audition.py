"""Listening to clips while they are made: through a sound card, in a loop."""

from __future__ import annotations

import atexit
import time
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from segue.bridge.midi.looping import Looping
from segue.presets.vocabulary import Code, SegueError

if TYPE_CHECKING:
    from segue.bridge.midi.looping import Samples

MAX_CLIP_SECONDS = 800.0  # the longest region and the most new music, and some more
MAX_CHANNELS = 2


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        text = f"listening needs sounddevice and PortAudio ({error}): pip install 'segue[audio]'"
        hint = "on Debian also apt-get install libportaudio2"
        raise SegueError(Code.UNSUPPORTED, f"{text}; {hint}") from error
    return sounddevice


class Audition:
    """An output of this machine as a context. `device` is a name, a part of one, or a number.

    Clips are resampled to the device when they are offered, never in its callback.
    """

    def __init__(self, device: str | int | None = None) -> None:
        sounddevice = _sounddevice()
        self._song: tuple[float, float] | None = None
        try:
            found = sounddevice.query_devices(device, "output")
            self.rate = round(found["default_samplerate"])
            self.looping = Looping(self.rate)
            self.channels = min(MAX_CHANNELS, found["max_output_channels"])
            self._stream = sounddevice.OutputStream(
                device=found["index"],
                samplerate=self.rate,
                channels=self.channels,
                dtype="float32",
                callback=self._fill,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            known = ", ".join(_outputs(sounddevice)) or "none"
            text = f"--device: no output {'' if device is None else device!r}".rstrip()
            text = f"{text} to listen through ({error}); there are: {known}"
            raise SegueError(Code.UNSUPPORTED, text) from error
        self.device = str(found["name"])
        self._at_exit = sounddevice._exit_handler

    @property
    def latency_seconds(self) -> float:
        """From our samples to the sound, as the system says."""
        return float(self._stream.latency)

    def __enter__(self) -> Audition:
        self._stream.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.alive:
            self._stream.close()
        else:  # PortAudio waits for ever for a JACK that has gone; at the program's end too
            atexit.unregister(self._at_exit)

    @property
    def alive(self) -> bool:
        """Whether it still plays: a device may be unplugged, a sound server end."""
        return bool(self._stream.active)

    def describe(self) -> str:
        """The device, its rate and latency, for people to read."""
        return f"{self.device}, {self.rate} Hz, {self.latency_seconds * 1000:.0f} ms"

    def play(self, path: Path) -> None:
        """Play a clip from the loop's next round on. Raises SegueError if it cannot be read."""
        self.looping.offer(read_clip(path, self.rate, self.channels))

    def follow(self, song: float | None, now: float) -> None:
        """A song is at `song` seconds at `now` of the monotonic clock; None: none runs."""
        self._song = None if song is None else (song, now)

    def _fill(self, out: Samples, frames: int, when: Any, status: Any) -> None:
        song = self._song
        if song is None:
            self.looping.fill(out)
            return
        heard = song[0] + time.monotonic() - song[1] + self.latency_seconds
        self.looping.fill(out, round(heard * self.rate))


def _outputs(sounddevice: ModuleType) -> list[str]:
    devices = sounddevice.query_devices()
    return [each["name"] for each in devices if each["max_output_channels"] > 0]


def read_clip(path: Path, rate: int, channels: int) -> Samples:
    """A sound file at another rate and width, (frames, channels) float32. Raises SegueError."""
    import numpy as np
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(str(path)) as file:
            if file.frames > MAX_CLIP_SECONDS * file.samplerate:
                text = f"{path} is longer than {MAX_CLIP_SECONDS:g} s: listen to a part of it"
                raise SegueError(Code.BAD_REGION, text)
            samples = file.read(dtype="float32", always_2d=True)
            own_rate = file.samplerate
    except (OSError, soundfile.SoundFileError) as error:
        raise SegueError(Code.NOT_AUDIO, f"{path} cannot be listened to: {error}") from error
    if samples.shape[1] > channels:
        samples = samples.mean(axis=1, keepdims=True)
    if samples.shape[1] < channels:
        samples = np.repeat(samples[:, :1], channels, axis=1)
    if own_rate != rate:
        samples = soxr.resample(samples, own_rate, rate)
    return np.ascontiguousarray(samples, np.float32)
