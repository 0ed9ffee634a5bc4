"""One ICMP echo (RFC 792), by whichever socket this process may open. Called by `probe`.

A "ping socket" needs no privilege, but net.ipv4.ping_group_range must name the process's group (by default it names none); a raw socket
needs CAP_NET_RAW. On a ping socket the kernel sets identifier and checksum and hands over ICMP alone; a raw socket hands over the IP
header too, and everything that comes from the peer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from ipaddress import IPv4Address

from vmscaler.ports.errors import Rejected

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
# Linux: a raw socket lets nothing but the types whose bit is 0 pass (linux/icmp.h).
_SOL_RAW, _ICMP_FILTER = 255, 1
_MOST_AT_ONCE = 1000
_HINT = "give it CAP_NET_RAW or a group within net.ipv4.ping_group_range, or take ICMP out of the Site's addressProbes.methods"


async def echo(address: str, timeout: float) -> bool:
    """Whether `address` (IPv4) answers within `timeout` seconds. Raises Rejected(IcmpNotPermitted), OSError."""
    with _socket() as probe:
        loop = asyncio.get_running_loop()
        identifier, payload = os.getpid() & 0xFFFF, os.urandom(16)
        readable = asyncio.Event()
        loop.add_reader(probe, readable.set)
        try:
            async with asyncio.timeout(timeout):
                # Not the loop's sock_connect, which would look the address up as a service's; this connect waits for nothing.
                probe.connect((str(IPv4Address(address)), 0))
                await loop.sock_sendall(probe, request(identifier, payload))
                while not _answered(probe, payload):
                    readable.clear()
                    await readable.wait()
            return True
        except TimeoutError:
            # This process may itself have been kept waiting, and then finds the answer and the deadline at once: that is no silence.
            return _answered(probe, payload)
        except PermissionError as error:
            # The socket is there; a firewall of this host, or an address for broadcasts, does not let the packet out.
            raise Rejected("network", "IcmpNotPermitted", f"this host may not send ICMP to {address}: {_HINT}") from error
        finally:
            loop.remove_reader(probe)


def _answered(probe: socket.socket, payload: bytes) -> bool:
    """Whether our echo is among what has come; takes it. Raises OSError."""
    for _ in range(_MOST_AT_ONCE):
        try:
            packet = probe.recv(1024)
        except BlockingIOError:
            return False
        if probe.type == socket.SOCK_RAW:
            packet = packet[4 * (packet[0] & 0x0F) :]
        # The random payload tells this echo from other processes' and from an earlier one's late answer.
        if packet[:1] == bytes([_ECHO_REPLY]) and packet[8:] == payload:
            return True
    return False


def _socket() -> socket.socket:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            found = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except PermissionError:
            continue
        found.setblocking(False)
        if kind == socket.SOCK_RAW:
            found.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~(1 << _ECHO_REPLY) & 0xFFFFFFFF))
        return found
    raise Rejected("network", "IcmpNotPermitted", f"this process may not send ICMP: {_HINT}")


def request(identifier: int, payload: bytes) -> bytes:
    """An echo request with its checksum (RFC 1071); `payload` of an even length."""
    header = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, 1)
    total = sum(struct.unpack(f"!{len(header + payload) // 2}H", header + payload))
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum, identifier, 1) + payload
