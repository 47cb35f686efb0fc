"""The script in a fake Live, ticked by hand, and an engine whose clips have overlays."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from segue.bridge.daw.ableton.Segue.desk import Desk
from segue.bridge.daw.ableton.Segue.leftover import Leftovers
from segue.bridge.daw.ableton.Segue.port import Port
from segue.presets.vocabulary import Progress, Request, Result
from tests.fake_live import Clip, OldTrack, Song, Track
from tests.osc_client import DEADLINE_SECONDS
from tests.recorder import Recorder, write_noise

WAIT_SECONDS = 0.02  # for a datagram, between two ticks
NASTY = "Übung 'n' \"Ton\" & más"  # also a folder's name


class Painter(Recorder):
    """An engine whose clips have overlays from 10 ms on, and as many variations as were kept."""

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """The recorder's clip and more files beside it."""
        result = super().run(request, out_path, on_progress)
        assert request.region is not None
        further = range(2, request.settings.keep + 1)
        clips = [out_path, *(out_path.with_name(f"{out_path.stem}~{i}.wav") for i in further)]
        overlays = [clip.with_name(f"{clip.stem}~overlay.wav") for clip in clips]
        for path in [*clips, *overlays]:
            write_noise(path, 1)
        return result.model_copy(
            update={
                "overlay_path": str(overlays[0]),
                "overlay_start_seconds": request.region.start_seconds + 0.01,
                "variations": tuple(map(str, clips[1:])),
                "variation_overlays": tuple(map(str, overlays[1:])),
            }
        )


class Live:
    """The script in a fake Live, whose clock the test can put forward."""

    def __init__(self, song: Song, bridge: int, jobs: str = "") -> None:
        self.song: Any = song
        self.bridges = [bridge]
        self.said: list[str] = []
        self.log: list[str] = []
        self.ahead = 0.0
        self.faults = 0  # tracebacks that are to be in the log
        self.port = Port(0)
        self.desk = Desk(
            lambda: self.song,
            self.said.append,
            self.log.append,
            self.port,
            lambda: self.bridges,
            lambda: time.monotonic() + self.ahead,
            Leftovers(jobs),
        )

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *error: object) -> None:
        self.desk.close()

    def until(self, rule: Callable[[], Any], patience: float = DEADLINE_SECONDS) -> Any:
        """Tick, and let Live do what it put off, until a rule holds."""
        deadline = time.monotonic() + patience
        while not (value := rule()):
            assert time.monotonic() < deadline, self.log
            select.select([self.port._socket], [], [], WAIT_SECONDS)
            self.tick()
        return value

    def tick(self) -> None:
        """Once, with no error logged but those that a test provokes."""
        self.desk.tick()
        self.song.idle()
        assert "".join(self.log).count("Traceback") <= self.faults

    def hears(self, words: str, patience: float = DEADLINE_SECONDS) -> str:
        """The status bar's text with these words in it."""

        def rule() -> str | None:
            return next((text for text in self.said if words in text), None)

        found: str = self.until(rule, patience)
        return found

    def type(self, words: str) -> None:
        """The producer ends the selected clip's name with a command."""
        self.tick()
        clip = self.song.view.detail_clip
        clip.name += f" >segue {words}"
        self.tick()
        assert clip.name.count(">segue") == 0


def wav(folder: Path, rate: int = 8000) -> Path:
    """Ten silent seconds under a nasty name."""
    path = folder / f"{NASTY}.wav"
    soundfile.write(path, np.zeros(10 * rate), rate)
    return path


def a_song(folder: Path, kind: type[OldTrack] = Track, rate: int = 8000) -> Song:
    """A clip from beat 4 on, clicked; the brace from 8 to 16 is its seconds 2 to 6."""
    song = Song(kind)
    song.loop_start, song.loop_length = 8.0, 8.0
    song.view.detail_clip = song.tracks[0].lay(wav(folder, rate), 4.0)
    return song


def ai_clips(live: Live) -> list[Clip]:
    """What lies on the track that is made for it."""
    tracks = [track for track in live.song.tracks if track.name == "AI"]
    return tracks[0].arrangement_clips if tracks else []


def kept(text: str) -> Path:
    """The file that a message names."""
    path = Path(text.partition("kept: ")[2].rpartition(", for ")[0])
    assert path.is_file()
    return path
