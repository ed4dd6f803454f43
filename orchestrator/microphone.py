"""The person's voice: 48 kHz frames from the browser in, 16 kHz mono PCM in steady time out."""

from __future__ import annotations

from fractions import Fraction

import av

RECOGNISER_RATE_HZ = 16_000
# Lost packets up to this long are filled with silence, so that word times stay true; after more, time starts over.
_MAX_FILL_S = 2.0


class MicrophoneResampler:
    """Resamples frame by frame with about a millisecond of delay, and fills what was lost with silence."""

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RECOGNISER_RATE_HZ)
        self._expected_pts: int | None = None

    def push(self, frame: av.AudioFrame) -> bytes:
        """One decoded frame in. Returns: LINEAR16 at 16 kHz, mono, for the time since the frame before."""
        assert frame.pts is not None
        lost = 0
        if self._expected_pts is not None:
            lost = max(0, frame.pts - self._expected_pts)
            if lost > _MAX_FILL_S * frame.sample_rate:
                lost = 0
        self._expected_pts = frame.pts + frame.samples
        frame.time_base = Fraction(1, frame.sample_rate)
        # The resampler sees an unbroken stream; where frames were lost their time is put in afterwards.
        frame.pts = None
        pcm = b"".join(bytes(out.planes[0])[: out.samples * 2] for out in self._resampler.resample(frame))
        return bytes(2 * (lost * RECOGNISER_RATE_HZ // frame.sample_rate)) + pcm
