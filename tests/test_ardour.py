"""The real Ardour: its own selection goes out, the clip comes back as a region on the sample.

Real too: JACK (its dummy driver), `segue spool`, the bridge, the server. The engine is not.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from segue.presets.controls import Inpaint, Intensity, Outpaint, Vary
from segue.presets.vocabulary import Code, Request, SegueError, State
from tests import ardour_daw
from tests.ardour_daw import Ardour, headless, quoted, until
from tests.mouse import Mouse
from tests.osc_client import Running
from tests.recorder import serving
from tests.toy_engine import FADE_SECONDS, ToyEngine

RATE = 48000
SECONDS = 10
OUT = 64  # samples that Ardour fades out at a region's end
CONTINUE, INPAINT, VARY, CANCEL = 3, 4, 5, 6  # 1 and 2 are taken
TRACKS = {"Gitarre": (2, 48_001), "Baß": (1, 1_000_002)}  # channels, and where its region begins
TAPE_FIRST = 3_000_003  # of a third track, which only the last test has to do with
FREQUENCY = 2  # of ACE EQ's inputs: from 20 Hz to 20 kHz, in octaves
OVER, APART = 180, 30  # pixels: where tracks begin at most, and less than one of them is high
SEGUE = """
import sys
from pathlib import Path
from segue.bridge.cli.spool import spool
spool([Path(sys.argv[1])], int(sys.argv[2]))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ardour_daw.missing()), reason=ardour_daw.missing()),
]


@dataclass
class Studio:
    """Everything that runs, and what a producer does with it."""

    ardour: Ardour
    engine: ToyEngine
    url: str
    folder: Path

    def select(self, track: str) -> None:
        """The first region of a track, and nothing else."""
        _select(self.ardour, track)

    def select_range(self, first: int, last: int) -> None:
        """A stretch of the timeline on all tracks."""
        self.ardour.lua(f"""
            Editor:select_all_tracks ()
            Editor:set_loop_range (Temporal.timepos_t ({first}), Temporal.timepos_t ({last}), "")
            Editor:access_action ("Editor", "select-loop-range")""")

    def asked(self, count: int) -> Request:
        """The newest request once there have been so many."""
        until(lambda: len(self.engine.requests) >= count, f"request {count}")
        return self.engine.requests[-1]

    def notices(self) -> list[str]:
        """The names of the ranges that we show."""
        return self.ardour.lua("""
            for each in Session:locations ():list ():iter () do
                if each:name ():match ("^Segue") then say (each:name ()) end
            end""")

    def regions(self, track: str) -> list[list[str]]:
        """Position, length, start in the source, name and files of a track's regions."""
        return [line.split("\t") for line in self.ardour.lua(_listing(_playlist(track)))]

    def placed(self, track: str, count: int = 1) -> list[list[str]]:
        """The same once there are so many."""
        has = f'Session:route_by_name ("{track}"):isnil () and 0 or {_playlist(track)}:n_regions ()'
        self.ardour.until(f"say ({has})", str(count))
        return self.regions(track)

    def undo(self) -> None:
        """What Ctrl-Z does."""
        self.ardour.lua('Editor:access_action ("Editor", "undo")')


def _select(ardour: Ardour, track: str) -> None:
    ardour.lua(f"""
        local chosen = ArdourUI.SelectionList ()
        for region in {_playlist(track)}:region_list ():iter () do
            chosen:push_back (Editor:regionview_from_region (region))
            break
        end
        Editor:set_selection (chosen, ArdourUI.SelectionOp.Set)""")


def _playlist(track: str) -> str:
    return f'Session:route_by_name ("{track}"):to_track ():playlist ()'


def _listing(playlist: str, say: str = "say") -> str:
    return f"""
        for region in {playlist}:region_list ():iter () do
            local files = {{}}
            for i = 0, region:to_audioregion ():n_channels () - 1 do
                files[i + 1] = region:source (i):to_filesource ():path ()
            end
            {say} (table.concat ({{ region:position ():samples (), region:length ():samples (),
                region:start ():samples (), region:name (), table.unpack (files) }}, "\\t"))
        end"""


def _music(folder: Path) -> dict[str, Path]:
    """A file of noise for each track."""
    paths = {track: folder / f"{track}.wav" for track in TRACKS}
    for seed, (track, path) in enumerate(paths.items()):
        shape = (SECONDS * RATE, TRACKS[track][0])
        noise = np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)
        soundfile.write(str(path), noise, RATE, subtype="FLOAT")
    return paths


def _tape(folder: Path, rate: int) -> Path:
    """Noise in a file that says it has this rate; always the same samples.

    In a folder of its own: Ardour looks there for all its files, and two of a name confuse it.
    """
    (folder / "tapes").mkdir(exist_ok=True)
    noise = np.random.default_rng(5).normal(0, 0.1, SECONDS * RATE).astype(np.float32)
    soundfile.write(folder / "tapes" / "tape.wav", noise, rate, subtype="FLOAT")
    return folder / "tapes" / "tape.wav"


def _create(session: Path, rate: int, home: Path, tracks: dict[str, int]) -> None:
    """A session with tracks, by name and channels.

    Without JACK: Ardour asks it from two threads at once when a track is new, and may lose it.
    """
    made = "".join(
        f"""s:new_audio_track ({channels}, 2, nil, 1, "{track}",
            ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)
        """
        for track, channels in tracks.items()
    )
    new = f'local s = create_session ({quoted(session)}, "song", {rate})'
    headless(f'{new} {made} s:save_state ("")', home)


def _draw(session: Path, home: Path) -> None:
    """A curve of the guitar's equalizer: four seconds from 2000 Hz to 20 Hz at its region's end,
    four back, and half of the way down in four more; its lane is open."""
    end = TRACKS["Gitarre"][1] + SECONDS * RATE
    found = headless(
        f"""local s = load_session ({quoted(session)}, "song")
        local track = s:route_by_name ("Gitarre")
        local equalizer = ARDOUR.LuaAPI.new_plugin (s, "urn:ardour:a-eq", ARDOUR.PluginType.LV2, "")
        track:add_processor_by_index (equalizer, 0, nil, true)
        local list = ARDOUR.LuaAPI.plugin_automation (track:nth_plugin (0), {FREQUENCY})
        for _, point in ipairs {{ {{-4, 2000}}, {{0, 20}}, {{4, 2000}}, {{8, 200}} }} do
            local at = Temporal.timepos_t ({end} + point[1] * {RATE})
            list:list ():add (at, point[2], false, true)
        end
        for each in PBD.Controllable.registered_controllables ():iter () do
            local control = each:to_automationcontrol ()
            if not control:isnil () and control:name () == "Frequency 1" then
                control:set_automation_state (ARDOUR.AutoState.Play)
                print ("number", control:id ():to_s ())
            end
        end
        s:save_state ("")""",
        home,
    )
    (number,) = (line.split()[1] for line in found if line.startswith("number"))
    shown = f'<Object id="automation {number}" visible="1"/>'
    file = session / "song.ardour"
    text = file.read_text(encoding="utf-8")
    added = f"<Extra><GUIObjectState>{shown}</GUIObjectState></Extra></Session>"
    file.write_text(re.sub("</Session>", added, text), encoding="utf-8")


def _add(ardour: Ardour, track: str, path: Path) -> None:
    """A region of all of a file."""
    position = TRACKS[track][1]
    ardour.lua(f"""
        local files = C.StringVector () files:push_back ({quoted(path)})
        Editor:do_import (files, Editing.ImportDistinctFiles, Editing.ImportAsTrack,
            ARDOUR.SrcQuality.SrcBest, ARDOUR.MidiTrackNameSource.SMFTrackName,
            ARDOUR.MidiTempoMapDisposition.SMFTempoIgnore, Temporal.timepos_t ({position}),
            ARDOUR.PluginInfo (), Session:route_by_name ("{track}"):to_track (), false)""")


def _embed(ardour: Ardour, track: str, position: int, path: Path) -> None:
    """A region of a file that stays where it is."""
    ardour.lua(f"""
        local files = C.StringVector () files:push_back ({quoted(path)})
        Editor:do_embed (files, Editing.ImportDistinctFiles, Editing.ImportAsTrack,
            Temporal.timepos_t ({position}), ARDOUR.PluginInfo (),
            Session:route_by_name ("{track}"):to_track ())""")


def _fill(ardour: Ardour, music: dict[str, Path]) -> None:
    """A region each; the bass's fader dips 20 dB four seconds after its end."""
    for track, path in music.items():
        _add(ardour, track, path)
    end = TRACKS["Baß"][1] + SECONDS * RATE
    ardour.lua(f"""
        local control = Session:route_by_name ("Baß"):to_track ():gain_control ()
        for _, point in ipairs {{ {{0, 1}}, {{4, 0.1}}, {{8, 1}} }} do
            local at = Temporal.timepos_t ({end} + point[1] * {RATE})
            control:alist ():add (at, point[2], false, true)
        end
        control:set_automation_state (ARDOUR.AutoState.Play)""")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A session with two tracks; its path has spaces, quotes and letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("ardour")
    home = folder / "home"
    home.mkdir()
    session = folder / "My 'Söng' & \"x\""
    channels = {track: count for track, (count, _) in TRACKS.items()} | {"Tape": 1}
    _create(session, RATE, home, channels)
    _draw(session, home)
    engine = ToyEngine()
    engine.gate.set()
    ardour = Ardour(folder, session / "song.ardour")
    ardour.install()
    with serving(folder / "server", engine) as url, Running(url) as bridge:
        command = [sys.executable, "-c", SEGUE, str(ardour.orders), str(bridge.port)]
        with subprocess.Popen(command) as segue:
            try:
                with ardour:
                    _fill(ardour, _music(folder))
                    _embed(ardour, "Tape", TAPE_FIRST, _tape(folder, RATE))
                    yield Studio(ardour, engine, url, folder)
            finally:
                segue.send_signal(signal.SIGTERM)


def heard(studio: Studio, track: str, first: int, frames: int) -> np.ndarray:
    """What Ardour itself renders of a track before its trim, with fades, gains and layers."""
    paths = studio.ardour.lua(f"""
        local made = Session:route_by_name ("{track}"):to_track ():bounce_range ({first},
            {first + frames}, ARDOUR.InterThreadInfo (),
            Session:route_by_name ("{track}"):to_track ():trim (), false, "heard")
        for i = 0, made:to_audioregion ():n_channels () - 1 do
            say (made:source (i):to_filesource ():path ())
        end""")
    channels = [soundfile.read(path, dtype="float32")[0][:frames] for path in paths]
    return np.stack(channels, axis=1)


def clip_files(studio: Studio, job: str, name: str) -> np.ndarray:
    """The samples of a file that the server made for a job."""
    path = studio.folder / "server" / "results" / f"{job}~{name}.wav"
    return soundfile.read(path, dtype="float32")[0]


def test_a_stereo_region_is_continued(studio: Studio) -> None:
    """Four bars; as Ardour plays them, original and overlay together are the clip, also where the
    original fades out at the seam; one undo takes the overlay away."""
    first = TRACKS["Gitarre"][1]
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    (overlay,) = studio.placed("AI")
    asked = studio.asked(1)
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
    fades = f"for r in {_playlist('AI')}:region_list ():iter () do local a = r:to_audioregion ()"
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
        for region in {_playlist("Baß")}:region_list ():iter () do
            region:trim_front (region:position () + Temporal.timecnt_t (72000))
        end""")
    (original,) = studio.regions("Baß")
    studio.ardour.act(CONTINUE)
    laid = [studio.placed(track)[0] for track in ("AI 2", "AI 3", "AI 4")]
    settings.write_text(usual)
    asked = studio.asked(2)
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
    asked = studio.asked(3)
    assert isinstance(asked.place, Inpaint)
    assert [(gap.start, gap.length) for gap in asked.place.gaps] == [(4, 1)]
    assert clip[:2] == [str(first), str(SECONDS * RATE)]
    studio.undo()


def test_a_region_is_varied(studio: Studio) -> None:
    """Another take of the whole region lies where the region does."""
    studio.select("Gitarre")
    studio.ardour.act(VARY)
    (clip,) = studio.placed("AI")
    assert isinstance(studio.asked(4).place, Vary)
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
    tempo = studio.asked(6).tempo
    assert tempo is not None
    before, after = tempo.changes
    first = TRACKS["Gitarre"][1]
    assert (before.at_seconds, before.bpm, before.beats_per_bar) == (0, 120, 4)
    assert (after.bpm, after.beats_per_bar) == (60, 3)
    assert math.isclose(after.at_seconds, 8 - first / RATE, abs_tol=1 / RATE)
    assert tempo.first_beat == pytest.approx(first / RATE * 2 % 4, abs=1 / 1920)
    assert studio.asked(6).new_seconds == pytest.approx(12)  # four bars of three beats
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
    gains = f"for r in {_playlist('AI')}:region_list ():iter () do"
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
    gain = f"for r in {_playlist('AI')}:region_list ():iter () do"
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
    assert [levels[time] for time in (0, 4, 8)] == pytest.approx([-6.02, -18.06, -18.06], abs=0.01)
    assert studio.ardour.lua(gain) == ["1.0"]
    studio.undo()
    studio.ardour.lua(f"""{controls}
        trim:set_automation_state (ARDOUR.AutoState.Off)
        trim:set_value (1, alone)
        fader:set_value (1, alone)""")


def _drag(ardour: Ardour, y: int, first: int, last: int) -> bool:
    """Draw from a sample to another with the mouse; whether a lane and no track got selected."""
    with Mouse(ardour.display) as mouse:
        for x in (first, (first + last) // 2, last):
            mouse.move(x, y)
            ardour.lua("")  # once Ardour has answered it has seen the mouse
            if x == first:
                mouse.button(down=True)
        mouse.button(down=False)
    tracks = "Editor:get_selection ().tracks"
    (line,) = ardour.lua(f"say ({tracks}:to_tav_list ():size (), {tracks}:routelist ():size ())")
    return line == "1\t0"


def _select_in_lane(ardour: Ardour, track: str, first: int, last: int) -> int:
    """A range with the mouse in the first lane below a track, near these samples; the last one."""
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
    assert any(_drag(ardour, place, across + left, across + right) for place in places)
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


def test_points_of_a_curve_are_selected(studio: Studio) -> None:
    """As with its lane: the region that ends last on its track goes on, four bars."""
    end = TRACKS["Gitarre"][1] + SECONDS * RATE
    range_ = f'Temporal.timepos_t ({end - RATE}), Temporal.timepos_t ({end + 9 * RATE}), ""'
    studio.ardour.lua(f"""
        Editor:get_selection ():clear_all ()
        Editor:set_loop_range ({range_})
        Editor:access_action ("Editor", "select-all-in-loop-range")""")
    studio.ardour.act(CONTINUE)
    studio.placed("AI")
    asked = studio.engine.requests[-1]
    assert asked.new_seconds == pytest.approx(8)
    (curve,) = (each for each in asked.controls if isinstance(each, Intensity))
    levels = dict(curve.points)
    assert curve.scale == "share"
    heights = [levels[time] for time in (0, 2, 4, 8)]
    assert heights == pytest.approx([0, 1 / 3, 2 / 3, 1 / 3], abs=1e-4)
    studio.undo()


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
    studio.engine.gate.clear()
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    until(lambda: studio.notices() == ["Segue: 40 % optimizing"], "progress")
    job = studio.engine.requests[-1].id
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
    _create(session, rate, studio.ardour.home, {"Gitarre": 2})
    other = Ardour(tmp_path, session / "song.ardour", rate=rate)
    other.orders = studio.ardour.orders
    other.install()
    tone = np.random.default_rng(9).normal(0, 0.1, (SECONDS * rate, 2)).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", tone, rate, subtype="FLOAT")
    with other:
        _add(other, "Gitarre", tmp_path / "tone.wav")
        _select(other, "Gitarre")
        studio.select("Gitarre")
        studio.engine.gate.clear()
        before = len(studio.engine.requests)
        studio.ardour.act(CONTINUE)
        other.act(CONTINUE)
        studio.engine.gate.set()
        (here,) = studio.placed("AI")
        other.until('say (Session:route_by_name ("AI"):isnil ())', "false")
        other.until(f"say ({_playlist('AI')}:n_regions ())", "1")
        (there,) = (line.split("\t") for line in other.lua(_listing(_playlist("AI"))))
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


def test_a_session_that_was_closed_meanwhile(studio: Studio) -> None:
    """Nothing is laid into a session that is no longer the one that asked; the clip's file is
    named. What was saved before is read back without a GUI."""
    ardour = studio.ardour
    studio.select("Gitarre")
    ardour.act(CONTINUE)
    kept = [studio.regions("Gitarre")[0], studio.placed("AI")[0]]
    studio.engine.gate.clear()
    ardour.act(CONTINUE)
    until(lambda: studio.notices() == ["Segue: 40 % optimizing"], "progress")
    job = studio.engine.requests[-1].id
    ardour.quit()
    listing = "".join(
        _listing(f's:route_by_name ("{t}"):to_track ():playlist ()', "print")
        for t in ("Gitarre", "AI")
    )
    lines = headless(
        f's = load_session ({quoted(ardour.session.parent)}, "song")\n{listing}', ardour.home
    )
    assert [line.split("\t") for line in lines if ".wav" in line] == kept
    studio.engine.gate.set()
    with ardour:
        clip = studio.folder / "server" / "results" / f"{job}.wav"
        until(lambda: studio.notices() == [f"Segue! made while the session was closed: {clip}"])
        assert clip.exists()
        assert studio.regions("AI") == [kept[1]]
        assert not (ardour.session.parent / "segue-orders.txt").exists()
        ardour.quit()


def test_a_file_embedded_at_another_rate(studio: Studio) -> None:
    """Ardour plays it sample for sample at the session's rate, and so higher than it was: what is
    heard is what is continued, at its pitch and length."""
    _tape(studio.folder, 44_100)  # in place of the one that was embedded without a warning
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
