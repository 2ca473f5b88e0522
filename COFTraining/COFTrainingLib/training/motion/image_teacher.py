"""Which registration teacher looks at images in a training of Stage 2."""

from pathlib import Path

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.resources import default_bundle

from COFTrainingLib.training.examples.cine_data import teacher_folder
from COFTrainingLib.training.motion.stage_two_settings import StageTwoTraining


def image_teacher(run: Path, training: StageTwoTraining, given: Path | str | None) -> str:
    """Return the folder of a teacher: the one given, that of the run, else the default model's.

    Returns:
        Empty where the training neither looks at images nor finds phantoms' motion in them.

    Raises:
        TrainingError: If it does and there is none.
    """
    if not training.needs_image and training.phantoms.motion == "exact":
        return ""
    if given is not None:
        return str(teacher_folder(given))
    for place in (run / "teacher", default_bundle() / "models" / "teacher"):
        try:
            return str(teacher_folder(place))
        except TrainingError:
            continue
    raise TrainingError(
        "This flow looks at images with the encoder of a registration teacher; found none in the run, nor in the "
        "default model. Train one (cof train teacher --config cof-v2) and give it with --teacher."
    )
