"""Fetches one file of a model hub over HTTP: goes on where an earlier attempt was cut, and says in words what failed.

It stands on urllib, which brings redirects, the proxies of the environment and TLS. huggingface_hub (2.4 was read and
compared) deletes what has come of a file when it is interrupted, compares sizes but no hashes of what it fetched over
HTTP, and brings 14 packages, one of them native code, for what is here one GET with a range.
"""

from __future__ import annotations

import datetime as dt
import email.message
import email.utils
import hashlib
import http.client
import ipaddress
import queue
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, Self
from urllib.parse import quote, urlsplit

from services.common.errors import AvatarError, InvalidRequestError
from services.common.model_manifest import HubFile, Model

_ENDPOINT = "https://huggingface.co"
_AGENT = "avatar-models"
_CHUNK_BYTES = 256 * 1024
_TIMEOUT_S = 30.0
# Between attempts that brought nothing new.
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_PAUSE_S = 120.0
_PASSING_STATUSES = (408, 429, 500, 502, 503, 504)


class HubError(AvatarError):
    """A hub did not give a file as it is pinned; the message says why, and what helps."""


class _PassingError(Exception):
    """What may be otherwise soon. Args: retry_after_s: when the other side wants to be asked again, if it said so."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Progress(Protocol):
    """Is told how far a pull is."""

    def at(self, file: HubFile, here_bytes: int) -> None:
        """So much of a file is here; less than before if it had to be started again."""

    def pauses(self, why: str, pause_s: float) -> None:
        """An attempt failed; the next one comes after a pause."""


class Hub:
    """A model hub, or a mirror of one.

    Args:
        endpoint: its address; files lie at ENDPOINT/OWNER/NAME/resolve/REVISION/PATH.
        token: for what is private; empty for none.
        pause: waits so many seconds.
        timeout_s: how long it may be silent.
    Raises: InvalidRequestError if the endpoint is no address of a hub.
    """

    def __init__(
        self,
        endpoint: str = _ENDPOINT,
        token: str = "",
        *,
        pause: Callable[[float], None] = time.sleep,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._endpoint = _checked(endpoint)
        self.host = urlsplit(self._endpoint).netloc
        self._token = token
        self._pause = pause
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context()
        self._has_answered = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Hub:
        """As HF_ENDPOINT and HF_TOKEN say, which huggingface_hub reads too. Raises: InvalidRequestError."""
        token = environ.get("HF_TOKEN", "").strip()
        if re.search("[^!-~]", token):
            raise InvalidRequestError(
                "HF_TOKEN holds a space or a character that no token has; it should begin with hf_"
            )
        return cls(environ.get("HF_ENDPOINT") or _ENDPOINT, token)

    def has(self, model: Model, within_s: float) -> bool:
        """Whether the hub answers within a time that it would give us the first file of a model, which stays there."""
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        # Looking up a name knows no limit; a thread that is still at it when the process ends is of no harm.
        asking = threading.Thread(target=lambda: answers.put(self._would_give(model, within_s)), daemon=True)
        asking.start()
        try:
            return answers.get(timeout=within_s)
        except queue.Empty:
            return False

    def _would_give(self, model: Model, timeout_s: float) -> bool:
        request = self._request(model, model.files[0], method="HEAD")
        if authorization := self._authorization():
            request.add_unredirected_header("Authorization", authorization)
        opener = urllib.request.build_opener(_FirstAnswer(), urllib.request.HTTPSHandler(context=self._tls))
        try:
            opener.open(request, timeout=timeout_s).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.code < http.HTTPStatus.BAD_REQUEST
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return True

    def fetch(self, model: Model, file: HubFile, part: Path, progress: Progress) -> str:
        """Make `part` as long as the file, from where it stands; what has come is kept whatever happens.

        Returns: the SHA-256 of what is there.
        Raises: HubError; OSError if the part cannot be written.
        """
        part.parent.mkdir(parents=True, exist_ok=True)
        with _Part(part, file) as out:
            failures = 0
            while out.here_bytes < file.size_bytes:
                before = out.here_bytes
                try:
                    self._go_on(model, file, out, progress)
                except _PassingError as error:
                    failures = 1 if out.here_bytes > before else failures + 1
                    self._wait(file, error, failures, progress)
            return out.digest.hexdigest()

    def _go_on(self, model: Model, file: HubFile, out: _Part, progress: Progress) -> None:
        """One attempt."""
        with self._open(model, file, out.here_bytes) as answer:
            _check_length(self.host, answer, file, out.here_bytes)
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                # It knows no ranges, or was not asked for one.
                out.restart()
            progress.at(file, out.here_bytes)
            for chunk in _chunks(answer):
                if out.here_bytes + len(chunk) > file.size_bytes:
                    raise _changed(self.host, file, f"more than {file.size_bytes} bytes")
                out.add(chunk)
                progress.at(file, out.here_bytes)
        if out.here_bytes < file.size_bytes:
            raise _PassingError("the connection ended early")

    def _open(self, model: Model, file: HubFile, start: int) -> http.client.HTTPResponse:
        """Ask for a file from a byte on. Raises: HubError, _PassingError."""
        request = self._request(model, file)
        if start:
            request.add_header("Range", f"bytes={start}-")
        redirects = _Redirects(self.host, file, self._authorization())
        redirects.authorize(request)
        opener = urllib.request.build_opener(redirects, urllib.request.HTTPSHandler(context=self._tls))
        try:
            answer: http.client.HTTPResponse = opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            self._has_answered = True
            with error:
                raise self._refusal(model, file, error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._has_answered |= redirects.host != self.host
            raise self._failure(redirects.host, error) from None
        self._has_answered = True
        return answer

    def _request(self, model: Model, file: HubFile, method: str = "GET") -> urllib.request.Request:
        return urllib.request.Request(  # noqa: S310 - http or https: _checked
            f"{self._endpoint}/{model.repository}/resolve/{model.revision}/{quote(file.path)}",
            headers={"User-Agent": _AGENT},
            method=method,
        )

    def _authorization(self) -> str:
        """The header that carries the token; empty without one, and where others on the way could read it."""
        parts = urlsplit(self._endpoint)
        is_safe = parts.scheme == "https" or _is_loopback(parts.hostname or "")
        return f"Bearer {self._token}" if self._token and is_safe else ""

    def _refusal(self, model: Model, file: HubFile, error: urllib.error.HTTPError) -> Exception:
        """What a status means here."""
        status, is_elsewhere = error.code, _origin(error.url) != _origin(self._endpoint)
        if status in _PASSING_STATUSES or (status == http.HTTPStatus.FORBIDDEN and is_elsewhere):
            # Elsewhere are signed addresses that run out; the hub gives a new one.
            return _PassingError(f"{urlsplit(error.url).netloc} answers {status}", _retry_after_s(error.headers))
        match status:
            case http.HTTPStatus.UNAUTHORIZED | http.HTTPStatus.FORBIDDEN:
                if self._authorization():
                    advice = "HF_TOKEN is not a token that may read it"
                elif self._token:
                    advice = f"HF_TOKEN is sent over https only, and HF_ENDPOINT is {self._endpoint}"
                else:
                    advice = (
                        f"if {self._endpoint}/{model.repository} can be read once you log in, put a token in HF_TOKEN"
                    )
                return HubError(f"{self.host} does not let us read {model.repository} ({status}): {advice}")
            case http.HTTPStatus.NOT_FOUND | http.HTTPStatus.GONE:
                mirror = "" if self._endpoint == _ENDPOINT else f"; without HF_ENDPOINT it is asked of {_ENDPOINT}"
                return HubError(
                    f"{self.host} has no {file.path} at revision {model.revision[:8]} of {model.repository}{mirror}"
                )
            case http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return _changed(self.host, file, f"fewer than {file.size_bytes} bytes")
        return HubError(f"{self.host} answers {status} when asked for {file.path}")

    def _failure(self, host: str, error: Exception) -> Exception:
        """What a connection that failed means. Its own words are told only where they cannot hold a secret."""
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return HubError(
                f"the certificate of {host} is not trusted ({reason.verify_message}); if your network puts its own in "
                "between, name its authority's in SSL_CERT_FILE"
            )
        if isinstance(reason, ValueError | http.client.InvalidURL):
            return HubError("the proxy that http_proxy, https_proxy or all_proxy names is no address of a proxy")
        why = (reason.strerror or str(reason)) if isinstance(reason, OSError) else type(reason).__name__
        if self._has_answered:
            return _PassingError(f"{host}: {why}")
        return HubError(
            f"{host} cannot be reached ({why}); HTTPS_PROXY can name a proxy, and HF_ENDPOINT a mirror of the hub"
        )

    def _wait(self, file: HubFile, error: _PassingError, failures: int, progress: Progress) -> None:
        """Pause before the next attempt. Raises: HubError if there were enough of them."""
        kept = "what has come is kept, and the next pull goes on from there"
        if failures > len(_PAUSES_S):
            raise HubError(f"{file.path} could not be fetched ({error}); {kept}")
        pause_s = error.retry_after_s if error.retry_after_s is not None else _PAUSES_S[failures - 1]
        if pause_s > _LONGEST_PAUSE_S:
            raise HubError(f"{error} and wants to be asked again in {pause_s:.0f} s; {kept}")
        progress.pauses(str(error), pause_s)
        self._pause(pause_s)


class _Part:
    """What has come of a file, and the hash of it."""

    def __init__(self, path: Path, file: HubFile) -> None:
        # Unbuffered: what came is there when the process is killed, and closing has nothing left to write.
        self._out = path.open("ab", buffering=0)
        self.here_bytes = self._out.tell()
        if self.here_bytes > file.size_bytes:
            self.restart()
        else:
            with path.open("rb") as content:
                self.digest = hashlib.file_digest(content, "sha256")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def restart(self) -> None:
        self._out.truncate(0)
        self.here_bytes, self.digest = 0, hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Raises: HubError if it cannot be written."""
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._out.write(rest) :]
        except OSError as error:
            raise HubError(f"{self._out.name} cannot be written ({error.strerror}); what has come is kept") from None
        self.digest.update(chunk)
        self.here_bytes += len(chunk)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a hub to where a file lies; the token stays with the hub.

    Args: host: the one that is asked; later, the last one that was.
    """

    def __init__(self, host: str, file: HubFile, authorization: str) -> None:
        self.host = host
        self._file = file
        self._authorization = authorization

    def authorize(self, request: urllib.request.Request) -> None:
        if self._authorization:
            # Others than this host do not get it when they are redirected to.
            request.add_unredirected_header("Authorization", self._authorization)

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            self._check(req, headers, newurl)
        except HubError:
            fp.close()
            raise
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and _origin(newurl) == _origin(req.full_url):
            self.authorize(request)
        self.host = urlsplit(newurl).netloc
        return request

    def _check(self, req: urllib.request.Request, headers: http.client.HTTPMessage, to: str) -> None:
        """Raises: HubError if the hub itself says that it has another file, or leads away from what is safe."""
        announced = headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"')
        if re.fullmatch("[0-9a-f]{64}", announced) and announced != self._file.sha256:
            raise _changed(self.host, self._file, f"SHA-256 {announced}")
        scheme = urlsplit(to).scheme
        if scheme not in ("https", req.type):
            raise HubError(f"{self.host} leads from {req.type} to {scheme}, which is not followed")


class _FirstAnswer(urllib.request.HTTPRedirectHandler):
    """Follows nothing, so that a redirect is an answer, in the form of an HTTPError."""

    def redirect_request(self, *_: object) -> None:
        """Nowhere."""


def _checked(endpoint: str) -> str:
    """The endpoint without a slash at its end. Raises: InvalidRequestError, without repeating what may be a secret."""
    try:
        parts = urlsplit(endpoint)
        is_hub = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        is_hub = False
    if not is_hub or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidRequestError(
            f"HF_ENDPOINT is not the address of a hub; give one such as {_ENDPOINT}, without a user or a query"
        )
    return endpoint.rstrip("/")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_length(host: str, answer: http.client.HTTPResponse, file: HubFile, here_bytes: int) -> None:
    """Hold what an answer says of its length against the manifest. Raises: HubError."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        said = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said)
        if found is None or int(found[1]) != here_bytes:
            raise HubError(f"{host} was asked for {file.path} from byte {here_bytes} on and sends {said or 'others'}")
        size = found[2]
    else:
        size = answer.headers.get("Content-Length", "*")
    if size not in ("*", str(file.size_bytes)):
        raise _changed(host, file, f"{size} bytes")


def _changed(host: str, file: HubFile, found: str) -> HubError:
    return HubError(
        f"{host} has another {file.path} than the one that is pinned: {found}, not the {file.size_bytes} bytes with "
        f"SHA-256 {file.sha256}; it was not taken"
    )


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """What comes, as it comes. Raises: _PassingError if the connection fails."""
    while True:
        try:
            chunk = answer.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            why = error.strerror or str(error) if isinstance(error, OSError) else type(error).__name__
            raise _PassingError(f"the connection failed: {why}") from None
        if not chunk:
            return
        yield chunk


def _retry_after_s(headers: email.message.Message) -> float | None:
    """Seconds until a server wants to be asked again, of either form that the header has (RFC 9110, 10.2.3)."""
    said = headers.get("Retry-After", "")
    if said.isdecimal():
        return float(said)
    try:
        at = email.utils.parsedate_to_datetime(said)
        return max(0.0, (at - dt.datetime.now(at.tzinfo)).total_seconds())
    except ValueError:
        return None
