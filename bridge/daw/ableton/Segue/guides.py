# Segue: placed by `segue install`
"""How the new music should go, as drawn in clips: a level curve and a line of notes.

Both count in beats from the beginning of the new music, as the clip's from its loop start.
Live shows scripts the envelopes of Session View clips only, never arrangement automation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .region import RowList

if TYPE_CHECKING:
    from Live.Clip import Clip, MidiNote
    from Live.DeviceParameter import DeviceParameter
    from Live.Envelope import Envelope, EnvelopeEvent
    from Live.Song import Song
    from Live.Track import Track

STEP_BEATS = 0.125  # between two samples of a curve
MAX_CURVE_ROWS = 1024
SOFTEST_DB, LOUDEST_DB = -60.0, 30.0


def intensity(song: Song, track: Track, clip: Clip) -> RowList | None:
    """The session clip's envelope of the track's volume, else of the selected parameter.

    Volume counts in dB, any other parameter as a share of its range. Unwarped clips have their
    positions in seconds, and no documented place for their envelopes: none is read from them.
    """
    if clip.is_arrangement_clip or (clip.is_audio_clip and not clip.warping):
        return None
    volume = track.mixer_device.volume
    for parameter in (volume, song.view.selected_parameter):
        envelope = clip.automation_envelope(parameter) if parameter is not None else None
        if parameter is not None and envelope is not None:
            is_volume = parameter == volume
            rows = tuple(
                (beat - clip.loop_start, _level(parameter, envelope.value_at_time(beat), is_volume))
                for beat in _beats(clip, envelope)
            )
            return RowList("intensity", rows, "beats", "db" if is_volume else "share")
    return None


def melody(clip: Clip | None) -> RowList | None:
    """A MIDI clip's notes between its loop start and end, muted ones left out."""
    if clip is None:
        return None
    start, length = clip.loop_start, clip.loop_end - clip.loop_start
    notes: list[MidiNote] = list(clip.get_notes_extended(0, 128, start, length))
    rows = sorted((n.start_time - start, n.duration, float(n.pitch)) for n in notes if not n.mute)
    return RowList("melody", tuple(rows), "beats") if rows else None


def _beats(clip: Clip, envelope: Envelope) -> list[float]:
    """An even grid, and the envelope's own points where this Live tells them."""
    start, end = clip.loop_start, clip.loop_end
    step = max(STEP_BEATS, (end - start) * 2 / MAX_CURVE_ROWS)
    grid = {start + i * step for i in range(int((end - start) / step))} | {end}
    points = set()
    if hasattr(envelope, "events_in_range"):
        events: list[EnvelopeEvent] = list(envelope.events_in_range(start, end))
        points = {event.time for event in events}
    return sorted(grid | points if len(grid | points) <= MAX_CURVE_ROWS else grid)


def decibels(shown: str) -> float:
    """The number in "-6.0 dB" or "-inf dB", as Live writes levels."""
    return float(shown.split()[0].replace(",", "."))


def _level(parameter: DeviceParameter, value: float, is_volume: bool) -> float:
    if is_volume:
        return min(LOUDEST_DB, max(SOFTEST_DB, decibels(parameter.str_for_value(value))))
    return (value - parameter.min) / (parameter.max - parameter.min)
