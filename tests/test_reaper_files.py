"""REAPER's scripts as files: only documented names, their installation, ReaPack's index."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import lupa.lua54 as lupa
import pytest

from segue.bridge.cli.spool import default_folder
from segue.bridge.daw.install import Fate
from segue.bridge.daw.reapack import header, index, main, scripts
from segue.bridge.daw.reaper_install import default_reaper_folder, install_reaper
from segue.bridge.osc.codec import Message
from segue.bridge.osc.lines import decode_line, encode_line
from segue.presets.library import load_preset
from segue.presets.vocabulary import SegueError
from tests.reaper_desk import SCRIPTS
from tests.reaper_double import API, Project, Reaper, Script

ROOT = Path(__file__).parent.parent
FILES = sorted(SCRIPTS.rglob("*.lua"))
OF_THE_SCRIPT = {"defer", "atexit", "new_array"}  # the double makes them for each script
NO_LUACHECK = "NOT TESTED: `apt-get install lua-check` brings luacheck, which reads the Lua"
needs_luacheck = pytest.mark.skipif(shutil.which("luacheck") is None, reason=NO_LUACHECK)


def test_the_double_refuses_what_reaper_refuses(tmp_path: Path) -> None:
    """An object that is gone, of another kind or nil, a number that is not whole, a missing one."""
    project = Project(tmp_path)
    reaper = Reaper(project)
    lua = Script(reaper, SCRIPTS / "segue_stop.lua").lua
    gone = project.track()
    project.tracks.clear()
    for call, given in (
        ("CountTrackMediaItems(x)", gone),
        ("CountTrackMediaItems(x)", project),
        ("CountTrackMediaItems(x)", None),
        ("GetTrack(x, 0.5)", project),
        ("GetTrack(x)", project),
        ("AddMediaItemToTrack(x)", gone),
    ):
        with pytest.raises(TypeError):
            lua.eval(f"function(x) return reaper.{call} end")(given)
    assert lua.eval("function(x) return reaper.GetTrack(x, 0) end")(project) is None


def lua_value(name: str) -> list[str]:
    """A list that a file of `lib` returns."""
    return list(lupa.LuaRuntime().execute((SCRIPTS / "lib" / name).read_text("utf-8")).values())


def used_names(text: str) -> set[str]:
    """Functions of REAPER that a script calls or passes on."""
    return set(re.findall(r"\breaper\.(\w+)", text))


def undocumented(texts: list[str]) -> set[str]:
    """Used names that are not in our list."""
    return set().union(*map(used_names, texts)) - set(lua_value("api.lua"))


def test_every_name_is_documented() -> None:
    """The scripts use the names of our list, all of them; so does the double."""
    texts = [path.read_text("utf-8") for path in FILES]
    assert undocumented(texts) == set()
    assert set().union(*map(used_names, texts)) == set(lua_value("api.lua"))
    assert API.keys() | OF_THE_SCRIPT == set(lua_value("api.lua"))


def test_a_misspelt_name_is_found() -> None:
    """The check above would fail."""
    assert undocumented(["reaper.GetTrakc(proj, 0)"]) == {"GetTrakc"}


def luacheck(folder: Path, *paths: Path) -> str:
    """What luacheck complains about, with our list as all there is of REAPER."""
    fields = ",".join(f"{name}={{}}" for name in lua_value("api.lua"))
    config = folder / "luacheckrc"
    config.write_text(
        f"stds.reaper = {{read_globals={{reaper={{fields={{{fields}}}}}}}, globals={{'gfx'}}}}\n"
    )
    options = ["--config", str(config), "--std", "lua54+reaper", "--no-cache", "--no-color", "-q"]
    done = subprocess.run(
        ["luacheck", *options, *map(str, paths)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@needs_luacheck
def test_luacheck_has_nothing_to_say(tmp_path: Path) -> None:
    """No undefined, unused or shadowed name; a planted one is found."""
    assert luacheck(tmp_path, *FILES) == ""
    bad = tmp_path / "bad.lua"
    bad.write_text("local x = reaper.GetTrakc(0)\nprnt(reaper.defer)\n")
    said = luacheck(tmp_path, bad)
    assert all(word in said for word in ("GetTrakc", "unused variable 'x'", "prnt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_say_what_they_are_for(path: Path) -> None:
    """A comment, lines of at most 100 characters, no more than 250 of them."""
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("-- ")
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 250


def test_actions_are_the_files_there_are() -> None:
    """None is forgotten in the list that one action adds to REAPER."""
    files = {path.stem for path in SCRIPTS.glob("*.lua")} - {"segue_add_actions"}
    assert set(lua_value("actions.lua")) == files


def test_presets_that_are_offered_exist() -> None:
    """And are for the place that the task says."""
    lua = lupa.LuaRuntime()
    tasks = lua.execute((SCRIPTS / "lib" / "tasks.lua").read_text("utf-8"))
    kinds = {"fill": "inpaint", "vary": "vary", "loop": "loop"}
    sides = {"before": "left", "both": "both", "continue": "right"}
    for name in tasks.order.values():
        for preset in tasks[name].presets.values():
            place = load_preset(preset).place
            assert place is not None
            assert place.kind == kinds.get(name, "outpaint")
            assert getattr(place, "side", sides.get(name)) == sides.get(name)


LINES = [
    ("/a", ""),
    ("/a", "x\ty\\n\r\n ö"),
    ("/segue/job/done", "C:\\new\\table 'q' \"r\".wav"),
]


@pytest.mark.parametrize(("address", "text"), LINES)
def test_lines_are_the_bridge_s(address: str, text: str, tmp_path: Path) -> None:
    """What Lua writes Python reads, and the other way, to the last bit."""
    script = Script(Reaper(Project(tmp_path)), SCRIPTS / "segue_stop.lua")
    line = script.lua.globals().dofile(str(SCRIPTS / "lib" / "use.lua"))("line")
    message = script.lua.table_from({"address": address, 1: ("s", text), 2: ("d", 0.1)})
    message[1] = script.lua.table_from(["s", text])
    message[2] = script.lua.table_from(["d", 0.1])
    message[3] = script.lua.table_from(["i", 2**53 + 1])
    written = line.write(message)
    values = [("s", text), ("d", 0.1), ("i", 2**53 + 1)]
    assert decode_line(written.removesuffix("\n")) == (address, values)
    read = line.read(encode_line(Message(address, (text, 0.1, 2**53 + 1))))
    assert (read.address, read[1], read[2], read[3]) == (address, text, 0.1, 2**53 + 1)


@pytest.mark.parametrize("chosen", ["", "somewhere else"])
def test_both_sides_name_the_same_folder(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders lie where the bridge's side looks for them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("USERPROFILE", raising=False)
    monkeypatch.setenv("SEGUE_SPOOL", chosen and str(tmp_path / chosen))
    script = Script(Reaper(Project(tmp_path)), SCRIPTS / "segue_stop.lua")
    use = script.lua.globals().dofile(str(SCRIPTS / "lib" / "use.lua"))
    assert Path(use("spool").folder()) == default_folder()


def test_installing(tmp_path: Path) -> None:
    """Every file comes to Scripts/Segue, is run from there, and is not written twice."""
    folder = tmp_path / "REAPER ü"
    placed = install_reaper(folder)
    target = folder / "Scripts" / "Segue"
    expected = {target / path.relative_to(SCRIPTS) for path in FILES}
    assert {each.path for each in placed} == expected
    assert {each.fate for each in placed} == {Fate.WRITTEN}
    assert {each.fate for each in install_reaper(folder)} == {Fate.SAME}
    project = Project(tmp_path)
    reaper = Reaper(project)
    reaper.run(target / "segue_continue.lua")
    assert "select some time" in reaper.console


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It says what would be."""
    assert {each.fate for each in install_reaper(tmp_path, dry_run=True)} == {Fate.WRITTEN}
    assert list(tmp_path.iterdir()) == []


def test_where_reaper_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the system at hand; where there is none, the ones looked for are named."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    folder = tmp_path / ".config" / "REAPER"
    with pytest.raises(SegueError, match=re.escape(str(folder))):
        default_reaper_folder()
    folder.mkdir(parents=True)
    assert default_reaper_folder() == folder
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert default_reaper_folder() == folder
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path / ".config"))
    assert default_reaper_folder() == folder


def test_a_header() -> None:
    """Tags with their text, continued on indented lines, up to the end of the comment."""
    text = "-- @version 1.2\n-- @provides\n--   [main] a.lua\n--   b.lua\n-- end\n\n-- @late x\n"
    assert header(text) == {"version": "1.2", "provides": "[main] a.lua\nb.lua"}


def test_the_index_names_every_file() -> None:
    """The version is the package's; actions are marked, the files they load are not."""
    root = ElementTree.fromstring(
        index(scripts(), "https://example.org/reaper", "2026-01-02T03:04:05Z")
    )
    version = root.find("category/reapack/version")
    assert version is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert version.attrib["name"] == project["version"]
    sources = version.findall("source")
    names = {str(path.relative_to(SCRIPTS).as_posix()) for path in FILES}
    assert {each.attrib["file"] for each in sources} == names
    assert {each.text for each in sources} == {f"https://example.org/reaper/{n}" for n in names}
    actions = {each.attrib["file"] for each in sources if each.attrib.get("main") == "main"}
    assert actions == {path.name for path in SCRIPTS.glob("*.lua")}


def test_the_index_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """By a command that takes the URL, with the time of day in UTC; without one it says what."""
    assert main([]) == 2
    assert "usage: " in capsys.readouterr().err
    assert main(["https://example.org/reaper/"]) == 0
    written = capsys.readouterr().out
    time = re.search(r'time="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"', written)
    assert time is not None
    assert written == index(scripts(), "https://example.org/reaper", time[1])


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.lua")), ids=lambda path: path.name)
def test_actions_have_a_header(path: Path) -> None:
    """Description, author and the one version."""
    tags = header(path.read_text("utf-8"))
    own = header((SCRIPTS / "segue.lua").read_text("utf-8"))
    assert tags["description"].startswith("Segue: ")
    assert (tags["version"], tags["author"]) == (own["version"], own["author"])
