"""The whole double of REAPER: its projects, and every function that scripts may call."""

from tests import reaper_item_api, reaper_music_api, reaper_tab_api
from tests.reaper_core import API, Reaper, Script
from tests.reaper_project import Envelope, Item, Marker, Project, Send, Source, Take, Track, sample

__all__ = [
    "API",
    "Envelope",
    "Item",
    "Marker",
    "Project",
    "Reaper",
    "Script",
    "Send",
    "Source",
    "Take",
    "Track",
    "reaper_item_api",
    "reaper_music_api",
    "reaper_tab_api",
    "sample",
]
