# SPDX-License-Identifier: Apache-2.0
"""Somebody who talks to a server of `millrace bench`, and hears how that ends."""
import socket

SECONDS = 10


def connect(port):
    return socket.create_connection(('127.0.0.1', port), SECONDS)


def ending(connection):
    """(all that the server says, how it ends: closed, reset, or open when nothing more happens)."""
    got = b''
    try:
        while data := connection.recv(1 << 20):
            got += data
        return got, 'closed'
    except TimeoutError:
        return got, 'open'
    except ConnectionError:
        return got, 'reset'


def say(port, data):
    """Whether it listens to the end or not; the ending."""
    with connect(port) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass
        return ending(connection)
