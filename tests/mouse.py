"""A mouse, and a Return key, on a display that nobody looks at, by X's own extension for tests."""

from __future__ import annotations

from ctypes import CDLL, c_char_p, c_int, c_uint, c_ulong, c_void_p
from ctypes.util import find_library
from types import TracebackType

LEFT = 1
RETURN = 0xFF0D  # as X names keys
LACKING = "" if find_library("Xtst") else "libxtst6"  # the package, where it is not here


class Mouse:
    """The mouse of a display such as ":7", as a context; places are pixels of the screen."""

    def __init__(self, display: str) -> None:
        self._x11, self._test = CDLL("libX11.so.6"), CDLL("libXtst.so.6")
        self._x11.XOpenDisplay.restype = c_void_p
        self._x11.XOpenDisplay.argtypes = [c_char_p]
        self._x11.XSync.argtypes = [c_void_p, c_int]
        self._x11.XCloseDisplay.argtypes = [c_void_p]
        self._test.XTestFakeMotionEvent.argtypes = [c_void_p, c_int, c_int, c_int, c_ulong]
        self._x11.XKeysymToKeycode.argtypes = [c_void_p, c_ulong]
        self._test.XTestFakeButtonEvent.argtypes = [c_void_p, c_int, c_int, c_ulong]
        self._test.XTestFakeKeyEvent.argtypes = [c_void_p, c_uint, c_int, c_ulong]
        self._display = self._x11.XOpenDisplay(display.encode())
        assert self._display, f"no display {display}"

    def __enter__(self) -> Mouse:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._x11.XCloseDisplay(self._display)

    def move(self, x: int, y: int) -> None:
        """To a place, at once."""
        self._test.XTestFakeMotionEvent(self._display, -1, x, y, 0)
        self._x11.XSync(self._display, 0)

    def button(self, down: bool) -> None:
        """Press or release the left one."""
        self._test.XTestFakeButtonEvent(self._display, LEFT, int(down), 0)
        self._x11.XSync(self._display, 0)

    def press_return(self) -> None:
        """In the window below the mouse."""
        code = self._x11.XKeysymToKeycode(self._display, RETURN)
        for down in (1, 0):
            self._test.XTestFakeKeyEvent(self._display, code, down, 0)
        self._x11.XSync(self._display, 0)
