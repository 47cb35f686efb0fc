"""Whether the JACK server that MIDI comes through is still there, which python-rtmidi never says.

When a server ends its ports stay listed and an open port stays silent, so a client of our own
asks to be told (jack_on_shutdown). That is told in a thread which JACK may end where it is, also
where it waits for Python's lock, so no Python may run there.
"""

from __future__ import annotations

import ctypes

NO_START_SERVER = 1  # JackNoStartServer in jack/types.h


class JackWatch:
    """A client of the server that runs now; OSError where none does.

    `library` is a file that is linked to the same libjack as what is watched, such as
    python-rtmidi's, which brings its own.
    """

    def __init__(self, library: str, name: str) -> None:
        self._ended = ctypes.c_longlong()  # a time_t: when the server has, or 0
        self._jack = ctypes.CDLL(library)
        self._declare()
        self._hush()
        self._client = self._jack.jack_client_open(name.encode(), NO_START_SERVER, None)
        if not self._client:
            raise OSError("no JACK server runs")
        write_time = ctypes.cast(ctypes.CDLL(None).time, ctypes.c_void_p)
        self._jack.jack_on_shutdown(self._client, write_time, ctypes.byref(self._ended))

    @property
    def gone(self) -> bool:
        """Whether the server has ended."""
        return self._ended.value != 0

    def close(self) -> None:
        """Take the client away.

        What belonged to a server that has gone, libjack frees when it opens the next client:
        before that this one must be closed, and all others of the same library.
        """
        if self._client:
            self._jack.jack_client_close(self._client)
            self._client = None

    def _hush(self) -> None:
        # libjack would print five lines at each try to find a server. It calls this with a text,
        # also where audio is due and Python must not run.
        deaf = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
        self._jack.jack_set_error_function(deaf)

    def _declare(self) -> None:
        jack, pointer = self._jack, ctypes.c_void_p
        jack.jack_client_open.restype = pointer
        jack.jack_client_open.argtypes = (ctypes.c_char_p, ctypes.c_int, pointer)
        jack.jack_client_close.argtypes = (pointer,)
        jack.jack_on_shutdown.argtypes = (pointer, pointer, pointer)
