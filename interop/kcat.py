"""kcat against a server: produce and consume as a person at a shell does it."""
import json
import os
import subprocess
import time

CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']


class Failed(Exception):
    """A check that did not hold."""


def kcat(address, *arguments, text=None, seconds=60):
    run = subprocess.run(['kcat', '-b', address, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         timeout=seconds)
    if run.returncode:
        raise Failed(f'kcat {" ".join(arguments)}: {run.stderr.decode(errors="replace").strip()[-300:]}')
    return run.stdout


def read(address, topic, *arguments):
    return kcat(address, '-C', '-t', topic, '-e', '-q', *arguments)


def expect(found, wanted):
    if found != wanted:
        raise Failed(f'{found!r:.200} instead of {wanted!r:.200}')


def check_codec(address, run, codec):
    topic = f'kcat-{codec}-{run}'
    lines = b''.join(b'%d:%s-%d\n' % (i, codec.encode(), i) for i in range(500))
    kcat(address, '-P', '-t', topic, '-p', '0', '-K:', '-z', codec, '-X', 'linger.ms=50', text=lines)
    expect(read(address, topic, '-p', '0', '-K:', '-X', 'check.crcs=true'), lines)


def check_acks(address, run, acks):
    topic = f'kcat-acks{acks}-{run}'
    kcat(address, '-P', '-t', topic, '-p', '0', '-X', f'acks={acks}', text=b'one\ntwo\n')
    for _ in range(50):
        if read(address, topic, '-p', '0') == b'one\ntwo\n':
            return
        time.sleep(0.1)  # acks=0: under way
    raise Failed('not there after 5 s')


def check_headers(address, run):
    topic = f'kcat-headers-{run}'
    kcat(address, '-P', '-t', topic, '-p', '0', '-k', 'key', '-H', 'a=1', '-H', 'b=', '-H', 'a=2', text=b'value\n')
    expect(read(address, topic, '-p', '0', '-f', '%k|%s|%h|%o\n'), b'key|value|a=1,b=,a=2|0\n')


def check_tombstone(address, run):
    topic = f'kcat-null-{run}'
    kcat(address, '-P', '-t', topic, '-p', '0', '-Z', '-K:', text=b'k:\n:v\n')
    expect(read(address, topic, '-p', '0', '-f', '%K %S\n'), b'1 -1\n-1 1\n')


def check_offsets(address, run):
    topic = f'kcat-offsets-{run}'
    kcat(address, '-P', '-t', topic, '-p', '0', text=b''.join(b'%d\n' % i for i in range(20)))
    expect(read(address, topic, '-p', '0', '-o', '15'), b'15\n16\n17\n18\n19\n')
    expect(read(address, topic, '-p', '0', '-o', '-2'), b'18\n19\n')
    expect(read(address, topic, '-p', '0', '-o', 'beginning', '-c', '3'), b'0\n1\n2\n')
    expect(read(address, topic, '-p', '0', '-o', 'end'), b'')


def check_times(address, run):
    topic = f'kcat-times-{run}'
    kcat(address, '-P', '-t', topic, '-p', '0', text=b'early\n')
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    time.sleep(0.05)
    kcat(address, '-P', '-t', topic, '-p', '0', text=b'late\n')
    expect(kcat(address, '-Q', '-t', f'{topic}:0:{middle}').strip(), f'{topic} [0] offset 1'.encode())
    expect(kcat(address, '-Q', '-t', f'{topic}:0:-1').strip(), f'{topic} [0] offset 2'.encode())
    expect(kcat(address, '-Q', '-t', f'{topic}:0:-2').strip(), f'{topic} [0] offset 0'.encode())
    expect(read(address, topic, '-p', '0', '-o', f's@{middle}'), b'late\n')
    expect(read(address, topic, '-p', '0', '-o', 's@0', '-o', f'e@{middle}'), b'early\n')


def check_metadata(address, run):
    topic = f'kcat-meta-{run}'
    kcat(address, '-P', '-t', topic, '-p', '0', text=b'x\n')
    answer = json.loads(kcat(address, '-L', '-J'))
    mine = [t for t in answer['topics'] if t['topic'] == topic]
    if len(answer['brokers']) != 1 or len(mine) != 1:
        raise Failed(f'{len(answer["brokers"])} brokers, {len(mine)} topics of this name')
    broker = answer['brokers'][0]
    for one in mine[0]['partitions']:
        expect((one['leader'], [r['id'] for r in one['replicas']], [r['id'] for r in one['isrs']]),
               (broker['id'], [broker['id']], [broker['id']]))


def check_large(address, run, work):
    """A file of 900,000 bytes as one message."""
    topic = f'kcat-large-{run}'
    path = os.path.join(work, 'large')
    data = bytes((i * 2654435761 >> 24) & 0xff for i in range(900000))
    with open(path, 'wb') as file:
        file.write(data)
    kcat(address, '-P', '-t', topic, '-p', '0', path)
    expect(read(address, topic, '-p', '0', '-D', ''), data)


def check_restart(server, run, is_clean):
    topic = f'kcat-restart-{is_clean}-{run}'
    lines = b''.join(b'%d\n' % i for i in range(1000))
    kcat(server.address, '-P', '-t', topic, '-p', '0', '-z', 'zstd', text=lines)
    server.restart(is_clean)
    expect(read(server.address, topic, '-p', '0'), lines)
    kcat(server.address, '-P', '-t', topic, '-p', '0', text=b'more\n')
    expect(read(server.address, topic, '-p', '0', '-o', '1000', '-f', '%o %s\n'), b'1000 more\n')


def run(server, tally, work):
    mark = str(os.getpid())
    checks = [(f'produce and read back: {codec}', lambda c=codec: check_codec(server.address, mark, c)) for codec in CODECS]
    checks += [(f'acks={acks}', lambda a=acks: check_acks(server.address, mark, a)) for acks in ('0', '1', 'all')]
    checks += [
        ('keys and headers', lambda: check_headers(server.address, mark)),
        ('tombstones and null keys', lambda: check_tombstone(server.address, mark)),
        ('by offset: absolute, from the end, counted', lambda: check_offsets(server.address, mark)),
        ('by time, and the offsets query', lambda: check_times(server.address, mark)),
        ('metadata of all topics', lambda: check_metadata(server.address, mark)),
        ('a message of 900,000 bytes', lambda: check_large(server.address, mark, work)),
    ]
    if server.may_restart:
        checks += [('read back and go on after a clean restart', lambda: check_restart(server, mark, True)),
                   ('read back and go on after kill -9', lambda: check_restart(server, mark, False))]
    else:
        tally.add('kcat', 'skip', 'restarts: not our broker')
    for name, check in checks:
        try:
            check()
            tally.add('kcat', 'ok', name)
        except (Failed, subprocess.TimeoutExpired, ValueError, KeyError) as why:
            tally.add('kcat', 'not ok', f'{name}: {why}')
