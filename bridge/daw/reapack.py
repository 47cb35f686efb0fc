"""The index by which ReaPack, REAPER's package manager, installs the scripts.

`python -m segue.bridge.daw.reapack URL > index.xml` writes the one of the scripts under that URL.
Format: https://github.com/cfillion/reapack/wiki/Index-Format
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.resources import files
from importlib.resources.abc import Traversable
from xml.etree import ElementTree

PACKAGE = "segue.lua"
CATEGORY = "Segue"

_TAG = re.compile(r"-- @(\w+) ?(.*)")


def header(script: str) -> dict[str, str]:
    """The `@` tags of the comment that a script begins with; indented lines belong to the last."""
    tags: dict[str, str] = {}
    last = ""
    for line in script.splitlines():
        if not line.startswith("--"):
            break
        if found := _TAG.fullmatch(line):
            last = found[1]
            tags[last] = found[2]
        elif last and line.startswith("--   "):
            tags[last] = f"{tags[last]}\n{line[5:]}".strip()
        else:
            last = ""
    return tags


def scripts() -> dict[str, str]:
    """The shipped scripts by their path inside the folder."""
    return dict(_texts(files("segue.bridge.daw") / "reaper", ""))


def index(shipped: Mapping[str, str], url: str, time: str) -> str:
    """The index of scripts that lie under `url`; `time` is the version's, in ISO 8601, UTC."""
    tags = header(shipped[PACKAGE])
    root = ElementTree.Element("index", version="1", name="Segue")
    category = ElementTree.SubElement(root, "category", name=CATEGORY)
    package = ElementTree.SubElement(
        category, "reapack", name=PACKAGE, type="script", desc=tags["description"]
    )
    version = ElementTree.SubElement(
        package, "version", name=tags["version"], author=tags["author"], time=time
    )
    for path, is_action in {PACKAGE: True, **_provided(tags["provides"], shipped)}.items():
        main = {"main": "main"} if is_action else {}
        source = ElementTree.SubElement(version, "source", {"file": path, **main})
        source.text = f"{url}/{path}"
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _provided(lines: str, names: Iterable[str]) -> dict[str, bool]:
    """Every file that a line of `@provides` names, and whether it is an action."""
    provided: dict[str, bool] = {}
    for line in lines.splitlines():
        option, pattern = line.split()
        matching = [n for n in sorted(names) if fnmatch(n, pattern)]
        provided |= dict.fromkeys(matching, option == "[main]")
    return provided


def _texts(folder: Traversable, prefix: str) -> Iterable[tuple[str, str]]:
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            yield from _texts(each, f"{prefix}{each.name}/")
        elif each.name.endswith(".lua"):
            yield f"{prefix}{each.name}", each.read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Print the index of the scripts that lie under the one argument, a URL."""
    if len(arguments) != 1:
        print("usage: python -m segue.bridge.daw.reapack URL", file=sys.stderr)
        return 2
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(index(scripts(), arguments[0].rstrip("/"), time), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
