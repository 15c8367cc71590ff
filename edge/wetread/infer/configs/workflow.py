"""MONAI's workflow of a bundle's config, which leaves our logging alone and does not say so every time."""

from __future__ import annotations

import logging
from typing import Any

from monai.bundle import ConfigWorkflow

_SAYS = "Logging file is set to False"


def open_workflow(**given: Any) -> ConfigWorkflow:
    """``ConfigWorkflow`` without a logging file; of its warnings all but the one that says just that."""
    logger = logging.getLogger("monai.bundle.workflows")
    logger.addFilter(_is_news)
    try:
        return ConfigWorkflow(logging_file=False, **given)
    finally:
        logger.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_SAYS)
