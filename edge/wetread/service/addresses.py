"""Where a running service answers, as an administrator enters it at a modality, a PACS or a reader's program."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Addresses:
    """Ports are 0 and addresses '' where nothing listens."""

    host: str
    """Of the DICOM ports."""
    called: tuple[str, ...]
    """The AE titles that both DICOM ports answer to."""
    port: int
    """DICOM without TLS."""
    tls_port: int
    """DICOM with TLS."""
    stow: str
    """Address of the STOW-RS entrance, without path."""
    api: str
    """Address of the HTTP interface, without path."""

    def document(self) -> dict[str, object]:
        """For programs."""
        return {"ready": True, **asdict(self)}

    def lines(self) -> list[str]:
        """For people, one for each entrance, with the path that is asked for there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        titles = ", ".join(self.called)
        entrances = (
            ("DICOM", f"{host}:{self.port} as {titles}" if self.port else ""),
            ("DICOM, TLS", f"{host}:{self.tls_port} as {titles}" if self.tls_port else ""),
            ("STOW-RS", f"{self.stow}/dicomweb/studies" if self.stow else ""),
            ("HTTP API", f"{self.api}/api/v1" if self.api else ""),
        )
        return [f"  {name:<10}  {where}" for name, where in entrances if where]
