"""What the kernel knows of a connection and asyncio does not tell."""

import asyncio
import fcntl
import socket
import struct
import termios

_INT = struct.Struct("i")


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


def error_of(transport: asyncio.Transport | None) -> int:
    """The error number that waits on a connection that is no longer read, 0 where there is none."""
    if transport is None or transport.is_closing():
        return 0
    connection = transport.get_extra_info("socket")
    error: int = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return error
