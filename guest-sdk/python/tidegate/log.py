"""Lines for the host's log, bounded in rate. Outside a host nothing is written."""

try:
    from wit_world.imports import log as _host
except ImportError:
    _host = None


def _write(level: str, line: object) -> None:
    if _host is not None:
        _host.write(getattr(_host.Level, level), str(line))


def debug(line: object) -> None:
    _write("DEBUG", line)


def info(line: object) -> None:
    _write("INFO", line)


def warn(line: object) -> None:
    _write("WARN", line)


def error(line: object) -> None:
    _write("ERROR", line)
