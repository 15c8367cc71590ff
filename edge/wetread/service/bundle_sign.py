"""``wetread bundle sign``: a bundle keeps the trust it has here, or a copy is signed."""

from __future__ import annotations

from pathlib import Path

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.archive import Limits, copy_folder
from wetread.bundles.installed import record_of, write_record
from wetread.bundles.signature import Signature, fingerprint_of, sign, trusted_fingerprints
from wetread.errors import Misconfigured
from wetread.service.bundle_files import remove
from wetread.service.bundle_install import changing


def sign_in_place(bundle: Bundle, key_file: Path, *, trusted_keys: Path) -> Signature:
    """Sign a bundle of this machine; what runs here goes on running: the signature is no part of the bundle's digest.

    Raises: ``Misconfigured``, and nothing is written, when the bundle runs here because of its signature and this key
    is not among ``trusted_keys``: it would not run any more.
    """
    record = record_of(bundle.folder)
    signed_here = record is not None and record.trusted == "signature"
    key = fingerprint_of(key_file)
    if record is not None and signed_here and key not in trusted_fingerprints(trusted_keys):
        raise Misconfigured(
            f"bundle {bundle.name} runs here because {record.by} signed it. {key} is not among the trusted keys in "
            f"{trusted_keys}: with its signature the bundle would not run here any more. Put the .pub file there "
            f"first, or sign a copy: --out FOLDER"
        )
    with changing(bundle):
        made = sign(bundle.folder, key_file)
    if record is not None and signed_here:
        write_record(bundle.folder, record.model_copy(update={"by": made.key}))
    return made


def sign_copy(bundle: Bundle, key_file: Path, out: Path, *, limits: Limits) -> tuple[Bundle, Signature]:
    """Sign a copy in ``out/<name>``, a new folder; the bundle stays as it is.

    Raises: ``Misconfigured`` when there is one already.
    """
    target = out / bundle.name
    if target.exists():
        raise Misconfigured(f"{target} is there already; choose another --out FOLDER")
    fingerprint_of(key_file)
    try:
        copy_folder(bundle.folder, target, limits)
        made = sign(target, key_file)
    except BaseException:
        if target.exists():
            remove(target)
        raise
    return load_bundle(target), made
