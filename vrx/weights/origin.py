"""The origin of an address: decided on its parsed scheme, host and port, never on how its text begins."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
AMBIGUOUS = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f]")  # parsers disagree about where the host ends


@dataclass(frozen=True)
class Origin:
    """Scheme, host in lower case, and port; the scheme's default port where the address has none."""

    scheme: str
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def private(self) -> bool:
        """Whether the connection is private: https, or this machine itself."""
        return self.scheme == "https" or self.loopback


def origin(address: str) -> Origin | None:
    """The origin of an absolute http or https address; None for anything else.

    None also where a user name or odd characters could make two parsers see two hosts.
    """
    if AMBIGUOUS.search(address):
        return None
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return Origin(parts.scheme, parts.hostname.lower(), DEFAULT_PORTS[parts.scheme] if port is None else port)


def same_server(address: str, server: str) -> bool:
    """Whether an address leads to `server`: the same origin, or the same host upgraded from http to https."""
    base, target = origin(server), origin(address)
    if base is None or target is None:
        return False
    upgraded = Origin("https", base.host, DEFAULT_PORTS["https"])
    return target == base or (base == Origin("http", base.host, DEFAULT_PORTS["http"]) and target == upgraded)


def may_have_token(address: str, server: str) -> bool:
    """Whether the token for `server` may be sent to an address: to that server alone, and never unencrypted."""
    target = origin(address)
    return target is not None and target.private and same_server(address, server)


def is_private(address: str) -> bool:
    """Whether an address is https, or plain http to this machine."""
    target = origin(address)
    return target is not None and target.private
