"""The real Ardour: its own selection goes out, the clip comes back as a region on the sample.

Real too: JACK (its dummy driver), `segue spool`, the bridge, the server. The engine is not,
except where its music is measured.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from segue.export.evaluation.heard_intensity import intensity_mse
from segue.export.evaluation.heard_intensity import level as heard_level
from segue.presets.controls import Inpaint, Intensity, Outpaint, Vary
from segue.presets.library import SHIPPED
from segue.presets.vocabulary import Code, Request, SegueError, State
from tests import ardour_daw
from tests.ardour_daw import Ardour, headless, quoted, until
from tests.ardour_studio import (
    CANCEL,
    CONTINUE,
    INPAINT,
    RATE,
    SECONDS,
    TAPE_FIRST,
    TRACKS,
    VARY,
    Studio,
    add,
    clip_files,
    create_session,
    heard,
    listing,
    playlist,
    record_tape,
    running,
    select,
)
from tests.mouse import Mouse
from tests.toy_engine import FADE_SECONDS

OUT = 64  # samples that Ardour fades out at a region's end
LIED_FIRST = 4_000_004  # of the track that real music is for
EXCERPT = Path(str(SHIPPED)) / "excerpts" / "feelings.flac"
MODEL_SECONDS = 150.0  # for the model to be done, on a machine that has other things to do
OVER, APART = 180, 30  # pixels: where tracks begin at most, and less than one of them is high
NAME = 120  # from a lane's name to the timeline, in pixels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ardour_daw.missing()), reason=ardour_daw.missing()),
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One for all of these; they come one after the other."""
    with running(tmp_path_factory.mktemp("ardour")) as studio:
        yield studio


def test_a_stereo_region_is_continued(studio: Studio) -> None:
    """Four bars; as Ardour plays them, original and overlay together are the clip, also where the
    original fades out at the seam; one undo takes the overlay away."""
    first = TRACKS["Gitarre"][1]
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    (overlay,) = studio.placed("AI")
    asked = studio.asked
    assert asked.region is not None
    assert (asked.region.start_seconds, asked.region.length_seconds) == (0, SECONDS)
    assert (asked.new_seconds, asked.place) == (8.0, Outpaint())
    assert not any(isinstance(each, Intensity) for each in asked.controls)
    clip = soundfile.read(studio.folder / "server" / "results" / f"{asked.id}.wav")[0]
    (original,) = studio.regions("Gitarre")
    fade = round(FADE_SECONDS * RATE)
    assert original[:3] == [str(first), str(SECONDS * RATE), "0"]
    assert overlay[:2] == [str(first + SECONDS * RATE - fade), str(8 * RATE + fade)]
    both = heard(studio, "Gitarre", first, len(clip)) + heard(studio, "AI", first, len(clip))
    np.testing.assert_allclose(both[:-OUT], clip[:-OUT], atol=1e-6)
    assert np.abs(clip[SECONDS * RATE :]).max() > 0.3
    fades = f"for r in {playlist('AI')}:region_list ():iter () do local a = r:to_audioregion ()"
    shaped = f"{fades} say (a:fade_in_active (), a:fade_out_active ()) end"
    assert studio.ardour.lua(shaped) == ["false\ttrue"]
    studio.undo()
    assert studio.placed("AI", 0) == []
    assert studio.regions("Gitarre") == [original]


def test_a_mono_region_and_its_automation(studio: Studio) -> None:
    """A trimmed region: from its own beginning on; the fader's decibels; three clips on three
    tracks, of which the best is heard."""
    settings = studio.ardour.config / "segue" / "settings.lua"
    usual = settings.read_text(encoding="utf-8")
    settings.write_text(usual.replace('continue = ""', 'continue = "best-of-eight"'))
    studio.select("Baß")
    studio.ardour.lua(f"""
        for region in {playlist("Baß")}:region_list ():iter () do
            region:trim_front (region:position () + Temporal.timecnt_t (72000))
        end""")
    (original,) = studio.regions("Baß")
    studio.ardour.act(CONTINUE)
    laid = [studio.placed(track)[0] for track in ("AI 2", "AI 3", "AI 4")]
    settings.write_text(usual)
    asked = studio.asked
    assert asked.region is not None
    assert (asked.region.start_seconds, asked.region.length_seconds) == (0, SECONDS - 1.5)
    (curve,) = (each for each in asked.controls if isinstance(each, Intensity))
    levels = dict(curve.points)
    assert [len(curve.points), curve.unit, curve.scale] == [81, "seconds", "db"]
    assert [levels[time] for time in (0, 4, 8)] == pytest.approx([0, -20, 0], abs=1e-4)
    assert levels[1] > levels[2] > levels[3] > -20 < levels[5] < levels[6]
    clip = soundfile.read(studio.folder / "server" / "results" / f"{asked.id}.wav")[0]
    first = int(original[0])
    tracks = ("Baß", "AI 2", "AI 3", "AI 4")
    sound, overlay, *others = (heard(studio, each, first, len(clip))[:, 0] for each in tracks)
    np.testing.assert_allclose((sound + overlay)[:-OUT], clip[:-OUT], atol=1e-6)
    for each in others:
        assert not each.any()
    for region, name in zip(laid, ("overlay", "2~overlay", "3~overlay"), strict=True):
        made = clip_files(studio, asked.id, name)
        np.testing.assert_array_equal(soundfile.read(region[4], dtype="float32")[0], made)
    studio.undo()
    for track in ("AI 2", "AI 3", "AI 4"):
        assert studio.placed(track, 0) == []


def test_a_range_is_made_anew(studio: Studio) -> None:
    """Inpainting sends the region around the range, the gap in it, and lays the clip itself."""
    first = TRACKS["Gitarre"][1]
    studio.select_range(first + 4 * RATE, first + 5 * RATE)
    studio.ardour.act(INPAINT)
    (clip,) = studio.placed("AI")
    asked = studio.asked
    assert isinstance(asked.place, Inpaint)
    assert [(gap.start, gap.length) for gap in asked.place.gaps] == [(4, 1)]
    assert clip[:2] == [str(first), str(SECONDS * RATE)]
    studio.undo()


def test_a_region_is_varied(studio: Studio) -> None:
    """Another take of the whole region lies where the region does."""
    studio.select("Gitarre")
    studio.ardour.act(VARY)
    (clip,) = studio.placed("AI")
    assert isinstance(studio.asked.place, Vary)
    assert clip[:2] == [str(TRACKS["Gitarre"][1]), str(SECONDS * RATE)]
    studio.undo()


def test_a_clip_of_another_rate(studio: Studio) -> None:
    """Ardour makes 44.1 kHz into 48 kHz: the place and the length are those in seconds."""
    studio.engine.rate = 44_100
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    (overlay,) = studio.placed("AI")
    studio.engine.rate = None
    fade = round(FADE_SECONDS * RATE)
    end = TRACKS["Gitarre"][1] + SECONDS * RATE
    assert overlay[:2] == [str(end - fade), str(8 * RATE + fade)]
    studio.undo()


def _set_tempo(ardour: Ardour, bpm: float, beats: int) -> None:
    """From beat 16 on; Ardour does not undo this."""
    ardour.lua(f"""
        local map = Temporal.TempoMap.fetch_writable ()
        map:set_tempo (Temporal.Tempo ({bpm}, {bpm}, 4), Temporal.timepos_t.from_ticks (16 * 1920))
        map:set_meter (Temporal.Meter ({beats}, 4), Temporal.timepos_t.from_ticks (16 * 1920))
        Temporal.TempoMap.update (map)""")


def test_tempo_and_metre_under_way(studio: Studio) -> None:
    """Changes of the session's map reach the request at their seconds after the region's start."""
    _set_tempo(studio.ardour, 60, 3)
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    studio.placed("AI")
    tempo = studio.asked.tempo
    assert tempo is not None
    before, after = tempo.changes
    first = TRACKS["Gitarre"][1]
    assert (before.at_seconds, before.bpm, before.beats_per_bar) == (0, 120, 4)
    assert (after.bpm, after.beats_per_bar) == (60, 3)
    assert math.isclose(after.at_seconds, 8 - first / RATE, abs_tol=1 / RATE)
    assert tempo.first_beat == pytest.approx(first / RATE * 2 % 4, abs=1 / 1920)
    assert studio.asked.new_seconds == pytest.approx(12)  # four bars of three beats
    studio.undo()
    _set_tempo(studio.ardour, 120, 4)


def test_takes_and_neighbours(studio: Studio) -> None:
    """Another take lies above the last one; what would lie beside it goes to a track of its own,
    as loud as what it continues."""
    fader = 'Session:route_by_name ("AI"):to_track ():gain_control ():set_value'
    studio.ardour.lua(f"{fader} (0.5, PBD.GroupControlDisposition.NoGroup)")
    studio.select("Gitarre")
    for takes in (1, 2):
        studio.ardour.act(CONTINUE)
        studio.placed("AI", takes)
    gains = f"for r in {playlist('AI')}:region_list ():iter () do"
    gains += " say (r:to_audioregion ():scale_amplitude ()) end"
    assert studio.ardour.lua(gains) == ["2.0", "2.0"]
    first, second = studio.regions("AI")
    assert first[:2] == second[:2]
    studio.select("AI")
    studio.ardour.act(CONTINUE)
    (next_one,) = studio.placed("AI 5")
    end, fade = int(first[0]) + int(first[1]), round(FADE_SECONDS * RATE)
    assert next_one[0] == str(end - fade)
    assert len(studio.regions("AI")) == 2
    for _ in range(5):  # between them are imports, steps of Ardour's own
        studio.undo()
    studio.placed("AI", 0)
    studio.ardour.lua(f"{fader} (1.0, PBD.GroupControlDisposition.NoGroup)")


def test_trim_counts_like_the_fader(studio: Studio) -> None:
    """What is laid is as loud as the region is after its trim; a curve of the trim is followed,
    from where the fader stands."""
    controls = """
        local alone = PBD.GroupControlDisposition.NoGroup
        local track = Session:route_by_name ("Gitarre"):to_track ()
        local trim, fader = track:trim_control (), track:gain_control ()"""
    studio.ardour.lua(f"{controls} trim:set_value (0.5, alone)")
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    studio.placed("AI")
    gain = f"for r in {playlist('AI')}:region_list ():iter () do"
    gain += " say (r:to_audioregion ():scale_amplitude ()) end"
    assert studio.ardour.lua(gain) == ["0.5"]
    studio.undo()
    end = TRACKS["Gitarre"][1] + SECONDS * RATE
    studio.ardour.lua(f"""{controls}
        trim:alist ():add (Temporal.timepos_t ({end}), 1, false, true)
        trim:alist ():add (Temporal.timepos_t ({end + 4 * RATE}), 0.25, false, true)
        trim:set_automation_state (ARDOUR.AutoState.Play)
        fader:set_value (0.5, alone)""")
    studio.ardour.act(CONTINUE)
    studio.placed("AI")
    (curve,) = (c for c in studio.engine.requests[-1].controls if isinstance(c, Intensity))
    levels = dict(curve.points)
    assert [levels[time] for time in (0, 4, 8)] == pytest.approx([0, -12.04, -12.04], abs=0.01)
    assert studio.ardour.lua(gain) == ["0.5"]
    studio.undo()
    studio.ardour.lua(f"""{controls}
        trim:set_automation_state (ARDOUR.AutoState.Off)
        trim:set_value (1, alone)
        fader:set_value (1, alone)""")


@pytest.fixture
def fader(studio: Studio) -> Iterator[Callable[[str], None]]:
    """Draws the bass's fader as {seconds after its region's end, level}, for one test."""

    def draw(points: str) -> None:
        end = TRACKS["Baß"][1] + SECONDS * RATE
        studio.ardour.lua(f"""
            local control = Session:route_by_name ("Baß"):to_track ():gain_control ()
            control:alist ():clear_list ()
            for _, point in ipairs {{ {points} }} do
                local at = Temporal.timepos_t ({end} + point[1] * {RATE})
                control:alist ():add (at, point[2], false, true)
            end
            control:set_automation_state (ARDOUR.AutoState.Play)""")

    yield draw
    draw("{0, 1}, {4, 0.1}, {8, 1}")


def _factor(studio: Studio, track: str) -> float:
    """By which the region on a track is louder."""
    each = f"for r in {playlist(track)}:region_list ():iter () do"
    (factor,) = studio.ardour.lua(f"{each} say (r:to_audioregion ():scale_amplitude ()) end")
    return float(factor)


def _continued_under_a_curve(studio: Studio) -> tuple[Request, dict[float, float]]:
    """The bass goes on: the request and its curve in decibels."""
    studio.select("Baß")
    studio.ardour.act(CONTINUE)
    studio.placed("AI 2")
    asked = studio.engine.requests[-1]
    (curve,) = (each for each in asked.controls if isinstance(each, Intensity))
    assert (curve.unit, curve.scale) == ("seconds", "db")
    return asked, {float(time): level for time, level in curve.points}


def test_a_curve_counts_from_the_seam(studio: Studio, fader: Callable[[str], None]) -> None:
    """The fader stands at a half there: region and overlay are, as they are heard, half the clip;
    from there the curve falls and rises."""
    fader("{-2, 0.5}, {1, 0.5}, {4, 0.25}, {8, 1}")
    asked, levels = _continued_under_a_curve(studio)
    assert [levels[time] for time in (0, 4, 8)] == pytest.approx([0, -6.02, 6.02], abs=0.01)
    assert _factor(studio, "AI 2") == pytest.approx(0.5)
    (original,) = studio.regions("Baß")
    clip = soundfile.read(studio.clip(asked.id))[0]
    seam, first = int(original[1]), int(original[0]) + int(original[1]) - RATE
    tracks = ("Baß", "AI 2")
    sound, more = (heard(studio, each, first, 2 * RATE, faded=True)[:, 0] for each in tracks)
    expected = 0.5 * clip[seam - RATE : seam + RATE]
    there = slice(RATE // 10, None)  # from where the fader was, Ardour glides to where it is drawn
    np.testing.assert_allclose((sound + more)[there], expected[there], atol=1e-6)
    studio.undo()


def test_a_curve_out_of_silence(studio: Studio, fader: Callable[[str], None]) -> None:
    """A closed fader is no level to count from: the curve's top is as far above as Segue takes,
    and is as loud as it is drawn."""
    fader("{-2, 0}, {0, 0}, {8, 1}")
    _, levels = _continued_under_a_curve(studio)
    assert [levels[time] for time in (0, 8)] == pytest.approx([-60, 30], abs=1e-4)
    assert 20 * math.log10(_factor(studio, "AI 2")) == pytest.approx(-30, abs=1e-4)
    studio.undo()


def test_what_is_varied_is_as_loud_as_its_beginning(
    studio: Studio, fader: Callable[[str], None]
) -> None:
    """The fader stands at a quarter there, and elsewhere where the playhead is."""
    fader("{-30, 1}, {-9, 0.25}, {-8, 0.25}, {-5, 0.5}")
    studio.select("Baß")
    studio.ardour.act(VARY)
    studio.placed("AI 2")
    assert _factor(studio, "AI 2") == pytest.approx(0.25)
    studio.undo()


def _has_lane(ardour: Ardour) -> bool:
    """Whether a lane and no track is selected."""
    tracks = "Editor:get_selection ().tracks"
    (line,) = ardour.lua(f"say ({tracks}:to_tav_list ():size (), {tracks}:routelist ():size ())")
    return line == "1\t0"


def _click(ardour: Ardour, x: int, y: int) -> bool:
    """Click with the mouse; whether a lane got selected."""
    with Mouse(ardour.display) as mouse:
        mouse.move(x, y)
        ardour.lua("")  # once Ardour has answered it has seen the mouse
        for down in (True, False):
            mouse.button(down=down)
            ardour.lua("")
    return _has_lane(ardour)


def _drag(ardour: Ardour, y: int, first: int, last: int) -> bool:
    """Draw from a sample to another with the mouse; whether a lane got selected."""
    with Mouse(ardour.display) as mouse:
        for x in (first, (first + last) // 2, last):
            mouse.move(x, y)
            ardour.lua("")
            if x == first:
                mouse.button(down=True)
        mouse.button(down=False)
    return _has_lane(ardour)


def _lane(ardour: Ardour, track: str, first: int, last: int) -> tuple[range, int, int, int]:
    """Where on the screen the first lane below a track may be, from below, and x: of the
    timeline's beginning and of two samples. The mouse draws ranges from now on."""
    middle = (640, 400)
    with Mouse(ardour.display) as mouse:
        mouse.move(*middle)
    (line,) = ardour.lua(f"""
        Editor:set_mouse_mode (Editing.MouseRange, true)
        Editor:get_selection ():clear_all ()
        Editor:reset_zoom (2048) Editor:reset_x_origin (0) Editor:reset_y_origin (0)
        local view = Editor:rtav_from_route (Session:route_by_name ("{track}")):to_timeaxisview ()
        local pointer, height = Editor:get_pointer_position (0, 0), view:current_height ()
        say (pointer[1], pointer[2], view:y_position () + 3 * height // 2,
            Editor:sample_to_pixel ({first}), Editor:sample_to_pixel ({last}))""")
    x, y, lane, left, right = (round(float(each)) for each in line.split("\t"))
    across, down = middle[0] - x, middle[1] - y
    places = range(down + lane + OVER, down + lane, -APART)
    return places, across, across + left, across + right


def _select_in_lane(ardour: Ardour, track: str, first: int, last: int) -> int:
    """A range with the mouse in the first lane below a track, near these samples; the last one."""
    places, _, left, right = _lane(ardour, track, first, last)
    assert any(_drag(ardour, place, left, right) for place in places)
    return int(ardour.lua("say (Editor:get_selection ().time:end_sample ())")[0])


def test_a_curve_selected_with_the_mouse(studio: Studio) -> None:
    """A range drawn in the lane of a plugin's parameter: the region before it goes on up to its
    end, as strong as the curve is high there."""
    first = TRACKS["Gitarre"][1]
    end = first + SECONDS * RATE
    last = _select_in_lane(studio.ardour, "Gitarre", end + RATE // 2, end + 7 * RATE)
    studio.ardour.act(CONTINUE)
    (overlay,) = studio.placed("AI")
    asked = studio.engine.requests[-1]
    assert asked.new_seconds == pytest.approx((last - end) / RATE)
    assert 6 * RATE < last - end < 8 * RATE
    (curve,) = (each for each in asked.controls if isinstance(each, Intensity))
    levels = dict(curve.points)
    assert [curve.unit, curve.scale] == ["seconds", "share"]
    heights = [levels[time] for time in (0, 1, 2, 4, 6)]
    assert heights == pytest.approx([0, 1 / 6, 1 / 3, 2 / 3, 1 / 2], abs=1e-4)
    fade = round(FADE_SECONDS * RATE)
    assert overlay[:2] == [str(end - fade), str(last - end + fade)]
    studio.undo()
    _select_in_lane(studio.ardour, "Gitarre", end - 3 * RATE, end - RATE)
    studio.ardour.act(INPAINT)
    studio.placed("AI")
    inside = studio.engine.requests[-1]
    assert isinstance(inside.place, Inpaint)
    (gap,) = inside.place.gaps
    assert gap.start == pytest.approx(SECONDS - 3, abs=0.1)
    (curve,) = (each for each in inside.controls if isinstance(each, Intensity))
    for time, level in curve.points:
        assert level == pytest.approx((SECONDS - gap.start - time) / 6, abs=1e-4)
    studio.undo()
    studio.ardour.lua("Editor:set_mouse_mode (Editing.MouseObject, true)")


@pytest.fixture
def crowded(studio: Studio) -> Iterator[Studio]:
    """More regions on the guitar's track: one before, one that begins later and ends sooner."""
    studio.ardour.lua(f"""
        local playlist = {playlist("Gitarre")}
        for region in playlist:region_list ():iter () do
            for _, at in ipairs {{ 0, {TRACKS["Gitarre"][1] + 2 * RATE} }} do
                local more = ARDOUR.RegionFactory.clone_region (region, true, false)
                more:set_length (Temporal.timecnt_t (24000))
                playlist:add_region (more, Temporal.timepos_t (at), 1, false)
            end
            break
        end""")
    assert len(studio.regions("Gitarre")) == 3
    yield studio
    studio.ardour.lua(f"""
        local playlist = {playlist("Gitarre")}
        for region in playlist:region_list ():iter () do
            if region:length ():samples () == 24000 then playlist:remove_region (region) end
        end""")
    assert len(studio.regions("Gitarre")) == 1


def _assert_the_last_goes_on(studio: Studio) -> None:
    """Nothing but a curve is selected: the last region's end goes on for four bars along it."""
    selection = "local chosen = Editor:get_selection () say (chosen.regions:regionlist ():size (),"
    (line,) = studio.ardour.lua(
        f"{selection} chosen.time:start_sample () < chosen.time:end_sample ())"
    )
    assert line == "0\tfalse"
    studio.ardour.act(CONTINUE)
    (overlay,) = studio.placed("AI")
    asked = studio.engine.requests[-1]
    assert asked.region is not None
    assert asked.region.length_seconds == SECONDS
    assert asked.new_seconds == pytest.approx(8)
    end = TRACKS["Gitarre"][1] + SECONDS * RATE
    assert int(overlay[0]) == end - round(FADE_SECONDS * RATE)
    (curve,) = (each for each in asked.controls if isinstance(each, Intensity))
    levels = dict(curve.points)
    assert curve.scale == "share"
    heights = [levels[time] for time in (0, 2, 4, 8)]
    assert heights == pytest.approx([0, 1 / 3, 2 / 3, 1 / 3], abs=1e-4)
    studio.undo()


def test_points_of_a_curve_are_selected(crowded: Studio) -> None:
    """As with its lane: the region that ends last on its track goes on, four bars."""
    end = TRACKS["Gitarre"][1] + SECONDS * RATE
    range_ = f'Temporal.timepos_t ({end + RATE}), Temporal.timepos_t ({end + 9 * RATE}), ""'
    crowded.ardour.lua(f"""
        Editor:get_selection ():clear_all ()
        Editor:set_loop_range ({range_})
        Editor:access_action ("Editor", "select-all-in-loop-range")""")
    _assert_the_last_goes_on(crowded)


def test_the_name_of_a_lane_is_clicked(crowded: Studio) -> None:
    """The same by one click with the mouse."""
    places, across, *_ = _lane(crowded.ardour, "Gitarre", 0, RATE)
    assert any(_click(crowded.ardour, across - NAME, place) for place in places)
    _assert_the_last_goes_on(crowded)
    crowded.ardour.lua("Editor:set_mouse_mode (Editing.MouseObject, true)")


def test_nothing_selected(studio: Studio) -> None:
    """A range above the timeline says what to do, no dialog."""
    studio.ardour.lua("Editor:get_selection ():clear_all ()")
    studio.ardour.act(CONTINUE)
    assert studio.notices() == ["Segue! select an audio region, or a range in one"]


def test_progress_and_an_error(studio: Studio) -> None:
    """How far a job is stands above where it will be; what went wrong stays there."""
    studio.engine.gate.clear()
    studio.engine.error = SegueError(Code.BAD_REGION, "length_seconds: it is all silence")
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    until(lambda: studio.notices() == ["Segue: 40 % optimizing"], "progress")
    studio.engine.gate.set()
    until(lambda: studio.notices() == ["Segue! length_seconds: it is all silence"], "the error")
    studio.engine.error = None


def test_cancel(studio: Studio) -> None:
    """The server stops; the timeline is as it was."""
    job = studio.hold_back("Gitarre")
    studio.ardour.act(CANCEL)
    with httpx.Client(trust_env=False, verify=False) as client:
        address = f"{studio.url}/jobs/{job}"
        until(lambda: client.get(address).json()["state"] == State.CANCELLED, "the end")
    until(lambda: studio.notices() == [], "the notice")
    studio.engine.gate.set()
    assert studio.placed("AI", 0) == []
    assert not list(studio.ardour.orders.iterdir())


def test_two_ardours_one_of_them_at_96_khz(studio: Studio, tmp_path: Path) -> None:
    """Ordered at the same moment through the same folder, each gets its own, to its own sample."""
    rate, session = 2 * RATE, tmp_path / "other"
    create_session(session, rate, studio.ardour.home, {"Gitarre": 2})
    other = Ardour(tmp_path, session / "song.ardour", rate=rate)
    other.orders = studio.ardour.orders
    other.install()
    tone = np.random.default_rng(9).normal(0, 0.1, (SECONDS * rate, 2)).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", tone, rate, subtype="FLOAT")
    with other:
        add(other, "Gitarre", TRACKS["Gitarre"][1], tmp_path / "tone.wav")
        select(other, "Gitarre")
        studio.select("Gitarre")
        studio.engine.gate.clear()
        before = len(studio.engine.requests)
        studio.ardour.act(CONTINUE)
        other.act(CONTINUE)
        studio.engine.gate.set()
        (here,) = studio.placed("AI")
        other.until('say (Session:route_by_name ("AI"):isnil ())', "false")
        other.until(f"say ({playlist('AI')}:n_regions ())", "1")
        (there,) = (line.split("\t") for line in other.lua(listing(playlist("AI"))))
    first = TRACKS["Gitarre"][1]
    for found, own in ((here, RATE), (there, rate)):
        fade = round(FADE_SECONDS * own)
        assert found[:2] == [str(first + SECONDS * own - fade), str(8 * own + fade)]
        assert soundfile.info(found[4]).samplerate == own
    made = [clip_files(studio, r.id, "overlay") for r in studio.engine.requests[before:]]
    laid = [
        np.stack([soundfile.read(p, dtype="float32")[0] for p in f[4:]], 1) for f in (here, there)
    ]
    for wave in laid:
        assert any(np.array_equal(wave, each) for each in made)
    studio.undo()


def _read_back(studio: Studio, snapshot: str, folder: Path, first: int) -> np.ndarray:
    """A second of guitar and AI together, (frames, 2), from a copy of what was saved under a name,
    by an Ardour without a window."""
    copy = folder / snapshot / studio.ardour.session.parent.name
    shutil.copytree(studio.ardour.session.parent, copy)
    sound = folder / f"{snapshot}.raw"
    headless(
        f"""
        local s = load_session ({quoted(copy)}, {quoted(snapshot)})
        local file = io.open ({quoted(sound)}, "wb")
        local blocks = {{}}
        for i = 1, 3 do blocks[i] = ARDOUR.DSP.DspShm ({RATE}) blocks[i]:allocate ({RATE}) end
        local wave, mix, gain = table.unpack (blocks)
        for _, name in ipairs {{ "Gitarre", "AI" }} do
            local playlist = s:route_by_name (name):to_track ():playlist ():to_audioplaylist ()
            for channel = 0, 1 do
                playlist:read (wave:to_float (0), mix:to_float (0), gain:to_float (0),
                    Temporal.timepos_t ({first}), Temporal.timecnt_t ({RATE}), channel)
                for _, sample in ipairs (wave:to_float (0):get_table ({RATE})) do
                    file:write (string.pack ("<f", sample))
                end
            end
        end
        file:close ()""",
        studio.ardour.home,
    )
    return np.fromfile(sound, "<f4").reshape(2, 2, RATE).sum(0).T


def test_what_is_saved_and_undone(studio: Studio, tmp_path: Path) -> None:
    """At the seam the saved session has the clip, to the sample. One undo leaves the original, the
    next, of Ardour's import, changes nothing that is heard."""
    tracks = ("Gitarre", "Baß", "AI")
    save = 'Session:save_state ("{}", false, false, false, false, false)'
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    studio.placed("AI")
    studio.ardour.lua(save.format("laid"))
    studio.undo()
    left = [studio.regions(each) for each in tracks]
    studio.ardour.lua(save.format("undone"))
    studio.undo()
    assert [studio.regions(each) for each in tracks] == left
    assert left[-1] == []
    clip = soundfile.read(studio.clip(studio.engine.requests[-1].id), dtype="float32")[0]
    seam = SECONDS * RATE
    first = TRACKS["Gitarre"][1] + seam - RATE // 2
    around = clip[seam - RATE // 2 : seam + RATE // 2]
    np.testing.assert_allclose(_read_back(studio, "laid", tmp_path, first), around, atol=1e-6)
    alone = _read_back(studio, "undone", tmp_path, first)
    original = soundfile.read(studio.folder / "Gitarre.wav", dtype="float32")[0]
    np.testing.assert_array_equal(alone[: RATE // 2 - OUT], original[-RATE // 2 : -OUT])
    assert not alone[RATE // 2 :].any()


def _under_a_fader(studio: Studio, first: int, last: int) -> np.ndarray:
    """Draw one for "Lied" between two samples; (seconds, level) as Ardour reads it, (61, 2)."""
    lines = studio.ardour.lua(f"""
        local control = Session:route_by_name ("Lied"):to_track ():gain_control ()
        local list, long = control:alist (), {last - first}
        for _, point in ipairs {{ {{-1, 0.5}}, {{0, 0.5}}, {{0.5, 1}}, {{1, 0.2}} }} do
            list:add (Temporal.timepos_t ({first} + point[1] * long // 1), point[2], false, true)
        end
        control:set_automation_state (ARDOUR.AutoState.Play)
        for i = 0, 60 do
            say (i * long / 60 / {RATE}, list:eval (Temporal.timepos_t ({first} + i * long // 60)))
        end""")
    return np.array([[float(each) for each in line.split("\t")] for line in lines])


def test_a_drawn_fader_is_met_by_the_model(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped model goes on after real music under a fader: what Ardour renders of its track
    is within the paper's 3.3 dB^2 of the curve, above the level of what it goes on after."""
    from segue.server.engine import Engine  # imports torch, as little else here does

    monkeypatch.setattr(studio.engine, "run", Engine.load("segue-small").run)
    monkeypatch.setattr(ardour_daw, "DEADLINE_SECONDS", MODEL_SECONDS)
    music, rate = soundfile.read(EXCERPT, frames=4 * 44_100, always_2d=True)
    soundfile.write(tmp_path / "Lied.wav", music.mean(axis=1), rate, subtype="FLOAT")
    add(studio.ardour, "Lied", LIED_FIRST, tmp_path / "Lied.wav")
    ((position, length, *_),) = studio.regions("Lied")
    seam = int(position) + int(length)
    curve = _under_a_fader(studio, seam, seam + 6 * RATE)
    studio.select_range(seam, seam + 6 * RATE)
    studio.ardour.act(CONTINUE)
    filled = """for track in Session:get_tracks ():iter () do
        local regions = track:to_track ():playlist ():n_regions ()
        if track:name ():match ("^AI") and regions > 0 then say (track:name ()) end
    end"""
    (track,) = until(lambda: studio.ardour.lua(filled), "the clip")
    known = heard_level(heard(studio, "Lied", int(position), int(length)), RATE)[1].mean()
    made = heard(studio, track, seam, 6 * RATE, faded=True)
    wanted = known + 20 * np.log10(curve[:, 1])
    assert intensity_mse(made, RATE, curve[:, 0], wanted) <= 3.3
    studio.undo()


def test_a_session_that_was_closed_meanwhile(studio: Studio) -> None:
    """Nothing is laid into a session that is no longer the one that asked; the clip's file is
    named. What was saved before is read back without a GUI. Markers of somebody else stay."""
    ardour = studio.ardour
    studio.select("Gitarre")
    ardour.act(CONTINUE)
    kept = [studio.regions("Gitarre")[0], studio.placed("AI")[0]]
    theirs = ["Segue: Strophe", "Segue! Schluß"]
    for name in theirs:
        ardour.lua(f"""
            local first, last = Temporal.timepos_t (0), Temporal.timepos_t ({RATE})
            Session:locations ():add_range (first, last):set_name ({quoted(name)})""")
    job = studio.hold_back("Gitarre")
    ardour.quit()
    both = "".join(
        listing(f's:route_by_name ("{t}"):to_track ():playlist ()', "print")
        for t in ("Gitarre", "AI")
    )
    lines = headless(
        f's = load_session ({quoted(ardour.session.parent)}, "song")\n{both}', ardour.home
    )
    assert [line.split("\t") for line in lines if ".wav" in line] == kept
    studio.engine.gate.set()
    with ardour:
        clip = studio.folder / "server" / "results" / f"{job}.wav"
        until(lambda: studio.notices() == [f"Segue! made while the session was closed: {clip}"])
        assert clip.exists()
        assert studio.regions("AI") == [kept[1]]
        assert not (ardour.session.parent / "segue-orders.txt").exists()
        ardour.act(CANCEL)
        assert studio.notices() == []
        every = "for each in Session:locations ():list ():iter () do say (each:name ()) end"
        assert set(theirs) <= set(ardour.lua(every))
        ardour.quit()


def test_a_file_embedded_at_another_rate(studio: Studio) -> None:
    """Ardour plays it sample for sample at the session's rate, and so higher than it was: what is
    heard is what is continued, at its pitch and length."""
    record_tape(studio.folder, 44_100)  # in place of the one that was embedded without a warning
    with studio.ardour:
        studio.select("Tape")
        studio.ardour.act(CONTINUE)
        (overlay,) = studio.placed("AI 2")
        (tape,) = studio.regions("Tape")
        asked = studio.engine.requests[-1]
        clip = soundfile.read(studio.folder / "server" / "results" / f"{asked.id}.wav")[0]
        tracks = ("Tape", "AI 2")
        sound, more = (heard(studio, each, TAPE_FIRST, len(clip))[:, 0] for each in tracks)
        studio.ardour.quit()
    assert soundfile.info(tape[4]).samplerate == 44_100
    assert tape[:2] == [str(TAPE_FIRST), str(SECONDS * RATE)]
    assert asked.region is not None
    assert (asked.region.start_seconds, asked.region.length_seconds) == (0, SECONDS)
    samples = soundfile.read(tape[4], dtype="float32")[0]
    np.testing.assert_allclose(sound[OUT : len(samples) - OUT], samples[OUT:-OUT], atol=1e-6)
    np.testing.assert_allclose((sound + more)[:-OUT], clip[:-OUT], atol=1e-6)
    assert int(overlay[0]) == TAPE_FIRST + SECONDS * RATE - round(FADE_SECONDS * RATE)
