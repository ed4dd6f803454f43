"""The page's self-made certificate: when it is kept and when it is made anew."""

from __future__ import annotations

import datetime as dt
import importlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
NAMES = ("localhost", "127.0.0.1", "::1", "machine")
Ensure = Callable[[Path, tuple[str, ...], dt.datetime], bool]


@pytest.fixture
def ensure(monkeypatch: pytest.MonkeyPatch) -> Ensure:
    # The folder holds scripts, not a package: its name belongs to the package of Envoy's binary.
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent.parent / "envoy"))
    made: Ensure = importlib.import_module("certificate").ensure
    return made


def test_a_new_certificate_names_the_machine_lasts_a_year_and_hides_its_key(ensure: Ensure, tmp_path: Path) -> None:
    assert ensure(tmp_path / "tls", NAMES, NOW)
    made = x509.load_pem_x509_certificate((tmp_path / "tls/certificate.pem").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "machine"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert made.not_valid_after_utc == NOW + dt.timedelta(days=365)
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert stat.S_IMODE((tmp_path / "tls/key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_a_good_one_is_kept(ensure: Ensure, tmp_path: Path) -> None:
    ensure(tmp_path, NAMES, NOW)
    before = (tmp_path / "certificate.pem").read_bytes()
    assert not ensure(tmp_path, NAMES, NOW + dt.timedelta(days=300))
    assert (tmp_path / "certificate.pem").read_bytes() == before


@pytest.mark.parametrize(
    ("names", "days"),
    [(NAMES, 340), (NAMES, 400), (NAMES, -1), ((*NAMES, "new.name"), 1), (NAMES[:-1], 1)],
    ids=["near its end", "expired", "not yet valid", "a name more", "a name less"],
)
def test_one_that_does_not_fit_any_more_is_made_anew(
    ensure: Ensure, tmp_path: Path, names: tuple[str, ...], days: int
) -> None:
    ensure(tmp_path, NAMES, NOW)
    assert ensure(tmp_path, names, NOW + dt.timedelta(days=days))
    assert not ensure(tmp_path, names, NOW + dt.timedelta(days=days))


@pytest.mark.parametrize("file", ["certificate.pem", "key.pem"])
def test_a_damaged_or_foreign_file_is_made_anew(ensure: Ensure, tmp_path: Path, file: str) -> None:
    ensure(tmp_path, NAMES, NOW)
    (tmp_path / file).write_bytes(b"damaged")
    assert ensure(tmp_path, NAMES, NOW)
    ensure(tmp_path / "other", NAMES, NOW)
    (tmp_path / file).write_bytes((tmp_path / "other" / file).read_bytes())
    assert ensure(tmp_path, NAMES, NOW)
