"""A Tidegate filter in Python: a function that sees one event and says what becomes of it.

    from tidegate import Description, Event, pass_on

    filter = Description(name="only-high", version="0.1.0")

    def process(event: Event):
        return pass_on(event)

Nothing here needs a host: a filter's functions can be called by `unittest`, too.
"""

import json as _json
from dataclasses import dataclass, field
from typing import Any, Iterator, List, Optional, Tuple, Union

__all__ = ["Description", "Drop", "Emit", "Error", "Event", "drop", "emit", "emit_json", "error", "pass_on"]


@dataclass(frozen=True)
class Description:
    """What a filter says of itself."""

    name: str
    version: str
    reads: List[str] = field(default_factory=list)
    """Subjects it expects, with `*` and `>` as in NATS; empty: any."""
    emits: List[str] = field(default_factory=list)
    """Event types it may emit; empty: any."""
    state_version: int = 0
    """A new version of the filter that declares another one starts with empty state."""
    config_schema: Optional[dict] = None
    """JSON Schema of its configuration, which the host holds it against."""


class Event:
    """One event. What it hands out is read when it is asked for."""

    __slots__ = ("_record", "_bytes")

    def __init__(self, record: Any, bytes: bytes):
        self._record = record
        self._bytes = bytes

    @staticmethod
    def of(
        subject: str = "test",
        payload: Any = b"",
        sequence: int = 1,
        time_ms: int = 0,
        headers: Optional[dict] = None,
        company: str = "company",
        type: str = "event",
    ) -> "Event":
        """An event for tests; the payload is bytes, text, or a value for JSON."""
        lines = "".join(f"{name}: {value}\n" for name, value in (headers or {}).items())
        data = payload if isinstance(payload, (bytes, str)) else _json.dumps(payload)
        parts = [_bytes_of(part) for part in (subject, lines, company, type, data)]
        spans, at = [], 0
        for part in parts:
            spans.append(_Span(at, len(part)))
            at += len(part)
        return Event(_Record(*spans, sequence, time_ms), b"".join(parts))

    def _slice(self, span: Any) -> bytes:
        return self._bytes[span.offset : span.offset + span.length]

    @property
    def subject(self) -> str:
        """The subject it was published on, such as `metrics.calculated`."""
        return self._slice(self._record.subject).decode()

    @property
    def sequence(self) -> int:
        """Its sequence in the source."""
        return self._record.sequence

    @property
    def time_ms(self) -> int:
        """Its time in the source, in milliseconds since 1970: the only clock a filter has."""
        return self._record.time_ms

    @property
    def company(self) -> str:
        """The company."""
        return self._slice(self._record.company).decode()

    @property
    def type(self) -> str:
        """The event type; empty until a filter has decided it."""
        return self._slice(self._record.event_type).decode()

    @property
    def payload(self) -> bytes:
        """The payload: any bytes."""
        return self._slice(self._record.payload)

    @property
    def headers(self) -> List[Tuple[str, str]]:
        """All headers in their order, as name and value."""
        lines = self._slice(self._record.headers).decode().split("\n")
        pairs = (line.partition(":") for line in lines if ":" in line)
        return [(name.strip(), value.strip()) for name, _, value in pairs]

    def header(self, name: str) -> Optional[str]:
        """The first header of that name, whatever its case."""
        wanted = name.lower()
        return next((value for other, value in self.headers if other.lower() == wanted), None)

    def text(self) -> str:
        """The payload as text; raises ValueError where it is no UTF-8."""
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            raise ValueError(f"the payload is no UTF-8 ({self.subject}, sequence {self.sequence})") from None

    def json(self) -> Any:
        """The payload as JSON; raises ValueError where it is none."""
        text = self.text()
        try:
            return _json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as problem:
            raise ValueError(f"not JSON: {problem} ({self.subject}, sequence {self.sequence})") from None


@dataclass(frozen=True)
class Emit:
    """Passed on: see `emit`."""

    type: str
    data: Optional[bytes]
    """None: the event's own payload."""
    companies: str = ""

    def to(self, *companies: str) -> "Emit":
        """For platform filters: the companies it goes to."""
        return Emit(self.type, self.data, ",".join(companies))


@dataclass(frozen=True)
class Drop:
    """Not passed on: see `drop`."""

    reason: str


@dataclass(frozen=True)
class Error:
    """Can't be handled: see `error`."""

    text: str


Verdict = Union[Emit, Drop, Error, List[Emit], Iterator[Emit]]


def pass_on(event: Event, type: str = "") -> Emit:
    """Passed on unchanged, with this type or its own; the payload is not copied."""
    return Emit(type, None)


def emit(type: str, data: Union[bytes, str]) -> Emit:
    """Passed on with this type and data, bytes or text; an empty type keeps the event's own. For several return a list."""
    return Emit(type, _bytes_of(data))


def emit_json(type: str, value: Any) -> Emit:
    """Passed on with this type and a value as JSON."""
    return emit(type, _json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def drop(reason: str = "") -> Drop:
    """Not passed on; the reason is for those who ask what became of the event."""
    return Drop(reason)


def error(text: str) -> Error:
    """Can't be handled: a dead letter with this text, unless the deployer chose otherwise. What a filter raises is the same."""
    return Error(str(text))


@dataclass(frozen=True)
class _Span:
    offset: int
    length: int


@dataclass(frozen=True)
class _Record:
    subject: _Span
    headers: _Span
    company: _Span
    event_type: _Span
    payload: _Span
    sequence: int
    time_ms: int


def _bytes_of(data: Union[bytes, str]) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError("data is bytes or text; emit_json takes values")


def _no_constant(name: str) -> Any:
    # Python's own reader takes NaN and Infinity, which are no JSON.
    raise ValueError(f"{name} is no value")
