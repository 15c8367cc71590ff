"""MONAI's workflow says nothing about our logging, and everything else."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from wetread.infer.configs import workflow
from wetread.infer.configs.workflow import open_workflow


def test_workflow_says_all_but_that_it_leaves_our_logging_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("monai.bundle.workflows")
    monkeypatch.setattr(logger, "propagate", True)
    made = workflow.ConfigWorkflow

    def talkative(**given: object) -> object:
        logger.warning("something is wrong with this config")
        return made(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(workflow, "ConfigWorkflow", talkative)
    (tmp_path / "inference.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "metadata.json").write_text(json.dumps({"version": "0.1.0"}))
    given = {"config_file": str(tmp_path / "inference.json"), "meta_file": str(tmp_path / "metadata.json")}
    opened = open_workflow(**given, workflow_type="infer")
    assert opened.parser["a"] == 1
    assert {record.getMessage() for record in caplog.records} == {"something is wrong with this config"}
    made(**given, logging_file=False, workflow_type="infer")  # others still hear it
    assert caplog.records[-1].getMessage().startswith("Logging file is set to False")
