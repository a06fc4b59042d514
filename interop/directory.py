#!/usr/bin/env python3
"""A data directory moves from jackdaw to Kafka and back: directory.py SERVER JARS

JARS holds Kafka's own server. jackdaw makes topics and records and stops (once cleanly, once by kill -9); Kafka opens
the directory, must have everything and find nothing to repair, and adds records; jackdaw opens it again and must have
both. A line "ok NAME" or "not ok NAME: why" each.
"""
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'tests', 'e2e'))
sys.path.insert(0, HERE)
from lib.protocol import Client, Refused, batch  # noqa: E402
from oracle import PROPERTIES, PlainBroker, free_ports  # noqa: E402

PARTITIONS = 3
COUNT = 200


def write(port, word):
    with Client('127.0.0.1', port) as c:
        c.create_topic('moved', PARTITIONS, {'retention.ms': '-1', 'segment.bytes': '1048576'}, may_exist=True)
        for partition in range(PARTITIONS):
            for i in range(COUNT):
                c.produce('moved', partition, batch([f'{word}-{partition}-{i}'.encode() * 20]))


def expect(port, words):
    with Client('127.0.0.1', port) as c:
        for partition in range(PARTITIONS):
            wanted = [f'{word}-{partition}-{i}'.encode() * 20 for word in words for i in range(COUNT)]
            found = [value for _, _, value in c.read_all('moved', partition)]
            assert found == wanted, f'partition {partition}: {len(found)} records, {len(wanted)} were written'


def wait_for_port(port, child, log):
    end = time.monotonic() + 60
    while time.monotonic() < end and child.poll() is None:
        try:
            with Client('127.0.0.1', port) as c:
                if c.leaders('moved') == PARTITIONS:
                    return
        except (OSError, Refused):
            pass
        time.sleep(0.2)
    raise AssertionError('Kafka does not serve the directory: ' + log_tail(log))


def log_tail(log):
    with open(log, encoding='utf-8', errors='replace') as file:
        return ' '.join(file.read()[-600:].split())


def run_kafka(jars, properties, port, work):
    log = os.path.join(work, 'kafka.log')
    with open(log, 'wb') as out:
        child = subprocess.Popen(['java', '-Xmx512m', '-cp', f'{jars}/*', 'kafka.Kafka', properties], stdout=out,
                                 stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, child, log)
        expect(port, ['jackdaw'])
        write(port, 'kafka')
        child.terminate()
        child.wait(60)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def move(binary, jars, is_clean):
    port, controller = free_ports(2)
    with tempfile.TemporaryDirectory(prefix='jackdaw-move-') as work:
        properties = os.path.join(work, 'server.properties')
        with open(properties, 'w', encoding='utf-8') as file:
            file.write(PROPERTIES.format(port=port, controller=controller, data=os.path.join(work, 'data')))
        broker = PlainBroker(binary, arguments=[properties])
        try:
            broker.start()
            write(port, 'jackdaw')
            status = broker.stop() if is_clean else broker.kill()
            assert not is_clean or status == 0, f'exit status {status}'
            run_kafka(jars, properties, port, work)
            broker.start()
            expect(port, ['jackdaw', 'kafka'])
            write(port, 'again')
            expect(port, ['jackdaw', 'kafka', 'again'])
            assert broker.stop() == 0, 'exit status'
        finally:
            broker.remove()


def main():
    failed = 0
    for is_clean, name in ((True, 'stopped cleanly'), (False, 'killed')):
        try:
            move(sys.argv[1], sys.argv[2], is_clean)
            print(f'ok to Kafka and back, {name}', flush=True)
        except (AssertionError, OSError, Refused) as why:
            print(f'not ok to Kafka and back, {name}: {why}', flush=True)
            failed = 1
        except Exception as why:  # a start that failed
            print(f'not ok to Kafka and back, {name}: {type(why).__name__} {" ".join(str(why).split())[-500:]}', flush=True)
            failed = 1
    sys.exit(failed)


main()
