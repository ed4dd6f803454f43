"""What Envoy stands in front of: processes, services, methods and the limits of each, as plain values."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

MIB = 1024 * 1024
# JSON without a file in it: the longest text, 20,000 characters, takes 240,000 bytes at most.
SMALL_BODY_BYTES = 1 * MIB
# What may be on its way in one message, in JSON: a file of 64 MiB, a third more in base64, and the JSON around it.
MAX_BODY_BYTES = 88 * MIB
# A portrait of 20 MiB, in JSON and in a form.
PORTRAIT_BODY_BYTES = 28 * MIB
PORTRAIT_FORM_BYTES = 21 * MIB
# The recording that a voice is made of, of 20 MiB, in JSON and in a form.
VOICE_BODY_BYTES = 28 * MIB
VOICE_FORM_BYTES = 21 * MIB
# A recording of 64 MiB in a form.
RECORDING_FORM_BYTES = 65 * MIB
# An OpenAPI document for each listener, as tools/gen_api_docs.py makes them.
DOCUMENTS = Path(__file__).resolve().parent / "openapi"
MAX_DOCUMENT_BYTES = 256 * 1024
# The services end a stream that is idle for 300 s and say why; Envoy cuts it only when they do not.
STREAM_IDLE_S = 330


@dataclass(frozen=True, slots=True)
class Method:
    """One gRPC method as the edge treats it.

    Args:
        timeout_s: of the whole call; 0 means none.
        idle_s: without a byte in either direction; 0 means none.
        retry: tried again on another replica when one dies or refuses; only for what may be done twice.
        sticky: calls with the same x-session-id go to the same replica.
        upload: its message may hold a file.
    """

    name: str
    timeout_s: int = 30
    idle_s: int = STREAM_IDLE_S
    retry: bool = False
    sticky: bool = False
    upload: bool = False


def _read(name: str, timeout_s: int = 30, *, upload: bool = False) -> Method:
    return Method(name, timeout_s, idle_s=max(STREAM_IDLE_S, timeout_s), retry=True, upload=upload)


def _stream(name: str, idle_s: int = STREAM_IDLE_S) -> Method:
    return Method(name, timeout_s=0, idle_s=idle_s, sticky=True)


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service.

    Args:
        name: full protobuf name.
        rest_prefixes: where its JSON lives, `/health` apart.
        uploads: paths to which files are posted as JSON, and how many bytes of it are read; others read a small body.
    """

    name: str
    rest_prefixes: tuple[str, ...]
    methods: tuple[Method, ...]
    uploads: Mapping[str, int] = field(default_factory=dict)


_LONG_S = 3600  # A recording or text at its limit, on a machine without a GPU.
_HEALTH = _read("GetHealth", timeout_s=5)

RENDER = Service(
    "avatar.render.v1.RenderService",
    ("/v1/avatars",),
    (_HEALTH, _read("RenderStill"), _stream("StreamingRender")),
)
AVATARS = Service(
    "avatar.render.v1.AvatarService",
    ("/v1/avatars",),
    (
        _read("GetAvatar"),
        _read("ListAvatars"),
        Method("CreateAvatar", timeout_s=60, upload=True),
        Method("DeleteAvatar"),
    ),
    {"/v1/avatars": PORTRAIT_BODY_BYTES},
)
TTS = Service(
    "avatar.tts.v1.TextToSpeechService",
    ("/v1/voices", "/v1/speech:synthesize"),
    (
        _HEALTH,
        _read("ListVoices"),
        _read("GetVoice"),
        Method("CreateVoice", timeout_s=60, upload=True),
        Method("RemakeVoice", timeout_s=60),
        Method("DeleteVoice"),
        _read("Synthesize", timeout_s=_LONG_S),
        _stream("SynthesizeStream"),
        _stream("StreamingSynthesize"),
    ),
    {"/v1/voices": VOICE_BODY_BYTES},
)
STT = Service(
    "avatar.stt.v1.SpeechToTextService",
    ("/v1/speech:recognize",),
    (_HEALTH, _read("Recognize", timeout_s=_LONG_S, upload=True), _stream("StreamingRecognize")),
    {"/v1/speech:recognize": MAX_BODY_BYTES},
)
CONVERSATIONS = Service(
    "avatar.conversation.v1.ConversationService",
    ("/v1/conversations",),
    (
        _HEALTH,
        _read("ListConversations"),
        _read("GetConversation"),
        # A conversation may be silent for long; only its end or its follower's ends this.
        _stream("WatchConversation", idle_s=0),
        Method("Say"),
        Method("Interrupt"),
    ),
)
SERVICES = (RENDER, AVATARS, TTS, STT, CONVERSATIONS)


@dataclass(frozen=True, slots=True)
class Legacy:
    """The older stack's routes of one port. Args: service: what answers them; paths: each with its HTTP method.

    Its uploads are forms.
    """

    service: Service
    paths: Mapping[str, str]


_SERVICE_HEALTH = _read("GetServiceHealth", timeout_s=5)
_LEGACY_RENDER = Legacy(
    Service(
        "avatar.render.v1.LegacyRenderService",
        (),
        (
            _SERVICE_HEALTH,
            _read("GetExpressions"),
            _read("RenderPortrait", timeout_s=60, upload=True),
            _read("RenderVideo", upload=True),
        ),
        {"/api/render": PORTRAIT_FORM_BYTES, "/render": RECORDING_FORM_BYTES},
    ),
    {"/health": "GET", "/expressions": "GET", "/api/render": "POST", "/render": "POST"},
)
_LEGACY_TTS = Legacy(
    Service(
        "avatar.tts.v1.LegacyTextToSpeechService",
        (),
        (
            _SERVICE_HEALTH,
            _read("GetLanguages"),
            _read("GetSpeakers"),
            _read("SynthesizeFile", timeout_s=_LONG_S),
            _read("CloneVoice", timeout_s=_LONG_S, upload=True),
        ),
        {"/synthesize-with-voice-clone": VOICE_FORM_BYTES},
    ),
    {
        "/health": "GET",
        "/languages": "GET",
        "/speakers": "GET",
        "/synthesize": "POST",
        "/synthesize-with-voice-clone": "POST",
    },
)
_LEGACY_STT = Legacy(
    Service(
        "avatar.stt.v1.LegacySpeechToTextService",
        (),
        (_SERVICE_HEALTH, _read("GetLanguages"), _read("Transcribe", timeout_s=_LONG_S, upload=True)),
        {"/transcribe": RECORDING_FORM_BYTES},
    ),
    {"/health": "GET", "/languages": "GET", "/transcribe": "POST"},
)
# By listener.
LEGACY = {"render": _LEGACY_RENDER, "tts": _LEGACY_TTS, "stt": _LEGACY_STT, "stt_second": _LEGACY_STT}


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens. Args: host: a name or an IP address, without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port` or `[v6]:port`. Raises: ValueError if it is neither."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is not an address; write host:port, such as 127.0.0.1:50082 or [::1]:50082")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))


Addresses = tuple[Address, ...]


def tls_folder() -> Path:
    """Where the page's certificate is kept: below AVATAR_DATA_DIR, as everything that this project keeps."""
    return Path(os.environ.get("AVATAR_DATA_DIR") or platformdirs.user_data_path("avatar")) / "tls"


def own_names() -> tuple[str, ...]:
    """The names under which this machine reaches itself: what the certificate and the host check know."""
    return tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname().lower())))


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where the processes listen; several addresses of one are its replicas.

    The second stt need not run: while it does not, the first one answers for it.
    """

    render: Addresses = (Address("127.0.0.1", 50081),)
    tts: Addresses = (Address("127.0.0.1", 50082),)
    stt: Addresses = (Address("127.0.0.1", 50083),)
    stt_second: Addresses = (Address("127.0.0.1", 50084),)
    page: Addresses = (Address("127.0.0.1", 50085),)
    conversation: Addresses = (Address("127.0.0.1", 50086),)
    # Where each serves /metrics over plain HTTP; without one the path is not there. Of several replicas Envoy asks any.
    render_metrics: Addresses = ()
    tts_metrics: Addresses = ()
    stt_metrics: Addresses = ()
    stt_second_metrics: Addresses = ()
    conversation_metrics: Addresses = ()


@dataclass(frozen=True, slots=True)
class Ports:
    """What Envoy listens on."""

    render: int = 8081
    tts: int = 8082
    stt: int = 8083
    stt_second: int = 8084
    page: int = 8085
    legacy: int = 8086
    # On loopback whatever the rest is bound to: who reaches it can stop Envoy.
    admin: int = 9901


@dataclass(frozen=True, slots=True)
class Edge:
    """Everything that the configuration depends on.

    Args:
        bind: IP address of the public listeners.
        names: host names that this machine answers to; a request for another one is not for us.
        origins: origins of pages from elsewhere that may call, besides those of `names` and of this machine.
        certificate, key: PEM files of the page's listener.
        descriptors: the protobuf descriptor set of every service.
        access_log: a file; None is the standard output.
        token: what every caller must know; None asks for none.
        connection_calls_per_s, port_calls_per_s: how many calls may come over one connection, and over one port from
            all; 0 sets no limit.
        large_bodies: how many bodies over SMALL_BODY_BYTES may be on their way through one port at once.
        request_s: in which a request must have come whole, or be answered.
    """

    certificate: Path
    key: Path
    descriptors: Path
    bind: str = "127.0.0.1"
    names: tuple[str, ...] = field(default_factory=own_names)
    origins: tuple[str, ...] = ()
    access_log: Path | None = None
    token: str | None = None
    connection_calls_per_s: int = 100
    port_calls_per_s: int = 1000
    large_bodies: int = 4
    request_s: int = 180
    ports: Ports = Ports()
    upstreams: Upstreams = Upstreams()

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.bind).is_loopback
