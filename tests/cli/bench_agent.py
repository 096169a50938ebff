# SPDX-License-Identifier: Apache-2.0
"""Whom `millrace bench agent` and `millrace bench produce --agents` may meet.

    bench_agent.py garbage PORT FILE   talks nonsense to an agent whose token is in FILE; prints what came of each
    bench_agent.py liar KIND           an agent that is none; prints its port and serves once. KIND: lies, leaves, garbage, long, refuses
"""
import json
import random
import socket
import sys
import time

sys.dont_write_bytecode = True
import stranger  # noqa: E402

SERVERS = ['bootstrap-server', '127.0.0.1:1']


def line(**message):
    return json.dumps(message).encode() + b'\n'


def told(got, end):
    """How it ends, and what the agent says before."""
    texts = [json.loads(said).get('text', json.loads(said)['type']).strip() for said in got.splitlines()]
    return f'{end}: {"; ".join(texts)}'


def strangers(token):
    return {
        'http': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        'random': random.Random(4711).randbytes(100_000),
        'a line without an end': b'{' * 600,
        'no object': b'[]\n',
        'no type': b'{}\n',
        'a plan at once': line(type='plan', topic='t', index=0, count=1, options=[]),
        'no token': line(type='hello', protocol=1),
        'another token': line(type='hello', protocol=1, token='x' * len(token)),
        'a part of the token': line(type='hello', protocol=1, token=token[:-1]),
        'a token and more': line(type='hello', protocol=1, token=token + 'x'),
        'a token that is a number': line(type='hello', protocol=1, token=1),
        'another protocol': line(type='hello', protocol=2, token=token),
    }


def plans():
    good = {'type': 'plan', 'topic': 't', 'index': 0, 'count': 1, 'options': [SERVERS]}
    wrong = {
        'no topic': {'topic': None},
        'a topic that rings': {'topic': 'a\a'},
        'part 1 of 1': {'index': 1},
        'part -1': {'index': -1},
        'of 65': {'count': 65},
        'of none': {'count': 0},
        'options that are none': {'options': 'rate'},
        'an option alone': {'options': ['rate']},
        'three words': {'options': [['rate', '1', '2']]},
        'a number': {'options': [['rate', 1]]},
        'too many options': {'options': [['seed', '1']] * 65},
        'an empty setting, to make the topic an option': {'options': [['setting', '']], 'topic': f'--out={__file__}.out'},
        'a long value': {'options': [['seed', '1' * 5000]]},
        **{f'--{name}': {'options': [[name, 'x']]}
           for name in ('out', 'hgrm', 'disturb', 'agents', 'token-file', 'broker-pid', 'help', 'x=y', '', 'rate=1')},
    }
    return {name: json.dumps(good | change).encode() + b'\n' for name, change in wrong.items()}


def trickle(port):
    """Who never ends a line has no more time for it than who says nothing."""
    began = time.monotonic()
    with socket.create_connection(('127.0.0.1', port), 0.1) as connection:
        while time.monotonic() < began + 9:
            try:
                connection.sendall(b'{')
                return json.loads(connection.recv(1 << 10))['text']
            except TimeoutError:
                pass
    return 'is heard for 9 s'


def garbage(port, token):
    for name, data in strangers(token).items():
        print(f'{name}: {told(*stranger.say(port, data))}')
    for name, data in {**plans(), 'another word': line(type='go', at_ns=1), 'half a megabyte': b' ' * (600 << 10)}.items():
        print(f"known, {name}: {told(*stranger.say(port, line(type='hello', protocol=1, token=token) + data))}")
    # A crowd that says nothing makes room for who comes later, and is shown the door after five seconds.
    crowd = [stranger.connect(port) for _ in range(40)]
    with stranger.connect(port) as connection:
        connection.sendall(line(type='hello', protocol=1, token=token))
        print('behind the crowd:', json.loads(connection.makefile().readline())['type'])
    began = time.monotonic()
    print(f'a byte now and then: {trickle(port)}')
    for connection in crowd:
        if stranger.ending(connection)[1] == 'open':
            print('one of the crowd is still there')
        connection.close()
    if not 3 < time.monotonic() - began < 9:
        print(f'the crowd was there for {time.monotonic() - began:.1f} s')


LIES = {'type': 'end', 'measured_ns': 10 ** 9, 'connections': 1, 'errors': [],
        **dict.fromkeys(('records', 'bytes', 'rate_records', 'rate_bytes', 'rate_requests', 'arrived', 'arrived_bytes', 'failed', 'held',
                         'sent', 'acked', 'lost', 'reconnects'), 5),
        **dict.fromkeys(('response', 'service', 'delay'), {'sum_ns': 1, 'max_ns': 9, 'buckets': [9, -5]})}


def liar(kind):
    listener = socket.create_server(('127.0.0.1', 0))
    print(listener.getsockname()[1], flush=True)
    with listener.accept()[0] as connection, connection.makefile() as lines:
        for said in lines:
            match json.loads(said)['type']:
                case 'hello':
                    connection.sendall(line(type='welcome', version='1', machine={}))
                case 'clock':
                    connection.sendall(line(type='clock', now_ns=time.monotonic_ns()))
                case 'plan' if kind == 'refuses':
                    connection.sendall(line(type='failed', code=5, text='\33[2Jno such topic\n'))
                case 'plan':
                    connection.sendall(line(type='ready'))
                case 'go':
                    connection.sendall({'lies': line(**LIES), 'garbage': b'<html>\n', 'leaves': b'', 'refuses': b'',
                                        'long': b' ' * (17 << 20)}[kind])
                    break


if __name__ == '__main__':
    match sys.argv[1:]:
        case ['garbage', port, file]:
            with open(file, encoding='ascii') as secret:
                garbage(int(port), secret.readline().strip())
        case ['liar', what]:
            liar(what)
