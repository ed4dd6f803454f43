"""Keeps a self-made certificate for the page's HTTPS port, since browsers give a microphone only to secure pages."""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from topology import own_names, tls_folder

LIFETIME = dt.timedelta(days=365)
# A machine that runs for weeks must not see it expire in between.
RENEW_BEFORE = dt.timedelta(days=30)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_good(folder: Path, names: tuple[str, ...], now: dt.datetime) -> bool:
    """Whether the files fit together, name exactly `names`, and last for a while yet."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        certificate.public_key() == key.public_key()
        and set(found) == {_general_name(name) for name in names}
        and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file at once; nobody else can read it even for a moment unless `mode` says so."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    part.replace(path)


def ensure(folder: Path, names: tuple[str, ...], now: dt.datetime) -> bool:
    """Make `certificate.pem` and `key.pem` (ECDSA P-256) unless good ones are there. Returns: whether it made them."""
    if _is_good(folder, names, now):
        return False
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Avatar on this machine")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is set back a little must not make it invalid.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # It signs nothing but itself: who trusts it trusts this machine's page and no other.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pkcs8 = serialization.PrivateFormat.PKCS8
    _write(
        folder / "key.pem",
        key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()),
        mode=0o600,
    )
    _write(folder / "certificate.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--dir", type=Path, default=tls_folder())
    parser.add_argument(
        "--name", action="append", dest="names", help=f"name or address; instead of {', '.join(own_names())}"
    )
    parser.add_argument("--also-name", action="append", dest="more_names", default=[], help="one besides those")
    given = parser.parse_args()
    names = dict.fromkeys((*(given.names or own_names()), *given.more_names))
    made = ensure(given.dir, tuple(names), dt.datetime.now(dt.UTC))
    print(f"{'made' if made else 'kept'} {given.dir / 'certificate.pem'}")


if __name__ == "__main__":
    main()
