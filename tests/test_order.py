"""From the options of `segue make` to the request they mean, and what they may not mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from segue.bridge.cli.order import PLACES, Order, request_of
from segue.presets.controls import Inpaint, Intensity, Loop, Melody, Outpaint, Structure, Vary
from segue.presets.library import PLACE_KINDS
from segue.presets.vocabulary import Request, SegueError

RATE = 8000


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of a WAV file."""
    path = tmp_path_factory.mktemp("order") / "tone.wav"
    soundfile.write(path, np.zeros((8 * RATE, 1)), RATE)
    return path


def ask(source: Path | None, **options: object) -> Request:
    """The request of some options."""
    return request_of(Order(source=source, **options))  # type: ignore[arg-type]


def test_the_whole_file_is_the_region(tone: Path) -> None:
    """Without --start and --length all of the file is it, and the preset says the rest."""
    request = ask(tone)
    assert request.region is not None
    region = request.region
    assert (region.path, region.start_seconds, region.length_seconds) == (str(tone), 0.0, 8.0)
    assert (request.new_seconds, request.controls) == (6.0, (Outpaint(),))


def test_the_region_ends_with_the_file(tone: Path) -> None:
    """With --start alone the region goes from there to the end."""
    region = ask(tone, start=0.5).region
    assert region is not None
    assert region.length_seconds == 7.5


def test_a_seed_is_drawn(tone: Path) -> None:
    """Without --seed two requests differ, and each knows its seed."""
    seeds = {ask(tone).seed for _ in range(3)}
    assert len(seeds) > 1
    assert None not in seeds


def test_a_preset_decides_controls_and_settings(tone: Path, tmp_path: Path) -> None:
    """--preset takes a name as well as the path of a TOML file."""
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "M"\ndescription = "M."\n[settings]\niterations = 3\n')
    assert ask(tone, preset="hold-on").place == Outpaint(overlap_seconds=3.0)
    assert ask(tone, preset=str(mine), seconds=1.0).settings.iterations == 3


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"at": "right"}, Outpaint()),
        ({"at": "left"}, Outpaint(side="left")),
        ({"at": "both", "overlap": 2.0}, Outpaint(side="both", overlap_seconds=2.0)),
        ({"at": "gap"}, Inpaint()),
        ({"at": "loop", "overlap": 0.5}, Loop(overlap_seconds=0.5)),
        ({"at": "vary"}, Vary()),
        ({"amount": 0.9}, Vary(amount=0.9)),
        ({"preset": "vary-a-little", "amount": 0.1}, Vary(amount=0.1)),
        ({"preset": "hold-on", "at": "left"}, Outpaint(side="left", overlap_seconds=3.0)),
        ({"preset": "hold-on", "at": "loop"}, Loop()),
        ({"preset": "lead-in"}, Outpaint(side="left")),
    ],
)
def test_places(tone: Path, options: dict[str, object], place: object) -> None:
    """--at says where; what it does not say is the preset's if that stands at such a place."""
    assert ask(tone, **options).place == place


def test_every_place_has_a_name() -> None:
    """--at knows all places of the vocabulary, and none."""
    assert [place["kind"] for place in PLACES.values() if place][2:] == list(PLACE_KINDS)
    assert PLACES["nothing"] is None


def test_gaps_are_put_in_order(tone: Path) -> None:
    """--gap may be given in any order, and makes the place one of gaps."""
    place = ask(tone, gaps=("5:1", "2:1.5")).place
    assert isinstance(place, Inpaint)
    assert [(gap.start, gap.length) for gap in place.gaps] == [(2.0, 1.5), (5.0, 1.0)]


def test_times_are_in_the_unit(tone: Path) -> None:
    """--unit holds for the curve, the sections and the gaps."""
    request = ask(
        tone, gaps=("1:1",), intensity="0:-12,0.5:0", structure="a:1,b:2", unit="bars", bpm=120.0
    )
    place, curve, plan = request.controls
    assert isinstance(place, Inpaint)
    assert isinstance(curve, Intensity)
    assert isinstance(plan, Structure)
    assert {place.unit, curve.unit, plan.unit} == {"bars"}
    assert curve.points == ((0.0, -12.0), (0.5, 0.0))
    assert (plan.sections, plan.lengths) == ("AB", (1.0, 2.0))


def test_out_of_nothing() -> None:
    """Without IN.wav there is no region and no place; the preset's features stay."""
    request = ask(None, seconds=4.0, preset="swell", text="warm slow strings")
    assert (request.region, request.place) == (None, None)
    assert [control.kind for control in request.controls] == ["intensity", "text"]
    assert ask(None, seconds=4.0, at="nothing").controls == ()


def test_a_hummed_melody(tone: Path) -> None:
    """--melody takes a recording as it is, all of it."""
    melody = ask(tone, preset="follow-my-melody", melody=tone).controls[-1]
    assert isinstance(melody, Melody)
    assert melody.audio is not None
    assert (melody.audio.path, melody.audio.length_seconds) == (str(tone), 8.0)


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no such place": ({"at": "up"}, "--at: there is no 'up'; choose one of right, left"),
    "nothing and a file": ({"at": "nothing"}, "--at: "),
    "no such unit": ({"unit": "hours"}, "--unit: there is no 'hours'"),
    "two lengths": ({"seconds": 1.0, "bars": 1.0, "bpm": 90.0}, "--bars: give --seconds or"),
    "a length to vary": ({"at": "vary", "seconds": 1.0}, "--seconds: the region says"),
    "a length of a gap": ({"gaps": ("1:1",), "bars": 1.0, "bpm": 90.0}, "--bars: the region"),
    "bars of no tempo": ({"bars": 4.0}, "--bpm: "),
    "beats of no tempo": ({"unit": "beats", "intensity": "0:0"}, "--bpm: "),
    "metre of no tempo": ({"beats_per_bar": 3.0}, "--beats-per-bar: "),
    "a preset in bars": ({"preset": "four-bars"}, "--bpm"),
    "too slow": ({"bpm": 9.0}, "--bpm: "),
    "NaN tempo": ({"bpm": float("nan")}, "--bpm: "),
    "strange metre": ({"bpm": 90.0, "beats_per_bar": 4.1}, "--beats-per-bar: "),
    "too many bars": ({"bars": 1001.0, "bpm": 90.0}, "--bars: "),
    "long overlap": ({"overlap": 4.0}, "--overlap: "),
    "long overlap of a gap": ({"at": "gap", "overlap": 4.0}, "--overlap: "),
    "overlap to vary": ({"at": "vary", "overlap": 1.0}, "--overlap: "),
    "amount to continue": ({"at": "right", "amount": 0.5}, "--amount: "),
    "more than all": ({"amount": 1.5}, "--amount (amount): "),
    "gap beside": ({"at": "left", "gaps": ("1:1",)}, "--gap: "),
    "gap of words": ({"gaps": ("soon",)}, "--gap: 'soon' is not START:LENGTH"),
    "gap of no length": ({"gaps": ("1:",)}, "--gap: '' is no number"),
    "gaps over each other": ({"gaps": ("1:2", "2:1")}, "--gap: gaps must be sorted"),
    "gap before the start": ({"gaps": ("-1:1",)}, "--gap (gaps.0.start): "),
    "empty curve": ({"intensity": ""}, "--intensity: '' is not TIME:DB"),
    "curve of words": ({"intensity": "0:loud"}, "--intensity: 'loud' is no number"),
    "unsorted curve": ({"intensity": "1:0,0:0"}, "--intensity: points must be sorted"),
    "NaN curve": ({"intensity": "0:0,1:nan"}, "--intensity (points.1.1): "),
    "endless curve": ({"intensity": "0:-inf"}, "--intensity (points.0.1): "),
    "deafening": ({"intensity": "0:99"}, "--intensity: the level 99 at 0 is outside"),
    "million points": ({"intensity": ",".join(["0:0"] * 100_001)}, "--intensity: it has more"),
    "one section": ({"structure": "A"}, "--structure (sections): "),
    "no letters": ({"structure": "1-2"}, "--structure: '1-2' is no plan"),
    "empty plan": ({"structure": ""}, "--structure: '' is no plan"),
    "two letters": ({"structure": "AB:1,C:1"}, "--structure: 'AB:1,C:1' is no plan"),
    "some lengths": ({"structure": "A:1,B"}, "--structure: '' is no number"),
    "negative length": ({"structure": "A:1,B:-1"}, "--structure (lengths.1): "),
    "no words": ({"text": " "}, "--text (text): "),
    "no melody": ({"preset": "follow-my-melody"}, "give --melody FILE"),
    "melody that is gone": ({"melody": Path("gone.mid")}, "--melody: there is no file gone.mid"),
    "no time": ({"within": "soon"}, "--within: 'soon' is no number"),
    "less than no time": ({"within": "-1s"}, "--within: "),
    "more kept than made": ({"keep": 2}, "--keep: keep 2 needs as many seeds, not 1"),
    "strange tag": ({"tags": ("LOUD!",)}, "--tag"),
    "no iterations": ({"iterations": 0}, "--iterations: "),
    "long region": ({"length": 601.0}, "--length: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_by_its_option(tone: Path, name: str) -> None:
    """One sentence that names the option."""
    options, said = BAD[name]
    with pytest.raises(SegueError) as caught:
        ask(tone, **options)
    assert said in caught.value.text
    assert len(caught.value.text) < 400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--seconds: say how much"),
        ({"at": "left", "seconds": 1.0}, "--at: .* IN.wav"),
        ({"at": "nothing", "seconds": 1.0, "amount": 0.5}, "--amount: .* IN.wav"),
        ({"gaps": ("1:1",)}, "--gap: .* IN.wav"),
        ({"overlap": 1.0, "seconds": 1.0}, "--overlap: .* IN.wav"),
        ({"start": 0.0, "seconds": 1.0}, "--start: .* IN.wav"),
        ({"preset": "seamless-loop", "seconds": 1.0}, "--preset: seamless-loop .* IN.wav"),
    ],
)
def test_what_needs_music(options: dict[str, object], said: str) -> None:
    """Out of nothing, there is nothing to stand beside."""
    with pytest.raises(SegueError, match=said):
        ask(None, **options)


def test_a_preset_without_a_length(tone: Path, tmp_path: Path) -> None:
    """If neither says how much, the option is named."""
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "M"\ndescription = "M."\n')
    with pytest.raises(SegueError, match="--seconds: say how much"):
        ask(tone, preset=str(mine))
