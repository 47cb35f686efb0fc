"""The vocabulary at its edges, and presets from TOML to the same vocabulary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from segue.export.sources import tag_names
from segue.presets.library import (
    PLACE_KINDS,
    Preset,
    apply,
    load_preset,
    preset_names,
    sentence,
    shipped_preset,
)
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import (
    EVENT,
    MAX_NEW_SECONDS,
    MAX_PATH_CHARACTERS,
    MAX_SEED,
    Cancelled,
    Code,
    Failure,
    Id,
    Outpaint,
    Progress,
    Region,
    Request,
    Result,
    SegueError,
    Settings,
    State,
)

REGION: dict[str, Any] = {"path": "a.wav", "start_seconds": 0.5, "length_seconds": 4.0}
REQUEST: dict[str, Any] = {"id": "one", "region": REGION, "new_seconds": 6.0}


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({"new_seconds": 5e-324}, True),
        ({"new_seconds": MAX_NEW_SECONDS}, True),
        ({"new_seconds": math.nextafter(MAX_NEW_SECONDS, math.inf)}, False),
        ({"new_seconds": 0}, False),
        ({"new_seconds": -1}, False),
        ({"new_seconds": math.nan}, False),
        ({"new_seconds": math.inf}, False),
        ({"new_seconds": "inf"}, False),
        ({"seed": 0}, True),
        ({"seed": MAX_SEED}, True),
        ({"seed": None}, True),
        ({"seed": MAX_SEED + 1}, False),
        ({"seed": -1}, False),
        ({"seed": 1.0}, False),
        ({"seed": True}, False),
        ({"seed": "1"}, False),
        ({"seed": 10**4000}, False),
        ({"controls": []}, False),
        ({"controls": [{}, {}]}, False),
        ({"controls": [{"kind": "intensity"}]}, False),
        ({"surprise": 1}, False),
    ],
)
def test_request_bounds(changed: dict[str, Any], good: bool) -> None:
    """A request holds at its limits and is refused just beyond them."""
    assert _accepts(Request, REQUEST | changed) is good


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({"start_seconds": 0}, True),
        ({"start_seconds": -0.0}, True),
        ({"start_seconds": -5e-324}, False),
        ({"start_seconds": math.nan}, False),
        ({"start_seconds": math.inf}, False),
        ({"length_seconds": 0}, False),
        ({"length_seconds": math.nan}, False),
        ({"length_seconds": math.inf}, False),
        ({"path": "x" * MAX_PATH_CHARACTERS}, True),
        ({"path": "x" * (MAX_PATH_CHARACTERS + 1)}, False),
        ({"path": ""}, False),
        ({"path": "a\0b"}, False),
        ({"path": "a\nb"}, True),
        ({"unknown": ""}, False),
    ],
)
def test_region_bounds(changed: dict[str, Any], good: bool) -> None:
    """A region is a finite stretch of a file with a name."""
    assert _accepts(Region, REGION | changed) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a", True),
        ("0", True),
        ("A.b_c-9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        (".hidden", False),
        ("-flag", False),
        ("_x", False),
        ("../up", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("a\0", False),
        ("é", False),
        ("٣", False),
    ],
)
def test_ids(text: str, good: bool) -> None:
    """An id can stand in a file name and in a URL without being quoted."""
    adapter: TypeAdapter[str] = TypeAdapter(Id)
    try:
        adapter.validate_python(text)
        accepted = True
    except ValidationError:
        accepted = False
    assert accepted is good


@pytest.mark.parametrize(
    ("model", "key", "lowest", "highest"),
    [
        (Outpaint, "overlap_seconds", 0.25, 3.0),
        (Settings, "iterations", 1, 1000),
        (Settings, "decode_steps", 1, 20),
        (Settings, "gamma", 0.0, 1.0),
    ],
)
def test_closed_ranges(model: Any, key: str, lowest: float, highest: float) -> None:
    """Both ends belong to the range, what lies beyond them does not."""
    step = 1 if isinstance(lowest, int) else 1e-9
    tried = [lowest - step, lowest, highest, highest + step]
    assert [_accepts(model, {key: value}) for value in tried] == [False, True, True, False]


@pytest.mark.parametrize(
    ("model", "key", "highest"), [(Request, "new_seconds", 180.0), (Settings, "learning_rate", 1.0)]
)
def test_positive_ranges(model: Any, key: str, highest: float) -> None:
    """Zero is not in the range, its upper end is."""
    rest = REQUEST if model is Request else {}
    tried = [0.0, 5e-324, highest, highest + 1e-9, math.nan]
    accepted = [_accepts(model, {**rest, key: value}) for value in tried]
    assert accepted == [False, True, True, False, False]


@pytest.mark.parametrize("name", ["strings", "Drum & Bass", " Hip-Hop ", "80s"])
def test_what_music_was_tagged_with_can_be_asked_for(name: str) -> None:
    """A name in a tags.tsv means the same in a request, however it is written."""
    assert Settings(tags=(name,)).tags == tag_names(name)


def test_words_do_not_change() -> None:
    """A message cannot be altered once it is made."""
    request = Request.model_validate(REQUEST)
    with pytest.raises(ValidationError, match="frozen"):
        request.new_seconds = 7.0


def test_requests_survive_json() -> None:
    """A request read back from JSON is the same request."""
    request = Request.model_validate(REQUEST | {"seed": 3})
    assert Request.model_validate_json(request.model_dump_json()) == request


RESULT = Result(
    id="one",
    path="/a.wav",
    start_seconds=0.1,
    length_samples=10,
    new_samples=4,
    sample_rate=48000,
    channels=2,
    seed=7,
    loss_first=1.5,
    loss_last=0.25,
    taken_seconds=3.5,
    device="cpu",
)


@pytest.mark.parametrize(
    "event",
    [
        Progress(id="one", fraction=0.5, stage=State.OPTIMIZING, loss=0.75),
        Progress(id="one", fraction=0, stage=State.QUEUED),
        RESULT,
        Failure(id="", code=Code.DISK, text="full"),
        Cancelled(id="one"),
    ],
)
def test_events_survive_json(event: Progress | Result | Failure | Cancelled) -> None:
    """Each event comes back from JSON as its own type, told apart by `type`."""
    assert EVENT.validate_json(EVENT.dump_json(event)) == event


def test_an_error_becomes_a_failure() -> None:
    """Code and sentence cross the rooms unchanged."""
    error = SegueError(Code.DISK, "make room")
    assert error.failure("one") == Failure(id="one", code=Code.DISK, text="make room")


@pytest.mark.parametrize("name", preset_names())
def test_shipped_presets_load(name: str) -> None:
    """Every shipped preset is valid and says what it does."""
    preset = load_preset(name)
    assert preset.description.endswith(".")
    assert preset.title


def test_the_continue_preset_is_the_default_request() -> None:
    """Asking with the first preset is asking with none."""
    preset, request = load_preset("continue"), Request.model_validate(REQUEST)
    assert (preset.controls, preset.settings) == (request.controls, request.settings)


TITLE = 'title = "T"\ndescription = "D"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TITLE + "[settings]\nitterations = 3\n", "settings.itterations"),
        (TITLE + "surprise = 1\n", "surprise"),
        (TITLE + "[[controls]]\noverlap = 1\n", "controls.0"),
        (TITLE + '[[controls]]\nkind = "loop"\noverlap = 1\n', "controls.0.loop.overlap"),
        (TITLE + '[[controls]]\nkind = "louder"\n', "'intensity', 'melody'"),
        (TITLE + 'needs = ["luck"]\n', "needs.0"),
        (TITLE + "new_seconds = 0\n", "new_seconds"),
        (TITLE + "[settings]\ngamma = nan\n", "settings.gamma"),
        (TITLE + "[settings]\ngamma = inf\n", "settings.gamma"),
        (TITLE + "[settings]\niterations = 0\n", "settings.iterations"),
        ('title = "T"\n', "description"),
        ("title = \n", "line 1"),
    ],
)
def test_a_preset_error_names_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    """What is wrong with a preset can be found from the sentence alone."""
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SegueError) as caught:
        load_preset(str(path))
    assert caught.value.code is Code.BAD_REQUEST
    assert str(path) in caught.value.text
    assert named in caught.value.text


def test_a_preset_that_is_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are an error that names the file."""
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SegueError, match=r"mine\.toml"):
        load_preset(str(path))


def test_an_unknown_preset_lists_the_known() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(SegueError, match=r"breakdown, .* continue, .* vary-a-lot$"):
        load_preset("contineu")


def test_a_missing_preset_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is an error that names it."""
    with pytest.raises(SegueError, match=r"gone\.toml"):
        load_preset(str(tmp_path / "gone.toml"))


def test_no_file_is_read_for_a_name_that_is_a_path(tmp_path: Path) -> None:
    """Whoever asks over the network gets shipped presets only."""
    path = tmp_path / "mine.toml"
    path.write_text(TITLE, encoding="utf-8")
    assert load_preset(str(path)).title == "T"
    with pytest.raises(SegueError, match="no preset"):
        shipped_preset(str(path))


BRINGS: dict[str, dict[str, Any]] = {
    "melody": {"kind": "melody", "notes": [{"start": 0, "length": 1, "pitch": 60}]},
    "text": {"kind": "text", "text": "warm slow strings"},
}


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_makes_a_request(name: str) -> None:
    """With a region, a tempo and what it needs, every shipped preset is all there is to say."""
    preset = load_preset(name)
    controls = [BRINGS[kind] for kind in preset.needs]
    tempo = TempoMap.steady(120).model_dump(mode="json")
    fields = {"id": "one", "region": REGION, "tempo": tempo, "controls": controls}
    request = Request.model_validate(apply(preset, fields))
    assert request.place == preset.place
    assert request.settings == preset.settings
    assert {c.kind for c in request.controls} >= {c.kind for c in preset.controls}


def test_there_is_a_preset_for_what_a_producer_reaches_for() -> None:
    """The names the issue promises are there."""
    promised = "rise drop swell breakdown aba aabb seamless-loop four-bars bridge-the-gap"
    assert {*promised.split(), "follow-my-melody"} <= set(preset_names())


def with_preset(name: str, **fields: Any) -> Request:
    """A request laid over a shipped preset."""
    whole = {"id": "one", "region": REGION, **fields}
    return Request.model_validate(apply(load_preset(name), whole))


def test_the_request_wins_over_the_preset() -> None:
    """Its place replaces the preset's, a feature those of its kind, settings one by one."""
    curve = {"kind": "intensity", "points": [[0, -3]]}
    request = with_preset(
        "rise",
        new_seconds=3.0,
        controls=[{"kind": "outpaint", "side": "left"}, curve, BRINGS["text"]],
    )
    assert [c.kind for c in request.controls] == ["outpaint", "intensity", "text"]
    place, intensity, _ = request.controls
    assert getattr(place, "side", None) == "left"
    assert getattr(intensity, "points", None) == ((0.0, -3.0),)
    settings = with_preset("sketch", settings={"seeds": 2}).settings
    assert (settings.seeds, settings.iterations) == (2, 8)
    assert (request.new_seconds, request.new_bars) == (3.0, None)


def test_a_feature_of_another_kind_is_added() -> None:
    """A preset's curve stays when words are added to it."""
    request = with_preset("swell", controls=[BRINGS["text"]])
    assert [c.kind for c in request.controls] == ["outpaint", "intensity", "text"]


@pytest.mark.parametrize(
    ("name", "bpm", "seconds", "bars"),
    [
        ("rise", None, 8.0, None),
        ("rise", 120, None, 4.0),
        ("four-bars", 90, None, 4.0),
        ("continue", 120, 6.0, None),
        ("vary-a-little", 120, None, None),
        ("bridge-the-gap", None, None, None),
    ],
)
def test_the_presets_own_length(
    name: str, bpm: float | None, seconds: float | None, bars: float | None
) -> None:
    """Bars where there is a tempo, else seconds; none where the region says it."""
    tempo = None if bpm is None else TempoMap.steady(bpm).model_dump(mode="json")
    request = with_preset(name, tempo=tempo)
    assert (request.new_seconds, request.new_bars) == (seconds, bars)


def test_a_place_without_a_length_of_its_own_takes_none() -> None:
    """Asked to fill a gap, a preset that would make eight seconds does not."""
    assert with_preset("rise", controls=[{"kind": "inpaint"}]).new_seconds is None


def test_bars_need_a_tempo() -> None:
    """A preset that counts in bars says what it lacks."""
    with pytest.raises(SegueError, match=r"makes 4 bars: .*--bpm"):
        with_preset("four-bars")
    assert with_preset("four-bars", new_seconds=2.0).new_seconds == 2.0


@pytest.mark.parametrize(
    ("name", "option"), [("follow-my-melody", "--melody FILE"), ("say-it-in-words", "--text")]
)
def test_what_a_preset_needs_is_asked_for(name: str, option: str) -> None:
    """A preset that lives on the user's own melody or words says how to give them."""
    with pytest.raises(SegueError, match=option) as caught:
        with_preset(name)
    assert caught.value.code is Code.BAD_REQUEST


def test_without_a_region_nothing_is_continued() -> None:
    """A preset's curve also shapes music that is made out of nothing."""
    request = with_preset("rise", region=None)
    assert [c.kind for c in request.controls] == ["intensity"]
    with pytest.raises(ValidationError, match="without a region"):
        with_preset("seamless-loop", region=None)


def test_a_preset_of_features_alone_continues() -> None:
    """Whoever writes a preset need not say the obvious."""
    curve = {"kind": "intensity", "points": [[0, 0]]}
    preset = Preset.model_validate({"title": "T", "description": "D", "controls": [curve]})
    merged = apply(preset, REQUEST)
    assert [c["kind"] for c in merged["controls"]] == ["outpaint", "intensity"]


@pytest.mark.parametrize(
    "fields",
    [
        {"controls": 3},
        {"controls": None},
        {"controls": [3]},
        {"controls": [{"kind": ["outpaint"]}]},
        {"controls": [{"kind": {}}]},
        {"settings": []},
        {"settings": {"luck": 1}},
        {"region": 3},
    ],
)
def test_what_is_no_request_stays_none(fields: dict[str, Any]) -> None:
    """Laying nonsense over a preset leaves nonsense, for the vocabulary to refuse."""
    with pytest.raises(ValidationError):
        with_preset("continue", **fields)


def test_places_are_known_by_their_kind() -> None:
    """One of these in a request replaces the preset's place."""
    assert PLACE_KINDS == ("outpaint", "inpaint", "loop", "vary")


def test_a_long_list_of_complaints_is_cut() -> None:
    """A curve with thousands of wrong points gives one bearable sentence."""
    points = [[i, math.nan] for i in range(5000)]
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(REQUEST | {"controls": [{"kind": "intensity", "points": points}]})
    said = sentence(caught.value)
    assert said.count("controls.0.intensity.points") == 8
    assert said.endswith(" more")
    assert len(said) < 1000


def _accepts(model: Any, fields: dict[str, Any]) -> bool:
    try:
        model.model_validate(fields)
    except ValidationError:
        return False
    return True
