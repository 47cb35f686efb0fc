"""Playing with Segue: takes become requests, the newest wins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segue.bridge.midi import events as midi
from segue.bridge.midi.codec import encode
from segue.bridge.midi.controller_map import Bound, ControllerMap, Target, load_map
from segue.bridge.midi.events import Event
from segue.bridge.midi.live import Action, Ask, Hear, Learned, LiveSession, Say, Withdraw
from segue.bridge.midi.recording import RESTED_SECONDS
from segue.bridge.midi.rounds import SONG_START, InSong
from segue.presets.controls import Inpaint, Intensity, Loop, Melody, Note, Outpaint
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Failure,
    Preview,
    Progress,
    Region,
    Request,
    Result,
    State,
)

WHEEL = ControllerMap(title="wheel", controls=(Bound(target="intensity", kind="cc", number=1),))
REGION = Region(path="/m/loop.wav", start_seconds=0, length_seconds=8)
BASE = Request(id="play", region=REGION, new_seconds=4, seed=7, controls=(Loop(),))
BARS = Request(
    id="play",
    region=REGION,
    new_bars=2,
    tempo=TempoMap.steady(120),
    seed=7,
    controls=(Loop(),),
)


class Player:
    """A session, what is played in it at which second, and all it wanted done."""

    def __init__(
        self,
        base: Request = BASE,
        chosen: ControllerMap = WHEEL,
        learn: Target | None = None,
        begins: InSong = SONG_START,
    ) -> None:
        seeds: Iterator[int] = iter(range(100, 200))
        self.session = LiveSession(base, chosen, lambda: next(seeds), learn, begins)
        self.port = "Keys"

    def at(self, now: float, *events: Event) -> list[Action]:
        """Events come, or just time."""
        data = b"".join(map(encode, events))
        return self.session.receive(self.port, data, now) if data else self.session.tick(now)

    def wheel(self, now: float, value: int) -> list[Action]:
        """The wheel moves."""
        return self.at(now, midi.ControlChange(0, 1, value))

    def melody(self, begin: float, end: float) -> list[Action]:
        """One note, and the end of its take."""
        self.at(begin, midi.NoteOn(0, 60, 99))
        self.at(begin + 1, midi.NoteOff(0, 60, 64))
        return self.at(end)


def result(job_id: str) -> Result:
    """A clip."""
    return Result(
        id=job_id, path=f"/m/{job_id}.wav", start_seconds=0, length_samples=2, new_samples=1,
        sample_rate=44100, channels=2, seed=7, loss_first=1, loss_last=0, taken_seconds=3,
        device="cpu",
    )  # fmt: skip


def progress(job_id: str, number: int | None = None) -> Progress:
    """News, with a preview or without."""
    path = f"/m/{job_id}-preview.wav"
    preview = number and Preview(
        number=number, path=path, start_seconds=0, length_samples=2, sample_rate=44100
    )
    return Progress(id=job_id, fraction=0.5, stage=State.OPTIMIZING, preview=preview or None)


def asked(actions: list[Action]) -> Request:
    """The one request among actions."""
    (request,) = [action.request for action in actions if isinstance(action, Ask)]
    return request


def test_the_phrase_is_asked_for_at_once() -> None:
    """There is something to hear, and noise to go on from, before anything is played."""
    request = asked(Player().session.begin())
    assert (request.id, request.controls, request.seed) == ("play-1", (Loop(),), 7)
    assert (request.settings.slot, request.settings.previews) == ("play-0", True)


def test_a_melody_becomes_a_request() -> None:
    """When its take is over, with times in seconds from its first note."""
    player = Player()
    assert player.melody(10.0, 13.9) == []
    request = asked(player.at(14.0))
    assert request.controls == (Loop(), Melody(notes=(Note(start=0, length=1, pitch=60),)))


def test_a_knob_becomes_a_curve() -> None:
    """On the scale share, over all of the new music."""
    player = Player()
    player.wheel(10.0, 0)
    player.wheel(10.05, 127)
    request = asked(player.at(14.0))
    (curve,) = [c for c in request.controls if isinstance(c, Intensity)]
    assert (curve.scale, curve.unit) == ("share", "seconds")
    assert curve.points[0] == (0.0, 0.0)
    assert curve.points[-1] == (4.0, 1.0)


def test_a_knob_that_rests_is_asked_for_at_once() -> None:
    """With the curve so far, held to the end; the newest wins, and nothing is asked for twice."""
    player = Player()
    player.session.begin()
    player.wheel(10.0, 0)
    player.wheel(10.5, 127)
    assert player.at(10.5 + 0.9 * RESTED_SECONDS) == []
    found = player.at(10.5 + 1.1 * RESTED_SECONDS)
    assert found[0] == Withdraw("play-1")
    (curve,) = [c for c in asked(found).controls if isinstance(c, Intensity)]
    assert curve.points[0] == (0.0, 0.0)
    assert curve.points[-2:] == ((0.5, 1.0), (4.0, 1.0))
    player.wheel(12.0, 0)
    newer = player.at(12.0 + 1.1 * RESTED_SECONDS)
    assert newer[0] == Withdraw("play-2")
    (curve,) = [c for c in asked(newer).controls if isinstance(c, Intensity)]
    assert curve.points[-2:] == ((2.0, 0.0), (4.0, 0.0))
    assert player.at(13.0) == []
    assert player.at(20.0) == []


def test_a_knob_that_moves_until_the_end() -> None:
    """Is asked for then, with what came after it had rested."""
    player = Player()
    player.wheel(10.0, 0)
    asked(player.at(11.0))
    player.wheel(13.9, 127)
    (curve,) = [c for c in asked(player.at(14.0)).controls if isinstance(c, Intensity)]
    assert curve.points[-1] == (4.0, 1.0)


def test_a_melody_waits_for_its_end() -> None:
    """A knob that rests meanwhile is asked for without it."""
    player = Player()
    player.at(9.5, midi.NoteOn(0, 60, 9))
    player.wheel(10.0, 64)
    assert [c.kind for c in asked(player.at(11.0)).controls] == ["loop", "intensity"]
    assert [c.kind for c in asked(player.at(13.5)).controls] == ["loop", "intensity", "melody"]


def test_a_hand_that_has_not_stopped() -> None:
    """What goes on over a take's end begins no other, which would replace it; after a rest it does.

    A late last note belongs to no take either.
    """
    player = Player()
    for i in range(50):
        actions = player.wheel(i * 0.1, i)
        assert [type(action) for action in actions] == ([Ask] if i == 40 else [])
    assert player.at(20.0) == []
    player.wheel(20.0, 1)
    assert [c.kind for c in asked(player.at(24.0)).controls] == ["loop", "intensity"]
    assert len([a for a in player.melody(30.0, 34.0) if isinstance(a, Ask)]) == 1
    player.at(34.1, midi.NoteOn(0, 60, 99))
    assert player.at(40.0) == []


def test_takes_add_up() -> None:
    """A curve does not forget the melody before it; a second melody replaces the first."""
    player = Player()
    player.melody(0.0, 4.0)
    player.wheel(10.0, 64)
    both = asked(player.at(14.0))
    assert [c.kind for c in both.controls] == ["loop", "melody", "intensity"]
    player.at(20.0, midi.NoteOn(0, 72, 9))
    request = asked(player.at(24.0))
    (melody,) = [c for c in request.controls if isinstance(c, Melody)]
    assert melody.notes == (Note(start=0, length=4, pitch=72),)


def test_jobs_share_a_slot() -> None:
    """Each starts from where the last one ended; the seed stays."""
    player = Player()
    first, second = asked(player.session.begin()), asked(player.melody(0.0, 4.0))
    assert first.settings.slot == second.settings.slot
    assert (first.id, second.id) == ("play-1", "play-2")
    assert first.seed == second.seed == 7


def test_the_newest_wins() -> None:
    """An unfinished job is withdrawn before the next is asked for, and its news are old."""
    player = Player()
    player.session.begin()
    actions = player.melody(0.0, 4.0)
    assert actions == [Withdraw("play-1"), Ask(asked(actions))]
    assert player.session.handle(result("play-1")) == []
    assert player.session.handle(Cancelled(id="play-1")) == []
    assert player.session.handle(progress("play-1", 1)) == []
    assert player.session.open_ids == ["play-2"]
    assert player.session.handle(result("play-2"))[0] == Hear("/m/play-2.wav")
    assert player.session.open_ids == []


def test_a_finished_job_is_not_withdrawn() -> None:
    """There is nothing to stop."""
    player = Player()
    player.session.begin()
    player.session.handle(result("play-1"))
    assert [type(action) for action in player.melody(0.0, 4.0)] == [Ask]


def test_previews_are_heard() -> None:
    """Each once, however often it is named, for every job anew; progress without one is silent."""
    player = Player()
    player.session.begin()
    assert player.session.handle(progress("play-1")) == []
    for number in (1, 2):
        heard = [Hear("/m/play-1-preview.wav")]
        assert player.session.handle(progress("play-1", number)) == heard
        assert player.session.handle(progress("play-1", number)) == []
    player.melody(0.0, 4.0)
    assert player.session.handle(progress("play-2", 1)) == [Hear("/m/play-2-preview.wav")]


def test_what_goes_wrong_is_said() -> None:
    """A failure, and a refusal, in the server's words; the session goes on."""
    player = Player()
    player.session.begin()
    failure = Failure(id="play-1", code=Code.INTERNAL, text="broken")
    assert player.session.handle(failure) == [Say("play-1: broken")]
    asked(player.melody(0.0, 4.0))
    assert player.session.refused("play-2", "full") == [Say("play-2: full")]
    assert player.session.open_ids == []


def clocks(player: Player, count: int, start: float) -> float:
    """So many clocks of 120 bpm; when the next is due."""
    for i in range(count):
        player.at(start + i / 48, midi.Clock())
    return start + count / 48


def test_with_a_clock_notes_are_on_its_beats() -> None:
    """Two bars at 120: a note on beat 1 of the song is half a second in, where the map has it."""
    player = Player(BARS)
    player.at(100.0, midi.Start())
    after = clocks(player, 25, 100.0)
    player.at(100.5, midi.NoteOn(0, 60, 9))
    after = clocks(player, 24, after)
    player.at(101.0, midi.NoteOff(0, 60, 0))
    end: list[Action] = []
    while not end:
        end = player.at(after, midi.Clock())
        after += 1 / 48
    (melody,) = [c for c in asked(end).controls if isinstance(c, Melody)]
    (note,) = melody.notes
    assert melody.unit == "seconds"
    assert [note.start, note.length] == pytest.approx([0.5, 0.5])
    assert after == pytest.approx(104, abs=0.1)


def test_with_time_code_alone_times_are_its_seconds() -> None:
    """Four seconds from second 8 of the song on: a note at 9 is at 1, in phase with the song."""
    player = Player()
    end: list[Action] = []
    for quarter in range(8 * 120, 12 * 120 + 24):  # of frames at 30 a second, the song at 8 s
        now = 100 + (quarter - 8 * 120) / 120
        frame, second = (quarter // 8 * 2) % 30, (quarter // 8 * 2) // 30
        numbers = [frame, second, 0, 3 << 5]
        piece = quarter % 8
        value = numbers[piece // 2] >> 4 * (piece % 2) & 15
        end += player.at(now, midi.QuarterFrame(piece, value))
        if quarter == 9 * 120:
            player.at(now, midi.NoteOn(0, 60, 9))
        if quarter == 10 * 120:
            player.at(now, midi.NoteOff(0, 60, 0))
    (melody,) = [c for c in asked(end).controls if isinstance(c, Melody)]
    assert melody.unit == "seconds"
    (note,) = melody.notes
    assert [note.start, note.length] == pytest.approx([1, 1], abs=0.01)


def test_where_the_song_is() -> None:
    """In seconds of the phrase's own tempo, however fast the clock is; without one in its own."""
    for base, tempo in ((BARS, 120), (BASE, 100)):
        player = Player(base)
        assert player.session.song(0.0) is None
        player.at(0.0, midi.Start())
        for i in range(49):
            player.at(i / 40, midi.Clock())  # 100 bpm
        assert player.session.song(48 / 40) == pytest.approx(2 * 60 / tempo)
        player.at(2.0, midi.Stop())
        assert player.session.song(2.0) is None


@pytest.mark.parametrize("code", [True, False])
def test_a_phrase_that_starts_in_another_bar(code: bool) -> None:
    """Two bars from bar 2 on, beat 4: a note on beat 5 is half a second in, in the loop too."""
    player = Player(BARS, begins=InSong(beats=4, seconds=2))
    if code:  # from second 2 on, where beat 4 is
        time_code(player, 60, 60, 100.0)
    else:
        player.at(98.0, midi.Start())
        clocks(player, 120, 98.0)
    assert player.session.song(100.5) == pytest.approx(0.5, abs=0.03)
    player.at(100.5, midi.NoteOn(0, 60, 9))
    if code:
        found = time_code(player, 76, 600, 100.5)
    else:
        found = [action for i in range(500) for action in player.at(100.5 + i / 48, midi.Clock())]
    (melody,) = [c for c in asked(found).controls if isinstance(c, Melody)]
    assert melody.unit == "seconds"
    assert [melody.notes[0].start, melody.notes[0].length] == pytest.approx([0.5, 3.5], abs=0.025)


def one_note(player: Player, at: float, *, code: bool) -> Note:
    """The melody of a note at a second of the song, by MTC or by a clock of 120 bpm."""
    if code:
        time_code(player, 0, round(at * 120), 0.0)
    else:
        player.at(0.0, midi.Start())
        clocks(player, round(at * 48), 0.0)
    player.at(at, midi.NoteOn(0, 60, 9))
    if code:
        found = time_code(player, round(at * 30), 1200, at)
    else:
        found = [act for i in range(480) for act in player.at(at + i / 48, midi.Clock())]
    (melody,) = [c for c in asked(found).controls if isinstance(c, Melody)]
    return melody.notes[0]


@pytest.mark.parametrize("code", [True, False])
@pytest.mark.parametrize("tempo", [TempoMap.steady(120), None])
@pytest.mark.parametrize(
    ("at", "start", "length"),
    [(7.0, 1.0, 3.0), (17.0, 1.0, 3.0), (27.0, 1.0, 3.0), (21.0, 3.0, 1.0), (23.0, 1.0, 3.0)],
)
def test_a_region_that_is_no_multiple_of_the_new_music(
    at: float, start: float, length: float, tempo: TempoMap | None, code: bool
) -> None:
    """Six seconds, then four new ones from 6, 16 and 26 on: a note is where it was played.

    Over the region, counted back from where the new music begins in that round.
    """
    region = Region(path="/m/loop.wav", start_seconds=0, length_seconds=6)
    player = Player(BASE.model_copy(update={"region": region, "tempo": tempo}))
    note = one_note(player, at, code=code)
    assert [note.start, note.length] == pytest.approx([start, length], abs=0.03)


@pytest.mark.parametrize("code", [True, False])
def test_what_comes_before_the_region_does_so_in_the_song(code: bool) -> None:
    """Four seconds, then the region from second 2 of the song on, as its own bar says."""
    before = BARS.model_copy(update={"controls": (Outpaint(side="left"),)})
    player = Player(before, begins=InSong(beats=4, seconds=2))
    if code:
        time_code(player, 0, 360, 0.0)
    else:
        player.at(0.0, midi.Start())
        clocks(player, 144, 0.0)
    assert player.session.song(2.5) == pytest.approx(4.5, abs=0.03)


@pytest.mark.parametrize("code", [True, False])
def test_takes_over_a_gap(code: bool) -> None:
    """Six of the region's eight seconds are made anew: times count from where the gap begins."""
    fields = {"new_seconds": None, "controls": (Inpaint(),)}
    for tempo in (TempoMap.steady(120), None):
        player = Player(BASE.model_copy(update=fields | {"tempo": tempo}))
        note = one_note(player, 3.0, code=code)
        assert [note.start, note.length] == pytest.approx([2, 4], abs=0.03)


def test_a_take_of_a_gap_is_as_long_as_the_gap() -> None:
    """Without a song too; of several gaps, from the first one's start to the last one's end."""
    gaps = ({"start": 4, "length": 2}, {"start": 8, "length": 4})
    control = {"kind": "inpaint", "unit": "beats", "gaps": gaps}
    fields = BARS.model_dump() | {"new_bars": None, "controls": [control]}
    player = Player(Request.model_validate(fields))
    assert player.melody(10.0, 13.9) == []
    asked(player.at(14.0))


def test_without_a_tempo_the_clocks_own_time_counts() -> None:
    """Four seconds from the song's start, or four later: a note at second 1 or 5 is at 1."""
    for begun in (0.0, 4.0):
        player = Player(BASE)
        player.at(0.0, midi.Start())
        after = clocks(player, round((begun + 1) * 48), 0.0)
        player.at(after, midi.NoteOn(0, 60, 9))
        end: list[Action] = []
        while not end:
            end = player.at(after, midi.Clock())
            after += 1 / 48
        request = asked(end)
        (melody,) = [c for c in request.controls if isinstance(c, Melody)]
        assert (request.tempo, melody.unit) == (None, "seconds")
        assert [melody.notes[0].start, melody.notes[0].length] == pytest.approx([1, 3])


def test_a_tempo_without_a_clock() -> None:
    """Seconds then count from the first note."""
    player = Player(BARS)
    request = asked(player.melody(10.0, 14.0))
    (melody,) = [c for c in request.controls if isinstance(c, Melody)]
    assert melody.notes == (Note(start=0, length=1, pitch=60),)


def press(player: Player, number: int, now: float = 0.0) -> list[Action]:
    """A button of the nanoKONTROL2, down and up."""
    down = player.at(now, midi.ControlChange(0, number, 127))
    return down + player.at(now, midi.ControlChange(0, number, 0))


def test_buttons() -> None:
    """Record arms a melody, without which notes are no take; Cycle asks anew; Stop stops."""
    player = Player(BASE, load_map("nanokontrol2"))
    player.port = "nanoKONTROL2 1"
    player.session.begin()
    assert player.melody(0.0, 10.0) == []
    (said,) = press(player, 45, 20.0)
    assert isinstance(said, Say)
    assert player.melody(21.0, 24.9) == []
    assert asked(player.at(25.0)).id == "play-2"
    again = asked(press(player, 46, 30.0))
    assert (again.id, again.seed, again.settings.slot) == ("play-3", 100, "play-1")
    assert press(player, 42, 40.0) == [Withdraw("play-3")]
    assert press(player, 42, 41.0) == []


def test_another_seed_stays_too() -> None:
    """Each press of Cycle draws one, and what is played after it is made with that."""
    player = Player(BASE, load_map("nanokontrol2"))
    player.port = "nanoKONTROL2 1"
    for number, now in enumerate((0.0, 50.0)):
        assert asked(press(player, 46, now)).seed == 100 + number
        for begin in (now + 10, now + 20):
            press(player, 45, begin)
            assert asked(player.melody(begin, begin + 4)).seed == 100 + number


def time_code(player: Player, frame: int, count: int, start: float) -> list[Action]:
    """So many quarter-frames of 30 frames a second, the first of them of an even frame."""
    found: list[Action] = []
    for quarter in range(count):
        number = frame + quarter // 8 * 2
        numbers = [number % 30, number // 30, 0, 3 << 5]
        value = numbers[quarter % 8 // 2] >> 4 * (quarter % 2) & 15
        found += player.at(start + quarter / 120, midi.QuarterFrame(quarter % 8, value))
    return found


@pytest.mark.parametrize(
    ("begun", "beat"),
    [
        ((midi.Start(),), 0),
        ((midi.SongPosition(16), midi.Continue()), 4),
        ((midi.SongPosition(32), midi.Continue()), 8),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_an_armed_melody_is_in_phase(begun: tuple[Event, ...], beat: int, before: bool) -> None:
    """However the song begins, armed before it or after: a rest before the first note stays."""
    player = Player(BARS, load_map("nanokontrol2"))
    player.port = "nanoKONTROL2 1"
    if before:
        press(player, 45)
    player.at(10.0, *begun)
    after = clocks(player, 1, 10.0)
    if not before:
        press(player, 45, 10.0)
    after = clocks(player, 48, after)
    player.at(11.0, midi.NoteOn(0, 60, 9))
    end: list[Action] = []
    while not end:
        end = player.at(after, midi.Clock())
        after += 1 / 48
    (melody,) = [c for c in asked(end).controls if isinstance(c, Melody)]
    assert melody.notes[0].start == pytest.approx((beat + 2) % 8 / 2)


@pytest.mark.parametrize("begun", [(midi.Start(),), (midi.SongPosition(64), midi.Continue())])
def test_a_song_of_unknown_tempo_begins_an_armed_melody(begun: tuple[Event, ...]) -> None:
    """In seconds from where it begins, where no tempo is said and no clock has told one yet."""
    player = Player(BASE, load_map("nanokontrol2"))
    player.port = "nanoKONTROL2 1"
    press(player, 45)
    player.at(10.0, *begun)
    clocks(player, 12, 10.0)
    player.at(10.3, midi.NoteOn(0, 60, 9))
    (melody,) = [c for c in asked(player.at(14.0)).controls if isinstance(c, Melody)]
    assert melody.unit == "seconds"
    assert melody.notes[0].start == pytest.approx(0.3)


@pytest.mark.parametrize("located", [True, False])
def test_time_code_begins_an_armed_melody(located: bool) -> None:
    """From second 8 of the song on, whether a full frame says so first or only its pieces do."""
    player = Player(BASE, load_map("nanokontrol2"))
    player.port = "nanoKONTROL2 1"
    press(player, 45, 9.0)
    if located:
        player.at(9.5, midi.SysEx(bytes([0x7F, 0x7F, 1, 1, 0x60, 0, 8, 0])))
    time_code(player, 240, 120, 100.0)
    player.at(101.0, midi.NoteOn(0, 60, 9))
    found = time_code(player, 270, 500, 101.0)
    (melody,) = [c for c in asked(found).controls if isinstance(c, Melody)]
    (note,) = melody.notes
    assert [note.start, note.length] == pytest.approx([1, 3], abs=0.01)


def test_time_code_that_stops_ends_its_take() -> None:
    """What was held then is as long as the song went on."""
    player = Player()
    time_code(player, 240, 60, 100_000.0)
    player.at(100_000.5, midi.NoteOn(0, 60, 9))
    assert time_code(player, 255, 1, 100_000.5) == []
    time_code(player, 256, 120, 100_000.5)
    found = player.at(100_001.8)
    (melody,) = [c for c in asked(found).controls if isinstance(c, Melody)]
    (note,) = melody.notes
    assert [note.start, note.length] == pytest.approx([0.5, 1], abs=0.05)


@pytest.mark.parametrize("base", [BARS, BASE])
def test_a_clock_that_goes_without_a_word(base: Request) -> None:
    """Its take ends a second later, the song is nowhere, and what is played next counts anew."""
    player = Player(base)
    player.at(0.0, midi.Start())
    clocks(player, 49, 0.0)
    player.at(1.0, midi.NoteOn(0, 60, 9))
    assert player.session.song(1.0) == pytest.approx(1)
    assert player.at(1.9) == []
    (melody,) = [c for c in asked(player.at(2.1)).controls if isinstance(c, Melody)]
    (note,) = melody.notes
    assert [note.start, note.length] == pytest.approx([1, 1], abs=0.025)
    assert player.session.song(2.1) is None
    clocks(player, 25, 50.0)
    assert player.session.song(50.5) is None
    request = asked(player.melody(60.0, 64.0))
    (melody,) = [c for c in request.controls if isinstance(c, Melody)]
    assert melody.notes == (Note(start=0, length=1, pitch=60),)


def test_a_port_that_goes_ends_its_songs_take() -> None:
    """At once; what another port's song carries goes on."""
    player = Player(BARS)
    player.at(0.0, midi.Start())
    after = clocks(player, 25, 0.0)
    player.at(0.5, midi.NoteOn(0, 60, 9))
    clocks(player, 24, after)
    assert player.session.gone("Drums", 1.0) == []
    assert player.session.song(1.0) is not None
    (melody,) = [
        c for c in asked(player.session.gone("Keys", 1.0)).controls if isinstance(c, Melody)
    ]
    assert melody.notes[0].length == pytest.approx(0.5, abs=0.025)
    assert player.session.song(1.0) is None


def test_ports_do_not_mix() -> None:
    """A keyboard that only ticks changes nothing of a DAW's song; halves of messages stay apart."""
    player = Player(BARS)
    player.session.receive("DAW", encode(midi.Start()), 0.0)
    player.session.receive("Keys", b"\x90\x3c", 0.1)
    for i in range(72):
        player.session.receive("DAW", encode(midi.Clock()), i / 48)
        player.session.receive("Keys", encode(midi.Clock()), i / 48 + 0.005)
        if i == 48:
            player.session.receive("Keys", b"\x63", 1.0)
    assert player.session.song(71 / 48) == pytest.approx(71 / 48)
    found = player.session.receive("DAW", encode(midi.Stop()), 1.5)
    (melody,) = [c for c in asked(found).controls if isinstance(c, Melody)]
    assert [melody.notes[0].start, melody.notes[0].length] == pytest.approx([1, 0.5], abs=0.025)


def test_a_port_that_comes_back_begins_with_a_whole_message() -> None:
    """The half of one that came before it went is forgotten."""
    player = Player()
    player.session.receive("Keys", b"\x90\x3c", 0.0)
    player.session.gone("Keys", 1.0)
    player.session.receive("Keys", b"\x63", 2.0)
    assert player.at(20.0) == []


def test_a_song_that_stops_ends_its_take() -> None:
    """What was held then ends there, not at the phrase's end."""
    player = Player(BARS)
    player.at(0.0, midi.Start())
    after = clocks(player, 25, 0.0)
    player.at(0.5, midi.NoteOn(0, 60, 9))
    after = clocks(player, 24, after)
    (melody,) = [c for c in asked(player.at(1.0, midi.Stop())).controls if isinstance(c, Melody)]
    assert melody.notes[0].length == pytest.approx(0.5, abs=0.025)


@pytest.mark.parametrize("told", [True, False])
def test_every_pressed_note_of_a_zone_counts(told: bool) -> None:
    """Whatever its channel, whether the controller has said what its zone is or not."""
    player = Player(BASE, load_map("mpe"))
    if told:
        for number, value in ((101, 0), (100, 6), (6, 15)):
            player.at(0.0, midi.ControlChange(0, number, value))
    for i, channel in enumerate((1, 2, 3, 4)):
        player.at(10.0 + i, midi.NoteOn(channel, 60 + i, 90))
        player.at(10.1 + i, midi.ChannelPressure(channel, 127 - i))
        player.at(10.6 + i, midi.NoteOff(channel, 60 + i, 0))
    found = player.at(15.0)
    (curve,) = [c for c in asked(found).controls if isinstance(c, Intensity)]
    points = {round(time, 3): level for time, level in curve.points}
    assert [points[i + 0.1] for i in range(4)] == [(127 - i) / 127 for i in range(4)]
    assert [points[i + 0.6] for i in range(4)] == [0.0] * 4


def test_learning() -> None:
    """The knob that moves becomes the intensity, and is used from then on."""
    player = Player(BASE, WHEEL, learn="intensity")
    player.at(0.0, midi.ControlChange(4, 20, 0))
    learned, said = player.at(0.1, midi.ControlChange(4, 20, 60))[:2]
    assert isinstance(learned, Learned)
    bound = Bound(target="intensity", kind="cc", port="Keys", channel=5, number=20)
    assert learned.map.controls == (bound,)
    assert said == Say("learned intensity: cc 20 of channel 5, 7 bits")
    asked(player.wheel(10.0, 99))  # by the take that the learned knob had begun
    assert player.at(20.0) == []
    player.at(30.0, midi.ControlChange(4, 20, 127))
    curves = [c for c in asked(player.at(34.0)).controls if isinstance(c, Intensity)]
    assert [curve.points[-1] for curve in curves] == [(4.0, 1.0)]


def test_learning_a_button() -> None:
    """It is what it was named, pressed from the next time on; the map's others keep their port."""
    player = Player(BASE, load_map("nanokontrol2"), learn="again")
    assert player.at(0.0, midi.ControlChange(0, 20, 127)) == []
    learned, _ = player.at(0.1, midi.ControlChange(0, 20, 0))
    assert isinstance(learned, Learned)
    assert learned.map.controls[-1] == Bound(
        target="again", kind="cc", port="Keys", channel=1, number=20
    )
    assert {each.port for each in learned.map.controls[:-1]} == {"nanoKONTROL2"}
    assert asked(player.at(1.0, midi.ControlChange(0, 20, 127))).seed == 100
