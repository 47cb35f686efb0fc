"""Where clips go in a Live Set: on AI tracks, in one undo step, over nothing that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from segue.bridge.daw.ableton.Segue.job import Clip as Made
from segue.bridge.daw.ableton.Segue.job import Result
from segue.bridge.daw.ableton.Segue.live_set import Taken, take
from segue.bridge.daw.ableton.Segue.placing import (
    MOVED,
    TOO_EARLY,
    TOO_OLD,
    bar_and_beat,
    place,
    settle,
)
from segue.bridge.daw.ableton.Segue.region import RefusedError
from segue.bridge.daw.ableton.Segue.wish import make_wish
from tests.fake_live import Clip, LaneTrack, OldTrack, Song, Track

RATE = 8000


def wav(folder: Path, name: str, seconds: float, rate: int = RATE) -> str:
    """A silent file."""
    soundfile.write(folder / name, np.zeros(round(seconds * rate)), rate)
    return str(folder / name)


@pytest.fixture
def song(tmp_path: Path) -> Song:
    """A clip of 8 s, 16 beats, from beat 4 on; its beats 8 to 16 are taken, 2 s to 6 s."""
    return session(tmp_path, Track)


def session(folder: Path, kind: type[OldTrack]) -> Song:
    """A set of such tracks."""
    song = Song(kind)
    song.loop_start, song.loop_length = 8.0, 8.0
    song.view.detail_clip = song.tracks[0].lay(Path(wav(folder, "guitar.wav", 8.0)), 4.0)
    return song


def taken(song: Any) -> Taken:
    """What the script takes of it."""
    return take(song, make_wish("continue", 4, ""))


def result(folder: Path, count: int = 1, overlay: bool = True, rate: int = RATE) -> Result:
    """Clips from second 2 to 14 of the file; their overlays from 5.9 s on."""
    made = tuple(
        Made(
            wav(folder, f"clip{i}.wav", 12.0, rate),
            2.0,
            wav(folder, f"over{i}.wav", 8.1, rate) if overlay else "",
            5.9 if overlay else 0.0,
        )
        for i in range(count)
    )
    return Result(made, 14.0, 7)


def put(song: Any, result: Result, found: Taken | None = None) -> tuple[list[Any], str]:
    """Place it, and let Live do the rest."""
    placed, where = place(song, found or taken(song), result, "made")
    song.idle()
    assert settle(song, placed) == []
    return [each.clip for each in placed], where


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_the_overlay_lies_on_a_track_of_its_own(song: Song, tmp_path: Path, rate: int) -> None:
    """At the beat of its first sample, not warped, named; all in one undo step."""
    (clip,), where = put(song, result(tmp_path, rate=rate))
    assert clip.sample_rate == rate
    assert [track.name for track in song.tracks] == ["Guitar", "AI", "Keys"]
    assert song.tracks[1].arrangement_clips == [clip]
    assert clip.file_path == str(tmp_path / "over0.wav")
    assert clip.start_time == pytest.approx(8 + 3.9 * 2, abs=1e-12)
    assert clip.end_time - clip.start_time == pytest.approx(16.2, abs=1e-12)
    assert (clip.warping, clip.name) == (False, "made")
    assert where == "on track AI at 4.4"
    assert song.view.selected_track is song.tracks[0]
    laid = ["create_audio_track", "value", "value", "create_audio_clip", "gain", "warping"]
    assert song.steps == [laid]


def test_without_an_overlay_the_clip_is_laid(song: Song, tmp_path: Path) -> None:
    """It replaces the region, and so begins with it."""
    (clip,), where = put(song, result(tmp_path, overlay=False))
    assert where == "on track AI at 3.1; mute what it replaces"
    assert (clip.file_path, clip.start_time) == (str(tmp_path / "clip0.wav"), 8.0)


def test_what_is_laid_is_as_loud_as_its_source(song: Song, tmp_path: Path) -> None:
    """Gain, fader and panning, in the same undo step; a track that is there keeps its own."""
    source, mixer = song.view.detail_clip, song.tracks[0].mixer_device
    source._gain, mixer.volume._value, mixer.panning._value = 0.6, 0.7, -0.25
    (clip,), _ = put(song, result(tmp_path))
    new = song.tracks[1].mixer_device
    assert (clip.gain, new.volume.value, new.panning.value) == (0.6, 0.7, -0.25)
    assert len(song.steps) == 1
    song.delete(song.tracks[1])
    mixer.volume.automation_state = 2
    put(song, result(tmp_path))
    new = song.tracks[1].mixer_device
    assert (new.volume.value, new.panning.value) == (0.85, -0.25)
    song.tracks[1].arrangement_clips.clear()
    mixer.panning._value = 1.0
    put(song, result(tmp_path))
    assert song.tracks[1].mixer_device.panning.value == -0.25


def test_nothing_is_laid_over_a_clip(song: Song, tmp_path: Path) -> None:
    """The AI track is used while it is free there, then another is made; so with frozen ones."""
    made = result(tmp_path, overlay=False)
    first, _ = put(song, made)
    second, where = put(song, made)
    assert [track.name for track in song.tracks] == ["Guitar", "AI", "AI 2", "Keys"]
    assert where.startswith("on track AI 2 at 3.1")
    song.loop_start = 16.0  # 6 s to 8 s of the file
    later = Made(made.clips[0].path, 14.0, "", 0.0)
    third, where = put(song, Result((later,), 26.0, 1))
    assert where.startswith("on track AI at 9.1")
    assert song.tracks[1].arrangement_clips == [*first, *third]
    assert song.tracks[2].arrangement_clips == second
    song.tracks[1].is_frozen = song.tracks[2].is_foldable = True
    _, where = put(song, Result((later._replace(start_seconds=100.0),), 112.0, 1))
    assert where.startswith("on track AI 3 ")


def test_other_tracks_whose_names_begin_so(song: Song, tmp_path: Path) -> None:
    """They are the producer's own."""
    song.tracks.append(Track(song, "AI drums"))
    put(song, result(tmp_path))
    assert [track.name for track in song.tracks] == ["Guitar", "AI", "Keys", "AI drums"]


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize(("guess", "first_beat"), [(116.4, 0.0), (60.0, 1.25), (120.0, 0.5)])
def test_what_auto_warp_guessed_is_mended(
    song: Song, tmp_path: Path, guess: float, first_beat: float, looped: bool
) -> None:
    """Live lets a clip start at a beat it found in it; a tick later it is its file, all of it.

    Its ends are set while it is warped still, so that one step takes all of it back.
    """
    song.guess, song.first_beat, song.looped = guess, first_beat, looped
    (clip,), _ = put(song, result(tmp_path))
    assert (clip.loop_start, clip.loop_end) == pytest.approx((0.0, 8.1), abs=1e-9)
    assert (clip.warping, clip.looping) == (False, False)
    assert clip.start_time == pytest.approx(8 + 3.9 * 2, abs=1e-12)
    assert clip.end_time - clip.start_time == pytest.approx(16.2)
    assert len(song.steps) == 1
    in_slot(song, tmp_path, 0)
    (clip,), _ = put(song, result(tmp_path))
    assert (clip.loop_start, clip.loop_end) == pytest.approx((0.0, 12.0), abs=1e-9)
    assert clip.warping is False
    assert len(song.steps) == 2


def test_all_clips_are_mended_in_one_step(tmp_path: Path) -> None:
    """Should Live set other ends while it unwarps them; and nothing is written a second time."""
    song: Any = session(tmp_path, LaneTrack)
    song.first_beat = 0.5
    placed, _ = place(song, taken(song), result(tmp_path, count=3), "made")
    song.idle()
    clips: list[Any] = [each.clip for each in placed]
    for clip in clips[1:]:
        clip._loop = [0.5, 8.1]
    assert settle(song, placed) == []
    assert [round(clip.loop_start, 9) for clip in clips] == [0.0] * 3
    assert song.steps[1:] == [["loop_start", "loop_end"] * 2]
    assert settle(song, placed) == []
    assert len(song.steps) == 2


def test_a_tempo_that_changes_under_a_placed_clip(song: Song, tmp_path: Path) -> None:
    """It is as long as it is, and nothing is written for that."""
    live: Any = song
    placed, _ = place(live, taken(song), result(tmp_path), "made")
    song.idle()
    clip: Any = placed[0].clip
    clip._tempo = 90.0
    assert settle(live, placed) == []
    assert len(song.steps) == 1


def test_the_length_that_live_guesses_cuts_nothing(song: Song, tmp_path: Path) -> None:
    """At half the tempo it guessed, a new clip is twice as long until it is unwarped."""
    later = Made(result(tmp_path).clips[0].path, 14.0, "", 0.0)
    (there,), _ = put(song, Result((later,), 26.0, 1))
    song.guess = 240.0
    _, where = put(song, result(tmp_path))
    assert where == "on track AI 2 at 4.4"
    assert song.tracks[1].arrangement_clips == [there]


def test_a_clip_that_lies_elsewhere_is_told(song: Song, tmp_path: Path) -> None:
    """Should Live move it when it is given its start, the producer hears where it belongs."""
    live: Any = song
    placed, _ = place(live, taken(song), result(tmp_path), "made")
    assert settle(live, placed) is None
    song.idle()
    song.tracks[1].arrangement_clips[0]._start -= 0.5
    expected = "Live did not place made where it belongs: move it to 4.4"
    assert settle(live, placed) == [expected]


def test_variations_lie_on_take_lanes(tmp_path: Path) -> None:
    """Each on a lane under the best one, at the same beat."""
    song = session(tmp_path, LaneTrack)
    placed, _ = put(song, result(tmp_path, count=3))
    track: Any = song.tracks[1]
    assert track.arrangement_clips == placed[:1]
    assert [lane.arrangement_clips for lane in track.take_lanes] == [[placed[1]], [placed[2]]]
    assert [lane.name for lane in track.take_lanes] == ["made (2)", "made (3)"]
    assert len({clip.start_time for clip in placed}) == 1
    assert len(song.steps) == 1


def test_without_lanes_variations_lie_on_further_tracks(song: Song, tmp_path: Path) -> None:
    """In order, below the first."""
    placed, _ = put(song, result(tmp_path, count=3))
    tracks = song.tracks[1:4]
    assert [track.name for track in tracks] == ["AI", "AI 2", "AI 3"]
    assert [track.arrangement_clips for track in tracks] == [[clip] for clip in placed]
    assert len(song.steps) == 1


def warped(folder: Path, kind: type[OldTrack] = Track, rate: int = RATE) -> Any:
    """80 a minute in a set of 120, from beat 4 on; the brace from 8 to 16 is 3 s to 9 s."""
    song: Any = session(folder, kind)
    song.tracks[0].arrangement_clips.clear()
    path = wav(folder, "slow.wav", 18.0, rate)
    song.view.detail_clip = clip = song.tracks[0].lay(Path(path), 4.0)
    clip.warp([(0.0, 0.0), (6.0, 8.0)], 24.0)
    clip.warp_mode = 6
    return song


def seconds(clip: Any, beats: list[float]) -> list[float]:
    """Which second of its file a warped clip plays so many beats after its start."""
    times = [clip.beat_to_sample_time(clip.loop_start + beat) for beat in beats]
    return [time / clip.sample_rate for time in times]


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize(("guess", "first_beat"), [(120.0, 0.0), (80.0, 0.0), (97.3, 0.7)])
def test_what_belongs_to_a_warped_clip_is_warped_as_it_is(
    tmp_path: Path, rate: int, guess: float, first_beat: float, looped: bool
) -> None:
    """Six seconds made anew lie on the eight beats they replace; one step takes them back."""
    song = warped(tmp_path, rate=rate)
    song.guess, song.first_beat, song.looped = guess, first_beat, looped
    made = Made(wav(tmp_path, "made.wav", 12.0, rate), 0.0, wav(tmp_path, "o.wav", 6.0, rate), 3.0)
    found = take(song, make_wish("inpaint", None, ""))
    (clip,), where = put(song, Result((made,), 12.0, 1), found)
    assert (clip.warping, clip.looping, clip.warp_mode) == (True, False, 6)
    assert (clip.start_time, clip.end_time) == pytest.approx((8.0, 16.0), abs=2 / rate)
    assert seconds(clip, [0.0, 4.0, 8.0]) == pytest.approx([0.0, 3.0, 6.0], abs=1 / rate)
    assert where == "on track AI at 3.1"
    assert "approximate, because the clip is warped" in found.notes
    assert len(song.steps) == 1


def test_every_marker_of_a_warped_clip_counts(tmp_path: Path) -> None:
    """Beyond the source the tempo at its end goes on, and markers of its own do not stay."""
    song = warped(tmp_path)
    song.guess, song.first_beat = 97.3, 0.7
    clip = song.view.detail_clip
    clip.warp([(0.0, 0.0), (6.0, 8.0), (9.0, 14.0), (18.0, 26.0)], 26.0)
    made = Made(wav(tmp_path, "made.wav", 12.0), 3.0, "", 0.0)
    (clip,), _ = put(song, Result((made,), 15.0, 1))
    assert clip.start_time == 8.0
    assert seconds(clip, [0.0, 4.0, 8.0, 9.0, 13.0]) == pytest.approx([0, 3, 5, 5.5, 7.5], abs=1e-3)
    assert clip.end_time == pytest.approx(8 + 4 + 9 * 2, abs=1e-3)


def test_warped_takes_and_slots(tmp_path: Path) -> None:
    """On lanes and in the Session View they are warped alike."""
    song = warped(tmp_path, LaneTrack)
    song.first_beat = 0.3
    placed, _ = put(song, result(tmp_path, count=3))
    assert [seconds(clip, [8.0])[0] for clip in placed] == pytest.approx([6.0] * 3, abs=1e-9)
    assert len(song.steps) == 1
    in_slot(song, tmp_path, 0)
    song.view.detail_clip.warp([(0.0, 0.0), (6.0, 8.0)], 8.0)
    (clip,), _ = put(song, result(tmp_path))
    assert seconds(clip, [8.0]) == pytest.approx([6.0], abs=1e-9)
    assert (clip.warping, clip.loop_end - clip.loop_start) == (True, pytest.approx(16.0, abs=1e-3))


def test_a_live_that_warps_nothing_by_itself(tmp_path: Path) -> None:
    """Warp is switched on, which takes a tick, and the markers are a second step."""
    song = warped(tmp_path)
    song.warps = False
    placed, _ = place(song, taken(song), result(tmp_path), "made")
    assert settle(song, placed) is None
    song.idle()
    assert settle(song, placed) == []
    assert seconds(placed[0].clip, [8.0]) == pytest.approx([6.0], abs=1e-9)
    assert len(song.steps) == 2


def test_a_live_that_takes_no_markers(tmp_path: Path) -> None:
    """The clip is there, and the producer is told what to set."""
    song = warped(tmp_path)
    placed, _ = place(song, taken(song), result(tmp_path), "made")
    clip: Any = placed[0].clip
    clip.markers, clip.add_warp_marker = [(0.0, 0.0), (1.0, 2.0)], None
    assert settle(song, placed) == [
        "Live did not warp made as its source is: switch Warp on, and type 80.00 as its BPM"
    ]


def in_slot(song: Song, folder: Path, row: int) -> None:
    """The clip is in a slot instead."""
    slot = song.tracks[0].clip_slots[row]
    slot.clip = song.view.detail_clip = Clip(song, slot, wav(folder, "s.wav", 8.0), None)


def test_session_clips_get_free_slots(song: Song, tmp_path: Path) -> None:
    """Whole clips, as they are launched alone: beside the source, then below, in new scenes."""
    in_slot(song, tmp_path, 0)
    placed, where = put(song, result(tmp_path, count=3))
    assert where == "in a slot of track AI"
    assert [slot.clip for slot in song.tracks[1].clip_slots] == placed
    assert [Path(clip.file_path).name for clip in placed] == ["clip0.wav", "clip1.wav", "clip2.wav"]
    assert len(song.steps) == 1
    more, _ = put(song, result(tmp_path))
    assert [slot.clip for slot in song.tracks[1].clip_slots] == [*placed, *more]
    assert len(song.scenes) == 4


def test_a_session_clip_that_is_gone(song: Song, tmp_path: Path) -> None:
    """Its slot is empty, or has another clip."""
    in_slot(song, tmp_path, 0)
    found = taken(song)
    in_slot(song, tmp_path, 0)
    refused(song, result(tmp_path), found, MOVED)


def refused(song: Any, made: Result, found: Taken, why: str) -> None:
    """Nothing is placed, for that reason, and nothing is to be undone."""
    with pytest.raises(RefusedError, match=why):
        place(song, found, made, "made")
    assert song.steps in ([], [[]])
    assert len(song.tracks) <= 2


def test_another_set(song: Song, tmp_path: Path) -> None:
    """The clips of one set are not placed in another."""
    other = session(tmp_path, Track)
    refused(other, result(tmp_path), taken(song), MOVED)
    other.tracks = song.tracks  # though its tracks look the same
    refused(other, result(tmp_path), taken(song), MOVED)


def test_a_track_that_is_gone(song: Song, tmp_path: Path) -> None:
    """Nor where their track was deleted."""
    found = taken(song)
    song.delete(song.tracks[0])
    refused(song, result(tmp_path), found, MOVED)


def test_a_clip_that_was_moved_or_deleted(song: Song, tmp_path: Path) -> None:
    """Nor where the music they belong to is not any more."""
    found = taken(song)
    song.tracks[0].arrangement_clips[0]._start = 5.0
    refused(song, result(tmp_path), found, MOVED)
    song.tracks[0].arrangement_clips.clear()
    refused(song, result(tmp_path), found, MOVED)


@pytest.mark.parametrize(
    "edit",
    [
        {"_loop": [1.0, 8.0]},
        {"start_marker": 1.0},
        {"_looping": True},
        {"_warping": False},
        {"markers": [(0.0, 0.0), (6.0, 8.5)]},
        {"markers": [(0.0, 0.0), (4.0, 6.0), (6.0, 8.0)]},
    ],
    ids=str,
)
@pytest.mark.parametrize("slot", [False, True])
def test_a_clip_that_was_edited(tmp_path: Path, edit: dict[str, Any], slot: bool) -> None:
    """Where other music of the file lies there now, the result does not belong any more."""
    song = warped(tmp_path)
    if slot:
        in_slot(song, tmp_path, 0)
        song.view.detail_clip.warp([(0.0, 0.0), (6.0, 8.0)], 8.0)
    found = taken(song)
    assert found.is_still_there(song)
    vars(song.view.detail_clip).update(edit)
    refused(song, result(tmp_path), found, MOVED)


def test_a_clip_that_was_made_shorter(song: Song, tmp_path: Path) -> None:
    """What is left of it lies where it lay."""
    found = taken(song)
    song.tracks[0].arrangement_clips[0]._loop[1] = 7.0
    assert found.is_still_there(song)  # type: ignore[arg-type]


def test_an_older_live(tmp_path: Path) -> None:
    """Before 12.0.5 there is no way in."""
    song = session(tmp_path, OldTrack)
    refused(song, result(tmp_path), taken(song), TOO_OLD.replace("(", r"\(").replace(")", r"\)"))


def test_music_before_the_set_begins(song: Song, tmp_path: Path) -> None:
    """There is no beat below 0."""
    first = Made(wav(tmp_path, "c.wav", 8.0), -3.0, "", 0.0)
    refused(song, Result((first,), 6.0, 1), taken(song), TOO_EARLY)
    rounded = first._replace(start_seconds=-2.0002)
    (clip,), _ = put(song, Result((rounded,), 6.0, 1))
    assert clip.start_time == 0.0


def test_a_new_tempo_meanwhile(song: Song, tmp_path: Path) -> None:
    """An unwarped clip starts where it did and runs through fewer beats: 3.9 s after beat 4."""
    found = taken(song)
    song.tempo = 60.0
    (clip,), _ = put(song, result(tmp_path), found)
    assert clip.start_time == pytest.approx(4 + 5.9, abs=1e-12)


def test_a_file_that_is_gone(song: Song, tmp_path: Path) -> None:
    """Live's own error comes out, and the undo step is whole."""
    found, made = taken(song), result(tmp_path)
    (tmp_path / "over0.wav").unlink()
    with pytest.raises(RuntimeError, match="no valid audio file"):
        put(song, made, found)
    song.begin_undo_step()


@pytest.mark.parametrize("kind", [Track, LaneTrack])
def test_a_file_that_is_gone_among_others(tmp_path: Path, kind: type[OldTrack]) -> None:
    """What was placed stays, settled as ever, and the rest is told; an empty lane is used again."""
    song: Any = session(tmp_path, kind)
    song.first_beat = 0.5
    made = result(tmp_path, count=3)
    (tmp_path / "over1.wav").rename(tmp_path / "away.wav")
    (clip,), where = put(song, made)
    kept = f"kept: {tmp_path / 'over1.wav'}, {tmp_path / 'over2.wav'}, for 4.4"
    assert where == f"on track AI at 4.4; only 1 of 3: no valid audio file; {kept}"
    assert (clip.warping, clip.loop_start) == (False, 0.0)
    (tmp_path / "away.wav").rename(tmp_path / "over1.wav")
    song.tracks[1].arrangement_clips.clear()
    placed, _ = put(song, made)
    assert len(placed) == 3
    if kind is LaneTrack:
        assert [lane.name for lane in song.tracks[1].take_lanes] == ["made (2)", "made (3)"]


def test_an_edition_with_few_tracks(song: Song, tmp_path: Path) -> None:
    """Lite and Intro: what to do is said, and a track that is there is used."""
    song.limit = 2
    full = "this Live allows no more tracks: delete one, or free one that is named AI"
    refused(song, result(tmp_path), taken(song), full)
    song.limit = 3
    (clip,), where = put(song, result(tmp_path, count=2))
    assert where.startswith(f"on track AI at 4.4; only 1 of 2: {full}; kept: ")
    assert song.tracks[1].arrangement_clips == [clip]


def test_a_track_that_is_recorded_into(song: Song, tmp_path: Path) -> None:
    """Live places nothing there: another one is made."""
    put(song, result(tmp_path, overlay=False))
    song.tracks[1].arrangement_clips.clear()
    song.tracks[1].arm = song.record_mode = True
    _, where = put(song, result(tmp_path))
    assert where == "on track AI 2 at 4.4"


def test_a_relative_path(song: Song, tmp_path: Path) -> None:
    """Live takes none, and says so."""
    made = result(tmp_path).clips[0]._replace(overlay_path="over0.wav")
    with pytest.raises(RuntimeError, match="no absolute path"):
        put(song, Result((made,), 14.0, 1))


@pytest.mark.parametrize(
    ("beat", "signature", "shown"),
    [
        (0.0, (4, 4), "1.1"),
        (3.9999, (4, 4), "2.1"),
        (31.0, (4, 4), "8.4"),
        (32.0, (4, 4), "9.1"),
        (-3.0, (4, 4), "-1.2"),
        (8.0, (7, 8), "3.3"),
        (7.0, (3, 2), "2.1"),
    ],
)
def test_positions_as_live_shows_them(beat: float, signature: tuple[int, int], shown: str) -> None:
    """Bars and beats count from 1, beats are the signature's, and before bar 1 is bar -1."""
    assert bar_and_beat(beat, *signature) == shown
