"""What a filter remembers for its company: keys and values, committed together with what it emits.

Outside a host it is a dictionary, `entries`, that a test may look into.
"""

import json as _json
from typing import Any, Dict, List, Optional, Tuple, Union

from . import _bytes_of

try:
    import wit_world as _world
except ImportError:
    _host = None
else:
    # Never a dictionary in a host: a filter's world has state, or this fails while it is built.
    from componentize_py_types import Err as _Err
    from wit_world.imports import state as _host

entries: Dict[str, bytes] = {}


class QuotaExceeded(Exception):
    """Nothing was written; the text says what would have been too much."""


def get(key: str) -> Optional[bytes]:
    """The bytes of a key."""
    return entries.get(key) if _host is None else _host.get(key)


def get_text(key: str) -> Optional[str]:
    """The text of a key."""
    value = get(key)
    return None if value is None else value.decode()


def get_json(key: str) -> Any:
    """The value of a key that was kept as JSON; None where there is no such key."""
    value = get(key)
    return None if value is None else _json.loads(value)


def set(key: str, value: Union[bytes, str]) -> None:
    """Sets a key to bytes or text; raises QuotaExceeded, and nothing is written then."""
    if _host is None:
        entries[key] = _bytes_of(value)
        return
    try:
        _host.set(key, _bytes_of(value))
    except _Err as problem:
        raise QuotaExceeded(problem.value) from None


def set_json(key: str, value: Any) -> None:
    """Sets a key to a value as JSON."""
    set(key, _json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def delete(key: str) -> None:
    """Removes a key, if it is there."""
    if _host is None:
        entries.pop(key, None)
    else:
        _host.delete(key)


def scan(prefix: str, limit: int) -> List[Tuple[str, bytes]]:
    """Keys that start with `prefix` and their bytes, in the order of the keys, at most `limit` of them."""
    if _host is None:
        return [(key, entries[key]) for key in sorted(entries) if key.startswith(prefix)][:limit]
    return [(entry.key, entry.value) for entry in _host.scan(prefix, limit)]
