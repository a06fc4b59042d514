"""Configs of the broker that are changed while it runs: what they do at once, and after a restart."""
import os

from lib.checks import client, expect, wait_until, write
from lib.protocol import BROKER, Refused, batch

MESSAGE_TOO_LARGE = 10
MIB = 1 << 20


def is_refused(c, topic, size):
    try:
        c.produce(topic, 0, batch([b'x' * size]))
        return False
    except Refused as refused:
        expect(refused.code, MESSAGE_TOO_LARGE)
        return True


def enter(broker):
    """A connection that works; those that were closed before may still count for a moment."""
    found = []

    def has_entered():
        c = client(broker, timeout=1)
        try:
            c.api_versions()
            found.append(c)
        except OSError:
            c.close()
        return bool(found)

    wait_until(has_entered, 'room')
    return found[0]


def is_served(broker):
    try:
        with client(broker, timeout=1) as c:
            c.api_versions()
        return True
    except OSError:
        return False


def segments(broker, topic):
    return len([n for n in os.listdir(os.path.join(broker.data, f'{topic}-0')) if n.endswith('.log')])


def test_dynamic_defaults_of_topics_hold_at_once_and_after_a_restart(env):
    """The largest batch and the size of segments, for all brokers and for one, over a kill -9."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('t')
            c.alter_configs(BROKER, '', message_max_bytes=3000, log_segment_bytes=MIB)
            assert is_refused(c, 't', 4000)
            c.alter_configs(BROKER, '1', message_max_bytes=5000)
            assert not is_refused(c, 't', 4000), 'one broker is stronger than all'
            assert is_refused(c, 't', 6000)
        broker.restart(is_clean=False)
        with client(broker) as c:
            assert not is_refused(c, 't', 4000)
            assert is_refused(c, 't', 6000)
            c.alter_configs(BROKER, '1', message_max_bytes=None)
            assert is_refused(c, 't', 4000)
            c.alter_configs(BROKER, '', message_max_bytes=None)
            assert not is_refused(c, 't', 6000)
            expect(segments(broker, 't'), 1)
        write(broker, 't', 'r', 30, size=100000)
        assert segments(broker, 't') >= 3, segments(broker, 't')


def test_a_dynamic_retention_deletes_what_is_there(env):
    """Four segments, then log.retention.bytes of one; no topic says anything of its own."""
    with env.broker('log.segment.bytes=1048576', 'log.retention.check.interval.ms=100', 'log.initial.task.delay.ms=100',
                    'log.segment.delete.delay.ms=1') as broker:
        with client(broker) as c:
            c.create_topic('t')
            write(broker, 't', 'r', 35, size=100000)
            before = segments(broker, 't')
            assert before >= 4, before
            c.alter_configs(BROKER, '', log_retention_bytes=MIB)
            wait_until(lambda: segments(broker, 't') < before, 'a segment that is deleted')


def test_dynamic_limits_of_connections_hold_at_once_and_after_a_restart(env):
    """Two connections at most to the listener, then to the address; a third one waits or is closed."""
    with env.broker('num.network.threads=1') as broker:
        with enter(broker) as c, enter(broker):
            c.alter_configs(BROKER, '', **{'listener.name.plaintext.max.connections': 2})
            assert not is_served(broker)
            c.alter_configs(BROKER, '', **{'listener.name.plaintext.max.connections': 3})
            wait_until(lambda: is_served(broker), 'room')
        with enter(broker) as c, enter(broker) as silent:
            c.api_versions()
            c.alter_configs(BROKER, '', max_connections=1)
            expect(silent.socket.recv(1), b'', 'what the least active connection reads')  # of its thread, as in Kafka
            c.alter_configs(BROKER, '', max_connections=None)
        with enter(broker) as c:
            c.alter_configs(BROKER, '1', max_connections_per_ip_overrides='127.0.0.1:2', max_connections_per_ip=1)
        broker.restart(is_clean=False)
        with enter(broker) as c, enter(broker):
            assert not is_served(broker)
            c.alter_configs(BROKER, '1', max_connections_per_ip_overrides=None, max_connections_per_ip=None)
            wait_until(lambda: is_served(broker), 'room')
