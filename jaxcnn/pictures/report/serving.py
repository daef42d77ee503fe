"""A report that follows trainings, served on this machine alone."""

import http.server
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from jaxcnn.errors import UserError
from jaxcnn.pictures.report.page import page
from jaxcnn.pictures.report.run import read_runs
from jaxcnn.pictures.report.seen import Seen, look, stamp

LOOPBACK = "127.0.0.1"
"""The address of this machine that no other reaches."""
NAMES = (LOOPBACK, "localhost")
"""The names by which the page may be asked for, so that no page of another name can read it through this one."""


class Followed:
    """The page of runs that go on, made anew when something of them has changed and somebody asks.

    Args:
        folders: the run folders.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self._folders = folders
        self._paths = [run.folder for run in read_runs(folders)]
        self._stamp: tuple[object, ...] | None = None
        self._seen: list[Seen] = []
        self._text = ""
        self._lock = threading.Lock()

    def text(self) -> str:
        """Returns the page as the runs are now; what is measured is left to the trainings themselves.

        Raises:
            UserError: a folder is no run folder any more.
        """
        with self._lock:
            now = tuple(stamp(path) for path in self._paths)
            if now != self._stamp:
                runs = read_runs(self._folders)
                before = self._seen or [None] * len(runs)
                self._seen = [look(run, measure=False, before=old) for run, old in zip(runs, before, strict=True)]
                self._text = page(runs, self._seen, watched=True)
                self._stamp = now
            return self._text


def server_of(text: Callable[[], str], port: int) -> http.server.ThreadingHTTPServer:
    """Returns a server of one page, which only this machine reaches; ``serve_forever`` starts it.

    Args:
        text: returns the page.
        port: the port; 0 for any that is free.

    Raises:
        UserError: the port is taken, or must not be used.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host not in NAMES:
                self.send_error(HTTPStatus.FORBIDDEN, "This page is for this machine alone")
                return
            if self.path.partition("?")[0] != "/":
                self.send_error(HTTPStatus.NOT_FOUND, "There is one page, /")
                return
            try:
                body = text().encode()
            except (UserError, OSError):
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "The run cannot be read at the moment")
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Prints nothing: a page that follows a training asks every few seconds."""

    try:
        return http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or "it is no port"
        raise UserError(f"port {port} cannot be used ({said}): choose another --port") from None
