"""What REAPER's scripts send over a socket: the bridge's own bytes, to the port it has."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lupa.lua54 as lupa
import pytest
from platformdirs.macos import MacOS

from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.port_file import Ports, announced, default_path
from tests.lua_socket import place_core
from tests.reaper_desk import SCRIPTS
from tests.reaper_double import Project, Reaper, Script

Use = Callable[[str], Any]

HEX = """function(osc, message)
  return (osc.encode(message):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end"""

MESSAGES: list[tuple[str, list[tuple[str, Value]]]] = [
    ("/a", []),
    ("/ab", [("s", "")]),
    ("/abc", [("s", "abc"), ("s", "abcd")]),
    ("/segue/cancel", [("s", "C:\\new\\'q' \"r\" ümlaut 響.wav")]),
    ("/segue/make", [("s", "a"), ("d", 0.1), ("i", -1), ("d", 4), ("h", 2**53 + 1), ("s", "")]),
    ("/segue/rows/add", [("s", "a"), ("i", 2**31 - 1), *[("d", n / 3) for n in range(192)]]),
    ("/f", [("f", 0.5), ("h", -(2**63)), ("i", -(2**31))]),
]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Lua in a REAPER; nothing runs."""
    return Script(Reaper(Project(tmp_path / "project")), SCRIPTS / "segue_stop.lua")


@pytest.fixture
def use(script: Script) -> Use:
    """Loads a file of `lib`."""
    found: Use = script.lua.globals().dofile(str(SCRIPTS / "lib" / "use.lua"))
    return found


def table(script: Script, address: str, arguments: list[tuple[str, Value]]) -> Any:
    """A message as Lua's scripts write it."""
    message = script.lua.table_from([script.lua.table_from(each) for each in arguments])
    message.address = address
    return message


@pytest.mark.parametrize(("address", "arguments"), MESSAGES)
def test_bytes_are_the_bridge_s(
    address: str, arguments: list[tuple[str, Value]], script: Script, use: Use
) -> None:
    """What Lua packs are the very bytes that the bridge would, and it reads the bridge's."""
    packed = bytes.fromhex(script.lua.eval(HEX)(use("osc"), table(script, address, arguments)))
    assert packed == encode(address, *arguments)
    (message,) = decode(packed)
    assert message == Message(address, tuple(value for _, value in arguments))
    read = use("osc").decode(packed)
    assert (read.address, len(read)) == (address, len(arguments))
    assert [read[place] for place in range(1, len(read) + 1)] == list(message.args)


@pytest.mark.parametrize(
    "argument", [("s", "a\0b"), ("i", 2**31), ("i", 0.5), ("d", "x"), ("T", True)]
)
def test_a_value_that_does_not_fit(argument: tuple[str, Value], script: Script, use: Use) -> None:
    """It is an error, as it is for the bridge."""
    with pytest.raises(lupa.LuaError):
        use("osc").encode(table(script, "/a", [argument]))


def test_bytes_that_are_no_message(use: Use) -> None:
    """Cut short, with something behind it, changed at random: an error, or another message."""
    packet = encode("/segue/job/progress", ("s", "a"), ("d", 0.5), ("s", "optimizing"))
    for bad in (b"", b"/a\0\0", packet[:-4], packet[:-1], packet + b"\0\0\0\0", b"#bundle\0" * 2):
        with pytest.raises(lupa.LuaError):
            use("osc").decode(bad)
    dice = random.Random(1)
    for _ in range(200):
        changed = bytearray(packet)
        changed[dice.randrange(len(changed))] = dice.randrange(256)
        try:
            use("osc").decode(bytes(changed))
        except lupa.LuaError:
            continue


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No folder of this user or this system is known to Lua."""
    for name in ("XDG_RUNTIME_DIR", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_port_file_is_the_bridge_s(
    use: Use, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a bridge runs its own port is known, else the usual one."""
    (nowhere / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(nowhere / "run"))
    with announced(default_path(), Ports(osc_port=5123, http_port=1, pid=os.getpid())):
        assert use("port")() == 5123
    assert use("port")() == 9137


@pytest.mark.parametrize(
    ("name", "folder"), [("LOCALAPPDATA", "Temp/segue"), ("HOME", "Library/Caches/TemporaryItems")]
)
def test_port_files_of_other_systems(
    name: str, folder: str, use: Use, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows and macOS have their own folders, which Lua finds without knowing where it runs."""
    monkeypatch.setenv(name, str(nowhere))
    path = nowhere / folder / "segue" / "bridge.json"
    if name == "LOCALAPPDATA":
        path = nowhere / "Temp" / "segue" / "bridge.json"
    else:
        assert str(path.parent) == MacOS("segue").user_runtime_dir
    path.parent.mkdir(parents=True)
    path.write_text('{"osc_port": 5123, "http_port": 1, "pid": 1}')
    assert use("port")() == 5123


@pytest.mark.parametrize(
    "text", ["", '{"osc_port": 0}', '{"osc_port": 65536}', '{"osc_port": "x"}']
)
def test_a_port_file_that_names_none(
    text: str, use: Use, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual port it is."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(nowhere))
    (nowhere / "segue").mkdir()
    (nowhere / "segue" / "bridge.json").write_text(text)
    assert use("port")() == 9137


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        (None, "there is no LuaSocket"),
        (b"\x7fELF $LuaVersion: Lua 5.3.6 $", "LuaSocket is for Lua 5.3: update it"),
        (b"\x7fELF $LuaVersion: Lua 5.4.6 $", "LuaSocket cannot be loaded"),
        (b"", "LuaSocket cannot be loaded"),
    ],
)
def test_no_sockets(library: bytes | None, problem: str, tmp_path: Path, use: Use) -> None:
    """Why is said; a library with another Lua inside, which would end REAPER, is not loaded."""
    if library is not None:
        place_core(Reaper(Project(tmp_path / "project"))).write_bytes(library)
    assert use("luasocket")() == (None, problem)
