"""What the DAW is told, as packets: server events, answers and errors in the rows of the table."""

from __future__ import annotations

from segue.bridge.osc import addresses
from segue.bridge.osc.grammar import Row, write
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Preview,
    Progress,
    Result,
)


def packet(job_id: str, row: Row, *values: str | int | float) -> bytes:
    """A reply, or the error that says why it cannot be sent: nothing is cut in silence."""
    try:
        return write(row, *values)
    except ValueError as error:
        text = f"{error}; read the job over HTTP at /jobs/{job_id}, or keep clips in a shorter path"
        return addresses.write_error(job_id, Code.UNSUPPORTED, text)


def event_packets(event: Event) -> list[bytes]:
    """An event's own packet, and before a result those of its further clips."""
    match event:
        case Progress():
            return [packet(event.id, addresses.PROGRESS, event.id, event.fraction, event.stage)]
        case Result():
            return [*_variations(event), _done(event)]
        case Cancelled():
            return [packet(event.id, addresses.CANCELLED, event.id)]
        case Failure():
            return [addresses.write_error(event.id, event.code, event.text)]


def preview_packet(job_id: str, preview: Preview) -> bytes:
    """Where to find a job's newest preview."""
    place = (preview.start_seconds, preview.length_samples, preview.sample_rate, preview.number)
    return packet(job_id, addresses.PREVIEW, job_id, preview.path, *place)


def _done(result: Result) -> bytes:
    place = (result.start_seconds, result.length_samples, result.sample_rate, result.seed)
    overlay = (result.overlay_path or "", _overlay_start(result))
    return packet(result.id, addresses.DONE, result.id, result.path, *place, *overlay)


def _variations(result: Result) -> list[bytes]:
    clips = result.variations
    overlays = result.variation_overlays or ("",) * len(clips)
    row, start = addresses.VARIATION, _overlay_start(result)
    return [
        packet(result.id, row, result.id, number, clip, overlay, start)
        for number, (clip, overlay) in enumerate(zip(clips, overlays, strict=True), start=2)
    ]


def _overlay_start(result: Result) -> float:
    start = result.overlay_start_seconds
    return result.start_seconds if start is None else start
