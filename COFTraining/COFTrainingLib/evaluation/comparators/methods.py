"""Every method of a plan, built by name."""

from functools import cache
from pathlib import Path

from COFGeneratorLib.generator.bundle import Bundle, load_bundle

from COFTrainingLib.evaluation.comparators.base import Method
from COFTrainingLib.evaluation.comparators.copies import CopyAnchor, RandomSample
from COFTrainingLib.evaluation.comparators.models import further_methods, main_methods
from COFTrainingLib.evaluation.comparators.motions import library_methods
from COFTrainingLib.evaluation.comparators.native import NativeComparator
from COFTrainingLib.evaluation.comparators.predictions import GivenPredictions
from COFTrainingLib.evaluation.plan import Plan


def build_methods(plan: Plan) -> list[Method]:
    """Return the methods of a plan, the main model first.

    Raises:
        BundleError, CohortError: If something named in the plan cannot be used.
    """
    methods: list[Method] = []
    bundles = [(name, loaded(folder, plan.device)) for name, folder in plan.models]
    for place, (name, bundle) in enumerate(bundles):
        if place == 0:
            methods += main_methods(name, bundle, plan.seed, plan.variants, plan.device)
        else:
            methods += further_methods(name, bundle, plan.seed, plan.device)
    if bundles:
        methods += library_methods(bundles[0][1], plan)
    methods.append(CopyAnchor())
    if len(plan.subjects) > 1:
        methods.append(RandomSample())
    main = bundles[0][1] if bundles else None
    assessor = None if plan.assessor_refused else plan.assessor
    methods += [NativeComparator(name, run, main, assessor, plan.seed, plan.device) for name, run in plan.comparators]
    methods += [
        GivenPredictions(name, folder, main, assessor=assessor, device=plan.device) for name, folder in plan.predictions
    ]
    return methods


@cache
def loaded(folder: Path, device: str = "cpu") -> Bundle:
    """Load a bundle once a process, its networks of motion on a device."""
    bundle = load_bundle(folder)
    bundle.model.to(device)
    return bundle


def bundle_of(plan: Plan) -> Bundle:
    """Return the main model's bundle."""
    return loaded(plan.models[0][1], plan.device)
