"""The training of the ECG encoder and of its statement of EF, and what a run of Stage 2 takes over of them."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import replacing, write_json
from COFGeneratorLib.generator.bundle import METADATA, read_metadata, with_tuples
from COFGeneratorLib.generator.ef_statement import EfStatement, StatementConfig
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
from COFGeneratorLib.weights import load_weights, save_exact

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.training.ecg.ecg_cohort import MISHAP_SHARE, OVERSAMPLED, EcgCohort, synthesise_cohort
from COFTrainingLib.training.ecg.ecg_encoder import calibrate_territories, train_ecg_encoder
from COFTrainingLib.training.ecg.recorded_ecgs import joined, recorded_ecgs
from COFTrainingLib.training.ecg.statement_training import StatementTraining, fit_statement
from COFTrainingLib.training.loop.loop import LoopConfig, Progress, TrainedRun
from COFTrainingLib.training.loop.ranks import first_rank_first

WEIGHTS, CONFIG, SOURCE, RECORDS = "model.safetensors", "config.json", "source.json", "cohort.safetensors"
BUNDLED = Path("models", "ecg.safetensors")
STATEMENT, STATEMENT_CONFIG = "statement.safetensors", "statement.json"
SETTINGS = "configuration.json"
"""What ``cof train ecg`` was asked for; ``config.json`` is the loop's own, which every run has."""


def _loop() -> LoopConfig:
    return LoopConfig(4000, learning_rate=1.5e-3, weight_decay=1e-2, warmup_steps=200, ema_decay=0.998, log_every=50,
                      checkpoint_every=500, device="cpu", threads=1)  # fmt: skip


@dataclass(frozen=True)
class EcgTraining:
    """Settings of the ECG encoder's training.

    Args:
        batch: Records a step.
        records: Synthetic records to train on; findings are oversampled.
        held_out: Further records that elect the best weights and calibrate the territories of infarcts.
        encoder: Size of the network.
        statement: How the statement of EF is fitted afterwards.
        loop: Settings of the loop; its seed is that of the records, too.
    """

    batch: int = 128
    records: int = 24_000
    held_out: int = 2000
    encoder: EcgEncoderConfig = field(default_factory=EcgEncoderConfig)
    statement: StatementTraining = field(default_factory=StatementTraining)
    loop: LoopConfig = field(default_factory=_loop)


def train_ecg(
    out_dir: Path | str,
    config: EcgTraining,
    *,
    workers: int = 1,
    resume: bool = False,
    recordings: Cohort | None = None,
    progress: Progress | None = None,
) -> TrainedRun:
    """Train an encoder as a configuration says; the records are made once and kept in the run folder.

    The ECGs of ``recordings``, with the function of their hearts, are learnt from beside synthetic ones, which alone
    elect the weights and calibrate what is stated.

    Raises:
        TrainingError: If the folder holds another run.
    """
    out_dir = Path(out_dir)
    with first_rank_first() as ranks:
        _prepare(out_dir, config, workers, resume or not ranks.first, recordings)
    cohort = EcgCohort.load(out_dir / RECORDS)
    run = train_ecg_encoder(
        out_dir, cohort, records=config.records, batch=config.batch, encoder=config.encoder, loop=config.loop,
        resume=(out_dir / CONFIG).exists(), progress=progress,
    )  # fmt: skip
    with first_rank_first() as ranks:
        if ranks.first:
            _state(out_dir, config, cohort, workers)
    return run


def restate(
    out_dir: Path | str, start_from: Path | str, config: EcgTraining, *, workers: int = 1, resume: bool = False
) -> Path:
    """Keep a trained encoder, and fit the statement of EF to it anew; returns the run folder.

    Args:
        out_dir: Run folder.
        start_from: Whose encoder; see :func:`adopt_encoder`.
        config: Its ``statement`` is what is used.
        workers: Processes.
        resume: Go on in a folder that holds a run.

    Raises:
        TrainingError: If the folder holds a run that is not to be resumed, or the weights do not fit.
    """
    out_dir = Path(out_dir)
    if ((out_dir / CONFIG).exists() or (out_dir / SOURCE).exists()) and not resume:
        raise _taken(out_dir)
    adopt_encoder(start_from, out_dir, config.encoder)
    facts = json.loads((out_dir / SOURCE).read_text(encoding="utf-8"))
    if facts["settings"] is not None:
        facts["settings"]["statement"] = asdict(config.statement)
    encoder = load_encoder(out_dir)
    save_statement(fit_statement(encoder, config.statement, workers=workers), out_dir)
    write_json(out_dir / SOURCE, facts)
    return out_dir


def _state(out_dir: Path, config: EcgTraining, cohort: EcgCohort, workers: int) -> None:
    """Calibrate the trained encoder, and fit the statement of EF to it."""
    encoder = _filled(config.encoder, out_dir / WEIGHTS)
    calibrate_territories(encoder, cohort)
    save_exact(encoder.state_dict(), out_dir / WEIGHTS)
    save_statement(fit_statement(encoder, config.statement, workers=workers), out_dir)


def save_statement(statement: EfStatement, folder: Path) -> None:
    """Write a statement of EF beside its encoder."""
    write_json(folder / STATEMENT_CONFIG, asdict(statement.config))
    save_exact(statement.state_dict(), folder / STATEMENT)


def load_statement(folder: Path) -> EfStatement | None:
    """Return the statement of EF of a run, None where it has none."""
    facts = _json(folder / STATEMENT_CONFIG)
    if facts is None:
        return None
    statement = EfStatement(StatementConfig(**facts))
    statement.load_state_dict(load_weights(folder / STATEMENT))
    return statement.eval()


def _prepare(out_dir: Path, config: EcgTraining, workers: int, resume: bool, recordings: Cohort | None) -> None:
    """Take a folder for a training, and make its records.

    Raises:
        TrainingError: If it holds a run that is not to be resumed.
    """
    if (out_dir / CONFIG).exists() and not resume:
        raise _taken(out_dir)
    records = out_dir / RECORDS
    if not records.is_file():
        count = config.records + config.held_out
        made = synthesise_cohort(
            count, config.loop.seed, OVERSAMPLED, mishaps=MISHAP_SHARE, beats=config.encoder.beats, workers=workers
        )
        if recordings is not None:
            made = joined(recorded_ecgs(recordings, beats=config.encoder.beats, workers=workers), made)
        with replacing(records) as beside:
            made.save(beside)
    if not (out_dir / SETTINGS).is_file():
        write_json(out_dir / SETTINGS, asdict(config))


def _taken(folder: Path) -> TrainingError:
    return TrainingError(
        f"A new run needs an empty folder; {folder} already holds a run. Choose another folder or resume it."
    )


def adopt_encoder(weights: Path | str, folder: Path, fallback: EcgEncoderConfig) -> None:
    """Copy trained weights into a run, with all that is known of their training.

    Args:
        weights: A finished run of ``cof train ecg``, a model bundle, or a file of weights (with its run's
            ``config.json`` beside it).
        folder: Where to; afterwards ``load_encoder`` reads it.
        fallback: Size of the network where no ``config.json`` says it.

    Raises:
        TrainingError: If there are no weights, or they do not fit.
        BundleError: If a bundle is not complete.
    """
    weights = Path(weights)
    bundled = (weights / METADATA).is_file()
    file = weights / BUNDLED if bundled else weights / WEIGHTS if weights.is_dir() else weights
    if not file.is_file():
        raise TrainingError(
            "Trained weights of an ECG encoder are a finished run of `cof train ecg`, a model bundle or a .safetensors "
            f"file; found no {file}. Finish that run, or leave --ecg out to train an encoder now."
        )
    facts: dict[str, Any] = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    if bundled:
        facts |= _bundled(weights)
    elif file.with_name(SOURCE).is_file():  # a run that adopted them itself
        facts = _json(file.with_name(SOURCE))
    else:
        facts |= {"trained_with": _json(file.with_name(CONFIG)), "settings": _json(file.with_name(SETTINGS))}
    size = facts.get("encoder") or (facts["trained_with"] or {}).get("model", {}).get("encoder")
    config = EcgEncoderConfig(**with_tuples(size)) if size else fallback
    _filled(config, file)
    write_json(folder / SOURCE, {**facts, "encoder": vars(config)})
    _adopt_statement(file, folder, bundled)
    save_exact(load_weights(file), folder / WEIGHTS)  # last: a folder with weights is complete


def _adopt_statement(encoder: Path, folder: Path, bundled: bool) -> None:
    """Copy the statement of EF that lies beside an encoder's weights, where there is one."""
    source = encoder.with_name(STATEMENT)
    facts = (
        read_metadata(encoder.parents[1])["cof"].get("statement")
        if bundled
        else _json(encoder.with_name(STATEMENT_CONFIG))
    )
    if facts is None or not source.is_file():
        return
    write_json(folder / STATEMENT_CONFIG, facts)
    save_exact(load_weights(source), folder / STATEMENT)


def load_encoder(folder: Path) -> EcgEncoder:
    """Return the encoder of a run of Stage 2, trained there or adopted.

    Raises:
        TrainingError: If its weights do not fit.
    """
    return _filled(EcgEncoderConfig(**with_tuples(encoder_facts(folder)["encoder"])), folder / WEIGHTS)


def encoder_facts(folder: Path) -> dict[str, Any]:
    """Return what is known of an encoder.

    Returns:
        ``encoder``, its size; ``trained_with``, the frozen configuration of its run, or None; ``settings``, those of
        ``cof train ecg``, or None.
    """
    adopted = _json(folder / SOURCE)
    if adopted is not None:
        return adopted
    trained = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return {"encoder": trained["model"]["encoder"], "trained_with": trained, "settings": _json(folder / SETTINGS)}


def _bundled(bundle: Path) -> dict[str, Any]:
    """Return how the encoder of a bundle was trained, as the bundle itself says."""
    metadata = read_metadata(bundle)
    known = (_json(bundle / "docs" / SETTINGS) or {}).get("ecg")
    trained = None
    if known is not None:
        model = {"encoder": metadata["cof"]["ecg"], **{name: known[name] for name in ("batch", "records")}}
        trained = {"loop": known["loop"], "model": model}
    return {
        "bundle": f"{metadata['name']} {metadata['version']}",
        "encoder": metadata["cof"]["ecg"],
        "trained_with": trained,
        "settings": known if known and "held_out" in known else None,
    }


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _filled(config: EcgEncoderConfig, weights: Path) -> EcgEncoder:
    encoder = EcgEncoder(config)
    try:
        encoder.load_state_dict(load_weights(weights))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise TrainingError(
            f"The weights of an ECG encoder must fit its size ({config}); {weights} does not: {error}. Give weights "
            "and config.json of the same run."
        ) from error
    return encoder.eval()
