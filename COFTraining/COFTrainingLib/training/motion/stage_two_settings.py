"""The settings of a training of Stage 2, and what a cohort makes of them."""

from dataclasses import dataclass, field, replace

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.choices import PostProcessing, SamplerDefaults
from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlowConfig
from COFGeneratorLib.generator.networks.flow_network import FlowConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.prevalence import ENRICHED, Prevalence
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.flow_samples import ANCHORS
from COFTrainingLib.training.examples.phantom_cine import PhantomMotion
from COFTrainingLib.training.loop.loop_config import LoopConfig
from COFTrainingLib.training.motion.flow import TAU_DRAWS
from COFTrainingLib.training.motion.regression import StageTwoConfig

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
        stage: What all networks of the stage share.
        expected, expected_loop: The flow that is both expectation and draw, and how its trunk is trained; None where
            ``flow`` is trained.
        folds, fold_steps: In how many parts its residuals are cross-fitted, and the steps of each part's trunk.
        flow, flow_loop: The papers' plain flow; None where ``expected`` is trained.
        flow_epochs: Passes over the training subjects, in place of the loop's steps; 0 keeps those.
        tau_draw: How flow times are drawn.
        sampler: The sampler's defaults in the bundle.
        after: What is done to the bundle's motion after the flow.
        calibration: Subjects for the gain; those of a recorded cohort are its validation subjects, at most so many.
        cines: How motion is found, where the cohort is one of recordings.
        phantoms: How it is found of phantoms.
        anchor: When the anchors are taken: ``"ed"`` at the R wave, or ``"any"`` at a phase that is drawn for every
            example and told to the networks.
    """

    grid: MotionGrid = field(default_factory=MotionGrid)
    subjects: int = 2400
    first_seed: int = 100_000
    prevalence: Prevalence = ENRICHED
    stage: StageTwoConfig = field(default_factory=StageTwoConfig)
    expected: ExpectedFlowConfig | None = field(default_factory=ExpectedFlowConfig)
    expected_loop: LoopConfig = field(default_factory=lambda: LoopConfig(4000))
    folds: int = 2
    fold_steps: int = 1200
    flow: FlowConfig | None = None
    flow_loop: LoopConfig = field(default_factory=lambda: LoopConfig(4000))
    flow_epochs: int = 0
    tau_draw: str = "logit-normal"
    sampler: SamplerDefaults = field(default_factory=SamplerDefaults)
    after: PostProcessing = field(default_factory=PostProcessing)
    calibration: Calibration = field(default_factory=Calibration)
    cines: CineMotion = field(default_factory=CineMotion)
    phantoms: PhantomMotion = field(default_factory=PhantomMotion)
    anchor: str = "ed"

    def __post_init__(self) -> None:
        if (self.expected is None) == (self.flow is None):
            raise TrainingError(
                "Stage 2 trains one flow: flow.expected, both expectation and draw, or flow.flow, the papers'; "
                f"found {'neither' if self.flow is None else 'both'}. Keep one and set the other to false."
            )
        counts = {"subjects": self.subjects, "stage.batch": self.stage.batch, "grid.phases": self.grid.phases}
        counts |= {"folds - 1": self.folds - 1, "fold_steps": self.fold_steps}
        wrong = [f"{name} = {value}" for name, value in counts.items() if value < 1]
        wrong += [f"grid.shape = {list(self.grid.shape)}"] * any(size % DIVISOR for size in self.grid.shape[1:])
        wrong += ["sampler.solver = 'exponential' of a plain flow"] * (
            self.flow is not None and self.sampler.solver == "exponential"
        )
        wrong += [f"tau_draw = {self.tau_draw!r}"] * (self.tau_draw not in TAU_DRAWS)
        wrong += [f"anchor = {self.anchor!r}"] * (self.anchor not in ANCHORS)
        if wrong or self.flow_epochs < 0:
            raise TrainingError(
                "Stage 2 has at least one subject, batch, phase and step, two folds, a grid whose rows and columns are "
                f"multiples of {DIVISOR}, τ drawn {' or '.join(TAU_DRAWS)} and anchors {' or '.join(ANCHORS)}; found "
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
    def needs_image(self) -> bool:
        """Whether the flow looks at the anchor's image, with the encoder of a registration teacher."""
        return self.flow is not None and self.flow.needs_image

    @property
    def flow_config(self) -> ExpectedFlowConfig | FlowConfig:
        """The flow as it is trained."""
        if self.expected is not None:
            return replace(self.expected, any_anchor=self.any_anchor)
        assert self.flow is not None  # one of them is, see above
        return replace(self.flow, any_anchor=self.any_anchor)


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
