"""How parts of a result are read and written, and the parts that several questions share.

A result is untrusted input and is read leniently: a field of a wrong type counts as missing, a value that should be an
object but is not counts as an empty one, and unknown fields are kept. Fields are written back under the same names and
in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticUseDefault

Number = StrictInt | StrictFloat | None
Flag = StrictBool | None
Nats = Number | Literal["infinite"]  # JSON has no infinity


class ResultPart(BaseModel):
    """An object of result.json."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, serialize_by_alias=True)

    _names: tuple[str, ...] = PrivateAttr(())  # of the fields that were read, in their order

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, read: ModelWrapValidatorHandler[Any]) -> Any:
        if isinstance(value, cls):
            return value
        given = value if isinstance(value, Mapping) else {}
        part = read(given)
        part._names = tuple(given)
        return part

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_where_wrong(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise PydanticUseDefault from None

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written = write(self)
        return {name: written[name] for name in self._names if name in written}  # the caller may exclude some


class MedianInterval(ResultPart):
    """A median with its bootstrap interval, in the unit of its values; ratios have no unit."""

    median: Number = None
    ci_low: Number = None  # ends of the interval; None if there are fewer than five values
    ci_high: Number = None
    min: Number = None
    max: Number = None
    n: Number = None  # number of values, one for each document
    confidence_level: Number = None  # of the interval, from 0 to 1


class NoiseFloor(MedianInterval):
    """The ratio of two arms that should not differ: TTFT of `over` divided by TTFT of `of`."""

    of: str = ""
    over: str = ""
    ratio: Number = None  # in this run, a ratio between this value and its inverse is noise


class ArmSpeedup(ResultPart):
    """One arm compared with another, document by document."""

    speedup: MedianInterval = MedianInterval()  # time of the other arm divided by this arm's
    saved_ms: MedianInterval = MedianInterval()  # time of the other arm minus this arm's


class Comparison(ArmSpeedup):
    """The claim of a run: the speed-up of arm `of` over arm `over`."""

    metric: str = "ttft_ms"  # the field of a sample that is compared, or decode_ms
    of: str = ""
    over: str = ""
    verdict: str = ""  # faster, slower, not distinguishable, or no claim
    why: str = ""
    noise_floor: NoiseFloor | None = None  # None if the run has no pair of arms that measures it


class ArmSummary(ResultPart):
    """One arm. Everything except the arrays is calculated from the samples that count."""

    duration: Number = None  # seconds; with one request in flight, the sum of the requests' own times
    completed: Number = None  # samples that count
    failed: Number = None  # samples that do not count
    total_input_tokens: Number = None
    total_output_tokens: Number = None
    total_cached_tokens: Number = None  # None if the server does not report them
    cache_hit_rate_pct: Number = None  # cached tokens as a share of the input tokens
    request_throughput: Number = None  # requests per second
    output_throughput: Number = None  # output tokens per second
    total_token_throughput: Number = None  # input and output tokens per second
    # Time to first token. A percentile is None if there are too few samples to bound it.
    mean_ttft_ms: Number = None
    median_ttft_ms: Number = None
    std_ttft_ms: Number = None
    p50_ttft_ms: Number = None
    p90_ttft_ms: Number = None
    p99_ttft_ms: Number = None
    ttft_ci_low_ms: Number = None  # ends of the median's bootstrap interval
    ttft_ci_high_ms: Number = None
    # Time per output token after the first: (E2EL - TTFT) / (output tokens - 1).
    mean_tpot_ms: Number = None
    median_tpot_ms: Number = None
    std_tpot_ms: Number = None
    p50_tpot_ms: Number = None
    p90_tpot_ms: Number = None
    p99_tpot_ms: Number = None
    # Inter-token latency: the gaps between chunks with text.
    mean_itl_ms: Number = None
    median_itl_ms: Number = None
    std_itl_ms: Number = None
    p50_itl_ms: Number = None
    p90_itl_ms: Number = None
    p99_itl_ms: Number = None
    # End-to-end latency: until the last chunk with text.
    mean_e2el_ms: Number = None
    median_e2el_ms: Number = None
    std_e2el_ms: Number = None
    p50_e2el_ms: Number = None
    p90_e2el_ms: Number = None
    p99_e2el_ms: Number = None
    median_client_overhead_ms: Number = None  # the client's TTFT minus the engine's own queue time and TTFT
    outliers: tuple[Any, ...] = ()  # documents whose TTFT is more than 3 interquartile ranges outside the quartiles
    # With --save-detailed the arrays `input_lens`, `output_lens`, `cached_tokens`, `ttfts`, `itls`, `latencies`,
    # `start_times`, `generated_texts`, `queue_times` and `errors`, with one entry for every sample: if it does not
    # count, `errors` contains the reason, and its measured values are zero.
