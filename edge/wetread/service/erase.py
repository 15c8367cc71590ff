"""Erasing a study: what was received and made, and what was exported to learn from."""

from __future__ import annotations

from wetread.config import Config
from wetread.service.learning import open_withdrawal
from wetread.service.maintenance import open_database
from wetread.store.retention import Retention


def erase_study(config: Config, study_instance_uid: str) -> int:
    """Remove everything of a study, copies exported to learn from included; how many files that were received or made.

    Raises: ``Misconfigured`` when it is not here or not finished.
    """
    database = open_database(config.data_dir)
    files = Retention(database, config.data_dir, config.retention).erase(study_instance_uid)
    open_withdrawal(config).erase_copies(study_instance_uid)
    return files
