from __future__ import annotations

import json

import httpx
import pytest

from segue.presets.vocabulary import Code, Status
from tests.recorder import make_request
from tests.wire import JSON, PROMPT_SECONDS, failure_of


def body_with(**changes: object) -> bytes:
    """A request with some of its fields replaced."""
    return json.dumps(json.loads(make_request().model_dump_json()) | changes).encode()


def raw_number(text: str) -> bytes:
    """A request whose new_seconds is spelled like this."""
    return body_with(new_seconds="HERE").replace(b'"HERE"', text.encode())


def with_control(**fields: object) -> bytes:
    """A request that continues and has one control more."""
    return body_with(controls=[{"kind": "outpaint"}, fields])


def with_preset(preset: object, **changes: object) -> bytes:
    """A request that leaves its controls, settings and length to a preset."""
    fields = json.loads(body_with(preset=preset, **changes))
    kept = {k: v for k, v in fields.items() if k not in ("controls", "settings", "new_seconds")}
    return json.dumps(kept | changes).encode()


REGION = {"path": "/take.wav", "start_seconds": 0.0, "length_seconds": 4.0}
BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "infinite": (raw_number("1e999"), "new_seconds"),
    "NaN": (raw_number("NaN"), "new_seconds"),
    "Infinity": (raw_number("-Infinity"), "new_seconds"),
    "text inf": (raw_number('"inf"'), "new_seconds"),
    "text number": (raw_number('"6.0"'), "new_seconds"),
    "true": (raw_number("true"), "new_seconds"),
    "negative": (raw_number("-1"), "new_seconds"),
    "minus zero": (raw_number("-0.0"), "new_seconds"),
    "too long": (raw_number("10000"), "new_seconds"),
    "4000 digits": (body_with(seed="HERE").replace(b'"HERE"', b"9" * 4000), "seed"),
    "fraction of a seed": (body_with(seed=1.5), "seed"),
    "negative seed": (body_with(seed=-1), "seed"),
    "unknown key": (body_with(colour="red"), "colour"),
    "zero length": (body_with(region=REGION | {"length_seconds": 0}), "region.length_seconds"),
    "start beyond all files": (
        body_with(region=REGION | {"start_seconds": 1.7e308}),
        "region.start_seconds",
    ),
    "relative path": (body_with(region=REGION | {"path": "take.wav"}), "give an absolute path"),
    "NUL in path": (body_with(region=REGION | {"path": "/a\0b"}), "region.path"),
    "long path": (body_with(region=REGION | {"path": "/" + "a" * 5000}), "region.path"),
    "dots as id": (body_with(id=".."), "id"),
    "separator in id": (body_with(id="a/b"), "id"),
    "backslash in id": (body_with(id="a\\b"), "id"),
    "line end in id": (body_with(id="a\n"), "id"),
    "device as id": (body_with(id="con"), "id"),
    "long id": (body_with(id="a" * 65), "id"),
    "surrogate": (body_with().replace(b'"a"', b'"\\ud800"'), "JSON"),
    "many keys": (body_with(**{f"k{n}": 0 for n in range(50000)}), "k0"),
    "many controls": (body_with(controls=[{}] * 100000), "controls"),
    "unsorted curve": (with_control(kind="intensity", points=[[1, 0], [0, 0]]), "sorted by time"),
    "empty curve": (with_control(kind="intensity", points=[]), "controls.1.intensity.points"),
    "NaN curve": (with_control(kind="intensity", points=[[0, float("nan")]]), "points.0.1"),
    "deafening curve": (with_control(kind="intensity", points=[[0, 99]]), "outside -60 to 30"),
    "curve of text": (with_control(kind="intensity", points=[["0", "0"]]), "points.0.0"),
    "endless curve": (with_control(kind="intensity", points=[[0, 0]] * 100_001), "points"),
    "letters and lengths": (with_control(kind="structure", sections="ABA", lengths=[1]), "'ABA'"),
    "notes and audio": (with_control(kind="melody"), "give notes, or audio"),
    "relative audio": (
        with_control(kind="melody", audio=REGION | {"path": "hum.wav"}),
        "controls.1.audio.path",
    ),
    "overlapping gaps": (
        body_with(
            new_seconds=None,
            controls=[
                {"kind": "inpaint", "gaps": [{"start": 1, "length": 2}, {"start": 2, "length": 1}]}
            ],
        ),
        "gaps must be sorted",
    ),
    "two places": (with_control(kind="loop"), "one of outpaint, inpaint, loop and vary"),
    "unknown control": (with_control(kind="luck"), "controls.1"),
    "unknown preset": (with_preset("loud"), "there are: aabb, aba"),
    "preset of another kind": (with_preset(3), "preset: give the name"),
    "preset in a file": (with_preset("/etc/x.toml"), "no preset"),
    "preset and no melody": (with_preset("follow-my-melody"), "needs your melody"),
    "preset and no tempo": (with_preset("four-bars"), "makes 4 bars"),
    "preset and text number": (with_preset("continue", new_seconds="6"), "new_seconds"),
    "preset and NaN": (with_preset("continue", new_seconds=float("nan")), "new_seconds"),
    "preset and many digits": (with_preset("continue", seed=10**4000), "seed"),
    "preset and odd controls": (with_preset("continue", controls=[[]]), "controls.0"),
    "preset and odd settings": (with_preset("continue", settings=[]), "settings"),
    "preset and unknown key": (with_preset("continue", colour="red"), "colour"),
    "preset and one length more": (with_preset("vary-a-lot", new_seconds=1.0), "the region says"),
    "deep": (b"[" * 200000, "JSON"),
    "no JSON": (b"new_seconds = 6", "JSON"),
    "not UTF-8": (b"\xff\xfe\x00", "JSON"),
    "empty": (b"", "JSON"),
    "list": (b"[]", "value"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_body(strict_url: str, client: httpx.Client, name: str) -> None:
    """422 at once, with a bounded text that names the key; no job comes of it."""
    body, key = BAD_BODIES[name]
    response = client.post(f"{strict_url}/jobs", content=body, headers=JSON, timeout=PROMPT_SECONDS)
    failure = failure_of(response)
    assert (response.status_code, failure.code) == (422, Code.BAD_REQUEST)
    assert key in failure.text
    assert len(failure.text) <= 5000
    assert client.get(f"{strict_url}/jobs").json() == []


def test_a_preset_by_name(url: str, client: httpx.Client) -> None:
    """A request that names a preset is that preset's, but for what it says itself."""
    words = {"kind": "text", "text": "warm slow strings"}
    body = with_preset("rise", controls=[words], settings={"seeds": 2}, seed=3)
    answer = client.post(f"{url}/jobs", content=body, headers=JSON)
    assert answer.status_code == 202
    made = Status.model_validate_json(answer.content).request
    assert [control.kind for control in made.controls] == ["outpaint", "intensity", "text"]
    assert (made.new_seconds, made.seed, made.settings.seeds) == (8.0, 3, 2)
    again = client.post(f"{url}/jobs", content=made.model_dump_json(), headers=JSON)
    assert again.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_json_under_another_name(strict_url: str, client: httpx.Client, kind: str) -> None:
    """What a form could send is not a request, whatever it holds."""
    body = make_request().model_dump_json()
    response = client.post(f"{strict_url}/jobs", content=body, headers={"content-type": kind})
    assert (response.status_code, failure_of(response).code) == (415, Code.BAD_REQUEST)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/jobs/a/../../etc/passwd", 404),
        ("GET", "/jobs/", 404),
        ("DELETE", "/jobs", 405),
        ("PUT", "/jobs/a/cancel", 405),
    ],
)
def test_no_such_address(
    strict_url: str, client: httpx.Client, method: str, path: str, status: int
) -> None:
    """Even the framework's own refusals are a Failure."""
    response = client.request(method, strict_url + path)
    assert (response.status_code, failure_of(response).code) == (status, Code.BAD_REQUEST)
