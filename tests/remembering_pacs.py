"""A PACS that remembers every object it was ever sent, each time: what was sent twice, and whether it was the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

HOST = "127.0.0.1"


class RememberingPacs:
    """Storage SCP on a free port; accepts everything."""

    def __init__(self) -> None:
        self.received: dict[str, list[str]] = defaultdict(list)
        """SOP Instance UID → SHA-256 of the data set, for each time it came."""
        self.series: dict[tuple[str, str], set[str]] = defaultdict(set)
        """(Study Instance UID, modality) → SOP Instance UIDs."""
        self.objects: dict[str, Dataset] = {}
        """SOP Instance UID → what came last."""
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, after a stop at the same port; what came before is remembered."""
        ae = AE(ae_title="ORTHANC")
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, context.transfer_syntax)
        ae.add_supported_context("1.2.840.10008.5.1.4.1.1.66.7")  # Label Map Segmentation Storage
        ae.add_supported_context("1.2.840.10008.1.1")
        self._server = ae.start_server((HOST, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        self._server.shutdown()

    def of_study(self, study_instance_uid: str) -> dict[str, int]:
        """Modality → how many different objects of a study it has."""
        return {m: len(uids) for (study, m), uids in list(self.series.items()) if study == study_instance_uid}

    def twice(self) -> list[str]:
        """Objects that came more than once."""
        return [uid for uid, digests in self.received.items() if len(digests) > 1]

    def changed(self) -> list[str]:
        """Objects that came more than once, with different content."""
        return [uid for uid, digests in self.received.items() if len(set(digests)) > 1]

    def reports(self, study_instance_uid: str) -> int:
        """How many different reports of a study it has."""
        return len(self.series[study_instance_uid, "SR"])

    def _store(self, event: Any) -> int:
        body = event.encoded_dataset(include_meta=False)
        dataset = event.dataset
        uid = str(dataset.SOPInstanceUID)
        self.received[uid].append(hashlib.sha256(body).hexdigest())
        self.series[str(dataset.StudyInstanceUID), str(dataset.Modality)].add(uid)
        self.objects[uid] = dataset
        return 0x0000
