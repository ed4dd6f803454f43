"""The process that decodes one stream with pocketsphinx, started by `pocketsphinx.py` and spoken to over pipes.

pocketsphinx holds the interpreter's lock while it decodes, so it gets an interpreter of its own. A request is a letter,
a length and so many bytes; each gets one line of JSON as its reply. The process ends with its standard input, and so
with its parent, however that ends.
"""

from __future__ import annotations

import json
import re
import select
import signal
import struct
import sys
from io import FileIO
from typing import Any, BinaryIO

SAMPLE_RATE_HZ = 16_000
REQUEST_HEADER = struct.Struct("<cI")
AUDIO, END_OF_STRETCH, NEW_CALLER = b"a", b"e", b"n"

_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
# The first stretch is kept back until its mean cepstrum can be estimated from this much of it.
_ESTIMATE_BYTES = 12 * _BYTES_PER_S // 10
# Live sound comes every 32 ms.
_PAUSE_S = 0.08
_PARTIAL_BYTES = 16 * _BYTES_PER_S // 100
_SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // 100
_ESTIMATE = "estimate"
_FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
_PRONUNCIATION = re.compile(r"\(\d+\)$")


class _Recognizer:
    """A decoder with what it knows of the caller.

    The acoustic model wants cepstra of zero mean, and the mean depends on the voice and the microphone. With the
    library's typical mean the first stretch comes out as other words, so it is estimated from the stretch's first
    1.2 s by a key phrase search, which costs 2 % of real time, before anything is decoded. Later stretches go on from
    the mean that the decoder tracks.
    """

    def __init__(self) -> None:
        # The parent imports this module for its constants, and should not load the library.
        from pocketsphinx import Decoder

        # Of the two passes after the last sample, the flat-lexicon one costs 40 ms per second of speech and gains
        # nothing here; the lattice's best path costs 8 ms and gains much.
        # A third of the library's bound on active states costs no word and saves a quarter of the time.
        self._decoder = Decoder(loglevel="FATAL", fwdflat=False, bestpath=True, wip=0.2, maxhmmpf=10000)
        self._search = self._decoder.current_search()
        self._decoder.add_keyphrase(_ESTIMATE, "oh mighty computer")
        self._open = False
        self.new_caller()

    def new_caller(self) -> dict[str, Any]:
        """Forget the caller."""
        if self._open:
            self._decoder.end_utt()
        self._open = False
        # Otherwise the next estimate would lean on this caller's voice, and the next noise floor on this room's.
        self._decoder.reinit_feat()
        self._knows_mean = False
        self._kept_back = bytearray()
        self._unreported_bytes = 0
        return {}

    def audio(self, pcm: bytes) -> dict[str, Any]:
        """Decode more of the stretch; the reply has words when it is time for a partial."""
        if not self._knows_mean:
            self._kept_back += pcm
            if len(self._kept_back) < _ESTIMATE_BYTES:
                return {}
            pcm = self._take_kept_back()
        self._decode(pcm)
        self._unreported_bytes += len(pcm)
        if self._unreported_bytes < _PARTIAL_BYTES:
            return {}
        self._unreported_bytes = 0
        return {"words": self._words()}

    @property
    def keeps_back(self) -> bool:
        """Whether sound waits for more of it, so that its mean can be estimated."""
        return bool(self._kept_back)

    def go_ahead(self) -> None:
        """Nothing more comes for now, so the speaker may be done: decode what there is."""
        self._decode(self._take_kept_back())

    def end_of_stretch(self) -> dict[str, Any]:
        """Decode what is left, and reply with the final words."""
        if self._kept_back:
            self.go_ahead()
        if not self._open:
            return {"words": []}
        self._decoder.end_utt()
        self._open = False
        self._unreported_bytes = 0
        return {"words": self._words()}

    def _take_kept_back(self) -> bytes:
        pcm = bytes(self._kept_back)
        self._kept_back.clear()
        self._decoder.activate_search(_ESTIMATE)
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=False, full_utt=True)
        self._decoder.end_utt()
        mean = self._decoder.get_cmn(update=False)
        self._decoder.activate_search(self._search)
        self._decoder.set_cmn(mean)
        self._knows_mean = True
        return pcm

    def _decode(self, pcm: bytes) -> None:
        if not self._open:
            self._decoder.start_utt()
            self._open = True
        self._decoder.process_raw(pcm, no_search=False, full_utt=False)

    def _words(self) -> list[tuple[str, int, int, float | None]]:
        """Each word with its first sample, the one after its last, and after the best path how sure it is."""
        return [
            (
                _PRONUNCIATION.sub("", segment.word),
                segment.start_frame * _SAMPLES_PER_FRAME,
                (segment.end_frame + 1) * _SAMPLES_PER_FRAME,
                None if self._open else min(1.0, max(0.0, segment.prob)),
            )
            for segment in self._decoder.seg() or ()
            if not _FILLER.fullmatch(segment.word)
        ]


def _read_exactly(requests: FileIO, length: int) -> bytes:
    """So many bytes, or fewer at the end of the input."""
    received = b""
    while len(received) < length and (part := requests.read(length - len(received))):
        received += part
    return received


def serve(requests: FileIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    recognizer = _Recognizer()
    reply: dict[str, Any] = {"ready": True}
    while True:
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()
        if recognizer.keeps_back and not select.select([requests], [], [], _PAUSE_S)[0]:
            recognizer.go_ahead()
        header = _read_exactly(requests, REQUEST_HEADER.size)
        if len(header) < REQUEST_HEADER.size:
            return
        kind, length = REQUEST_HEADER.unpack(header)
        payload = _read_exactly(requests, length)
        if kind == AUDIO:
            reply = recognizer.audio(payload)
        elif kind == END_OF_STRETCH:
            reply = recognizer.end_of_stretch()
        elif kind == NEW_CALLER:
            reply = recognizer.new_caller()
        else:
            raise ValueError(f"no request is called {kind!r}")


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal; this process ends when its parent closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(FileIO(sys.stdin.fileno(), closefd=False), sys.stdout.buffer)
