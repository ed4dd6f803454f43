"""Private copies of libespeak-ng, one for each thread: within one copy, two threads corrupt its memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import espeakng_loader

from services.tts.engines.espeak.library import MAX_DATA_PATH_BYTES, Library

_MACROLANGUAGES = {"cmn": "zh"}


def _bcp47(tag: str) -> str:
    """The usual spelling of a language tag: "en-GB", "cmn-Latn-pinyin"."""
    language, *subtags = tag.split("-")
    cases = {2: str.upper, 4: str.title}
    return "-".join([language, *(cases.get(len(subtag), str.lower)(subtag) for subtag in subtags)])


class Copies:
    """Loaded copies, and the folder that they share."""

    def __init__(self, count: int) -> None:
        """Args: count: at least 1. Raises: EngineError if the library cannot be loaded."""
        self._directory = tempfile.TemporaryDirectory(prefix="tts-")
        directory = Path(self._directory.name)
        data_path = Path(espeakng_loader.get_data_path())
        if len(bytes(data_path)) > MAX_DATA_PATH_BYTES:
            short_path = directory / "data"
            short_path.symlink_to(data_path)
            data_path = short_path
        libraries = []
        for number in range(count):
            # The loader takes files of different names for different libraries, each with its own variables.
            copy = directory / f"{number}.so"
            shutil.copyfile(espeakng_loader.get_library_path(), copy)
            libraries.append(Library(copy, data_path))
            # A mapped file stays until the process ends; its name is not needed any more.
            copy.unlink()
        self.libraries = tuple(libraries)

    def voice_files(self) -> dict[str, str]:
        """Voice file by BCP-47 tag."""
        files = self.libraries[0].languages()
        by_tag = {_bcp47(tag): file for tag, file in files.items()}
        return by_tag | {_MACROLANGUAGES[tag]: file for tag, file in files.items() if tag in _MACROLANGUAGES}

    def close(self) -> None:
        """Free the libraries and their folder."""
        for library in self.libraries:
            library.close()
        self._directory.cleanup()
