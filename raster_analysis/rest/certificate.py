"""The server's own certificate: self-signed, made once, kept in the data folder (contract 1.1)."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = dt.timedelta(days=825)
"""Longest lifetime that Apple's verifier accepts."""
_RENEW_BEFORE = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificate and its key are, in PEM."""

    certificate: Path
    key: Path


def ensure_certificate(folder: Path, host: str, *, now: dt.datetime) -> CertificateFiles:
    """Return a certificate for localhost, 127.0.0.1 and `host`; a new one when there is none that fits."""
    folder.mkdir(parents=True, exist_ok=True)
    files = CertificateFiles(folder / "certificate.pem", folder / "key.pem")
    names = _names(host)
    if not _fits(files, names, now):
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(files.key, _key_pem(key))
        files.certificate.write_bytes(_sign(key, names, now).public_bytes(serialization.Encoding.PEM))
    return files


def _names(host: str) -> tuple[x509.GeneralName, ...]:
    loopback = (x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1"))
    names: tuple[x509.GeneralName, ...] = (x509.DNSName("localhost"), *loopback)
    name = _general_name(host)
    return names if name is None or name in names else (*names, name)


def _general_name(host: str) -> x509.GeneralName | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return x509.DNSName(host) if host else None
    return None if address.is_unspecified else x509.IPAddress(address)


def _fits(files: CertificateFiles, names: tuple[x509.GeneralName, ...], now: dt.datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        key.public_key() == certificate.public_key()
        and set(names) <= set(present)
        and certificate.not_valid_after_utc - _RENEW_BEFORE > now
    )


def _sign(key: ec.EllipticCurvePrivateKey, names: tuple[x509.GeneralName, ...], now: dt.datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Raster Analysis")])
    server_auth = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of clients differ.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # A certificate authority of itself: that is how it can be given to clients as a CA bundle.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(server_auth, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
