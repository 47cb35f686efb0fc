"""Tells programs on this machine by mDNS where the bridge is: DNS-SD of OSC and of OSCQuery.

Needs python-zeroconf, so this module is imported by those who ask for it only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from segue.bridge.osc.oscquery import host_name
from segue.bridge.osc.udp_port import HOST

# OSC 1.1, 5.2, and OSCQuery's; the second is HTTP on the TCP port of the same number.
TYPES = ("_osc._udp.local.", "_oscjson._tcp.local.")

LOGGER = logging.getLogger("segue.bridge")


class OwnMachine(zeroconf.Zeroconf):
    """Speaks on loopback alone.

    The bridge listens there and nowhere else, and other machines would take 127.0.0.1 for
    themselves. Their questions arrive all the same, where another program has joined the group on
    a network (Linux), and would be answered directly.
    """

    def __init__(self) -> None:
        super().__init__(interfaces=[HOST])

    def async_send(self, out: Any, addr: str | None = None, *rest: Any, **more: Any) -> None:
        """Part of Zeroconf: to the group (on loopback), or as an answer to `addr`."""
        if addr in (None, HOST):
            super().async_send(out, addr, *rest, **more)


def services(port: int) -> list[AsyncServiceInfo]:
    """What is announced; ports differ, and so do the names of two bridges."""
    return [
        AsyncServiceInfo(
            kind,
            f"Segue {port}.{kind}",
            port=port,
            addresses=[socket.inet_aton(HOST)],
            server=f"{host_name(port)}.",
            properties={"txtvers": "1"},
        )
        for kind in TYPES
    ]


async def announce(port: int) -> None:
    """Announce the bridge on `port` until cancelled, then withdraw that; what fails is logged."""
    try:
        responder = AsyncZeroconf(zc=OwnMachine())
        try:
            found_free = [responder.async_register_service(each) for each in services(port)]
            await asyncio.gather(*await asyncio.gather(*found_free))
            await asyncio.Event().wait()
        finally:
            await responder.async_close()
    except Exception as error:
        LOGGER.warning("not announced by mDNS: %s: %s", type(error).__name__, error)
