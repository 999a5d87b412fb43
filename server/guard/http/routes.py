"""The calls that pass: methods and paths of KServe v2 and of Triton's extensions of it."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from server.guard.descriptions import check_name
from server.guard.refusal import closed, invalid, not_found, wrong_method
from server.guard.settings import GuardSettings

_MAX_CACHED = 1024


class Call(Enum):
    """What is done with the body of a call."""

    INFER = "infer"  # a request for inference, as KServe v2 has it
    GENERATE = "generate"  # the same as a flat JSON object
    STREAM = "generate_stream"  # the same, with any number of answers
    SETTINGS = "settings"  # a JSON object for the server itself
    NOTHING = "nothing"  # there is none


class Route(NamedTuple):
    """A call, and the request line that Triton gets for it."""

    call: Call
    line: bytes  # with its line end
    model: str = ""
    version: str = ""


_MODEL = r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
_REGION = r"(?:/region/(?P<region>[^/]+))?"


class _Pattern(NamedTuple):
    path: re.Pattern[str]
    method: str
    call: Call
    setting: str = ""  # what has to be on for it
    what: str = ""  # the call in words


def _pattern(path: str, method: str, call: Call, setting: str = "", what: str = "") -> _Pattern:
    return _Pattern(re.compile(path), method, call, setting, what)


_PATTERNS = (
    _pattern(rf"{_MODEL}/infer", "POST", Call.INFER),
    _pattern(rf"{_MODEL}/generate", "POST", Call.GENERATE),
    _pattern(rf"{_MODEL}/generate_stream", "POST", Call.STREAM),
    _pattern(r"/v2/health/(?:live|ready)", "GET", Call.NOTHING),
    _pattern(r"/v2", "GET", Call.NOTHING),
    _pattern(r"/v2/models/stats", "GET", Call.NOTHING),
    _pattern(rf"{_MODEL}(?:/(?:ready|config|stats))?", "GET", Call.NOTHING),
    _pattern(
        r"/v2/repository/index",
        "POST",
        Call.SETTINGS,
        "MODEL_CONTROL=explicit",
        "the list of models",
    ),
    *(
        _pattern(
            rf"/v2/repository/models/(?P<model>[^/]+)/{action}",
            "POST",
            Call.SETTINGS,
            "MODEL_CONTROL=explicit",
            "loading and unloading models",
        )
        for action in ("load", "unload")
    ),
    *(
        _pattern(
            rf"/v2/{kind}sharedmemory{_REGION}/{action}",
            "GET" if action == "status" else "POST",
            Call.NOTHING if action == "status" else Call.SETTINGS,
            "SHARED_MEMORY=on",
            "shared memory",
        )
        for kind in ("system", "cuda")
        for action in ("status", "register", "unregister")
    ),
    *(
        _pattern(path, method, call, "TRACE_CONTROL=on", "the trace settings")
        for path in (r"/v2/trace/setting", rf"{_MODEL}/trace/setting")
        for method, call in (("GET", Call.NOTHING), ("POST", Call.SETTINGS))
    ),
    *(
        _pattern(r"/v2/logging", method, call, "LOG_CONTROL=on", "the log settings")
        for method, call in (("GET", Call.NOTHING), ("POST", Call.SETTINGS))
    ),
)
_PLAIN = re.compile(rb"[A-Za-z0-9_.,+=@~/-]+")


class Routes:
    """Finds the call of a method and path.

    Args:
        settings: They say which calls are open.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._open = {
            "",
            f"MODEL_CONTROL={settings.model_control}",
            f"SHARED_MEMORY={settings.shared_memory}",
            f"TRACE_CONTROL={settings.trace_control}",
            f"LOG_CONTROL={settings.log_control}",
        }
        self._found: dict[tuple[bytes, bytes], Route] = {}

    def find(self, method: bytes, target: bytes) -> Route:
        """Finds what a request line asks for.

        Args:
            method: Its method.
            target: Its path, as it was sent.

        Raises:
            Refusal: There is no such call (404), it takes another method (405), it is closed
                (403), or the path has what no call needs (400).
        """
        route = self._found.get((method, target))
        if route is None:
            route = self._match(method, target)
            if len(self._found) < _MAX_CACHED:
                self._found[method, target] = route
        return route

    def _match(self, method: bytes, target: bytes) -> Route:
        if not _PLAIN.fullmatch(target):
            raise invalid(
                "the path has a query or letters that no call needs: it may have letters, "
                "digits, and _ . , + = @ ~ - /"
            )
        path, verb = target.decode("ascii"), method.decode("ascii")
        methods: list[str] = []
        for pattern in _PATTERNS:
            match = pattern.path.fullmatch(path)
            if match is None:
                continue
            if pattern.method == verb:
                return self._route(pattern, match, verb, path)
            methods.append(pattern.method)
        if methods:
            raise wrong_method(f"Method Not Allowed: {path[:100]} takes {' or '.join(methods)}")
        raise not_found("Not Found")

    def _route(self, pattern: _Pattern, match: re.Match[str], verb: str, path: str) -> Route:
        if pattern.setting not in self._open:
            raise closed(pattern.what, pattern.setting)
        groups = match.groupdict()
        model, version = groups.get("model") or "", groups.get("version") or ""
        if model:
            check_name(model, version)
        return Route(pattern.call, f"{verb} {path} HTTP/1.1\r\n".encode(), model, version)
