"""How an index shows the package: README.md, without what leads to other files of this folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE: Final = re.compile(r"^!\[.*\]\((?!https?:).*\)\n+", re.MULTILINE)
_LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")


class ReadableAnywhere(MetadataHookInterface):
    """Has links as text and pictures left out, where they are files of the repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text()
        text = _LINK.sub(r"\1", _PICTURE.sub("", text))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
