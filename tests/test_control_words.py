"""Controls as words: what of a curve, a melody, a plan or a gap is refused before any work."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from segue.presets.controls import MAX_GAPS, MAX_NOTES, MAX_POINTS, Control
from segue.presets.vocabulary import MAX_SEEDS, Request

CONTROL: TypeAdapter[Control] = TypeAdapter(Control)
REGION: dict[str, Any] = {"path": "/a.wav", "start_seconds": 0.5, "length_seconds": 4.0}
RIGHT: dict[str, Any] = {"kind": "outpaint"}
CURVE: dict[str, Any] = {"kind": "intensity", "points": [[0, 0]]}


def curve(*points: object, **more: object) -> dict[str, Any]:
    """An intensity control of these points."""
    return {"kind": "intensity", "points": list(points), **more}


def tune(**changed: object) -> dict[str, Any]:
    """A melody of one note, somehow changed."""
    return {"kind": "melody", "notes": [{"start": 0.0, "length": 1.0, "pitch": 60} | changed]}


def plan(sections: object, **more: object) -> dict[str, Any]:
    """A structure control."""
    return {"kind": "structure", "sections": sections, **more}


def gaps(*pairs: tuple[float, float]) -> dict[str, Any]:
    """An inpaint control with (start, length) gaps."""
    return {"kind": "inpaint", "gaps": [{"start": a, "length": b} for a, b in pairs]}


GOOD: dict[str, dict[str, Any]] = {
    "one point": curve([3, -12]),
    "two points at one time": curve([0, 0], [1, -6], [1, 6]),
    "lowest and highest": curve([0, -60], [1, 30]),
    "as a share": curve([0, 0], [1, 1], scale="share"),
    "of full scale": curve([0, -90], [1, 0], scale="dbfs"),
    "as many points as may be": curve(*([i, 0] for i in range(MAX_POINTS))),
    "in bars": curve([0, 0], unit="bars"),
    "a part of the clip": curve([0, 0], start=1.0, length=2.0),
    "lowest note": tune(pitch=0),
    "highest note": tune(pitch=127),
    "a hum": {"kind": "melody", "audio": REGION},
    "ABA": plan("ABA"),
    "ABA with lengths": plan("ABA", lengths=[2, 4, 2]),
    "like a region": {"kind": "structure", "like": REGION},
    "the middle": gaps(),
    "two gaps": gaps((1, 1), (2.5, 1)),
    "no noise drawn": {"kind": "vary", "amount": 0},
    "all noise drawn": {"kind": "vary", "amount": 1},
    "300 characters": {"kind": "text", "text": "x" * 300},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no points": (curve(), "points"),
    "unsorted": (curve([1, 0], [0, 0]), "sorted by time"),
    "NaN level": (curve([0, 0], [1, math.nan]), "points.1.1"),
    "NaN time": (curve([math.nan, 0]), "points.0.0"),
    "infinite level": (curve([0, math.inf]), "points.0.1"),
    "negative time": (curve([-1, 0]), "points.0.0"),
    "too soft": (curve([0, -60.5]), "-60.5 at 0 is outside -60 to 30"),
    "too loud": (curve([0, 31]), "31 at 0 is outside -60 to 30"),
    "above a share": (curve([0, 1.01], scale="share"), "outside 0 to 1"),
    "above full scale": (curve([0, 0.1], scale="dbfs"), "outside -90 to 0"),
    "too many": (curve(*([0, 0] for _ in range(MAX_POINTS + 1))), "points"),
    "three numbers": (curve([0, 0, 0]), "points.0"),
    "unknown unit": (curve([0, 0], unit="fortnights"), "unit"),
    "unknown scale": (curve([0, 0], scale="sones"), "scale"),
    "weight of nothing": (curve([0, 0], weight=0), "weight"),
    "length of nothing": (curve([0, 0], length=0), "length"),
    "note too low": (tune(pitch=-1), "pitch"),
    "note too high": (tune(pitch=128), "pitch"),
    "half a semitone": (tune(pitch=60.5), "pitch"),
    "note of no length": (tune(length=0), "length"),
    "note before the clip": (tune(start=-0.1), "start"),
    "NaN note": (tune(start=math.nan), "start"),
    "no notes": ({"kind": "melody"}, "give notes, or audio"),
    "notes and a hum": (tune() | {"audio": REGION}, "give notes, or audio"),
    "too many notes": (tune() | {"notes": tune()["notes"] * (MAX_NOTES + 1)}, "notes"),
    "one section": (plan("A"), "sections"),
    "65 sections": (plan("AB" * 32 + "A"), "sections"),
    "no plan": ({"kind": "structure"}, "give sections"),
    "two plans": (plan("AB", like=REGION), "give sections"),
    "fewer lengths": (plan("ABA", lengths=[1, 2]), "'ABA' and 2 lengths do not match"),
    "lengths of no sections": (
        {"kind": "structure", "like": REGION, "lengths": [1]},
        "do not match",
    ),
    "a section of no length": (plan("AB", lengths=[1, 0]), "lengths.1"),
    "unsorted gaps": (gaps((2, 1), (0, 1)), "gaps must be sorted"),
    "gaps that touch": (gaps((1, 1), (2, 1)), "gaps must be sorted"),
    "gaps that overlap": (gaps((1, 2), (2, 1)), "gaps must be sorted"),
    "too many gaps": (gaps(*((2.0 * i, 1.0) for i in range(MAX_GAPS + 1))), "gaps"),
    "gap of no length": (gaps((1, 0)), "length"),
    "overlap too short": ({"kind": "outpaint", "overlap_seconds": 0.2}, "overlap_seconds"),
    "overlap too long": ({"kind": "loop", "overlap_seconds": 3.1}, "overlap_seconds"),
    "NaN overlap": ({"kind": "inpaint", "overlap_seconds": math.nan}, "overlap_seconds"),
    "upwards": ({"kind": "outpaint", "side": "up"}, "side"),
    "more than all": ({"kind": "vary", "amount": 1.1}, "amount"),
    "no words": ({"kind": "text", "text": " "}, "text"),
    "too many words": ({"kind": "text", "text": "x" * 301}, "text"),
    "unknown kind": ({"kind": "luck"}, "luck"),
    "unknown key": (curve([0, 0], colour="red"), "colour"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_control_that_makes_sense(name: str) -> None:
    """It is taken, and comes back from JSON as it was."""
    control = CONTROL.validate_python(GOOD[name])
    assert CONTROL.validate_json(CONTROL.dump_json(control), strict=True) == control


@pytest.mark.parametrize("name", BAD)
def test_a_control_that_makes_none(name: str) -> None:
    """It is refused, and the error says what about it."""
    fields, named = BAD[name]
    with pytest.raises(ValidationError) as caught:
        CONTROL.validate_python(fields)
    (first, *_) = caught.value.errors()
    assert named in f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"controls": [RIGHT, {"kind": "loop"}], "new_seconds": 1}, "one of outpaint, inpaint"),
        ({"controls": [CURVE], "new_seconds": 1}, "a region needs one of"),
        ({"region": None, "new_seconds": 1}, "without a region there can't be"),
        ({}, "give new_seconds or new_bars"),
        ({"new_seconds": 1, "new_bars": 1, "tempo": {"changes": []}}, "tempo.changes"),
        ({"controls": [{"kind": "vary"}], "new_seconds": 1}, "the region says how long"),
        ({"controls": [gaps()], "new_seconds": 1}, "the region says how long"),
        ({"new_bars": 4}, "bars and beats need a tempo map"),
        ({"controls": [RIGHT, curve([0, 0], unit="beats")], "new_seconds": 1}, "need a tempo map"),
        ({"controls": [RIGHT] + [CURVE] * 8, "new_seconds": 1}, "controls"),
        ({"settings": {"keep": 2}, "new_seconds": 1}, "keep 2 needs as many seeds"),
        ({"settings": {"seeds": MAX_SEEDS + 1}, "new_seconds": 1}, "settings.seeds"),
        ({"settings": {"within_seconds": 0}, "new_seconds": 1}, "settings.within_seconds"),
        ({"settings": {"slot": "../x"}, "new_seconds": 1}, "settings.slot"),
    ],
)
def test_controls_that_do_not_go_together(fields: dict[str, Any], said: str) -> None:
    """A request that contradicts itself is refused as a whole."""
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"id": "one", "region": REGION} | fields)
    (first, *_) = caught.value.errors()
    assert said in f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
