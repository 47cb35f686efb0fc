"""A real Ardour without a screen or a sound card, driven by Lua in its own GUI thread."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from segue.bridge.daw.ardour_install import install_ardour
from tests import mouse
from tests.mouse import Mouse

ROOM = Path("/usr/lib/ardour7")
PROGRAMS = ("ardour7-lua", "Xvfb", "jackd", "jack_wait")
NUMBERS = count(1)  # of JACK servers of this process
MIDDLE = (640, 400)  # of the screen
RETURN_SECONDS = 0.3  # from one press to the next: once in the session, it moves the playhead
DEADLINE_SECONDS = 40.0  # for whole programs to start; never reached when all is well
CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<Ardour><Config><Option name="try-autostart-engine" value="1"/></Config>
<Extra><AudioMIDISetup><EngineStates>
<State backend="JACK" driver="" device="" input-device="" output-device="" sample-rate="0"
 buffer-size="1024" n-periods="0" input-latency="0" output-latency="0" lm-input="" lm-output=""
 active="1" use-buffered-io="0" midi-option="" lru="1"><MIDIDevices/></State>
</EngineStates></AudioMIDISetup></Extra></Ardour>
"""
# As Ardour leaves it after its first session: two slots are taken, by examples.
EXAMPLE = 'scripts[{0}] = {{}} scripts[{0}]["n"] = "theirs {0}" scripts[{0}]["s"] = "" '
EXAMPLE += 'scripts[{0}]["f"] = "return function () end" scripts[{0}]["a"] = {{}}   '
THEIRS = EXAMPLE.format(1) + EXAMPLE.format(2)
REGISTRY = f"""<?xml version="1.0" encoding="UTF-8"?>
<UIScripts>
  <ActionScript lua="Lua 5.3">{base64.b64encode(b"scripts = {} " + THEIRS.encode()).decode()}\
</ActionScript>
  <ActionHooks/>
</UIScripts>
"""
# Runs whatever is put into a file, in the same thread as the scripts under test.
DRIVER = """
return function ()
	local file = io.open ("FOLDER/do.lua")
	if not file then return end
	local source = file:read ("a")
	file:close () os.remove ("FOLDER/do.lua")
	local said = {}
	local function say (...)
		local texts = table.pack (...)
		for i = 1, texts.n do texts[i] = tostring (texts[i]) end
		said[#said + 1] = table.concat (texts, "\\t") .. "\\n"
	end
	local names = setmetatable ({say = say}, {__index = _G})
	local work, problem = load (source, "=test", "t", names)
	local ok = work ~= nil
	if work then ok, problem = pcall (work) end
	local out = io.open ("FOLDER/did.part", "w")
	out:write (ok and "" or "PROBLEM " .. tostring (problem) .. "\\n", table.concat (said))
	out:close () os.rename ("FOLDER/did.part", "FOLDER/did.txt")
end
"""


def missing() -> str:
    """Why none of this can run here, or nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if not lacking and not mouse.LACKING and list(ROOM.glob("ardour-7*")):
        return ""
    packages = "ardour xvfb jackd2 libxtst6"
    return (
        "NOT TESTED: the real Ardour is not here;"
        f" `apt-get install --no-install-recommends {packages}` brings it"
    )


def until(rule: Callable[[], Any], what: str = "it") -> Any:
    """Wait for a rule to hold and return what it gave."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := rule()):
        assert time.monotonic() < deadline, f"{what} never came to hold"
        time.sleep(0.02)
    return value


def quoted(text: object) -> str:
    """A Lua string."""
    return json.dumps(str(text), ensure_ascii=False)


def headless(code: str, home: Path) -> list[str]:
    """What a script prints in Ardour without a GUI (it has a dummy engine), line by line."""
    script = home / "headless.lua"
    start = 'AudioEngine:set_backend ("None (Dummy)", "", "")\n'
    script.write_text(f"{start}{code}\nclose_session ()\nquit ()\n", encoding="utf-8")
    done = subprocess.run(
        ["ardour7-lua", str(script)],
        env=os.environ | {"HOME": str(home), "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
    )
    return done.stdout.splitlines()


class Ardour:
    """The GUI on a display and a JACK server of its own, with a session open, as a context."""

    def __init__(self, folder: Path, session: Path, rate: int = 48_000) -> None:
        self.session, self._rate = session, rate
        self._backup = session.with_suffix(".pending")
        self.home = folder / "home"
        self.config = self.home / ".config" / "ardour7"
        self.orders = folder / "orders"
        self.display = ""
        self._folder = folder
        self._stack = ExitStack()
        self.config.mkdir(parents=True, exist_ok=True)
        (self.config / ".a7").touch()  # no first-run dialogs
        (self.config / "config").write_text(CONFIG, encoding="utf-8")

    def install(self) -> None:
        """Our scripts, registered beside those that Ardour begins with, and the test's own."""
        registry = self.config / "ui_scripts"
        if not registry.exists():
            registry.write_text(REGISTRY, encoding="utf-8")
        install_ardour(self.config)
        text = registry.read_text(encoding="utf-8")
        if "driver" not in text:
            registry.write_text(_with_driver(text, self._folder), encoding="utf-8")

    def __enter__(self) -> Ardour:
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _begin(self) -> None:
        self.display = self._start_screen()
        environment = os.environ | {
            "HOME": str(self.home),
            "SEGUE_SPOOL": str(self.orders),
            "LANG": "C.UTF-8",
            "DISPLAY": self.display,
            "JACK_DEFAULT_SERVER": self._start_jack(),
            "LD_LIBRARY_PATH": str(ROOM),
            "ARDOUR_DATA_PATH": "/usr/share/ardour7",
            "ARDOUR_CONFIG_PATH": "/etc/ardour7",
            "ARDOUR_DLL_PATH": str(ROOM),
        }
        (program,) = ROOM.glob("ardour-7*")
        text = re.sub(r"  <EngineHints.*\n", "", self.session.read_text(encoding="utf-8"))
        self.session.write_text(text, encoding="utf-8")  # or a dialog: I/O has changed
        self.program = self._start(
            "ardour", str(program), "-n", "-a", str(self.session), env=environment
        )
        if self._backup.exists():
            self._recover()
        self.lua("say (Session:name ())")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def lua(self, code: str) -> list[str]:
        """What a script says with `say`, line by line. AssertionError for an error in it."""
        done = self._folder / "did.txt"
        done.unlink(missing_ok=True)
        self._post(code)
        until(
            lambda: done.exists() or self.program.poll() is not None, f"Ardour's answer to {code}"
        )
        lines = done.read_text(encoding="utf-8").splitlines()
        assert not lines or not lines[0].startswith("PROBLEM"), lines[0]
        return lines

    def until(self, code: str, line: str) -> None:
        """Wait until a script says this line first."""
        until(lambda: self.lua(code)[:1] == [line], f"{code} == {line}")

    def act(self, slot: int) -> None:
        """What the menu entry of an action slot does."""
        self.lua(f'Editor:access_action ("LuaAction", "script-{slot}")')

    def quit(self) -> None:
        """Save and end Ardour as a user does."""
        self.lua('Session:save_state ("", false, false, false, false, false)')
        self._post('Editor:access_action ("Common", "Quit")')  # it never comes back to answer
        self.program.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        """At once, as a crash does."""
        self.program.kill()
        self.program.wait()

    def back_up(self) -> None:
        """What Ardour does by itself every two minutes, in case it crashes."""
        self.lua('Session:save_state ("", true, false, false, false, false)')
        assert self._backup.exists()

    def _recover(self) -> None:
        """Say yes where Ardour asks whether to go on from its backup; until then no Lua runs."""
        done = self._folder / "did.txt"
        done.unlink(missing_ok=True)
        self._post("")
        with Mouse(self.display) as hand:
            hand.move(*MIDDLE)

            def runs() -> bool:
                hand.press_return()
                time.sleep(RETURN_SECONDS)
                return done.exists()

            until(runs, "the end of Ardour's question")

    def _post(self, code: str) -> None:
        (self._folder / "do.part").write_text(code, encoding="utf-8")
        os.replace(self._folder / "do.part", self._folder / "do.lua")

    def _start(self, name: str, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **more)
        self._stack.callback(_end, child)
        return child

    def _start_screen(self) -> str:
        read, write = os.pipe()
        size = ("-screen", "0", "1280x800x24", "-fbdir", str(self._folder))
        with open(read, "rb") as number:
            self._start(
                "xvfb",
                "Xvfb",
                "-displayfd",
                str(write),
                "-nolisten",
                "tcp",
                *size,
                pass_fds=(write,),
            )
            os.close(write)
            return f":{number.readline().decode().strip()}"

    def _start_jack(self) -> str:
        name = f"segue-{os.getpid()}-{next(NUMBERS)}"
        dummy = ("-d", "dummy", "-r", str(self._rate), "-p", "1024")
        self._start("jackd", "jackd", "-n", name, "-r", *dummy)
        subprocess.run(["jack_wait", "-s", name, "-w", "-t", "20"], check=True, capture_output=True)
        return name


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _with_driver(registry: str, folder: Path) -> str:
    """The registered scripts and a hook that runs the test's Lua."""
    assert set(str(folder)) - set('"\\') == set(str(folder))
    source = quoted(DRIVER.replace("FOLDER", str(folder)))
    state = f's = {{}} s["n"] = "driver" s["a"] = {{}} s["s"] = "x" s["f"] = {source} '
    signals = re.search(r'signals="\d+"', registry)
    assert signals
    hook = (
        f'<LuaCallback lua="Lua 5.3" id="1" name="driver" {signals[0]}>'
        f"{base64.b64encode(state.encode()).decode()}</LuaCallback>"
    )
    return registry.replace("</ActionHooks>", f"{hook}</ActionHooks>")
