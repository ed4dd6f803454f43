"""Recordings in the usual containers, decoded piece by piece to what models read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.common.mp4 import announced_samples

MAX_RECORDING_BYTES = 64 * 1024 * 1024
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8
_READ = "WAV, FLAC, MP3, OGG, WebM and M4A are read"
# Compressed samples, of which AAC has 94 per second at most; FFmpeg takes 32 bytes of memory for each.
MAX_MP4_SAMPLES = 4_000_000
# Chunks of a WAV file before its sound; recorders write a handful.
_MAX_WAV_CHUNKS = 1000
# A shorter end than the header announces by more than this has been cut off.
_TOLERANCE_S = 0.5


def _container_of(recording: bytes) -> str:
    """FFmpeg's name of the container, by its first bytes; left to guess, it would follow playlists to other files."""
    match recording[:4]:
        case b"RIFF" | b"RF64" if recording[8:12] == b"WAVE":
            return "wav"
        case b"fLaC":
            return "flac"
        case b"OggS":
            return "ogg"
        case b"\x1aE\xdf\xa3":
            return "matroska"
        case _ if recording[4:8] == b"ftyp":
            return "mov"
        case _ if recording[:3] == b"ID3" or (
            len(recording) > 1 and recording[0] == 0xFF and recording[1] & 0xE6 == 0xE2
        ):
            return "mp3"
        case _:
            raise InvalidRequestError(f"this is not a recording in a known format; {_READ}")


def _is_cut_off(recording: bytes, container: str) -> bool:
    """Whether the file says itself that there was more; FFmpeg takes what there is."""
    if container == "ogg":
        # RFC 3533, section 6: bit 2 of a page's sixth byte marks the last page of a stream.
        return not recording[recording.rfind(b"OggS") :][5:6] > b"\x03"
    if container == "wav":
        chunk = 12
        for _ in range(_MAX_WAV_CHUNKS):
            if recording[chunk : chunk + 4] in (b"data", b""):
                break
            chunk += 8 + int.from_bytes(recording[chunk + 4 : chunk + 8], "little") + 1 & ~1
        announced = int.from_bytes(recording[chunk + 4 : chunk + 8], "little")
        # Whoever wrote to a pipe could not know the length, and left the largest number.
        return announced != 0xFFFFFFFF and announced > len(recording) - chunk - 8
    return False


def decode(
    recording: bytes,
    sample_rate_hz: int,
    max_s: float,
    *,
    max_bytes: int = MAX_RECORDING_BYTES,
    beyond: str = "send it in parts",
) -> Iterator[NDArray[np.float32]]:
    """The sound of a recording, a packet at a time; all channels mixed to one.

    Args:
        recording: a file in WAV, FLAC, MP3, OGG, WebM or M4A.
        sample_rate_hz: of what is yielded.
        max_s, max_bytes: how long, and how large, it may be.
        beyond: what its sender can do if it is more.
    Yields: shape (n,), in [-1, 1].
    Raises: InvalidRequestError, in words, if it is empty, too large, too long, no such file, without sound, damaged or
        cut off.
    """
    if not recording:
        raise InvalidRequestError(f"the recording is empty; {_READ}")
    if len(recording) > max_bytes:
        mib = 1024 * 1024
        raise InvalidRequestError(
            f"a recording has at most {max_bytes // mib} MiB, not {len(recording) / mib:.1f} MiB; {beyond}"
        )
    name = _container_of(recording)
    if _is_cut_off(recording, name):
        raise InvalidRequestError("the recording is cut off: it ends before its header says")
    decoded = 0
    if name == "mov" and announced_samples(recording) > MAX_MP4_SAMPLES:
        raise InvalidRequestError(f"the recording announces more than {MAX_MP4_SAMPLES} samples; {beyond}")
    too_long = f"a recording lasts at most {max_s:g} s, and this one is longer; {beyond}"
    try:
        # Names and comments in the file may be in any encoding; nobody reads them here.
        with av.open(io.BytesIO(recording), "r", format=name, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise InvalidRequestError(f"the file has no sound in it; {_READ}")
            announced_s = _announced_s(container, name)
            if announced_s > max_s:
                raise InvalidRequestError(too_long)
            for samples in _mono(container.decode(container.streams.audio[0]), sample_rate_hz):
                decoded += len(samples)
                if decoded > max_s * sample_rate_hz:
                    raise InvalidRequestError(too_long)
                yield samples
    except av.FFmpegError as error:
        raise InvalidRequestError(f"the recording is damaged or cut off: {error.strerror}; {_READ}") from error
    if not decoded:
        raise InvalidRequestError(f"the recording is empty or cut off: its header is followed by no sound; {_READ}")
    if decoded / sample_rate_hz < announced_s - _TOLERANCE_S:
        raise InvalidRequestError(
            f"the recording is cut off: it announces {announced_s:.1f} s and holds {decoded / sample_rate_hz:.1f} s"
        )


def _announced_s(container: InputContainer, name: str) -> float:
    """The length in the container's header; 0 where it says none (for MP3, FFmpeg guesses from the file's size)."""
    if name == "mp3" or container.duration is None:
        return 0.0
    return container.duration / av.time_base


def _mono(frames: Iterable[AudioFrame], sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Frames of any format, which may change from one to the next, as one channel."""
    resampler: AudioResampler | None = None
    present: tuple[str, str, int] | None = None
    for frame in frames:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != present:
            if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ or frame.layout.nb_channels > MAX_CHANNELS:
                raise InvalidRequestError(
                    f"a recording has {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz and at most {MAX_CHANNELS} channels, "
                    f"not {frame.sample_rate} Hz and {frame.layout.nb_channels}"
                )
            if resampler is not None:
                yield from _resampled(resampler, None)
            resampler, present = AudioResampler(format="flt", layout="mono", rate=sample_rate_hz), kind
        assert resampler is not None
        yield from _resampled(resampler, frame)
    if resampler is not None:
        yield from _resampled(resampler, None)


def _resampled(resampler: AudioResampler, frame: AudioFrame | None) -> Iterator[NDArray[np.float32]]:
    for resampled in resampler.resample(frame):
        yield resampled.to_ndarray()[0]
