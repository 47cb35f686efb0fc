"""A whole studio for tests: a real Ardour with music in it, JACK's dummy driver, `segue spool`,
the bridge, the server. The engine is not real.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from segue.presets.vocabulary import Request
from tests.ardour_daw import Ardour, headless, quoted, until
from tests.osc_client import Running
from tests.recorder import serving
from tests.toy_engine import ToyEngine

RATE = 48000
SECONDS = 10
CONTINUE, INPAINT, VARY, CANCEL = 3, 4, 5, 6  # 1 and 2 are taken
TRACKS = {"Gitarre": (2, 48_001), "Baß": (1, 1_000_002)}  # channels, and where its region begins
TAPE_FIRST = 3_000_003  # of a third track, which one test has to do with
SPARE = ("Tape", "Lang", "Lied")  # mono tracks, each for one test
NASTY = "Ünï 'q' x"
FREQUENCY = 2  # of ACE EQ's inputs: from 20 Hz to 20 kHz, in octaves
SEGUE = """
import sys
from pathlib import Path
from segue.bridge.cli.spool import spool
spool([Path(sys.argv[1])], int(sys.argv[2]))
"""


@dataclass
class Studio:
    """Everything that runs, and what a producer does with it."""

    ardour: Ardour
    engine: ToyEngine
    url: str
    folder: Path
    bridge: int
    segue: subprocess.Popen[bytes] | None = None

    def start_segue(self) -> None:
        """What of `segue up` looks into the folder of orders."""
        command = [sys.executable, "-c", SEGUE, str(self.ardour.orders), str(self.bridge)]
        self.segue = subprocess.Popen(command)

    def kill_segue(self) -> None:
        """At once, as a crash does."""
        assert self.segue is not None
        self.segue.kill()
        self.segue.wait()

    def select(self, track: str) -> None:
        """The first region of a track, and nothing else."""
        select(self.ardour, track)

    def select_range(self, first: int, last: int) -> None:
        """A stretch of the timeline on all tracks."""
        self.ardour.lua(f"""
            Editor:select_all_tracks ()
            Editor:set_loop_range (Temporal.timepos_t ({first}), Temporal.timepos_t ({last}), "")
            Editor:access_action ("Editor", "select-loop-range")""")

    @property
    def asked(self) -> Request:
        """What was asked last, of what has come to be placed."""
        return self.engine.requests[-1]

    def notices(self) -> list[str]:
        """The names of the ranges that we show."""
        return self.ardour.lua("""
            for each in Session:locations ():list ():iter () do
                local ours = each:name ():match ("^\\u{2063}(Segue.*)")
                if ours then say (ours) end
            end""")

    def hold_back(self, track: str) -> str:
        """Order a continuation that is in work until the gate opens; its job."""
        self.engine.gate.clear()
        self.select(track)
        self.ardour.act(CONTINUE)
        until(lambda: self.notices() == ["Segue: 40 % optimizing"], "progress")
        return self.engine.requests[-1].id

    def clip(self, job: str) -> Path:
        """The file that is made for a job."""
        return self.folder / "server" / "results" / f"{job}.wav"

    def regions(self, track: str) -> list[list[str]]:
        """Position, length, start in the source, name and files of a track's regions."""
        return [line.split("\t") for line in self.ardour.lua(listing(playlist(track)))]

    def placed(self, track: str, count: int = 1) -> list[list[str]]:
        """The same once there are so many."""
        has = f'Session:route_by_name ("{track}"):isnil () and 0 or {playlist(track)}:n_regions ()'
        self.ardour.until(f"say ({has})", str(count))
        return self.regions(track) if count else []

    def undo(self) -> None:
        """What Ctrl-Z does."""
        self.ardour.lua('Editor:access_action ("Editor", "undo")')


def select(ardour: Ardour, track: str) -> None:
    """The first region of a track, and nothing else."""
    ardour.lua(f"""
        local chosen = ArdourUI.SelectionList ()
        for region in {playlist(track)}:region_list ():iter () do
            chosen:push_back (Editor:regionview_from_region (region))
            break
        end
        Editor:set_selection (chosen, ArdourUI.SelectionOp.Set)""")


def playlist(track: str) -> str:
    """The Lua that is a track's playlist."""
    return f'Session:route_by_name ("{track}"):to_track ():playlist ()'


def listing(playlist: str, say: str = "say") -> str:
    """The Lua that says what `Studio.regions` returns."""
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


def record_tape(folder: Path, rate: int) -> Path:
    """Noise in a file that says it has this rate; always the same samples.

    In a folder of its own: Ardour looks there for all its files, and two of a name confuse it.
    """
    (folder / "tapes").mkdir(exist_ok=True)
    noise = np.random.default_rng(5).normal(0, 0.1, SECONDS * RATE).astype(np.float32)
    soundfile.write(folder / "tapes" / "tape.wav", noise, rate, subtype="FLOAT")
    return folder / "tapes" / "tape.wav"


def create_session(session: Path, rate: int, home: Path, tracks: dict[str, int]) -> None:
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


def add(ardour: Ardour, track: str, position: int, path: Path) -> None:
    """A region of all of a file, copied into the session."""
    ardour.lua(f"""
        local files = C.StringVector () files:push_back ({quoted(path)})
        Editor:do_import (files, Editing.ImportDistinctFiles, Editing.ImportAsTrack,
            ARDOUR.SrcQuality.SrcBest, ARDOUR.MidiTrackNameSource.SMFTrackName,
            ARDOUR.MidiTempoMapDisposition.SMFTempoIgnore, Temporal.timepos_t ({position}),
            ARDOUR.PluginInfo (), Session:route_by_name ("{track}"):to_track (), false)""")


def embed(ardour: Ardour, track: str, position: int, path: Path) -> None:
    """A region of a file that stays where it is."""
    ardour.lua(f"""
        local files = C.StringVector () files:push_back ({quoted(path)})
        Editor:do_embed (files, Editing.ImportDistinctFiles, Editing.ImportAsTrack,
            Temporal.timepos_t ({position}), ARDOUR.PluginInfo (),
            Session:route_by_name ("{track}"):to_track ())""")


def _fill(ardour: Ardour, music: dict[str, Path]) -> None:
    """A region each; the bass's fader dips 20 dB four seconds after its end."""
    for track, path in music.items():
        add(ardour, track, TRACKS[track][1], path)
    end = TRACKS["Baß"][1] + SECONDS * RATE
    ardour.lua(f"""
        local control = Session:route_by_name ("Baß"):to_track ():gain_control ()
        for _, point in ipairs {{ {{0, 1}}, {{4, 0.1}}, {{8, 1}} }} do
            local at = Temporal.timepos_t ({end} + point[1] * {RATE})
            control:alist ():add (at, point[2], false, true)
        end
        control:set_automation_state (ARDOUR.AutoState.Play)""")


@contextmanager
def running(folder: Path) -> Iterator[Studio]:
    """A session with tracks, all in a folder whose name has a space, quotes and more than ASCII."""
    folder /= NASTY
    home = folder / "home"
    home.mkdir(parents=True)
    session = folder / "My 'Söng' & \"x\""
    channels = {track: count for track, (count, _) in TRACKS.items()} | dict.fromkeys(SPARE, 1)
    create_session(session, RATE, home, channels)
    _draw(session, home)
    engine = ToyEngine()
    engine.gate.set()
    ardour = Ardour(folder, session / "song.ardour")
    ardour.install()
    with serving(folder / "server", engine) as url, Running(url) as bridge:
        at_work = Studio(ardour, engine, url, folder, bridge.port)
        at_work.start_segue()
        try:
            with ardour:
                _fill(ardour, _music(folder))
                embed(ardour, "Tape", TAPE_FIRST, record_tape(folder, RATE))
                yield at_work
                if ardour.program.poll() is None:
                    ardour.quit()  # killed, it would take a place among JACK's servers along
        finally:
            at_work.kill_segue()


def heard(
    studio: Studio, track: str, first: int, frames: int, *, faded: bool = False
) -> np.ndarray:
    """What Ardour itself renders of a track, with fades, gains and layers of its regions: before
    its trim, or after its fader."""
    upto = "amp (), true" if faded else "trim (), false"
    paths = studio.ardour.lua(f"""
        local track = Session:route_by_name ("{track}"):to_track ()
        local made = track:bounce_range ({first}, {first + frames}, ARDOUR.InterThreadInfo (),
            track:{upto}, "heard")
        for i = 0, made:to_audioregion ():n_channels () - 1 do
            say (made:source (i):to_filesource ():path ())
        end""")
    channels = [soundfile.read(path, dtype="float32")[0][:frames] for path in paths]
    return np.stack(channels, axis=1)


def clip_files(studio: Studio, job: str, name: str) -> np.ndarray:
    """The samples of a file that the server made for a job."""
    path = studio.folder / "server" / "results" / f"{job}~{name}.wav"
    return soundfile.read(path, dtype="float32")[0]
