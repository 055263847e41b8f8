"""What the kernel knows of a connection and asyncio does not tell."""

import asyncio
import fcntl
import socket
import struct
import termios

_INT = struct.Struct("i")
_TCP_CLOSE = 7  # of the states in Linux's tcp_states.h


def unsent(transport: asyncio.Transport) -> int:
    """Octets that were written and that the peer's host has not taken yet, in the loop's buffer and the kernel's."""
    waiting = transport.get_write_buffer_size()
    if waiting:
        return waiting
    connection = transport.get_extra_info("socket")
    try:
        # SIOCOUTQ of Linux has the number of the terminals' TIOCOUTQ.
        return int(_INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0])
    except OSError:  # the connection is gone, or this kernel does not tell: then nothing is waited for
        return 0


def is_reset(transport: asyncio.Transport) -> bool:
    """Whether a RST has come on a connection that is not read. What it holds can still be read, then the error."""
    if transport.is_closing():
        return False
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_INFO"):
        state: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] == _TCP_CLOSE
    error: int = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return error != 0
