"""Ports that are chosen before somebody listens there, or that are listened at again after a restart.

Called by `lab.monitoring.host`, `lab.operator`, `lab.jenkins.server` and the tests. Who can bind to port 0 and tell where that was needs none of this.
"""

from __future__ import annotations

import socket


def hold_port(address: str) -> int:
    """A port of `address` that is ours until this process ends.

    It is held by a socket that is bound and does not listen: a client is refused, no other program gets the port for an outgoing connection or by
    binding to port 0, and a server that sets SO_REUSEADDR (asyncio's, Go's and OpenSSH's do) can listen there, again and again (socket(7)). A port
    that is only looked up is another's in the moment before it is bound, and after each restart.
    """
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address, 0))
        port: int = held.getsockname()[1]
    except OSError:
        held.close()
        raise
    held.detach()  # the descriptor stays open, and nobody's collector closes it
    return port
