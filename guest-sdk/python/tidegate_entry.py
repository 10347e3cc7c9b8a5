"""The filter world's three exports over the author's functions: one output buffer for a batch."""

import json

from componentize_py_types import Err
from wit_world.imports import types
from wit_world.imports.types import Place, Span, VerdictKind

import filter as own
import tidegate
from tidegate import log

EMPTY = Span(0, 0)


class WitWorld:
    def describe(self) -> types.Description:
        said = own.filter
        schema = "" if said.config_schema is None else json.dumps(said.config_schema)
        return types.Description(said.name, said.version, said.reads, said.emits, said.state_version, schema)

    def init(self, config: str) -> None:
        if not hasattr(own, "init"):
            return
        try:
            own.init(json.loads(config or "{}"))
        except Exception as problem:
            raise Err(str(problem) or type(problem).__name__)

    def process(self, events: list, bytes: bytes) -> types.BatchResult:
        out = Output()
        for record in events:
            try:
                answer = own.process(tidegate.Event(record, bytes))
                # A generator's body runs here.
                answer = answer if isinstance(answer, ANSWERS) else list(answer)
            except Exception as problem:
                answer = tidegate.Error(str(problem) or type(problem).__name__)
            out.add(answer, record)
        return types.BatchResult(out.verdicts, out.emissions, b"".join(out.parts))


ANSWERS = (tidegate.Emit, tidegate.Drop, tidegate.Error, type(None))


class Output:
    def __init__(self) -> None:
        self.verdicts: list = []
        self.emissions: list = []
        self.parts: list = []
        self.length = 0

    def add(self, answer: object, record: types.Event) -> None:
        if isinstance(answer, tidegate.Drop):
            self.verdicts.append(types.Verdict(VerdictKind.DROP, self.text(answer.reason), 0))
        elif isinstance(answer, tidegate.Error):
            self.verdicts.append(types.Verdict(VerdictKind.ERROR, self.text(answer.text), 0))
        else:
            several = answer if isinstance(answer, list) else [answer]
            for one in several:
                self.emit(one, record)
            self.verdicts.append(types.Verdict(VerdictKind.EMIT, EMPTY, len(several)))

    def emit(self, one: object, record: types.Event) -> None:
        if not isinstance(one, tidegate.Emit):
            why = "process returns pass_on, emit, drop or error, or a list of what emit makes"
            # A fault of the filter's code: it ends the instance.
            log.error(why)
            raise TypeError(why)
        inside = one.data is None
        place, data = (Place.INPUT, record.payload) if inside else (Place.OUTPUT, self.append(one.data))
        self.emissions.append(types.Emission(self.text(one.type), self.text(one.companies), place, data))

    def text(self, text: str) -> Span:
        return self.append(text.encode()) if text else EMPTY

    def append(self, data: bytes) -> Span:
        if not data:
            return EMPTY
        span = Span(self.length, len(data))
        self.parts.append(data)
        self.length += len(data)
        return span
