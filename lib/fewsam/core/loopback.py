"""Addresses that only this machine reaches, and what to say of all others."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` is reached from this machine alone."""
    if host.strip("[]").casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def open_to_all(what: str, host: str, remedy: str) -> str:
    """The warning that ``what`` listens on ``host`` with nobody asked who they are."""
    return (
        f"WARNING: {what} listens on {host} without authentication: everybody who reaches this machine can read the "
        f"images and change the labels. {remedy[0].upper()}{remedy[1:]}."
    )
