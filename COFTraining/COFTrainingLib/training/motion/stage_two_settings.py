"""The settings of a training of Stage 2, and what a cohort makes of them."""

from dataclasses import dataclass, field, replace

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.model import SamplerDefaults
from COFGeneratorLib.generator.networks.flow_network import FlowConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import MeanConfig

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.physiology import Prevalence
from COFTrainingLib.phantom.subject import ENRICHED
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.flow_samples import ANCHORS
from COFTrainingLib.training.loop.loop_config import LoopConfig
from COFTrainingLib.training.motion.flow import TAU_DRAWS, StageTwoConfig

DIVISOR = 4
"""Of the grid's rows and columns: the networks halve them twice."""


@dataclass(frozen=True)
class Calibration:
    """What is fitted after training, at natural prevalence on seeds of its own.

    Args:
        first_seed: Of the subjects.
        subjects: On which the gain on motion is fitted; 0 fits nothing.
        records: Subjects' ECGs on which the interval of the EF that the encoder states is fitted; 0 leaves the EF to
            the motion networks. Recorded cohorts leave it there: the encoder's reading is trained on phantoms.
    """

    first_seed: int = 1_900_000
    subjects: int = 48
    records: int = 400


@dataclass(frozen=True)
class StageTwoTraining:
    """Everything that fixes a training of Stage 2.

    Args:
        grid: The motion grid.
        subjects, first_seed, prevalence: Which phantoms, where no cohort says so.
        stage: What both networks share.
        mean, mean_loop: The regression; None trains none (the flow then carries the whole motion).
        flow, flow_loop: The velocity network; None leaves the regression alone.
        flow_epochs: Passes over the training subjects, in place of the loop's steps; 0 keeps those.
        tau_draw: How flow times are drawn.
        sampler: The sampler's defaults in the bundle.
        calibration: Subjects for the gain; those of a recorded cohort are its validation subjects, at most so many.
        cines: How motion is found, where the cohort is one of recordings.
        anchor: When the anchors are taken: ``"ed"`` at the R wave, or ``"any"`` at a phase that is drawn for every
            example and told to the networks.
    """

    grid: MotionGrid = field(default_factory=MotionGrid)
    subjects: int = 2400
    first_seed: int = 100_000
    prevalence: Prevalence = ENRICHED
    stage: StageTwoConfig = field(default_factory=StageTwoConfig)
    mean: MeanConfig | None = field(default_factory=MeanConfig)
    mean_loop: LoopConfig = field(default_factory=lambda: LoopConfig(4000))
    flow: FlowConfig | None = field(default_factory=FlowConfig)
    flow_loop: LoopConfig = field(default_factory=lambda: LoopConfig(4000))
    flow_epochs: int = 0
    tau_draw: str = "logit-normal"
    sampler: SamplerDefaults = field(default_factory=SamplerDefaults)
    calibration: Calibration = field(default_factory=Calibration)
    cines: CineMotion = field(default_factory=CineMotion)
    anchor: str = "ed"

    def __post_init__(self) -> None:
        if self.mean is None and self.flow is None:
            raise TrainingError(
                "Stage 2 trains a regression mean, a flow, or both; found neither. Keep flow.mean or flow.flow."
            )
        counts = {"subjects": self.subjects, "stage.batch": self.stage.batch, "grid.phases": self.grid.phases}
        wrong = [f"{name} = {value}" for name, value in counts.items() if value < 1]
        wrong += [f"grid.shape = {list(self.grid.shape)}"] * any(size % DIVISOR for size in self.grid.shape[1:])
        wrong += [f"tau_draw = {self.tau_draw!r}"] * (self.tau_draw not in TAU_DRAWS)
        wrong += [f"anchor = {self.anchor!r}"] * (self.anchor not in ANCHORS)
        if wrong or self.flow_epochs < 0:
            raise TrainingError(
                f"Stage 2 has at least one subject, batch and phase, a grid whose rows and columns are multiples of "
                f"{DIVISOR}, τ drawn {' or '.join(TAU_DRAWS)} and anchors {' or '.join(ANCHORS)}; found "
                f"{'; '.join(wrong) or self.flow_epochs}. Correct them."
            )
        begins = {"prediction": "rate", "source": "truth"}  # both begin at the R wave by their nature
        if self.anchor == "any" and (
            (self.flow is not None and self.flow.prediction == begins["prediction"])
            or self.cines.source == begins["source"]
        ):
            raise TrainingError(
                "Anchors of any phase need motion that may begin there; a flow that predicts the rate and cines whose "
                f"motion is the stored truth begin at the R wave. Found anchor = {self.anchor!r} with one of them. "
                'Choose another flow.flow.prediction or flow.cines.source, or anchor = "ed".'
            )

    @property
    def any_anchor(self) -> bool:
        """Whether the networks are told when an anchor was taken."""
        return self.anchor == "any"

    @property
    def mean_network(self) -> MeanConfig | None:
        """The regression as it is trained."""
        return None if self.mean is None else replace(self.mean, any_anchor=self.any_anchor)

    @property
    def flow_network(self) -> FlowConfig | None:
        """The velocity network as it is trained."""
        if self.flow is None:
            return None
        return replace(self.flow, residual=self.mean is not None, any_anchor=self.any_anchor)


def is_recorded(cohort: Cohort | None) -> bool:
    """Return whether a cohort's motion must be found in its cines; phantoms are drawn again from their seeds."""
    return cohort is not None and cohort.header.kind != "phantom"


def of_cohort(training: StageTwoTraining, cohort: Cohort) -> StageTwoTraining:
    """Return the settings for a cohort: phantoms are drawn again from its seeds and prevalence.

    Raises:
        TrainingError: If it is a phantom cohort without seeds, or shares subjects with the calibration.
    """
    if is_recorded(cohort):
        return replace(training, subjects=len(cohort.subjects), first_seed=0)
    seeds = sorted(int(subject.facts["seed"]) for subject in cohort.subjects if "seed" in subject.facts)
    if not seeds or len(seeds) != len(cohort.subjects):
        raise TrainingError(
            f"The subjects of a phantom cohort have seeds; some of {cohort.header.name!r} have none. Make it again "
            "with: cof cohort synthesize"
        )
    held = training.calibration
    if held.subjects and seeds[0] < held.first_seed + held.subjects and seeds[-1] >= held.first_seed:
        raise TrainingError(
            f"The gain is fitted on subjects that no network saw; found the calibration's seeds {held.first_seed}… "
            f"in the cohort {cohort.header.name!r}. Set flow.calibration.first_seed to other seeds."
        )
    stated = cohort.header.settings.get("prevalence")
    prevalence = Prevalence(**stated) if stated else training.prevalence
    return replace(training, subjects=seeds[-1] - seeds[0] + 1, first_seed=seeds[0], prevalence=prevalence)
