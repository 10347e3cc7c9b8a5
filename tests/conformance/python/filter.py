"""The filter of the conformance suite, in Python: the header `do` says what becomes of an event."""

from tidegate import Description, Event, drop, emit, emit_json, error, log, pass_on, state

filter = Description(name="conformance", version="1.0.0", state_version=1)

tag = "none"
most = 3


def init(config):
    global tag, most
    tag, most = "none", 3
    for key, value in config.items():
        if key == "tag":
            if not isinstance(value, str):
                raise ValueError("configuration: `tag` must be text")
            tag = value
        elif key == "most":
            if type(value) is not int or not 0 <= value <= 100:
                raise ValueError("configuration: `most` must be a whole number from 0 to 100")
            most = value
        else:
            raise ValueError(f"configuration: unknown field `{key}`")


def keep(event):
    return emit("", event.payload[1:]) if event.payload else error("empty")


def mapped(event):
    value = {
        "subject": event.subject,
        "sequence": event.sequence,
        "time": event.time_ms,
        "company": event.company,
        "type": event.type,
        "bytes": len(event.payload),
        "tag": tag,
    }
    return emit("mapped", b"map " + emit_json("", value).data)


def split(event):
    lines = [line for line in event.payload.split(b"\n") if line]
    return [emit("line", line) for line in lines] if len(lines) <= most else error(f"more than {most} lines")


def several(event):
    yield emit("a", event.payload)
    yield pass_on(event)
    yield emit("b", "")


def picked(event):
    try:
        value = event.json()
    except ValueError:
        return error("not JSON")
    user = value.get("user") if isinstance(value, dict) else None
    name = user.get("name") if isinstance(user, dict) else None
    return emit("name", name) if isinstance(name, str) else error("no /user/name")


def reverse(event):
    try:
        return emit("reversed", event.text()[::-1])
    except ValueError:
        return error("no UTF-8")


def count(event):
    key = f"count/{event.subject}"
    number = (state.get_json(key) or 0) + 1
    state.set_json(key, number)
    return emit("count", str(number))


def forget(event):
    state.delete(f"count/{event.subject}")
    return emit("forgotten", "")


def listed(event):
    return emit("list", b"".join(key.encode() + b"=" + value + b";" for key, value in state.scan("count/", most)))


def put(event):
    state.set(event.header("key") or "", event.payload)
    return drop("put")


def peek(event):
    value = state.get(event.header("key") or "")
    return drop("nothing kept") if value is None else emit("kept", value)


def logged(event):
    log.info(event.payload.decode(errors="replace"))
    log.warn(tag)
    return drop("logged")


DOES = {
    "": lambda event: drop(),
    "pass": pass_on,
    "keep": keep,
    "map": mapped,
    "drop": lambda event: drop(event.header("reason") or ""),
    "error": lambda event: error(event.header("text") or "no text"),
    "split": split,
    "several": several,
    "nothing": lambda event: [],
    "json": picked,
    "headers": lambda event: emit("headers", "".join(f"{name}={value};" for name, value in event.headers)),
    "echo": lambda event: emit(event.header("type") or "", event.payload + tag.encode()),
    "hex": lambda event: emit("hex", event.payload.hex()),
    "reverse": reverse,
    "count": count,
    "forget": forget,
    "list": listed,
    "put": put,
    "peek": peek,
    "log": logged,
}


def process(event: Event):
    what = event.header("do") or ""
    does = DOES.get(what)
    return does(event) if does is not None else error(f"unknown: {what}")
