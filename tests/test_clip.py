"""Where music is made: which samples are known, which are gaps, and what stands beside them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from segue.bridge.midi.rounds import new_seconds
from segue.presets.tempo import TempoChange, TempoMap
from segue.presets.vocabulary import Request, SegueError
from segue.server.audio_file import Waveform
from segue.server.clip import Clip, Gap, lay_out

RATE = 1000
REGION = Waveform(np.arange(1.0, 4001.0)[:, None] / 4000, RATE, "FLOAT")


def request(control: dict[str, Any], **more: Any) -> Request:
    """A request for four seconds of region."""
    region = {"path": "/a.wav", "start_seconds": 0.0, "length_seconds": 4.0}
    return Request.model_validate({"id": "a", "region": region, "controls": [control], **more})


def laid(control: dict[str, Any], **more: Any) -> Clip:
    """The clip of such a request."""
    return lay_out(request(control, **more), REGION)


def test_what_follows() -> None:
    """To the right: the region, then the gap with all of the region on its left."""
    clip = laid({"kind": "outpaint"}, new_seconds=1.5)
    assert clip.gaps == (Gap(start=4000, stop=5500, left=4000),)
    assert np.array_equal(clip.wave.samples[:4000], REGION.samples)
    assert not clip.wave.samples[4000:].any()
    assert (clip.offset_samples, clip.new_samples, clip.span) == (0, 1500, (4000, 5500))


def test_what_goes_before() -> None:
    """To the left: the clip begins earlier than the region."""
    clip = laid({"kind": "outpaint", "side": "left"}, new_seconds=1.5)
    assert clip.gaps == (Gap(start=0, stop=1500, right=4000),)
    assert np.array_equal(clip.wave.samples[1500:], REGION.samples)
    assert clip.offset_samples == 1500


def test_both_sides() -> None:
    """Each side gets the length asked for."""
    clip = laid({"kind": "outpaint", "side": "both"}, new_seconds=1.0)
    assert clip.gaps == (Gap(start=0, stop=1000, right=4000), Gap(start=5000, stop=6000, left=4000))
    assert clip.span == (0, 6000)


def test_a_loop_leads_back_to_the_start() -> None:
    """What is right of the gap is the clip's own beginning."""
    clip = laid({"kind": "loop"}, new_seconds=1.0)
    (gap,) = clip.gaps
    assert gap == Gap(start=4000, stop=5000, left=4000, right=4000)
    assert np.array_equal(clip.samples(5000, 5010), REGION.samples[:10])


def test_gaps_are_emptied() -> None:
    """Several gaps, each with the music up to the next one beside it."""
    gaps = [{"start": 1.0, "length": 0.5}, {"start": 2.5, "length": 1.0}]
    clip = laid({"kind": "inpaint", "gaps": gaps})
    first = Gap(start=1000, stop=1500, left=1000, right=1000)
    assert clip.gaps == (first, Gap(start=2500, stop=3500, left=1000, right=500))
    assert not clip.wave.samples[1000:1500].any()
    assert np.array_equal(clip.wave.samples[1500:2500], REGION.samples[1500:2500])


def test_without_gaps_the_middle_is_filled() -> None:
    """All but one overlap on either side, a quarter of the region at most."""
    assert laid({"kind": "inpaint"}).gaps == (Gap(start=1000, stop=3000, left=1000, right=1000),)
    clip = laid({"kind": "inpaint", "overlap_seconds": 0.5})
    assert clip.gaps == (Gap(start=500, stop=3500, left=500, right=500),)


def test_shares_of_the_region() -> None:
    """A gap in shares."""
    gaps = [{"start": 0.25, "length": 0.5}]
    clip = laid({"kind": "inpaint", "gaps": gaps, "unit": "share"})
    assert clip.gaps == (Gap(start=1000, stop=3000, left=1000, right=1000),)


@pytest.mark.parametrize(
    ("start", "length", "said"), [(3.0, 1.5, "ends at 4.500 s"), (0.1, 1.0, "both sides")]
)
def test_gaps_that_do_not_fit(start: float, length: float, said: str) -> None:
    """Beyond the region, or without music beside it."""
    with pytest.raises(SegueError, match=said):
        laid({"kind": "inpaint", "gaps": [{"start": start, "length": length}]})


@pytest.mark.parametrize(
    ("control", "more"),
    [
        *(
            (place, {"new_bars": 1e-6, "tempo": {"changes": [{"at_seconds": 0, "bpm": 120}]}})
            for place in ({"kind": "outpaint"}, {"kind": "outpaint", "side": "left"})
        ),
        ({"kind": "loop"}, {"new_seconds": 1e-6}),
        ({"kind": "inpaint", "gaps": [{"start": 2.0, "length": 1e-6}]}, {}),
    ],
)
def test_a_sample_is_the_least(control: dict[str, Any], more: dict[str, Any]) -> None:
    """Of what rounds to none there would be no clip."""
    clip = laid(control, **more)
    assert [gap.stop - gap.start for gap in clip.gaps] == [1]


def test_samples_are_taken_without_a_list_of_their_numbers() -> None:
    """Ten minutes to vary would have taken a gigabyte more, and seconds."""
    clip = Clip(wave=replace(REGION, samples=np.ones((100_000, 2))), gaps=())
    tracemalloc.start()
    taken = clip.samples(50_000, 150_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * taken.nbytes


def test_a_variation_is_one_gap_with_a_reference() -> None:
    """All of the region is made anew, and known."""
    clip = laid({"kind": "vary"})
    assert clip.gaps == (Gap(start=0, stop=4000),)
    assert clip.reference
    assert np.array_equal(clip.wave.samples, REGION.samples)


def test_music_out_of_nothing() -> None:
    """No region: stereo at the model's rate."""
    clip = lay_out(Request(id="a", new_seconds=2.0, controls=()), None)
    assert clip.gaps == (Gap(start=0, stop=88200),)
    assert clip.wave.samples.shape == (88200, 2)


def test_bars_follow_the_tempo_map() -> None:
    """Two bars from the region's end on, the tempo doubling after the first."""
    changes = (TempoChange(at_seconds=0, bpm=120), TempoChange(at_seconds=6, bpm=240))
    tempo = TempoMap(changes=changes).model_dump()
    clip = laid({"kind": "outpaint"}, new_bars=2, tempo=tempo)
    assert clip.new_samples == 3000  # a bar of 2 s, then one of 1 s


@pytest.mark.parametrize("beats", [0.0, 1.0])
def test_bars_before_the_region_have_the_tempo_it_begins_with(beats: float) -> None:
    """Of 120 bpm, whatever comes later; counted back from the region, on a bar line or not."""
    rows = (TempoChange(at_seconds=0, bpm=120), TempoChange(at_seconds=1, bpm=60))
    tempo = TempoMap(changes=rows, first_beat=beats)
    asked = request({"kind": "outpaint", "side": "left"}, new_bars=2, tempo=tempo)
    assert lay_out(asked, REGION).offset_samples == 4000
    assert new_seconds(asked) == 4.0


@pytest.mark.parametrize(
    "gaps",
    [
        {},
        {"overlap_seconds": 3.0},
        {"gaps": [{"start": 1, "length": 1}, {"start": 2.5, "length": 0.5}]},
        {"gaps": [{"start": 0.25, "length": 0.5}], "unit": "share"},
        {"gaps": [{"start": 0.5, "length": 0.5}], "unit": "bars"},
    ],
)
def test_a_take_is_over_what_is_made_anew(gaps: dict[str, object]) -> None:
    """A controller's takes last from the first gap's start to the last one's end, as made here."""
    asked = request({"kind": "inpaint", **gaps}, tempo=TempoMap.steady(120))
    first, last = lay_out(asked, REGION).span
    assert new_seconds(asked) == (last - first) / REGION.sample_rate


def test_too_many_bars() -> None:
    """More than three minutes at a time is refused, with the length they would have."""
    tempo = TempoMap.steady(60).model_dump()
    with pytest.raises(SegueError, match=r"100 bars are 400\.0 s"):
        laid({"kind": "outpaint"}, new_bars=100, tempo=tempo)
