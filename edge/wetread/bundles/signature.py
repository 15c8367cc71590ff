"""Signatures of bundles: Ed25519 (RFC 8032) over the SHA-256 of every file, in the bundle's ``signature.json``."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.bundles.archive import plain_files
from wetread.bundles.bundle import SIGNATURE, file_sha256, load_bundle
from wetread.errors import BundleNotTrusted, Misconfigured
from wetread.records.numbers import number_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_CONTEXT = b"wetread bundle signature v1\n"
"""Signed before the statement: a key that also signs other things cannot be made to vouch for a bundle."""


class Signature(BaseModel):
    """``signature.json``: a statement about the files, and who made it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    bundle: str
    """Name of the folder: a signed bundle cannot be installed under another one's name."""
    version: str
    files: dict[str, str]
    """SHA-256 (hex) of every file but this one, by its name relative to the bundle."""
    signed_at: datetime
    key: str
    """Fingerprint of the public key."""
    signature: str = ""
    """Base64, over the statement without this field."""

    def statement(self) -> bytes:
        """What is signed."""
        content = self.model_dump(mode="json", exclude={"signature"})
        return _CONTEXT + json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def make_key(path: Path) -> str:
    """Write a new private key (mode 0600) and beside it the public one (``.pub``); the fingerprint.

    Raises: ``Misconfigured`` when one of the files is there already.
    """
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    public = private.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
    _create(path, secret, 0o600)
    _create(path.with_name(path.name + ".pub"), public, 0o644)
    return fingerprint(private.public_key())


def sign(folder: Path, key_file: Path) -> Signature:
    """Sign what the folder holds now; an older signature is replaced.

    Raises: ``Misconfigured`` without a usable key, ``BundleInvalid`` when the bundle is none.
    """
    bundle = load_bundle(folder)
    return sign_files(bundle.folder, key_file, bundle=bundle.name, version=bundle.version)


def read_signature(folder: Path) -> Signature | None:
    """The bundle's signature, unverified; None without one. Raises: ``BundleNotTrusted`` when it cannot be read."""
    try:
        return Signature.model_validate_json((folder / SIGNATURE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as exc:
        raise BundleNotTrusted(f"the signature {folder / SIGNATURE} cannot be read: {exc}") from exc


def verify(folder: Path, trusted_keys: Path, *, name: str) -> Signature:
    """The bundle's signature, if a key of this site made it and every file is what was signed.

    A weight file may be absent when it was signed (it comes from its publisher): it must have the digest that the
    signed ``wetread.json`` names.
    Raises: ``BundleNotTrusted`` with what is wrong.
    """
    signature = read_signature(folder)
    if signature is None:
        raise BundleNotTrusted(f"bundle {name} is not signed; sign it, or vouch for it yourself with --trust-local")
    _check(signature, folder, trusted_keys, name=name)
    signed_weights = {w.path: w.sha256 for w in load_bundle(folder).manifest.weights}
    _compare(signature, folder, name=name, later=signed_weights)
    return signature


def sign_files(folder: Path, key_file: Path, *, bundle: str, version: str) -> Signature:
    """Sign any folder that belongs to a bundle (its engines on their way to another box)."""
    key = _private_key(key_file)
    unsigned = Signature(
        bundle=bundle,
        version=version,
        files=dict(_digests(folder)),
        signed_at=datetime.now(UTC),
        key=fingerprint(key.public_key()),
    )
    made = unsigned.model_copy(update={"signature": base64.b64encode(key.sign(unsigned.statement())).decode("ascii")})
    path = folder / SIGNATURE
    temporary = path.with_name(f".{SIGNATURE}.new")
    temporary.write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return made


def verify_files(folder: Path, trusted_keys: Path, *, bundle: str) -> Signature:
    """The signature of a folder that belongs to a bundle. Raises: ``BundleNotTrusted``."""
    signature = read_signature(folder)
    if signature is None:
        raise BundleNotTrusted(f"the {folder.name} that came with bundle {bundle} are not signed")
    _check(signature, folder, trusted_keys, name=bundle)
    _compare(signature, folder, name=bundle, later={})
    return signature


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, as ``SHA256:`` and 16 hex digits."""
    return f"SHA256:{hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]}"


def fingerprint_of(key_file: Path) -> str:
    """The fingerprint of a private key. Raises: ``Misconfigured`` without a usable key."""
    return fingerprint(_private_key(key_file).public_key())


def trusted_fingerprints(folder: Path) -> frozenset[str]:
    """Of every key in the trust store. Raises: as ``trusted``."""
    return frozenset(fingerprint(key) for _, key in trusted(folder))


def trusted(folder: Path) -> Iterator[tuple[str, Ed25519PublicKey]]:
    """The public keys (``*.pub``, PEM) of the trust store, with their names.

    Raises: ``Misconfigured`` for a file that is no Ed25519 public key, or a store that anybody may write to.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    for path in sorted(folder.glob("*.pub")) if folder.is_dir() else ():
        if os.name != "nt" and (path.stat().st_mode | folder.stat().st_mode) & 0o002:
            raise Misconfigured(f"anybody may write to the trusted key {path}; take that right away: chmod o-w")
        try:
            key = load_pem_public_key(path.read_bytes())
        except ValueError as exc:
            raise Misconfigured(f"{path} is not a public key in PEM: {exc}") from exc
        if not isinstance(key, Ed25519PublicKey):
            raise Misconfigured(f"{path} is not an Ed25519 key; make one with: wetread bundle sign --new-key FILE")
        yield path.stem, key


def _compare(signature: Signature, folder: Path, *, name: str, later: Mapping[str, str]) -> None:
    """Every file is what was signed, or one of ``later`` that has the digest known by then."""
    found = dict(_digests(folder))
    for file in sorted({*found, *signature.files}):
        if file not in found:
            raise BundleNotTrusted(f"bundle {name}: {file} was signed and is missing")
        expected = signature.files.get(file, later.get(file))
        if expected is None:
            raise BundleNotTrusted(f"bundle {name}: {file} was added after the bundle was signed")
        if found[file] != expected:
            raise BundleNotTrusted(f"bundle {name}: {file} has changed since the bundle was signed")


def _check(signature: Signature, folder: Path, trusted_keys: Path, *, name: str) -> None:
    from cryptography.exceptions import InvalidSignature

    known = {fingerprint(key): key for _, key in trusted(trusted_keys)}
    if signature.key not in known:
        raise BundleNotTrusted(
            f"bundle {name} is signed by the key {signature.key}, which is not among the "
            f"{number_of(len(known), 'trusted key')} in {trusted_keys}; put the signer's .pub file there if you "
            "trust them"
        )
    try:
        known[signature.key].verify(base64.b64decode(signature.signature), signature.statement())
    except (InvalidSignature, ValueError) as exc:
        raise BundleNotTrusted(f"the signature of bundle {name} is not valid: it was changed or forged") from exc
    if signature.bundle != name:
        raise BundleNotTrusted(
            f"the signature in {folder.name} is for bundle {signature.bundle!r}, this one is called {name!r}"
        )


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as exc:
        raise Misconfigured(f"the key {path} cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError) as exc:
        raise Misconfigured(f"{path} is not a private key without password in PEM: {exc}") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} is not an Ed25519 key; make one with: wetread bundle sign --new-key FILE")
    return key


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for name, _ in plain_files(folder):
        if name != SIGNATURE:
            yield name, file_sha256(folder / name)


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as exc:
        raise Misconfigured(f"the key {path} cannot be written: {exc.strerror}") from exc
    with open(descriptor, "wb") as stream:
        stream.write(content)
