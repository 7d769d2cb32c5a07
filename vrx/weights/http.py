"""The Hub client's HTTP session, its exceptions, and the one line they become."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import huggingface_hub
from huggingface_hub import constants

from vrx import __version__
from vrx.errors import ModelError

HEAD_TIMEOUT = (4.0, 8.0, 8.0, 8.0)  # to connect, to read, to write, to get a free connection
QUERY_SECONDS = 12.0  # seconds for a query with all its redirects and retries
MAX_PAGE = 4_000_000  # bytes that are read of a page for people
READ_SECONDS = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)  # without a single byte, while a file arrives
IMPORT = "vrx models import MODEL FILE"  # names are put in where they are known
RETRY = f"Check the network and run again (downloads resume), or add the file yourself: {IMPORT}"
UNSET = f"Unset it to download, or add the file yourself: {IMPORT}"


class UnavailableError(ModelError):
    """A server that cannot be reached, or does not send a file; `link` is the file's page for people, if any."""

    def __init__(self, message: str, hint: str = "", link: str = "") -> None:
        super().__init__(message, hint)
        self.link = link


def session() -> Any:
    """`huggingface_hub`'s HTTP client, with its proxies, certificates and offline mode."""
    return huggingface_hub.get_session()


def request_headers() -> dict[str, str]:
    """The headers of every request.  Not the Hub client's own, which queries the Hub about agents first."""
    return {"User-Agent": f"vrx/{__version__}", "Accept-Encoding": "identity"}


def offline() -> bool:
    """Whether the user has turned the network off for all of the Hub's tools."""
    return bool(constants.HF_HUB_OFFLINE)


def network_exceptions() -> tuple[type[Exception], ...]:
    """What the HTTP client raises when the network fails; the library below it has changed more than once."""
    client = type(session())
    bases = {
        base
        for name in ("HTTPError", "TransportError", "InvalidURL")
        if (base := find_exception(client.__module__, name))
    }
    return (*bases, OSError)


def find_exception(module: str, name: str) -> type[Exception] | None:
    """A class that the package of `module` exports."""
    found = getattr(sys.modules.get(module.split(".", maxsplit=1)[0]), name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


@contextmanager
def network_errors(what: object, server: str) -> Iterator[None]:
    """Failures of the network, while `what` is requested from `server`, as one clear line.  Raises UnavailableError."""
    if offline():
        raise UnavailableError(f"{what} is not on this machine, and HF_HUB_OFFLINE is set", UNSET)
    try:
        yield
    except ModelError:
        raise
    except network_exceptions() as error:
        raise UnavailableError(f"cannot download {what} from {server}: {describe(error)}", RETRY) from error


def describe(error: Exception) -> str:
    """The first line of an exception's message, without the full stop: more text follows it."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def read_page(response: Any) -> str:
    """The text of a response, its beginning if it is long."""
    content = b""
    for block in response.iter_bytes():
        content += block
        if len(content) > MAX_PAGE:
            break
    return content[:MAX_PAGE].decode("utf-8", errors="replace")
