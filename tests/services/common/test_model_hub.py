"""One file from a hub: resumed, redirected, through proxies, and the sentence for each thing that goes wrong."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path

import pytest

from services.common.errors import InvalidRequestError
from services.common.model_hub import Hub, HubError
from services.common.model_manifest import HubFile
from tests.fakes.certificates import write_certificate
from tests.fakes.hub import (
    REPOSITORY,
    REVISION,
    TOKEN,
    Cut,
    FakeHub,
    Stall,
    Status,
    content_of,
    model_of,
    serving_hub,
    serving_proxy,
)
from tests.stack import free_ports

PATH = "nets/one.pth"
CONTENT = content_of(PATH, 200_000)
MODEL = model_of({PATH: CONTENT})
FILE = MODEL.files[0]


class Told:
    """Keeps what a person would have been told, and waits for nothing."""

    def __init__(self) -> None:
        self.here: list[int] = []
        self.pauses_s: list[float] = []
        self.why: list[str] = []

    def at(self, file: HubFile, here_bytes: int) -> None:
        self.here.append(here_bytes)

    def pauses(self, why: str, pause_s: float) -> None:
        self.why.append(why)
        self.pauses_s.append(pause_s)


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with serving_hub({PATH: CONTENT}) as hub:
        yield hub


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "nets" / "one.pth.part"


@pytest.fixture
def told() -> Told:
    return Told()


def fetch(endpoint: str, part: Path, told: Told, token: str = "", timeout_s: float = 20.0) -> str:
    return Hub(endpoint, token, pause=lambda _: None, timeout_s=timeout_s).fetch(MODEL, FILE, part, told)


def refusal(endpoint: str, part: Path, told: Told, token: str = "") -> str:
    with pytest.raises(HubError) as refused:
        fetch(endpoint, part, told, token)
    return str(refused.value)


def test_a_file_comes_from_where_the_hub_leads_to(fake: FakeHub, part: Path, told: Told) -> None:
    assert fetch(fake.endpoint + "/", part, told) == FILE.sha256
    assert part.read_bytes() == CONTENT
    assert [one.where for one in fake.seen] == ["hub", "cdn"]
    assert fake.seen[0].path == f"/{REPOSITORY}/resolve/{REVISION}/{PATH}"
    assert told.here[0] == 0
    assert told.here[-1] == len(CONTENT)


def test_a_connection_that_is_cut_is_gone_on_with_from_there(fake: FakeHub, part: Path, told: Told) -> None:
    fake.cdn_faults += [Cut(70_000), Cut(50_000)]
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert fake.starts() == [0, 70_000, 120_000]
    # Each attempt brought something, so none waits longer than the first.
    assert told.pauses_s == [1, 1]


def test_a_hub_that_is_silent_for_too_long_is_asked_again(fake: FakeHub, part: Path, told: Told) -> None:
    fake.cdn_faults.append(Stall(70_000))
    assert fetch(fake.endpoint, part, told, timeout_s=0.3) == FILE.sha256
    assert fake.starts() == [0, 70_000]
    assert "timed out" in told.why[0]


def test_what_an_earlier_pull_left_is_not_fetched_again(fake: FakeHub, part: Path, told: Told) -> None:
    part.parent.mkdir()
    part.write_bytes(CONTENT[:150_000])
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert fake.starts() == [150_000]
    assert told.here[0] == 150_000
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert fake.starts() == [150_000]


def test_a_part_that_is_longer_than_the_file_is_begun_again(fake: FakeHub, part: Path, told: Told) -> None:
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"more")
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert fake.starts() == [0]


def test_a_hub_without_ranges_sends_the_file_from_its_start(fake: FakeHub, part: Path, told: Told) -> None:
    fake.knows_ranges = False
    fake.cdn_faults.append(Cut(70_000))
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert part.read_bytes() == CONTENT
    assert 0 in told.here[told.here.index(70_000) :]


def test_a_hub_without_lengths_is_read_to_the_end(fake: FakeHub, part: Path, told: Told) -> None:
    fake.says_length = False
    assert fetch(fake.endpoint, part, told) == FILE.sha256


def test_a_hub_that_cannot_now_is_asked_again_and_given_up_in_the_end(fake: FakeHub, part: Path, told: Told) -> None:
    fake.cdn_faults += [Cut(70_000)]
    fake.hub_faults += [Status(302, {"Location": f"{fake.cdn}/{PATH}"})] + [Status(503)] * 6
    said = refusal(fake.endpoint, part, told)
    assert told.pauses_s == [1, 2, 4, 8, 16]
    assert "answers 503" in said
    assert "what has come is kept, and the next pull goes on from there" in said
    assert part.read_bytes() == CONTENT[:70_000]


def test_a_hub_that_asks_for_patience_gets_it(fake: FakeHub, part: Path, told: Told) -> None:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)
    fake.hub_faults += [
        Status(429, {"Retry-After": "7"}),
        Status(503, {"Retry-After": format_datetime(at, usegmt=True)}),
    ]
    fake.hub_faults.append(Status(429, {"Retry-After": "soon"}))
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert told.pauses_s == [7, pytest.approx(59, abs=2), 4]


def test_more_patience_than_a_person_has_is_an_answer(fake: FakeHub, part: Path, told: Told) -> None:
    fake.hub_faults.append(Status(429, {"Retry-After": "3600"}))
    assert "answers 429 and wants to be asked again in 3600 s" in refusal(fake.endpoint, part, told)
    assert told.pauses_s == []


def test_a_signed_address_that_ran_out_is_asked_for_anew(fake: FakeHub, part: Path, told: Told) -> None:
    fake.cdn_faults.append(Status(403))
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert [one.where for one in fake.seen] == ["hub", "cdn", "hub", "cdn"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "put a token in HF_TOKEN"),
        (403, "can be read once you log in"),
        (404, f"has no {PATH} at revision {REVISION[:8]} of {REPOSITORY}; without HF_ENDPOINT it is asked of https"),
        (416, f"fewer than {len(CONTENT)} bytes"),
        (418, "answers 418"),
    ],
)
def test_a_refusal_says_what_would_help_and_is_final(
    status: int, words: str, fake: FakeHub, part: Path, told: Told
) -> None:
    fake.hub_faults.append(Status(status))
    assert words in refusal(fake.endpoint, part, told)
    assert len(fake.seen) == 1


def test_the_token_goes_to_the_hub_and_to_nobody_else(fake: FakeHub, part: Path, told: Told) -> None:
    fake.token = TOKEN
    fake.older_name = "former/name"
    renamed = model_of({PATH: CONTENT})
    object.__setattr__(renamed, "repository", "former/name")
    Hub(fake.endpoint, TOKEN, pause=lambda _: None).fetch(renamed, FILE, part, told)
    assert [(one.where, one.authorization) for one in fake.seen] == [
        ("hub", f"Bearer {TOKEN}"),
        ("hub", f"Bearer {TOKEN}"),
        ("cdn", None),
    ]


def test_a_wrong_token_is_told_and_not_shown(fake: FakeHub, part: Path, told: Told) -> None:
    fake.token = TOKEN
    said = refusal(fake.endpoint, part, told, "hf_another")
    assert "HF_TOKEN is not a token that may read it" in said
    assert "hf_another" not in said


def test_no_token_travels_where_others_can_read_it(
    fake: FakeHub, part: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.token = TOKEN
    monkeypatch.setenv("http_proxy", fake.endpoint)
    said = refusal("http://hub.lan", part, told, TOKEN)
    assert "HF_TOKEN is sent over https only, and HF_ENDPOINT is http://hub.lan" in said
    assert [one.authorization for one in fake.seen] == [None]


def test_a_file_that_changed_on_the_hub_is_refused_before_it_comes(fake: FakeHub, part: Path, told: Told) -> None:
    fake.files[PATH] = content_of("other", len(CONTENT))
    found = hashlib.sha256(fake.files[PATH]).hexdigest()
    said = refusal(fake.endpoint, part, told)
    assert f"has another {PATH} than the one that is pinned: SHA-256 {found}, not the 200000 bytes" in said
    assert fake.starts() == []


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("begun", [0, 50_000])
def test_a_file_of_another_length_is_refused_before_it_comes(
    begun: int, knows_ranges: bool, fake: FakeHub, part: Path, told: Told
) -> None:
    fake.announces, fake.knows_ranges = False, knows_ranges
    fake.files[PATH] = CONTENT + b"more"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:begun])
    assert f"than the one that is pinned: {len(CONTENT) + 4} bytes" in refusal(fake.endpoint, part, told)
    assert part.stat().st_size == begun


def test_no_more_is_written_than_the_file_has(fake: FakeHub, part: Path, told: Told) -> None:
    fake.announces = fake.says_length = False
    fake.files[PATH] = CONTENT + bytes(1_000_000)
    assert f"more than {len(CONTENT)} bytes" in refusal(fake.endpoint, part, told)
    assert part.stat().st_size <= len(CONTENT)


def test_other_bytes_than_those_asked_for_are_refused(fake: FakeHub, part: Path, told: Told) -> None:
    part.parent.mkdir()
    part.write_bytes(CONTENT[:50_000])
    fake.cdn_faults.append(Status(206, {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}))
    assert "was asked for nets/one.pth from byte 50000 on and sends bytes 0-" in refusal(fake.endpoint, part, told)


def test_no_network_is_said_at_once(part: Path, told: Told) -> None:
    (port,) = free_ports(1)
    said = refusal(f"http://127.0.0.1:{port}", part, told)
    assert f"127.0.0.1:{port} cannot be reached (Connection refused)" in said
    assert "HTTPS_PROXY can name a proxy, and HF_ENDPOINT a mirror" in said
    assert told.pauses_s == []


def test_a_network_that_goes_away_is_waited_for(fake: FakeHub, part: Path, told: Told) -> None:
    (port,) = free_ports(1)
    fake.hub_faults.append(Status(302, {"Location": f"http://127.0.0.1:{port}/{PATH}?Signature=secret-too"}))
    assert fetch(fake.endpoint, part, told) == FILE.sha256
    assert told.why == [f"127.0.0.1:{port}: Connection refused"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "hub.lan",
        "ftp://hub.lan",
        "https://",
        "https://somebody:secret@hub.lan",
        "https://hub.lan:x",
        "https://h?a=secret",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(endpoint: str) -> None:
    with pytest.raises(InvalidRequestError, match="HF_ENDPOINT is not the address of a hub") as refused:
        Hub(endpoint)
    assert "secret" not in str(refused.value)


def test_the_environment_names_hub_and_token_as_for_other_programs(fake: FakeHub, part: Path, told: Told) -> None:
    fake.token = TOKEN
    hub = Hub.from_environment({"HF_ENDPOINT": fake.endpoint, "HF_TOKEN": f"{TOKEN}\n"})
    assert hub.fetch(MODEL, FILE, part, told) == FILE.sha256
    assert Hub.from_environment({"HF_ENDPOINT": ""}).host == "huggingface.co"
    with pytest.raises(InvalidRequestError, match="HF_TOKEN holds a space or a character") as refused:
        Hub.from_environment({"HF_TOKEN": "one\ntwo"})
    assert "two" not in str(refused.value)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a hub, and trusted."""
    folder = tmp_path / "certificate"
    write_certificate(folder, ("127.0.0.1",), dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "certificate.pem"))
    return folder


def test_https_goes_through_the_proxy_of_the_environment(
    certificate: Path, part: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_hub({PATH: CONTENT}, certificate) as fake, serving_proxy() as (proxy, tunnelled):
        monkeypatch.setenv("https_proxy", proxy)
        fake.token = TOKEN
        assert fetch(fake.endpoint, part, told, TOKEN) == FILE.sha256
        assert tunnelled == [fake.endpoint.removeprefix("https://"), fake.cdn.removeprefix("https://")]
        assert fake.seen[1].authorization is None
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        part.unlink()
        assert fetch(fake.endpoint, part, told, TOKEN) == FILE.sha256
        assert len(tunnelled) == 2


def test_a_proxy_that_refuses_is_named_without_its_password(
    certificate: Path, part: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_hub({PATH: CONTENT}, certificate) as fake, serving_proxy(refuses=True) as (proxy, _):
        monkeypatch.setenv("https_proxy", proxy.replace("http://", "http://somebody:secret@"))
        said = refusal(fake.endpoint, part, told)
    assert "407 Proxy Authentication Required" in said
    assert "secret" not in said


@pytest.mark.parametrize("proxy", ["http://somebody:secret@proxy:no-port", "http:secret"])
def test_a_proxy_that_is_none_is_not_repeated(
    proxy: str, fake: FakeHub, part: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    assert "http_proxy, https_proxy or all_proxy names is no address" in refusal(fake.endpoint, part, told)


def test_a_certificate_that_is_not_trusted_is_said(
    certificate: Path, tmp_path: Path, part: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificate(tmp_path / "other", ("127.0.0.1",), dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other" / "certificate.pem"))
    with serving_hub({PATH: CONTENT}, certificate) as fake:
        said = refusal(fake.endpoint, part, told)
    assert "is not trusted (self" in said
    assert "SSL_CERT_FILE" in said


@pytest.mark.usefixtures("certificate")
def test_https_does_not_lead_to_http(certificate: Path, fake: FakeHub, part: Path, told: Told) -> None:
    with serving_hub({PATH: CONTENT}, certificate) as secure:
        secure.cdn = fake.cdn
        assert "leads from https to http, which is not followed" in refusal(secure.endpoint, part, told)
    assert fake.seen == []


def test_whether_a_hub_has_a_model_is_asked_without_fetching_any_of_it(fake: FakeHub) -> None:
    fake.token = TOKEN
    assert Hub(fake.endpoint, TOKEN).has(MODEL, 20.0)
    assert not Hub(fake.endpoint).has(MODEL, 20.0)
    assert [(one.where, one.authorization) for one in fake.seen] == [("hub", f"Bearer {TOKEN}"), ("hub", None)]
    fake.files.clear()
    assert not Hub(fake.endpoint, TOKEN).has(MODEL, 20.0)


def test_a_hub_that_cannot_be_reached_or_is_silent_has_nothing() -> None:
    (port,) = free_ports(1)
    assert not Hub(f"http://127.0.0.1:{port}").has(MODEL, 20.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not Hub(f"http://127.0.0.1:{silent.getsockname()[1]}").has(MODEL, 0.1)


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        is_over.wait()
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert not Hub("http://hub.example").has(MODEL, 0.1)
    finally:
        is_over.set()
