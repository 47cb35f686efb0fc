"""What the script takes from a Live Set: seconds of the file, beats, curves and notes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from segue.bridge.daw.ableton.Segue.live_set import NO_CLIP, take
from segue.bridge.daw.ableton.Segue.names import NameWatch
from segue.bridge.daw.ableton.Segue.region import (
    RefusedError,
    Region,
    RowList,
    Timeline,
    announce,
    order,
    repeat,
)
from segue.bridge.daw.ableton.Segue.wish import Wish, make_wish
from segue.bridge.osc.codec import decode
from tests.fake_live import (
    Clip,
    Envelope,
    LaneTrack,
    MidiClip,
    Parameter,
    Song,
    TellingEnvelope,
    Track,
)

CONTINUE = make_wish("continue", 4, "")
INPAINT = make_wish("inpaint", None, "")


def wav(folder: Path, seconds: float = 20.0, rate: int = 8000, name: str = "a.wav") -> Path:
    """A silent file."""
    soundfile.write(folder / name, np.zeros(round(seconds * rate)), rate)
    return folder / name


def taken(song: Any, wish: Wish = CONTINUE) -> Any:
    """What the script reads of a fake set."""
    return take(song, wish)


@pytest.fixture
def song() -> Song:
    """The brace from beat 8 to 16, nothing laid yet."""
    song = Song()
    song.loop_start, song.loop_length = 8.0, 8.0
    return song


def selected(song: Song, path: Path, beat: float = 4.0) -> Clip:
    """A clip on the first track, clicked."""
    clip = song.tracks[0].lay(path, beat)
    song.view.detail_clip = clip
    return clip


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_an_unwarped_clip_is_exact(song: Song, tmp_path: Path, rate: int) -> None:
    """At 125 a minute a beat is 0.48 s; the clip's first second is cut off; whole samples."""
    song.tempo = 125.0
    clip = selected(song, wav(tmp_path, rate=rate))
    clip.loop_start = 1.0
    found = taken(song)
    assert found.region == Region(clip.file_path, 2.92, 3.84, 125.0, 4.0, 0.0)
    assert found.timeline is not None
    assert found.timeline.beat_at(2.92, 125.0) == pytest.approx(8.0, abs=1e-12)
    assert found.notes == ()


def test_a_tempo_that_changes_under_the_clip(song: Song, tmp_path: Path) -> None:
    """Live tells the playhead's tempo; 20 s are 30 beats, so the clip's is 90 on the mean."""
    clip = selected(song, wav(tmp_path))
    clip._tempo = 90.0
    song.loop_start, song.loop_length = 19.0, 15.0
    found = taken(song)
    assert found.region[1:3] == (10.0, 10.0)
    assert found.region.bpm == pytest.approx(90.0, abs=1e-9)
    assert found.notes == ("approximate, because the tempo changes under the clip",)
    assert found.timeline is not None
    beats = [found.timeline.beat_at(s, 120.0) for s in (0.0, 20.0, 21.0)]
    assert beats == pytest.approx([4.0, 34.0, 35.5], abs=1e-12)
    region = taken(song, INPAINT).region
    assert region.start_seconds == 7.0
    assert region.lists[0].rows == ((3.0, 10.0),)


def test_an_unwarped_clip_at_another_speed_is_refused(song: Song, tmp_path: Path) -> None:
    """Its pitch is its speed; one in a slot is heard alone."""
    clip = selected(song, wav(tmp_path))
    clip.pitch_coarse = 3
    with pytest.raises(RefusedError, match="consolidate"):
        taken(song)
    clip = in_session(song, wav(tmp_path))
    clip._warping, clip.pitch_coarse = False, 3
    assert taken(song).notes == ("the clip's transposition is not heard",)


def test_the_nearest_samples_are_taken(song: Song, tmp_path: Path) -> None:
    """A brace between samples: the region is whole samples, and its beat is theirs."""
    song.tempo, song.loop_start = 133.0, 8.1
    selected(song, wav(tmp_path))
    region = taken(song).region
    assert region.start_seconds * 8000 == round(4.1 * 60 / 133 * 8000)
    assert region.length_seconds * 8000 == pytest.approx(round(8.0 * 60 / 133 * 8000), abs=1)
    assert region.first_beat == pytest.approx(region.start_seconds * 133 / 60 - 4, abs=1e-12)


def test_a_warped_clip_is_read_by_its_markers(song: Song, tmp_path: Path) -> None:
    """Twelve beats in 6 s, then twelve in 9 s; the result lies where the warped music is."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (6.0, 12.0), (15.0, 24.0)], 24.0)
    song.loop_length = 12.0
    found = taken(song)
    assert (found.region.start_seconds, found.region.length_seconds) == (2.0, 7.0)
    assert found.notes == ("approximate, because the clip is warped",)
    assert found.timeline is not None
    assert [found.timeline.beat_at(s, 120.0) for s in (2.0, 6.0, 7.5, 9.0)] == [8, 16, 18, 20]
    assert [found.timeline.beat_at(s, 999.0) for s in (1.0, 12.0)] == [6, 24]


def test_a_warped_clip_has_its_files_tempo(song: Song, tmp_path: Path) -> None:
    """Twelve beats in 6 s are 120 a minute, twelve in 9 s are 80: bars last as in the file."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (6.0, 12.0), (15.0, 24.0)], 24.0)
    song.tempo, song.loop_length = 200.0, 12.0
    region = taken(song).region
    assert (region.bpm, region.changes) == (120.0, ((4.0, 80.0),))
    assert region.all_lists()[0].rows == ((0.0, 120.0, 4.0), (4.0, 80.0, 4.0))
    song.loop_start = 18.0
    assert taken(song).region[3:] == (80.0, 4.0, 2.0, (), ())


def test_a_tempo_that_no_order_takes(song: Song, tmp_path: Path) -> None:
    """Where markers are set so close, or so far, the mean of all pieces is told."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (3.0, 5.0), (3.01, 6.0), (10.0, 20.0)], 40.0)
    region = taken(song).region
    seconds = (3.01 + 6.0 * 6.99 / 14.0) - 2.4
    assert (region.bpm, region.changes) == (pytest.approx(60 * 8 / seconds, abs=1e-5), ())


def test_a_gap_in_a_warped_clip(song: Song, tmp_path: Path) -> None:
    """80 a minute in a set of 120: eight beats are 6 s of the file, with 3 s on both sides."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (6.0, 8.0)], 80 / 3)
    song.loop_start = 12.0
    region = taken(song, INPAINT).region
    assert region[1:6] == (3.0, 12.0, 80.0, 4.0, 0.0)
    assert region.lists[0].rows == ((3.0, 6.0),)


def test_a_looped_clip_is_read_from_its_last_start(song: Song, tmp_path: Path) -> None:
    """Four beats go round from beat 4 on, beginning in their middle: at 14 they start again."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 40.0)
    clip._looping, clip.start_marker = True, 2.0
    clip._loop = [0.0, 4.0]
    found = taken(song)
    assert (found.region.start_seconds, found.region.length_seconds) == (0.0, 1.0)
    assert found.region.first_beat == 2.0
    assert "the clip starts again at beat 14; only what comes after it is heard" in found.notes
    song.loop_start, song.loop_length = 4.0, 2.0
    assert taken(song).region[1:3] == (1.0, 1.0)
    song.loop_start, song.loop_length = 4.0, 6.0
    assert taken(song).region[1:3] == (0.0, 2.0)


def test_what_comes_before_the_loop_is_a_pass_too(song: Song, tmp_path: Path) -> None:
    """Eight beats from the start marker on, the last four of which are the loop."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 40.0)
    clip._looping, clip._loop = True, [4.0, 8.0]
    song.loop_start, song.loop_length = 4.0, 8.0
    assert taken(song).region[1:3] == (0.0, 4.0)


def test_a_clip_that_begins_behind_its_loop(song: Song, tmp_path: Path) -> None:
    """It runs on and never comes to the loop."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 20.0)
    clip._looping, clip.start_marker, clip._loop = True, 8.0, [0.0, 4.0]
    found = taken(song)
    assert (found.region.start_seconds, found.region.length_seconds) == (6.0, 4.0)
    assert found.notes == ("approximate, because the clip is warped",)
    assert taken(song, INPAINT).region[1:3] == (4.0, 9.0)


def test_a_clip_that_begins_before_its_file(song: Song, tmp_path: Path) -> None:
    """The region starts with the file, and at the file's beat."""
    clip = selected(song, wav(tmp_path))
    clip.loop_start, song.loop_start = -1.0, 4.0
    found = taken(song)
    assert found.region[1:3] == (0.0, 3.0)
    assert found.region.first_beat == 2.0


def test_a_brace_elsewhere_takes_the_whole_clip(song: Song, tmp_path: Path) -> None:
    """The clicked clip is meant, wherever the brace is."""
    selected(song, wav(tmp_path, seconds=2.0), beat=100.0)
    assert taken(song).region[1:3] == (0.0, 2.0)


def test_without_a_clicked_clip_the_track_counts(song: Song, tmp_path: Path) -> None:
    """The clip of the selected track under the brace; of none, a sentence."""
    path = wav(tmp_path)
    song.tracks[0].lay(path, 100.0)
    with pytest.raises(RefusedError, match=NO_CLIP):
        taken(song)
    there = song.tracks[0].lay(path, 4.0)
    assert taken(song).source.clip is there
    song.view.selected_track = SimpleNamespace(name="Master")  # not among the tracks
    assert taken(song).source.clip is there


def test_another_track_was_clicked_since(song: Song, tmp_path: Path) -> None:
    """The clip that Live still shows is not meant then."""
    selected(song, wav(tmp_path))
    song.tracks.append(Track(song, "Drums"))
    there = song.tracks[2].lay(wav(tmp_path), 4.0)
    song.view.selected_track = song.tracks[2]
    assert taken(song).source.clip is there


def test_a_clip_of_a_take_lane(tmp_path: Path) -> None:
    """Its track is two steps above it."""
    song = Song(LaneTrack)
    lane = song.tracks[0].create_take_lane()
    clip = Clip(song, lane, str(wav(tmp_path)), 0.0)
    lane.arrangement_clips.append(clip)
    song.view.detail_clip = clip
    source = taken(song).source
    assert source.track is song.tracks[0]
    assert source.is_still_there(song)


def test_what_is_not_heard_is_said(song: Song, tmp_path: Path) -> None:
    """Transposition belongs to the clip, not to its file."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 40.0)
    clip.pitch_fine = 12.0
    assert taken(song).notes[1:] == ("the clip's transposition is not heard",)
    clip._warping, clip.pitch_fine = False, 0.0
    assert taken(song).notes == ()


def test_clips_without_audio_are_refused(song: Song, tmp_path: Path) -> None:
    """One that is being recorded, and one that plays what its file does not have."""
    clip = selected(song, wav(tmp_path, seconds=1.0))
    clip.is_recording = True
    with pytest.raises(RefusedError, match="no file yet"):
        taken(song)
    clip.is_recording = False
    clip._loop = [3.0, 7.0]
    with pytest.raises(RefusedError, match="no audio of the clip's file"):
        taken(song)


def test_a_gap_has_music_around_it(song: Song, tmp_path: Path) -> None:
    """The brace from beat 8 to 10, 2 s to 3 s of the file, and three seconds on both sides."""
    song.loop_length = 2.0
    selected(song, wav(tmp_path))
    region = taken(song, INPAINT).region
    assert (region.start_seconds, region.length_seconds) == (0.0, 6.0)
    assert region.lists == (RowList("gaps", ((2.0, 1.0),), "seconds"),)
    song.loop_start = 80.0
    with pytest.raises(RefusedError, match="set the loop brace"):
        taken(song, INPAINT)


def test_a_gap_over_the_start_of_a_loop_is_refused(song: Song, tmp_path: Path) -> None:
    """The file goes on elsewhere there; inside one time through it all is well."""
    clip = selected(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 40.0)
    clip._looping, clip._loop = True, [0.0, 8.0]
    song.loop_start, song.loop_length = 11.0, 2.0
    with pytest.raises(RefusedError, match="consolidate"):
        taken(song, INPAINT)
    song.loop_start = 15.0
    found = taken(song, INPAINT)
    assert found.region[1:3] == (0.0, 4.0)
    assert found.region.lists[0].rows == ((1.5, 1.0),)
    assert found.notes == ("approximate, because the clip is warped",)
    song.loop_start, clip._beats = 39.0, 38.0  # the clip ends at 42, before it starts again
    assert taken(song, INPAINT).region[1:3] == (0.0, 3.0)


def in_session(song: Song, path: Path) -> Clip:
    """A warped clip of eight beats, 4 s, in the first slot, clicked."""
    clip = Clip(song, song.tracks[0].clip_slots[0], str(path), None)
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 8.0)
    clip._loop = [4.0, 12.0]
    song.tracks[0].clip_slots[0].clip = clip
    song.view.detail_clip = clip
    return clip


def test_a_warped_session_clip_has_its_files_tempo(song: Song, tmp_path: Path) -> None:
    """As in the arrangement."""
    clip = in_session(song, wav(tmp_path))
    clip.warp([(0.0, 0.0), (6.0, 8.0)], 8.0)
    assert taken(song).region[1:6] == (0.0, 6.0, 80.0, 4.0, 0.0)


def test_a_session_clip_is_its_loop(song: Song, tmp_path: Path) -> None:
    """The brace belongs to the arrangement, and there are no gaps to fill."""
    in_session(song, wav(tmp_path))
    found = taken(song)
    assert found.region[1:6] == (2.0, 4.0, 120.0, 4.0, 0.0)
    assert found.timeline is None
    with pytest.raises(RefusedError, match="Arrangement View"):
        taken(song, INPAINT)


def test_the_volume_envelope_is_the_level(song: Song, tmp_path: Path) -> None:
    """In dB and beats of the new music, an eighth of a beat apart; silence is -60 dB."""
    clip = in_session(song, wav(tmp_path))
    volume = song.tracks[0].mixer_device.volume
    clip.envelopes[volume] = Envelope(lambda beat: 0.0 if beat < 8 else 0.85 + (beat - 8) / 40)
    (rows,) = taken(song).region.lists
    assert rows[:1] + rows[2:4] == ("intensity", "beats", "db")
    assert len(rows.rows) == 65
    assert rows.rows[0] == (0.0, -60.0)
    assert rows.rows[32:34] == ((4.0, 0.0), (4.125, 0.1))
    assert rows.rows[-1] == (8.0, 4.0)


def test_the_selected_parameter_is_the_next_choice(song: Song, tmp_path: Path) -> None:
    """As a share of its range; where Live tells an envelope's points, those are asked too."""
    clip = in_session(song, wav(tmp_path))
    song.view.selected_parameter = Parameter(song)
    assert taken(song).region.lists == ()
    clip.envelopes[song.view.selected_parameter] = TellingEnvelope(
        lambda beat: 4.0 if beat > 4.3 else 1.0, [4.3, 4.300001, 99.0]
    )
    (rows,) = taken(song).region.lists
    assert (rows.unit, rows.scale) == ("beats", "share")
    assert [level for _, level in rows.rows[:5]] == [0.25, 0.25, 0.25, 0.25, 1.0]
    assert rows.rows[3][0] == pytest.approx(0.3)
    times = [4 + i / 1000 for i in range(2000)]
    clip.envelopes[song.view.selected_parameter] = TellingEnvelope(lambda beat: 1.0, times)
    assert len(taken(song).region.lists[0].rows) == 65


def test_envelopes_that_live_does_not_show(song: Song, tmp_path: Path) -> None:
    """None of the arrangement, and none of unwarped clips, whose places are not documented."""
    volume = song.tracks[0].mixer_device.volume
    for clip in (selected(song, wav(tmp_path)), in_session(song, wav(tmp_path))):
        clip.envelopes[volume] = Envelope(lambda beat: 0.5)
        clip._warping = False
        song.view.detail_clip = clip
        assert taken(song).region.lists == ()


NOTES = [(60, 4.0, 1.0, False), (64, 5.5, 0.5, False), (67, 6.0, 1.0, True), (50, 8.0, 1.0, False)]


def test_the_notes_of_a_midi_clip_are_the_melody(song: Song, tmp_path: Path) -> None:
    """Clicked in place of the audio: the audio under the brace, without muted notes."""
    audio = song.tracks[0].lay(wav(tmp_path), 4.0)
    song.view.detail_clip = MidiClip(song.tracks[1], True, NOTES)
    song.view.selected_track = song.tracks[1]
    found = taken(song)
    assert found.source.clip is audio
    rows = ((0.0, 1.0, 60.0), (1.5, 0.5, 64.0))
    assert found.region.lists == (RowList("melody", rows, "beats"),)


def test_a_session_melody_belongs_to_its_scene(song: Song, tmp_path: Path) -> None:
    """The audio is that of the same row."""
    clip = in_session(song, wav(tmp_path))
    slot = song.tracks[1].clip_slots[0]
    slot.clip = song.view.detail_clip = MidiClip(slot, False, NOTES)
    song.view.selected_track = song.tracks[1]
    assert taken(song).source.clip is clip
    slot.clip = None
    with pytest.raises(RefusedError, match=NO_CLIP):
        taken(song)


def test_rows_are_sent_in_parts() -> None:
    """130 rows in three messages, and any of them again, with the begin where it was lost."""
    rows = RowList("intensity", tuple((float(i), 0.5) for i in range(130)), "beats", "share", 0.0)
    sent = [message for packet in announce("a", rows) for message in decode(packet)]
    assert [each.address.rpartition("/")[2] for each in sent] == ["begin", *["add"] * 3, "end"]
    assert sent[0].args == ("a", "intensity", 130, "beats", "share", 0.0)
    assert [each.args[2] for each in sent[1:4]] == [0, 64, 128]
    assert sent[3].args[3:] == (128.0, 0.5, 129.0, 0.5)
    assert sent[4].args == ("a", "intensity", 130)
    assert repeat("a", rows, [-1, 64]) == [*announce("a", rows)[0:3:2], announce("a", rows)[4]]
    assert repeat("a", rows, [130, -2]) == announce("a", rows)[4:]


def test_the_order() -> None:
    """Preset and bars; the tempo is a list of one row, with the place in the bar."""
    region = Region("/é 'a'.wav", 1.5, 4.0, 125.0, 3.0, 2.0)
    (message,) = decode(order("a", region, make_wish("rise", 8, "calm")))
    assert message.address == "/segue/make"
    expected = ("a", "/é 'a'.wav", 1.5, 4.0, "rise", 0.0, 8.0, 0.0, -1, "calm")
    assert message.args == expected
    assert region.all_lists() == (RowList("tempo", ((0.0, 125.0, 3.0),), first_beat=2.0),)


def test_outside_its_points_a_timeline_runs_as_time_does() -> None:
    """One point is enough; a new tempo counts for what is placed under it."""
    timeline = Timeline(((1.0, 4.0),))
    assert [timeline.beat_at(s, 60.0) for s in (0.0, 1.0, 3.0)] == [3.0, 4.0, 6.0]
    assert timeline.beat_at(3.0, 120.0) == 8.0


def test_wishes_are_typed_into_names(song: Song, tmp_path: Path) -> None:
    """A rename while it is watched counts, once; a set just opened and undoing do not."""
    watch: Any = NameWatch()
    clip = selected(song, wav(tmp_path))
    clip.name = "Take >segue rise"
    assert watch.look(song) is None
    clip.name = "Take"
    assert watch.look(song) is None
    clip.name = "Take >segue rise 8"
    assert watch.look(song) == make_wish("rise", 8, "")
    assert (clip.name, watch.look(song)) == ("Take", None)
    clip.name, song.can_redo = "Take >segue rise 8", True  # undone
    assert watch.look(song) is None
    song.can_redo = False
    assert watch.look(song) is None
    song.tracks[0].name = "Guitar >segue vary"
    assert watch.look(song) == make_wish("vary", None, "")
    assert song.tracks[0].name == "Guitar"
    song.view.detail_clip = other = song.tracks[0].lay(wav(tmp_path), 50.0)
    other.name = "Left from before >segue rise"
    assert watch.look(song) is None
    song.view.detail_clip = None
    assert watch.look(song) is None
