"""What supervisor and compute say to each other: one JSON object a line over a socket pair.

Commands go down, events come up. Frames do not travel here; they lie in a file that an event names. Never pickle. A
command carries a prompt, so messages are neither logged nor put into an exception.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from videofleet.beacons import WorkerFault, WorkerState
from videofleet.jobs import ErrorCode, Progress, VideoRequest
from videofleet.wire import Wire
from videofleet.workerspec import WorkerSpec

LOST_PEER_EXIT: Final = 75  # exit code of a rank that ended because another one had
LINE_LIMIT_BYTES: Final = 4 << 20  # a prompt is short; anything longer is a bug


class FramesFile(Wire):
    """A clip in a file: num_frames × height × width × 3 bytes, RGB, nothing else."""

    path: str
    width: int
    height: int
    num_frames: int
    fps: int


class Start(Wire):
    """The first command: load this model and warm it."""

    kind: Literal["start"] = "start"
    model: str
    spec: WorkerSpec
    scratch: str
    decodes: bool = False  # nothing but what others have denoised


class Work(Wire):
    """One job's attempt, as compute needs to know it."""

    job: str
    request: VideoRequest = Field(repr=False)
    frames_path: str
    checkpoint_path: str  # states are written to `<this>.<step>`
    checkpoint_every_s: float
    resume_path: str | None = None  # the state that an earlier attempt left
    hands_over: bool = False  # a decoder makes the frames


class Generate(Wire):
    """Make these videos; they begin together. The next ones when each of these has an outcome."""

    kind: Literal["generate"] = "generate"
    works: tuple[Work, ...]


class Stop(Wire):
    """Stop working on this job within a step; unknown jobs are ignored."""

    kind: Literal["stop"] = "stop"
    job: str
    checkpoint: bool = False  # leave a state behind, for another worker to go on from


class Starting(Wire):
    """How far loading and warming are."""

    kind: Literal["starting"] = "starting"
    state: WorkerState
    detail: str


class TierWarmed(Wire):
    """One tier's times have settled; its last clip is there to be encoded."""

    kind: Literal["tier_warmed"] = "tier_warmed"
    tier: str
    runs: int
    seconds_per_step: float
    decode_s: float
    frames: FramesFile
    batch: int = 1  # most jobs that gain from denoising together
    gain: float = 1.0  # how many times as fast that makes their steps


class Ready(Wire):
    """All tiers are warm: jobs may come."""

    kind: Literal["ready"] = "ready"
    attention: str = "native"  # what computes it, by diffusers' name
    peak_bytes: int | None = None  # that the device had in use at most; None on a CPU


class Faulted(Wire):
    """The worker cannot serve; compute ends after this."""

    kind: Literal["faulted"] = "faulted"
    reason: WorkerFault
    message: str


class Broke(Wire):
    """A rank could not go on, so its group cannot; the process ends after this."""

    kind: Literal["broke"] = "broke"
    rank: int
    message: str


class Progressed(Wire):
    """A step further."""

    kind: Literal["progressed"] = "progressed"
    job: str
    progress: Progress


class Resumed(Wire):
    """The state of an earlier attempt has been read: the job goes on after `step`, or starts over for a reason."""

    kind: Literal["resumed"] = "resumed"
    job: str
    step: int
    ignored: str = ""


class Checkpointed(Wire):
    """The job's state after `step` steps lies in a file, which is the supervisor's now."""

    kind: Literal["checkpointed"] = "checkpointed"
    job: str
    path: str
    step: int


class Generated(Wire):
    """The frames are there."""

    kind: Literal["generated"] = "generated"
    job: str
    frames: FramesFile
    seconds_per_step: float


class Denoised(Wire):
    """The latents are there, and another process is to decode them: the job's last state lies in a file."""

    kind: Literal["denoised"] = "denoised"
    job: str
    path: str
    seconds_per_step: float


class Stopped(Wire):
    """The job was stopped as asked; there are no frames."""

    kind: Literal["stopped"] = "stopped"
    job: str


class Failed(Wire):
    """The job failed, compute goes on."""

    kind: Literal["failed"] = "failed"
    job: str
    code: ErrorCode
    message: str
    retry: bool


Command = Start | Generate | Stop
Event = (
    Starting
    | TierWarmed
    | Ready
    | Faulted
    | Broke
    | Progressed
    | Resumed
    | Checkpointed
    | Generated
    | Denoised
    | Stopped
    | Failed
)
Outcome = Generated | Denoised | Stopped | Failed
News = Progressed | Resumed | Checkpointed | Outcome  # of one job

_COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="kind")])
_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def to_line(message: Command | Event) -> bytes:
    """One message, newline included."""
    return message.to_json().encode() + b"\n"


def command_from(line: bytes) -> Command:
    """The command in a line."""
    return _COMMAND.validate_json(line)


def event_from(line: bytes) -> Event:
    """The event in a line."""
    return _EVENT.validate_json(line)
