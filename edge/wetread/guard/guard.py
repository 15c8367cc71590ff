"""Everything that is checked before a model is asked; with what a person or route may overrule, and what not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from wetread.bundles import Bundle
from wetread.bundles.fit import unintended
from wetread.bundles.manifest import Manifest, PatientRule
from wetread.errors import NotIntended
from wetread.guard.appearance import read_appearance
from wetread.guard.grid import check_same_grid
from wetread.guard.intended import check_age, check_sex, check_spacing
from wetread.records.job import ChosenSeries, JobSpec, ReadOptions
from wetread.records.model_input import ModelInput
from wetread.records.radiograph import Radiograph
from wetread.records.study import StudyRef

_Check = Callable[[], None]


def check_input(spec: JobSpec, bundle: Bundle, images: Mapping[str, ModelInput]) -> tuple[str, ...]:
    """Why the images (by input name) lie outside the bundle's intended use; nothing for what it was made for.

    Raises: ``NotIntended`` with the first reason, unless the job's options allow it; ``GeometryInvalid`` for volumes
    that do not lie on one grid; ``BundleInvalid`` for statistics that are not those of the manifest.
    """
    check_same_grid(images, bundle.manifest.inputs)
    reasons: list[str] = []
    for check in _checks(spec, bundle, images):
        try:
            check()
        except NotIntended as exc:
            if not spec.options.outside_intended_use:
                raise
            reasons.append(str(exc))
    return tuple(reasons)


def _checks(spec: JobSpec, bundle: Bundle, images: Mapping[str, ModelInput]) -> Iterator[_Check]:
    """What is written about the study first, then what it looks like."""
    manifest = bundle.manifest
    rules = {rule.name: rule for rule in manifest.inputs}
    patient = patient_rule(manifest, spec.options)
    for chosen in spec.chosen:
        for reason in unintended(chosen.series, rules[chosen.input_name]):
            yield partial(_refuse, f"{chosen.series.label}: {reason}")
    yield from (partial(check, spec.study, patient) for check in (check_age, check_sex))
    for name, image in images.items():
        yield partial(check_spacing, image, rules[name])
    for image in images.values():
        if isinstance(image, Radiograph):
            yield partial(check_appearance, image, bundle)


def unintended_uses(study: StudyRef, chosen: Iterable[ChosenSeries], manifest: Manifest) -> list[str]:
    """What is written about a study and its series that the bundle was not made for; no image is looked at."""
    rules = {rule.name: rule for rule in manifest.inputs}
    found = [f"{c.series.label}: {why}" for c in chosen for why in unintended(c.series, rules[c.input_name])]
    for check in (check_age, check_sex):
        try:
            check(study, manifest.patient)
        except NotIntended as exc:
            found.append(str(exc))
    return found


def every_reason(missing: str, study: StudyRef, manifest: Manifest, options: ReadOptions) -> str:
    """Why no series fits, and before it what stands in the way of any other image of this patient."""
    found: list[str] = []
    for check in (check_age, check_sex):
        try:
            check(study, patient_rule(manifest, options))
        except NotIntended as exc:
            found.append(str(exc))
    return "; ".join((*(found if not options.outside_intended_use else ()), missing))


def check_appearance(film: Radiograph, bundle: Bundle) -> None:
    """Refuse a film that looks unlike those the bundle was trained on. Raises: ``NotIntended``, ``BundleInvalid``."""
    known = read_appearance(bundle)
    if known is None:
        return
    found = known.unlikeness(film.array)
    if found.unusual:
        raise NotIntended(
            f"{film.instance.label}: does not look like the films the bundle was trained on: "
            f"{'; '.join(found.unusual)} (unlikeness {found.value:.2f}, accepted up to 1)"
        )


def patient_rule(manifest: Manifest, options: ReadOptions) -> PatientRule:
    """For whom the bundle was made, with what the options allow."""
    if not options.accept_unknown_age:
        return manifest.patient
    return manifest.patient.model_copy(update={"unknown_age": "accept"})


def _refuse(reason: str) -> None:
    raise NotIntended(reason)
