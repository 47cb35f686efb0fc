# Segue: placed by `segue install`
"""Commands in names: the selected clip or track is renamed, and what it asks for is done.

A remote script has no menu; a name can be typed in any Live, and is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .wish import Wish, in_name

if TYPE_CHECKING:
    from Live.Song import Song


class NameWatch:
    """Sees the selected clip and the selected track being renamed.

    A wish counts only when a name comes to hold it while it is watched, and not by undoing:
    opening a set, or undoing the cleared name, asks for nothing.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Any, str]] = {}

    def look(self, song: Song) -> Wish | None:
        """The wish that was typed since the last look, taken out of the name."""
        found = [
            self._changed(song, "clip", song.view.detail_clip),
            self._changed(song, "track", song.view.selected_track),
        ]
        return next((wish for wish in found if wish is not None), None)

    def _changed(self, song: Song, kind: str, thing: Any) -> Wish | None:
        if thing is None:
            self._seen.pop(kind, None)
            return None
        name = thing.name
        before, self._seen[kind] = self._seen.get(kind), (thing, name)
        typed = before is not None and before[0] == thing and before[1] != name
        wished = in_name(name) if typed and not song.can_redo else None
        if wished is None:
            return None
        thing.name = wished[0]
        self._seen[kind] = (thing, thing.name)
        return wished[1]
