"""What of a model is a choice: how its flow is followed, and what is done to the motion afterwards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplerDefaults:
    """How the model is asked where the user does not say.

    Attributes:
        solver: One of ``sampler.SOLVERS``.
        steps: Of a draw.
        draw: Whether its cine is a random draw, as in the papers, or the centre.
    """

    solver: str = "exponential"
    steps: int = 4
    draw: bool = False


@dataclass(frozen=True)
class PostProcessing:
    """What is done to the flow's motion afterwards; each can be switched off.

    Attributes:
        confine: Let motion end around the heart (``motion_reach``).
        keep_wall: Keep the volume of the myocardium.
        ef_factor: Scale the motion so that the LV ejects what the ECG, or the user, states.
        mean_along, mean_in_plane, smoothing_nodes: Draw the expected motion towards the mean's pattern
            (``mean_motion.toward_mean``); without a share it stays as the network has it, not smoothed either.
        es_scatter: Share of the draws' scatter in the time of end-systole that is kept (``draw_timing.steadied``); it
            is told by the mean's pattern.
        keep_tissue: Let trabeculae and papillary muscles stay within a ventricle that ejects (``trabeculae``).
    """

    confine: bool = True
    keep_wall: bool = True
    ef_factor: bool = True
    mean_along: float = 0.0
    mean_in_plane: float = 0.0
    smoothing_nodes: float = 0.0
    es_scatter: float = 1.0
    keep_tissue: bool = True

    @property
    def of_the_mean(self) -> bool:
        """Whether the mean motion has a share."""
        return self.mean_along > 0.0 or self.mean_in_plane > 0.0
