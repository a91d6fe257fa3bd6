"""The file of a measured baseline: what `coordsvc calibrate` writes, and a service reads.

Rules. It is read whole or refused: a damaged file, a number that is none, or another machine's
fingerprint makes no baseline. It is written whole or not at all.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordsvc.core.baseline import Baseline, Fingerprint, PhaseBaseline, differences
from coordsvc.core.dialogue import Phase
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import seconds

RUNS_MIN = 2
"""A kind of phase seen in fewer runs has no interval, and no ratio of its own is used."""
FAULTS_SHOWN_MAX = 3
REMEDY = "`coordsvc calibrate` makes a new one"

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Told(BaseModel):
    """What all parts share: frozen and strict, no field unknown, no number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PhaseFigures(_Told):
    """One kind of phase. Seconds and tokens are means of a phase."""

    phases: Count
    """How many were run."""
    runs: Count
    """In how many dialogues; the intervals are over these."""
    measured_s: NotNegative
    predicted_s: NotNegative
    """By the engine's own profile."""
    ratio: Positive | None
    """Measured over predicted, of the sums; None where nothing is predicted."""
    ratio_low: float | None
    ratio_high: float | None
    """Its 95 % interval; None where one run alone had such a phase."""
    prompt_tokens: NotNegative
    cached_tokens: NotNegative
    output_tokens: NotNegative

    def baseline(self) -> PhaseBaseline:
        """Return the same for the core."""
        return PhaseBaseline(measured_us=seconds(self.measured_s), ratio=self.ratio)


class Reading(_Told):
    """Dialogues run in one way."""

    turns: Count
    runs: Count
    c_baseline_s: NotNegative
    """Of a turn, as measured."""
    c_baseline_s_low: float | None
    c_baseline_s_high: float | None
    """Its 95 % interval, over runs."""
    predicted_s: NotNegative
    prompt_tokens: NotNegative
    cached_tokens: NotNegative
    output_tokens: NotNegative
    """Of a turn, all its phases."""
    together: PhaseFigures
    """All phases; their ratio is the turns', too."""
    phases: dict[Phase, PhaseFigures]


class ProfileFigures(_Told):
    """The engine's solo profile when it was measured; microseconds."""

    start_us: NotNegative
    prefill_us: NotNegative
    decode_us: NotNegative


class Calibration(_Told):
    """All that was measured, and on what."""

    format: Literal[1] = 1
    made: str
    """The day and time."""
    emulated: bool
    """True when the engine's timing was declared, or scripted: it says nothing of the machine."""
    dialogues: Count
    repeats: Count
    turns: Count
    """Of each dialogue."""
    seed: int
    """Of the order of runs."""
    c_baseline_s: NotNegative
    """Of a turn, with its prefixes kept: what S_measured is made from."""
    c_baseline_cold_s: NotNegative
    """Of the same phases and tokens with every prompt read anew."""
    kept: Reading
    """With prefixes kept within a dialogue, none from one dialogue to another."""
    cold: Reading
    """With no prefix kept at all."""
    profile: ProfileFigures
    fingerprint: dict[str, str] = Field(min_length=1)

    def baseline(self) -> Baseline:
        """Return the same for the core."""
        profile = self.profile
        return Baseline(
            profile=SoloProfile(
                start_us=profile.start_us,
                prefill_us=profile.prefill_us,
                decode_us=profile.decode_us,
            ),
            phases={
                phase: figures.baseline()
                for phase, figures in self.kept.phases.items()
                if figures.runs >= RUNS_MIN
            },
            usual=self.kept.together.baseline(),
            fingerprint=self.fingerprint,
            emulated=self.emulated,
        )


def write(path: Path, calibration: Calibration) -> None:
    """Put a calibration in its file, whole or not at all; raise `BadRequest` where that fails."""
    draft = path.with_name(f"{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise BadRequest(f"baseline {path}: cannot be written: {error.strerror}") from error


def read(path: Path, here: Fingerprint) -> Calibration:
    """Return the calibration in a file, if it was made on what `here` says.

    Raises:
        BadRequest: it cannot be read, is damaged, or was made elsewhere: says what differs.

    """
    try:
        told = Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadRequest(f"baseline {path}: cannot be read: {error.strerror}; {REMEDY}") from error
    except ValidationError as error:
        raise BadRequest(f"baseline {path}: {_faults(error)}; {REMEDY}") from None
    if found := differences(told.fingerprint, here):
        raise BadRequest(
            f"baseline {path}: was made on something else: {'; '.join(found)}; {REMEDY}"
        )
    return told


def _faults(error: ValidationError) -> str:
    """Return the first faults of a file, each with its place."""
    faults = error.errors(include_url=False)
    shown = [
        f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
        for fault in faults[:FAULTS_SHOWN_MAX]
    ]
    more = len(faults) - len(shown)
    return "; ".join(shown) + (f"; and {more} more faults" if more else "")
