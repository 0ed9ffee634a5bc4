"""A port that is held: nobody else gets it, before, between and after the times at which somebody listens there."""

from __future__ import annotations

import socket

import pytest

from lab.ports import hold_port

HOST = "127.0.0.1"


def refused(port: int) -> bool:
    with socket.socket() as client:
        try:
            client.connect((HOST, port))
        except ConnectionRefusedError:
            return True
        return False


def test_servers_come_and_go_there_and_no_other_program_gets_it() -> None:
    port = hold_port(HOST)
    for _ in range(3):
        assert refused(port)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))  # as a connection that goes out would
        with socket.create_server((HOST, port)) as server, socket.create_connection((HOST, port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the server's end first: its side of the connection lingers
            assert client.recv(1) == b""


def test_each_is_another() -> None:
    ports = [hold_port(HOST) for _ in range(50)]
    assert len(set(ports)) == 50
