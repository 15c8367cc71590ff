"""A bundle's model that no study waits for: while its engine is being built the next one that is ready answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import EngineDisagrees, EngineNotReady, EngineUnavailable
from wetread.infer.engines.engine import REFERENCE
from wetread.infer.forecast import Forecast
from wetread.infer.model import Model, open_model
from wetread.infer.rebuild import Building, BuildProcess, Order, order_for
from wetread.infer.tiers import Tier
from wetread.records.heat_map import ScoreMap
from wetread.records.model_input import ModelInput
from wetread.records.output import ModelOutput
from wetread.records.reading import EngineIdentity

_SHAPES = 8
"""Of inputs that studies had lately and the golden case has not."""

logger = logging.getLogger(__name__)


class Standby:
    """Serves with what is ready, has the rest built in the background, and takes it over before the next study.

    It is used like a ``Model``; ``refresh`` is called before each study. Not for several threads at once.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: str,
        cache_folder: Path,
        trust: TrustPolicy | None = None,
        threads: int | None = None,
        build: Callable[[Order], Building] = BuildProcess,
    ) -> None:
        """Open what is ready. Raises: as ``open_model``; then not even the reference can serve."""
        self._bundle, self._engine, self._cache_folder = bundle, engine, cache_folder
        self._trust, self._threads, self._build = trust, threads, build
        self._order = order_for(
            bundle.folder, bundle.digest(), engine=engine, cache_folder=cache_folder, threads=threads or 0, trust=trust
        )
        self._building: Building | None = None
        self._given_up = ""
        self._model = self._opened(engine)
        self._have_built()

    @property
    def identity(self) -> EngineIdentity:
        """Of the engine that serves now."""
        return self._model.identity

    @property
    def tier(self) -> Tier:
        """How the bundle is driven."""
        return self._model.tier

    @property
    def forecast(self) -> Forecast:
        """What a read will take with the engine that serves now."""
        return self._model.forecast

    @property
    def choice_reason(self) -> str:
        """Why this engine serves, and what becomes of the one that should."""
        if self._building is not None:
            return f"{self._model.choice_reason}; it is being built in the background"
        if self._given_up:
            return f"{self._model.choice_reason}; it could not be built: {self._given_up}"
        return self._model.choice_reason

    def refresh(self) -> None:
        """Take over what was built since the last study."""
        if self._building is None or not self._building.ended():
            return
        self._given_up, self._building = self._building.problem(), None
        if self._given_up:
            logger.warning("the engine of %s could not be built: %s", self._bundle.name, self._given_up)
        self._exchange(self._engine)
        if self._model.waiting and not self._given_up:
            self._given_up = "it is not ready after it was built"

    def run(self, volumes: Mapping[str, ModelInput]) -> ModelOutput:
        """As ``Model.run``; a study for which the engine has to be built first is read by the reference meanwhile."""
        try:
            return self._model.run(volumes)
        except (EngineNotReady, EngineDisagrees, EngineUnavailable) as exc:
            if self._model.identity.name == REFERENCE:
                raise
            problem = exc
        logger.info("the reference reads this study with %s: %s", self._bundle.name, problem)
        waiting = f"{self._model.identity.name} {self._model.identity.precision}"
        self._exchange(REFERENCE)
        self._model.waiting = waiting
        self._model.choice_reason = f"serves until {waiting} is ready: {problem}"
        if isinstance(problem, EngineNotReady) and problem.shape:
            wanted = (problem.network, problem.shape)
            self._order = replace(self._order, more=tuple(dict.fromkeys((*self._order.more, wanted)))[-_SHAPES:])
        self._have_built()
        return self._model.run(volumes)

    def explain(self, images: Mapping[str, ModelInput]) -> tuple[ScoreMap, ...]:
        """As ``Model.explain``, by the one that answered last."""
        return self._model.explain(images)

    def close(self) -> None:
        """End what is being built, free the model."""
        if self._building is not None:
            self._building.stop()
            self._building = None
        self._model.close()

    def _opened(self, engine: str) -> Model:
        return open_model(
            self._bundle,
            engine=engine,
            cache_folder=self._cache_folder,
            trust=self._trust,
            build=False,
            threads=self._threads,
        )

    def _exchange(self, engine: str) -> None:
        opened = self._opened(engine)
        self._model.close()
        self._model = opened

    def _have_built(self) -> None:
        """Once for each start of the worker: what failed is shown with every result, and tried again by the next."""
        if not self._model.waiting or self._building is not None or self._given_up:
            return
        try:
            self._building = self._build(self._order)
        except OSError as exc:
            self._given_up = f"no process could be started for it: {exc.strerror}"
