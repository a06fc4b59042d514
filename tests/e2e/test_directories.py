"""Several directories in log.dirs: which partition lies where, what the metadata says of it, and one that fails."""
import base64
import os
import shutil
import struct
import subprocess

from lib.broker import StartError
from lib.checks import client, expect, expect_all, write
from lib.protocol import Refused, batch

UNASSIGNED = 'AAAAAAAAAAAAAAAAAAAAAQ'


def two_directories(env):
    broker = env.broker()
    second = os.path.join(broker.own, 'second')
    broker.overrides.append(f'log.dirs={broker.data},{second}')
    broker.command = lambda: [broker.binary, '--listen', broker.listen, '--override', broker.overrides[-1]]
    return broker, second


def directory_id(path):
    with open(os.path.join(path, 'meta.properties'), encoding='utf-8') as file:
        return next(line.split('=', 1)[1].strip() for line in file if line.startswith('directory.id='))


def break_lock(path):
    """The directory goes offline at the next start: something stands where its lock belongs."""
    lock = os.path.join(path, '.lock')
    os.remove(lock)
    os.mkdir(lock)
    return lock


def expect_offline(broker, topic, partition):
    with client(broker) as c:
        try:
            c.produce(topic, partition, batch([b'x']))
        except Refused:
            return
    raise AssertionError(f'{topic}-{partition} took a record')


def placed(path):
    return sorted(n for n in os.listdir(path) if '-' in n and n.rsplit('-', 1)[1].isdigit() and not n.startswith('__'))


def told(broker, word, field='directories'):
    """What the metadata log says of directories, as the messages that hold the word."""
    log = os.path.join(broker.data, '__cluster_metadata-0', '00000000000000000000.log')
    out = subprocess.run([broker.binary, 'dump', '--records', log], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line for line in out.splitlines() if f'"{field}"' in line and f'"{word}"' in line]


def test_the_metadata_knows_in_which_of_several_directories_logs_lie(env):
    """Each partition goes where the fewest are, is told once, and stays there over kills; a deleted one makes room."""
    broker, second = two_directories(env)
    with broker:
        with client(broker) as c:
            c.create_topic('t', 3)
            c.create_topic('u', 1)
        expect(placed(broker.data), ['t-0', 't-2'])
        expect(placed(second), ['t-1', 'u-0'])
        broker.restart(is_clean=False)
        write(broker, 't', 'r', 20, partition=1)
        ids = directory_id(broker.data), directory_id(second)
        assert UNASSIGNED not in ids
        registered, = told(broker, 'RegisterBrokerRecord', 'logDirs')[:1]
        order = sorted(ids, key=lambda i: struct.unpack('>q', base64.urlsafe_b64decode(i + '==')[:8]))
        assert f'"logDirs":["{order[0]}","{order[1]}"]' in registered, registered
        changes = told(broker, 'PartitionChangeRecord')
        expect(sorted(next(i for i in ids if i in line) for line in changes), sorted(ids * 2))
        with client(broker) as c:
            c.delete_topic('u')
            c.delete_topic('t')
            c.create_topic('v', 2)
        expect([n for n in placed(broker.data) + placed(second) if n[0] == 'v'], ['v-0', 'v-1'])
        expect(len([n for n in placed(second) if n[0] == 'v']), 1, 'deleted ones do not count')
        broker.restart()
        expect(len(told(broker, 'PartitionChangeRecord')), 6, 'nothing is told again')


def test_a_directory_that_fails_takes_its_partitions_offline_and_not_their_records(env):
    """Its lock cannot be taken: the partition is not made anew elsewhere; mended, everything is there."""
    broker, second = two_directories(env)
    with broker:
        with client(broker) as c:
            c.create_topic('t', 2)
        write(broker, 't', 'r', 20, partition=1)
        broker.stop()
        lock = break_lock(second)
        broker.start()
        expect(placed(broker.data), ['t-0'])
        expect_offline(broker, 't', 1)
        broker.stop()
        shutil.rmtree(lock)
        broker.start()
        expect_all(broker, 't', 'r', 20, partition=1)
        expect(placed(broker.data), ['t-0'])


def refused_start(broker):
    """The line that it ends with."""
    try:
        broker.start()
    except StartError:
        return broker.log().splitlines()[-1]
    raise AssertionError('it started')


def test_a_metadata_log_that_is_not_there_is_named(env):
    """log.dirs in another order, then the log's directory gone: what is missing and where it is looked for."""
    broker, second = two_directories(env)
    with broker:
        broker.stop()
        straight = broker.overrides[-1]
        broker.overrides[-1] = f'log.dirs={second},{broker.data}'
        line = refused_start(broker)
        assert f'no metadata log in {second}: {second}/__cluster_metadata-0 is missing' in line, line
        broker.overrides[-1] = straight
        os.rename(f'{broker.data}/__cluster_metadata-0', f'{broker.own}/kept')
        line = refused_start(broker)
        assert f'no metadata log in {broker.data}:' in line, line
        os.rename(f'{broker.own}/kept', f'{broker.data}/__cluster_metadata-0')
        broker.start()


def test_of_two_copies_of_a_partition_the_one_that_the_metadata_names_is_used(env):
    """In either directory; the other is kept, and the log names the one in use. Without the named one there is none."""
    broker, second = two_directories(env)
    with broker:
        with client(broker) as c:
            c.create_topic('t', 2)
        write(broker, 't', 'r', 5, partition=0)
        write(broker, 't', 'r', 5, partition=1)
        broker.stop()
        expect((placed(broker.data), placed(second)), (['t-0'], ['t-1']))
        homes = {'t-0': broker.data, 't-1': second}
        old = {'t-0': second, 't-1': broker.data}
        for name, home in homes.items():
            shutil.copytree(f'{home}/{name}', f'{broker.own}/{name}')
        broker.start()
        for partition in range(2):
            write(broker, 't', 'r', 20, partition=partition)
        broker.stop()
        for name in homes:
            shutil.copytree(f'{broker.own}/{name}', f'{old[name]}/{name}')
        broker.start()
        with client(broker) as c:
            expect([len(c.read_all('t', partition)) for partition in range(2)], [25, 25], 'records')
        lines = [line for line in broker.log().splitlines() if '-stray' in line]
        for name, home in homes.items():
            line, = [line for line in lines if f'{old[name]}/{name} is not in use' in line]
            assert f': the partition lies in {home}; kept as {old[name]}/{name}.' in line, line
        broker.stop()
        expect((placed(broker.data), placed(second)), (['t-0'], ['t-1']))

        shutil.copytree(f'{second}/t-1', f'{broker.data}/t-1')
        break_lock(second)
        broker.start()
        expect_offline(broker, 't', 1)
        expect(placed(broker.data), ['t-0', 't-1'], 'not touched while it may be of use')
        assert 't-1 is offline: the log directory that holds it is not usable' in broker.log(), broker.log()


def test_directories_of_no_topic_are_set_aside(env):
    with env.broker() as broker:
        broker.stop()
        os.mkdir(f'{broker.data}/gone-0')
        broker.start()
        assert f'{broker.data}/gone-0 belongs to no topic of this cluster; kept' in broker.log(), broker.log()


def begun_empty(broker):
    """The lines about partitions whose files should be there, and the log is emptied."""
    lines = [line for line in broker.log().splitlines() if ' begin empty ' in line or ' begins empty' in line]
    os.truncate(broker.log_path, 0)
    return lines


def test_a_partition_that_begins_empty_though_it_was_known_is_told(env):
    """A directory goes out of log.dirs, then comes back as the line says; a partition's own one goes; new ones are silent."""
    broker, second = two_directories(env)
    with broker:
        with client(broker) as c:
            c.create_topic('t', 2)
        write(broker, 't', 'r', 20, partition=1)
        write(broker, 't', 'r', 5, partition=0)
        broker.restart()
        expect(begun_empty(broker), [])
        broker.stop()
        both = broker.overrides[-1]
        broker.overrides[-1] = f'log.dirs={broker.data}'
        broker.start()
        line, = begun_empty(broker)
        assert f'partition t-1 begins empty in {broker.data}: ' in line, line
        assert f'directory.id={directory_id(second)}, which is not among' in line, line
        assert f'move {broker.data}/t-1 away, and start with' in line, line
        broker.stop()
        shutil.rmtree(f'{broker.data}/t-1')
        broker.overrides[-1] = both
        broker.start()
        expect_all(broker, 't', 'r', 20, partition=1)
        broker.stop()
        os.rename(f'{broker.data}/t-0', f'{broker.own}/kept')
        begun_empty(broker)
        broker.start()
        line, = begun_empty(broker)
        assert f'partition t-0 begins empty: {broker.data}/t-0 is missing' in line and 'up to offset 5.' in line, line
        broker.stop()
        shutil.rmtree(f'{broker.data}/t-0')
        os.rename(f'{broker.own}/kept', f'{broker.data}/t-0')
        broker.start()
        expect_all(broker, 't', 'r', 5, partition=0)


def test_the_lines_of_partitions_that_begin_empty_are_bounded(env):
    """Thirty at once: twenty lines, and one with the count of the rest; the next start says nothing."""
    broker, _ = two_directories(env)
    with broker:
        with client(broker) as c:
            c.create_topic('t', 60)
        broker.stop()
        begun_empty(broker)
        broker.overrides[-1] = f'log.dirs={broker.data}'
        broker.start()
        lines = begun_empty(broker)
        expect(len(lines), 21)
        assert '10 more partitions begin empty like these' in lines[-1], lines[-1]
        broker.restart()
        expect(begun_empty(broker), [])


def test_a_copy_of_a_directory_beside_it_is_refused(env):
    """Two directories with one directory.id, as a copied disk has."""
    broker, second = two_directories(env)
    with broker:
        broker.stop()
        shutil.copy(f'{broker.data}/meta.properties', f'{second}/meta.properties')
        line = refused_start(broker)
        assert 'the same directory.id' in line and second in line and broker.data in line, line
