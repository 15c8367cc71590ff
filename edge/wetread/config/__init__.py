"""``wetread.toml``: collects the settings that each stage defines beside its code, and refuses what it does not know.

Every key with unit, default and reason stands in ``wetread.toml.example``; a test keeps the two together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from wetread.api.settings import ApiSettings
from wetread.bundles.trust import TrustPolicy
from wetread.config.checks import check_together
from wetread.config.words import in_words, refuse_what_is_unknown
from wetread.deliver.destination import DestinationSettings, PeerAbilities
from wetread.deliver.pace import DeliverySettings
from wetread.dimse.scu import Remote
from wetread.dimse.tls import RemoteTls
from wetread.errors import Misconfigured
from wetread.jobs.executor import WorkerSettings
from wetread.jobs.queue import PrioritySettings, RetrySettings
from wetread.learn.reads.settings import LearningSettings
from wetread.receive.admission import Sender
from wetread.receive.listener import ListenerSettings
from wetread.receive.stow_settings import StowSettings
from wetread.route.router import RouteSettings
from wetread.store.completeness import CompletenessSettings
from wetread.store.retention import RetentionSettings


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """``[[peers]]``: everyone we talk DICOM with; nobody else may send."""

    name: str
    """What the rest of the configuration and the timeline call it."""
    ae_title: str
    """Its AE title, as it calls itself; upper and lower case differ."""
    host: str = ""
    """Name or address, for peers we send to."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 0
    """TCP port, for peers we send to."""
    networks: tuple[str, ...] = ()
    """CIDR networks it calls from, for peers that may send."""
    may_send: bool = False
    """Whether we take instances from it."""
    query: bool = False
    """Whether it answers C-FIND: asked for the count of what it sends, and for the patient before results go there."""
    complete_on_release: bool = False
    """Whether it releases an association only when it has sent all it had of the studies it sent."""
    authority: bool = False
    """Whether its header of an instance replaces that of other senders: the archive where patients are corrected."""
    tls: bool = False
    """Talk TLS with it: we call it so, and it is refused on the port without."""
    ca: str = ""
    """PEM file with the authorities that may have signed its certificate when we call it; empty: the system's."""
    certificate: str = ""
    """What its certificate must be: ``sha256:...`` or its whole subject ``CN=...,O=...``; empty: any that is valid."""
    commitment: bool = False
    """Whether it does storage commitment; then it is asked to take responsibility for results it took."""
    commitment_through: str = ""
    """The peer whose word it gets when it asks us for storage commitment; empty: it may not ask."""

    @property
    def calls(self) -> bool:
        """Whether it may call us."""
        return self.may_send or self.commitment or bool(self.commitment_through)


@dataclass(frozen=True, slots=True)
class JobsSettings:
    """``[jobs]``: how reads are done."""

    engine: Literal["auto", "torch", "openvino", "tensorrt", "tensorrt-rtx"] = "auto"
    """``auto`` takes the fastest engine of this machine that passed the bundle's golden case."""
    threads: Annotated[int, Ge(0)] = 0
    """CPU threads of a worker; 0: all cores."""
    workers: WorkerSettings = WorkerSettings()
    retry: RetrySettings = RetrySettings()
    priority: PrioritySettings = PrioritySettings()


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """``[bundles]``: where bundles are, and which of them may run."""

    folders: tuple[str, ...] = ("monai_bundles",)
    """Searched in this order; relative to the configuration file. The first one is where bundles are installed."""
    trusted_keys: str = "trusted_keys"
    """Folder with the public keys (``*.pub``) whose signatures count; relative to the configuration file."""
    uninstalled: Literal["checked", "refuse"] = "checked"
    """A bundle without an install record: run it if nothing in it needs trusted code, or never."""
    max_size_mb: int = 4096
    """Largest bundle that is installed, unpacked (MiB)."""

    @property
    def trust(self) -> TrustPolicy:
        """What is asked of a bundle before it runs."""
        return TrustPolicy(uninstalled=self.uninstalled, trusted_keys=Path(self.trusted_keys))


@dataclass(frozen=True, slots=True)
class ResultSettings:
    """``[results]``: what all result objects share."""

    series_number_base: Annotated[int, Interval(ge=1, le=2**31 - 1000)] = 9000
    """Series Numbers of results start here, out of the way of the modality's."""
    timezone: str = "UTC"
    """Zone of dates and times in results (IANA name, e.g. Europe/Zurich)."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """``[service]``: the process itself."""

    drain_s: Annotated[float, Ge(0)] = 30.0
    """How long a stop (SIGTERM) waits for reads under way; then they are put back and done after the next start."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """``[spool]``: the disk."""

    reserve_mb: Annotated[int, Ge(0)] = 1024
    """C-STORE is answered 'out of resources' when less than this is free (MiB): the database and results need room."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    data_dir: Path
    """Folder for spool, database, results and compiled engines."""
    service: ServiceSettings = ServiceSettings()
    listener: ListenerSettings = ListenerSettings()
    stow: StowSettings = StowSettings()
    api: ApiSettings = ApiSettings()
    peers: tuple[PeerSettings, ...] = ()
    completeness: CompletenessSettings = CompletenessSettings()
    spool: SpoolSettings = SpoolSettings()
    retention: RetentionSettings = RetentionSettings()
    bundles: BundleSettings = BundleSettings()
    routes: tuple[RouteSettings, ...] = ()
    jobs: JobsSettings = JobsSettings()
    results: ResultSettings = ResultSettings()
    learning: LearningSettings = LearningSettings()
    delivery: DeliverySettings = DeliverySettings()
    destinations: tuple[DestinationSettings, ...] = ()
    digest: str = field(default="", metadata={"internal": True})
    """SHA-256 (hex) of the file; each job stores it."""
    engine_cache: Path | None = field(default=None, metadata={"internal": True})
    """Where compiled engines are, of a service without a configuration of its own; else in ``data_dir``."""

    def senders(self) -> tuple[Sender, ...]:
        """The peers that may call us: those that may send, report storage commitments or ask for them."""
        return tuple(
            Sender(
                p.name,
                p.ae_title,
                p.networks,
                tls=p.tls,
                certificate=p.certificate,
                may_send=p.may_send,
                may_ask_commitment=bool(p.commitment_through),
            )
            for p in self.peers
            if p.calls
        )

    def remote(self, destination: DestinationSettings) -> Remote | None:
        """The peer behind a destination, or None for kinds without one."""
        for peer in self.peers:
            if peer.name == destination.peer and peer.host:
                return self.remote_of(peer)
        return None

    def remote_of(self, peer: PeerSettings) -> Remote:
        """How we call a peer."""
        ours = self.listener.tls
        tls = RemoteTls(peer.ca, peer.certificate, ours.certificate, ours.key) if peer.tls else None
        return Remote(peer.host, peer.port, peer.ae_title, self.listener.called[0].ae_title, tls=tls)

    def abilities(self, destination: DestinationSettings) -> PeerAbilities:
        """What the peer behind a destination can do."""
        for peer in self.peers:
            if peer.name == destination.peer and destination.kind == "dicom":
                return PeerAbilities(query=peer.query, commitment=peer.commitment)
        return PeerAbilities(query=destination.query)

    @property
    def bundle_folders(self) -> tuple[Path, ...]:
        """Bundle folders as paths."""
        return tuple(Path(f) for f in self.bundles.folders)


def load_config(path: Path) -> Config:
    """Read and check a configuration file.

    Raises: ``Misconfigured``: no file, not TOML, an unknown key (with the nearest known one), a wrong value, or parts
    that do not fit together.
    """
    try:
        text = path.read_bytes()
        tree = tomllib.loads(text.decode("utf-8"))
    except FileNotFoundError as exc:
        raise Misconfigured(f"there is no configuration file {path}") from exc
    except OSError as exc:
        raise Misconfigured(f"the configuration file {path} cannot be read: {exc.strerror or exc}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise Misconfigured(f"{path} is not TOML: {exc}") from exc
    refuse_what_is_unknown(tree, Config, str(path))
    config = _validate(tree, path)
    check_together(config, path)
    config = _with_paths(config, path.resolve().parent)
    return dataclasses.replace(config, digest=hashlib.sha256(text).hexdigest())


def _with_paths(config: Config, base: Path) -> Config:
    """The configuration with every file and folder named from the configuration file's own folder."""

    def at(path: str) -> str:
        return str(base / path) if path else ""

    tls, bundles = config.listener.tls, config.bundles
    tls = dataclasses.replace(tls, certificate=at(tls.certificate), key=at(tls.key), client_ca=at(tls.client_ca))
    folders = tuple(at(f) for f in bundles.folders)
    return dataclasses.replace(
        config,
        data_dir=base / config.data_dir,
        listener=dataclasses.replace(config.listener, tls=tls),
        stow=dataclasses.replace(
            config.stow,
            clients=tuple(dataclasses.replace(c, token_file=at(c.token_file)) for c in config.stow.clients),
        ),
        api=dataclasses.replace(config.api, token_file=at(config.api.token_file)),
        peers=tuple(dataclasses.replace(p, ca=at(p.ca)) for p in config.peers),
        bundles=dataclasses.replace(bundles, folders=folders, trusted_keys=at(bundles.trusted_keys)),
        destinations=tuple(_beside(base, d) for d in config.destinations),
    )


def _beside(base: Path, destination: DestinationSettings) -> DestinationSettings:
    """Folders, secrets and certificates lie relative to the configuration file."""
    return dataclasses.replace(
        destination,
        path=str(base / destination.path) if destination.path else "",
        token_file=str(base / destination.token_file) if destination.token_file else "",
        ca_file=str(base / destination.ca_file) if destination.ca_file else "",
    )


def _date_or_time(value: date | time) -> dict[str, str]:
    """TOML's dates and times, which no key takes: in a form that no key takes either."""
    return {"date or time": value.isoformat()}


def _validate(tree: Mapping[str, Any], path: Path) -> Config:
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON, where a list may become a tuple and yet text is no number ("21112") and no truth ("yes").
        return TypeAdapter(Config).validate_json(json.dumps(tree, default=_date_or_time), strict=True)
    except ValidationError as exc:
        raise Misconfigured(f"{path}: {'; '.join(in_words(error, tree) for error in exc.errors())}") from exc
