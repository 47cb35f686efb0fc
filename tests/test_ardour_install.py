"""The Ardour scripts, put where Ardour looks for them."""

from __future__ import annotations

import base64
import re
from importlib.resources import files
from pathlib import Path

import pytest

from segue.bridge.daw.ardour_install import (
    ACTIONS,
    BEFORE,
    default_ardour_folder,
    install_ardour,
    registered,
)
from segue.bridge.daw.install import Fate, Placed
from segue.presets.vocabulary import Code, SegueError


def test_install_registers_once_and_keeps_what_is_yours(tmp_path: Path) -> None:
    """Scripts, modules, registry; the second time neither settings nor what is no registry."""
    folder = tmp_path / "ardour7"
    first = install_ardour(folder)
    names = {each.path.relative_to(folder).as_posix() for each in first}
    assert names >= {f"scripts/segue_{name}.lua" for name in (*ACTIONS, "inbox")}
    assert names >= {"segue/start.lua", "segue/settings.lua", "ui_scripts"}
    assert {each.fate for each in first} == {Fate.WRITTEN}
    yours = [folder / "ui_scripts", folder / "segue" / "settings.lua"]
    for path in yours:
        path.write_text("mine", encoding="utf-8")
    *scripts, registry = install_ardour(folder)
    assert {each.fate for each in scripts} == {Fate.SAME}
    assert registry == Placed(folder / "ui_scripts", Fate.FULL)
    assert [path.read_text(encoding="utf-8") for path in yours] == ["mine", "mine"]


def program(registry: str) -> str:
    """The Lua that fills the slots."""
    (text,) = re.findall(r"<ActionScript [^>]*>([^<]*)<", registry)
    return base64.b64decode(text).decode("latin-1")


def test_what_is_registered_stays(tmp_path: Path) -> None:
    """Ours take free slots and one more hook, once; the list of before lies beside it."""
    folder = tmp_path / "ardour7"
    folder.mkdir()
    theirs = b'scripts = {} scripts[1] = {} scripts[1]["n"] = "Mixer \xff"  scripts[3] = {}   '
    before = (
        f'<UIScripts>\n  <ActionScript lua="Lua 5.3">{base64.b64encode(theirs).decode()}'
        '</ActionScript>\n  <ActionHooks>\n    <LuaCallback name="mine"/>\n  </ActionHooks>\n'
        "</UIScripts>\n"
    )
    registry = folder / "ui_scripts"
    registry.write_text(before)
    assert install_ardour(folder)[-1] == Placed(registry, Fate.ADDED)
    after = registry.read_text()
    assert program(after).startswith(theirs.decode("latin-1"))
    titles = dict(re.findall(r'scripts\[(\d)\]\["n"\] = "([^"]*)"', program(after)))
    assert list(titles) == ["1", "2", "4", "5", "6"]
    assert list(titles.values())[1:] == [
        "Segue: continue selection", "Segue: inpaint selection", "Segue: vary selection",
        "Segue: cancel",
    ]  # fmt: skip
    assert re.findall(r'<LuaCallback [^>]*name="([^"]*)"', after) == ["mine", "Segue: inbox"]
    assert (folder / BEFORE).read_text() == before
    assert install_ardour(folder)[-1] == Placed(registry, Fate.SAME)
    assert registry.read_text() == after


def test_a_list_without_room_is_left(tmp_path: Path) -> None:
    """Four free slots of nine are needed; what is left to do is said."""
    full = "scripts = {} " + "".join(f"scripts[{n}] = {{}} " for n in range(1, 7))
    text = f"<ActionScript >{base64.b64encode(full.encode()).decode()}</ActionScript><ActionHooks/>"
    assert registered(text) is None
    folder = tmp_path / "ardour7"
    folder.mkdir()
    for other in (text, "no list"):
        (folder / "ui_scripts").write_text(other)
        assert install_ardour(folder)[-1] == Placed(folder / "ui_scripts", Fate.FULL)
        assert (folder / "ui_scripts").read_text() == other


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It names the same files."""
    folder = tmp_path / "ardour7"
    would = install_ardour(folder, dry_run=True)
    assert not folder.exists()
    assert install_ardour(folder) == would


def test_other_versions_are_registered_by_hand(tmp_path: Path) -> None:
    """The registry's numbers of signals are those of Ardour 7."""
    folder = tmp_path / "ardour8"
    assert folder / "ui_scripts" not in [each.path for each in install_ardour(folder)]


def test_the_newest_settings_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several versions the newest; without any, the error names where we looked."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    with pytest.raises(SegueError, match=re.escape(f"{tmp_path}/ardour7")) as error:
        default_ardour_folder()
    assert error.value.code is Code.MISSING_FILE
    for version in (7, 8):
        (tmp_path / f"ardour{version}").mkdir()
    assert default_ardour_folder() == tmp_path / "ardour8"


def test_every_script_of_an_action_names_itself() -> None:
    """Each action calls what it is named for; the names are what the menu shows."""
    scripts = files("segue.bridge.daw") / "ardour" / "scripts"
    for name in ACTIONS:
        text = (scripts / f"segue_{name}.lua").read_text(encoding="utf-8")
        title = re.search(r'name = "Segue: (\w+)', text)
        assert title
        assert title[1] == name
        assert (".cancel ()" if name == "cancel" else f'.order ("{name}")') in text
