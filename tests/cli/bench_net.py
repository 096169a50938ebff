# SPDX-License-Identifier: Apache-2.0
"""The other ends that `millrace bench net` may meet.

    bench_net.py garbage PORT     talks nonsense to a `bench net --serve`; prints how each connection ended
    bench_net.py http             a server that answers as HTTP would; prints its port, and serves one after the other
    bench_net.py version N        one that says that it speaks version N of bench net, and says it again whatever is asked
"""
import random
import socket
import struct
import sys

sys.dont_write_bytecode = True
import stranger  # noqa: E402


def frame(body):
    return struct.pack('>i', len(body)) + body


def header(key, version, flexible):
    """A request's: correlation id 7, no client id, no tags."""
    return struct.pack('>hhih', key, version, 7, -1) + (b'\0' if flexible else b'')


def garbage(port):
    dice = random.Random(4711)
    fetch, produce = header(1, 12, True), header(0, 9, True)
    nonsense = {
        'http': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        'random': dice.randbytes(100_000),
        'zeros': bytes(1000),
        'a length of 2 GiB': b'\x7f\xff\xff\xff' + bytes(100),
        'a negative length': b'\xff\xff\xff\xff' + bytes(100),
        'a message above 1 MiB': frame(produce + bytes((1 << 20) + 1024)),
        'a fetch of nothing': frame(fetch + struct.pack('>i', 0)),
        'a fetch of too much': frame(fetch + struct.pack('>i', (1 << 20) + 1)),
        'a fetch without a number': frame(fetch),
        'another key': frame(header(3, 12, True) + bytes(8)),
        'another version': frame(header(0, 8, False) + bytes(8)),
    }
    for name, data in nonsense.items():
        got, end = stranger.say(port, data)
        print(f'{name}: {end}' if end == 'reset' else f'{name}: {end} after {len(got)}')
    # Who asks and never reads, and who says half of it and leaves, costs nothing that lasts.
    for _ in range(4):
        with stranger.connect(port) as connection:
            connection.settimeout(0.2)
            try:
                connection.sendall(frame(fetch + struct.pack('>i', 1 << 20)) * 1000)
            except (TimeoutError, ConnectionError):
                pass
    with stranger.connect(port) as connection:
        connection.sendall(frame(produce + bytes(1 << 20))[:500_000])
    # A crowd: those above the limit wait, and come in when the others have gone.
    crowd = [stranger.connect(port) for _ in range(40)]
    for connection in crowd:
        connection.sendall(frame(produce + bytes(100)))
    for connection in crowd:
        got = len(connection.recv(1000))
        connection.close()
        if got != 4 + 4 + 1 + 64:
            print(f'one of the crowd: {got} bytes')


def serve(answer):
    """answer(data): what to say to that."""
    listener = socket.create_server(('127.0.0.1', 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        with listener.accept()[0] as connection:
            try:
                while data := connection.recv(1000):  # one request at a time
                    connection.sendall(answer(data))
            except ConnectionError:
                pass


def hello(correlation, version):
    """ApiVersions 3 and on: the keys that bench net uses, and its feature in the first tag."""
    keys = b''.join(struct.pack('>hhhb', key, least, most, 0) for key, least, most in ((0, 9, 9), (1, 12, 12), (18, 0, 4)))
    name = b'millrace.bench.net'
    feature = b'\x02' + bytes([len(name) + 1]) + name + struct.pack('>hhb', 1, version, 0)
    tags = b'\x01\x00' + bytes([len(feature)]) + feature
    return frame(struct.pack('>ihb', correlation, 0, 4) + keys + struct.pack('>i', 0) + tags)


if __name__ == '__main__':
    match sys.argv[1:]:
        case ['garbage', port]:
            garbage(int(port))
        case ['http']:
            serve(lambda data: b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')
        case ['version', number]:
            serve(lambda data: hello(struct.unpack('>i', data[8:12])[0], int(number)))
