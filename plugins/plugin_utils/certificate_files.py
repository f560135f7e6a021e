# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates and keys in files on the controller: whether a host can serve with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

try:  # a requirement of ansible-core's, but whoever only looks for this file's plugins may lack it
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError:
    pass

CERTIFICATE, KEY = "flask_app_tls_certificate", "flask_app_tls_key"
EAB = ("eab-kid", "eab-hmac-key")


def problems_of_pair(certificate: Path, key: Path, names: list[str], now: datetime) -> Iterator[str]:
    """What is wrong with a certificate and its key for these host names, a sentence for each; nothing of the key is in it."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        yield f"{CERTIFICATE}: got {str(certificate)!r}, which cannot be read: {error.strerror}"
        return
    except ValueError:
        yield f"{CERTIFICATE}: got {str(certificate)!r}, which has no certificate in PEM"
        return
    first, last = validity(found)
    if now > last:
        yield f"{CERTIFICATE}: got {str(certificate)!r}, which has expired on {last:%Y-%m-%d}; needs one that is valid now"
    if now < first:
        yield f"{CERTIFICATE}: got {str(certificate)!r}, which is not valid before {first:%Y-%m-%d}; needs one that is valid now"
    there = names_of(found)
    for name in names:
        if not any(is_covered(name, one) for one in there):
            yield f"{CERTIFICATE}: got {str(certificate)!r}, which is for {', '.join(there) or 'no name'}; needs {name} of flask_app_server_names too"
    yield from _problems_of_key(found, key)


def _problems_of_key(certificate: x509.Certificate, key: Path) -> Iterator[str]:
    try:
        found = load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        yield f"{KEY}: got {str(key)!r}, which cannot be read: {error.strerror}"
    except TypeError:
        yield f"{KEY}: got {str(key)!r}, which has a password; needs a key without one. Ansible Vault can encrypt the file"
    except ValueError:
        yield f"{KEY}: got {str(key)!r}, which has no private key in PEM"
    else:
        mine, its = (one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in (found.public_key(), certificate.public_key()))
        if mine != its:
            yield f"{KEY}: got {str(key)!r}, which is not the key of {CERTIFICATE}; the site's own certificate must be the first in its file"


def problems_of_ca_file(path: Path) -> Iterator[str]:
    """What is wrong with a file that is to have a CA's root certificate."""
    try:
        x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") or "it has none"
        yield f"flask_app_acme_ca_file: got {str(path)!r}, needs a file with the CA's root certificate in PEM: {why}"


def problems_of_eab(path: Path) -> Iterator[str]:
    """What is wrong with a file that is to have an external account binding; nothing of its content is in it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    given = {line.partition("=")[0].strip(): line.partition("=")[2].strip() for line in lines if "=" in line}
    if not all(given.get(name) for name in EAB) or len(given) != len(EAB):
        yield f"flask_app_acme_eab: got {str(path)!r}, needs a file with the two lines {' = … and '.join(EAB)} = …"


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when and until when a certificate is valid, in UTC."""
    try:
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except AttributeError:  # before cryptography 42
        return (one.replace(tzinfo=timezone.utc) for one in (certificate.not_valid_before, certificate.not_valid_after))  # type: ignore[return-value]


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def is_covered(name: str, by: str) -> bool:
    """Return whether a name, or a wildcard, is one of those that a name of a certificate stands for: a wildcard is one label."""
    name, by = name.lower(), by.lower()
    return name == by or (by.startswith("*.") and not name.startswith("*.") and name.partition(".")[2] == by[2:])
