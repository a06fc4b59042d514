"""The program: arguments, configs, the one line that it prints, signals, its subcommands."""
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import tempfile

from lib.checks import Skip, client, expect, expect_all, wait_until, write
from lib.protocol import Client, Refused, array, batch, text

MARKERS = ('<!-- apis: made by `jackdaw apis` -->', '<!-- end of apis -->')


def ends_cleanly(env, number):
    # One that was ignored when the tests were started, as under nohup, would stay so.
    broker = env.broker(prefix=['env', f'--default-signal={signal.Signals(number).name[3:]}'])
    with broker:
        broker.process.send_signal(number)
        expect(broker.process.wait(30), 0, 'exit status')
        expect(broker.process.stdout.read(), b'', 'more on standard output')
        assert os.path.exists(os.path.join(broker.data, '.kafka_cleanshutdown')), 'no mark of a clean stop'


def test_prints_one_line_and_ends_with_0_on_SIGTERM(env):
    """Reads standard output to its end."""
    ends_cleanly(env, signal.SIGTERM)


def test_ends_with_0_on_SIGINT(env):
    """The same by the other signal."""
    ends_cleanly(env, signal.SIGINT)


def test_ends_with_0_on_SIGHUP(env):
    """The terminal is closed."""
    ends_cleanly(env, signal.SIGHUP)


def start_that_waits(broker):
    """Its standard error is a pipe that is full, so its first line waits. The side of the pipe to read from."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(writer, b'.' * size)
        except BlockingIOError:
            pass
    os.set_blocking(writer, True)
    broker.process = subprocess.Popen(broker.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=writer,
                                      env=broker.env)
    os.close(writer)
    return open(reader, 'rb', buffering=0)


def test_a_signal_ends_a_start_that_waits(env):
    """It cannot write that it has formatted; by each of three signals it ends as any program does, the next start serves."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        name = signal.Signals(number).name[3:]
        broker = env.broker(prefix=['env', f'--default-signal={name}'])
        try:
            with start_that_waits(broker):
                wait_until(lambda: os.path.exists(os.path.join(broker.data, 'meta.properties')), 'the format')
                broker.process.send_signal(number)
                expect(broker.process.wait(20), -number, f'exit status by {name}')
                expect(broker.process.stdout.read(), b'', 'standard output')
            with broker:
                expect(broker.stop(), 0)
        finally:
            broker.remove()


def test_a_signal_in_the_start_of_an_ephemeral_server_leaves_nothing(env):
    """Signalled, twice, when its directory is there and a line waits; then the line goes on: no ready line, no directory."""
    with tempfile.TemporaryDirectory() as work:
        broker = env.broker('no.such.key=1', env={'TMPDIR': work}, arguments=['--ephemeral'])
        broker.command = lambda: [broker.binary, '--ephemeral', '--override', 'no.such.key=1']
        try:
            with start_that_waits(broker) as stderr:
                wait_until(lambda: os.listdir(work), 'its directory')
                broker.process.send_signal(signal.SIGTERM)
                broker.process.send_signal(signal.SIGINT)
                while stderr.read(65536):
                    pass
                expect(broker.process.wait(60), 0, 'exit status')
                expect(broker.process.stdout.read(), b'', 'standard output')
                expect(os.listdir(work), [], 'left behind')
        finally:
            broker.remove()


def test_a_SIGHUP_that_is_ignored_at_the_start_stays_ignored(env):
    """Under nohup: the signal, then a record, then a clean stop."""
    with env.broker(prefix=['nohup']) as broker, client(broker) as c:
        broker.process.send_signal(signal.SIGHUP)
        c.create_topic('t')
        expect(c.produce('t', 0, batch([b'v'])), 0)
        expect(broker.stop(), 0, 'exit status')


def test_a_stop_that_cannot_be_written_ends_with_1(env):
    """The mark of a clean stop cannot be made: its temporary name is taken by a directory."""
    with env.broker() as broker:
        os.mkdir(os.path.join(broker.data, '.kafka_cleanshutdown.tmp'))
        expect(broker.stop(), 1, 'exit status')
        assert 'not marked as cleanly closed' in broker.log(), broker.log()


def test_a_static_quorum_registers_the_listeners_of_its_controller(env):
    """Kafka tells names, hosts and ports of controller.listener.names, whatever controller.quorum.voters says."""
    listeners = 'PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:4711,SECOND://127.0.0.2:4712'
    with env.broker('controller.quorum.voters=1@localhost:4710', f'listeners={listeners}', 'process.roles=broker,controller',
                    'controller.listener.names=CONTROLLER,SECOND', 'node.id=1', 'listener.security.protocol.map='
                    'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECOND:PLAINTEXT', listen=None) as broker:
        broker.stop()
        log = os.path.join(broker.data, '__cluster_metadata-0', '00000000000000000000.log')
        status, out, err = env.run('dump', '--records', log)
        expect(status, 0, err)
        line, = [line for line in out.splitlines() if '"RegisterControllerRecord"' in line]
        assert ('"endPoints":[{"name":"CONTROLLER","host":"127.0.0.1","port":4711,"securityProtocol":0},'
                '{"name":"SECOND","host":"127.0.0.2","port":4712,"securityProtocol":0}]') in line, line


def test_port_0_advertises_the_real_port(env):
    """Metadata names the port that the ready line named."""
    with env.broker() as broker, client(broker) as c:
        (_, host, port, _), = c.metadata([])[0]
        expect((host, port), (broker.host, broker.port))


def test_serves_ipv6(env):
    """Listens on [::1]:0, connects there, finds it advertised, and produces."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(('::1', 0))
    except OSError as why:
        raise Skip(f'no IPv6 here: {why}') from why
    with env.broker(listen='[::1]:0') as broker:
        expect(broker.host, '::1')
        with client(broker) as c:
            (_, host, port, _), = c.metadata([])[0]
            expect((host, port), ('::1', broker.port))
            c.create_topic('six')
            expect(c.produce('six', 0, batch([b'v'])), 0)


def test_all_addresses_of_ipv6_are_those_of_ipv4_too(env):
    """As with Java: a listener on [::], and one without a host, serve 127.0.0.1 and ::1."""
    for host in ('[::]', ''):
        overrides = [f'listeners=PLAINTEXT://{host}:0', 'advertised.listeners=PLAINTEXT://localhost:9092']
        with env.broker(*overrides, listen=None) as broker:
            for address in ('127.0.0.1', '::1'):
                try:
                    c = Client(address, broker.port)
                except OSError as error:
                    if address == '::1':
                        raise Skip('no IPv6 here') from error
                    raise
                with c:
                    c.api_versions()


def test_ports_file_names_every_listener(env):
    """Two listeners on port 0; the file has a line each when the ready line comes."""
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, 'ports')
        listeners = ['listeners=PLAINTEXT://127.0.0.1:0,SECOND://127.0.0.1:0',
                     'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT,CONTROLLER:PLAINTEXT']
        with env.broker(*listeners, arguments=['--ports-file', path], listen=None) as broker:
            with open(path, encoding='ascii') as file:
                lines = file.read().splitlines()
            expect([line.split()[0] for line in lines], ['PLAINTEXT', 'SECOND'])
            expect(lines[0].split()[1], broker.address)
            expect(os.listdir(work), ['ports'], 'nothing else is left')


def test_ports_file_through_a_link_a_fifo_or_a_device_leaves_them_what_they_are(env):
    """A link to a file, a FIFO that is read, a device that takes all (never the machine's): what they are, what is read."""
    with tempfile.TemporaryDirectory() as work:
        link, target, fifo, device = (os.path.join(work, name) for name in ('link', 'target', 'fifo', 'device'))
        with open(target, 'w', encoding='ascii') as file:
            file.write('old')
        os.symlink('target', link)
        os.mkfifo(fifo)
        with env.broker(arguments=['--ports-file', link]) as broker:
            assert os.path.islink(link), 'the link is gone'
            with open(target, encoding='ascii') as file:
                expect(file.read(), f'PLAINTEXT {broker.address}\n')
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        with env.broker(arguments=['--ports-file', fifo]) as broker:
            expect(os.read(reader, 1000).decode(), f'PLAINTEXT {broker.address}\n')
        os.close(reader)
        expect(stat.S_ISFIFO(os.lstat(fifo).st_mode), True, 'still a FIFO')
        try:
            os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
            os.close(os.open(device, os.O_WRONLY))
        except OSError as why:
            raise Skip(f'no device can be made here: {why}') from why
        with env.broker(arguments=['--ports-file', device]):
            pass
        expect(stat.S_ISCHR(os.lstat(device).st_mode), True, 'still a device')
        expect(sorted(os.listdir(work)), ['device', 'fifo', 'link', 'target'])


def test_a_ports_file_that_cannot_be_one_is_a_mistake(env):
    """A FIFO that nobody reads, a directory, a socket: one line, status 2, nothing else left; a link as temporary name."""
    with tempfile.TemporaryDirectory() as work:
        path, data = os.path.join(work, 'path'), os.path.join(work, 'data')
        for make, undo, words in ((os.mkfifo, os.unlink, 'nobody reads'), (os.mkdir, os.rmdir, 'Is a directory'),
                                  (lambda p: socket.socket(socket.AF_UNIX).bind(p), os.unlink, 'no file')):
            make(path)
            was = os.lstat(path).st_ino
            status, out, err = env.run('--data', data, '--listen', '127.0.0.1:0', '--ports-file', path)
            expect((status, out), (2, ''), f'{words}: {err[-300:]}')
            lines = [line for line in err.splitlines() if line.startswith('jackdaw: ')]
            assert len(lines) == 1 and path in lines[0] and words in lines[0], err
            expect((os.lstat(path).st_ino, sorted(os.listdir(work))), (was, ['data', 'path']))
            undo(path)
        kept = os.path.join(work, 'kept')
        with open(kept, 'w', encoding='ascii') as file:
            file.write('kept')
        os.symlink('kept', path + '.tmp')
        with env.broker(arguments=['--ports-file', path]) as broker:
            with open(path, encoding='ascii') as file, open(kept, encoding='ascii') as other:
                expect((file.read(), other.read()), (f'PLAINTEXT {broker.address}\n', 'kept'))


def test_a_listener_that_is_not_advertised_tells_of_no_broker(env):
    """Two listeners, one advertised: what Kafka 4.4.0 answered on each, about brokers, leaders, coordinators; a restart."""
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, 'ports')
        overrides = ['listeners=A://127.0.0.1:0,B://:0', 'advertised.listeners=A://a.example:1',
                     'listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT', 'inter.broker.listener.name=A']
        with env.broker(*overrides, arguments=['--ports-file', path], listen=None) as broker:
            broker_topic(broker)
            for is_again in (False, True):
                if is_again:
                    expect(broker.stop(), 0)
                    broker.start()
                with open(path, encoding='ascii') as file:
                    (_, a), (name, b) = (line.split() for line in file.read().splitlines())
                expect((a, name, b.partition(':')[0]), (broker.address, 'B', 'localhost'))
                with client(broker) as c:
                    expect(c.metadata([])[0], [(1, 'a.example', 1, None)])
                    wait_until(lambda: find_group(c) == (0, 1, 'a.example', 1), 'the coordinator')
                    expect(describe_cluster(c), (1, [(1, 'a.example', 1, None)]))
                with Client('127.0.0.1', int(b.partition(':')[2])) as c:
                    brokers, topics = c.metadata(['t'])
                    ((error, _, leader, _), ids), = topics['t'][1]
                    expect((brokers, error, leader, ids), ([], 72, -1, [[1], [1], [1]]))
                    expect(find_group(c), (15, -1, '', -1))
                    expect(describe_cluster(c), (-1, []))
                    expect([(p[0], p[1], *p[3:]) for p in c.describe_topic('t')], [(0, -1, [1], [1], [], [], [1])])
                    expect(c.produce('t', 0, batch([b'v'])), int(is_again))


def find_group(c):
    r = c.ask(10, 2, text('g') + b'\0')
    _, error, _, node = r.take('i'), r.take('h'), r.text(), r.take('i')
    return error, node, r.text(), r.take('i')


def describe_cluster(c):
    """DescribeCluster 0: (controller, brokers); short strings of the compact form."""
    def compact():
        size = r.take('B') - 1
        if size < 0:
            return None
        r.at += size
        return r.data[r.at - size:r.at].decode()

    r = c.ask(60, 0, b'\0\0\0')
    r.take('biH')
    compact(), compact()
    controller = r.take('i')
    brokers = []
    for _ in range(r.take('B') - 1):
        brokers.append((r.take('i'), compact(), r.take('i'), compact()))
        r.take('b')
    return controller, brokers


def test_properties_file_with_two_listeners(env):
    """Started by a file alone; each listener advertises itself."""
    with tempfile.TemporaryDirectory() as work:
        properties, ports = os.path.join(work, 'p'), os.path.join(work, 'ports')
        with open(properties, 'w', encoding='ascii') as file:
            file.write('# a comment\n! another\nnode.id = 7\nlisteners=A://127.0.0.1:0,\\\n   B://127.0.0.1:0,CONTROLLER://127.0.0.1:1\n'
                       'listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT\n'
                       'inter.broker.listener.name=A\nprocess.roles=broker,controller\n'
                       'controller.listener.names=CONTROLLER\n'
                       f'controller.quorum.bootstrap.servers=127.0.0.1:1\nlog.dirs={work}/data\n')
        broker = env.broker(arguments=[properties, '--ports-file', ports])
        broker.command = lambda: [broker.binary, *broker.arguments]
        with broker:
            with open(ports, encoding='ascii') as file:
                found = dict(line.split() for line in file.read().splitlines())
            expect(sorted(found), ['A', 'B'])
            for address in found.values():
                broker.host, _, port = address.rpartition(':')
                broker.port = int(port)
                with client(broker) as c:
                    (node, _, advertised, _), = c.metadata([])[0]
                    expect((node, advertised), (7, broker.port))


def test_command_line_wins_over_file_over_environment(env):
    """num.partitions of a topic that is made with the default number."""
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, 'p')
        with open(path, 'w', encoding='ascii') as file:
            file.write('num.partitions=4\nnode.id=1\nprocess.roles=broker,controller\n'
                       'controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=127.0.0.1:1\n'
                       'listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:1\n')
        environment = {'KAFKA_NUM_PARTITIONS': '3'}
        for arguments, overrides, wanted in (([], [], 3), ([path], [], 4), ([path], ['num.partitions=5'], 5)):
            broker = env.broker(*overrides, arguments=arguments, env=environment)
            if arguments:
                broker.listen = None
            with broker, client(broker) as c:
                c.create_topic('t', -1)
                wait_until(lambda: c.leaders('t') == wanted, f'{wanted} partitions', 5)


def test_bad_arguments_end_with_2_and_name_themselves(env):
    """Standard error says which one; nothing on standard output."""
    with tempfile.TemporaryDirectory() as work:
        for arguments, words in (
                (['--no-such'], ['--no-such']),
                (['--data'], ['--data']),
                (['--override', 'nonsense'], ['nonsense']),
                (['--listen', '127.0.0.1:99999'], ['99999']),
                (['--listen', 'nohost'], ['nohost']),
                (['/no/such/file.properties'], ['/no/such/file.properties']),
                (['--data', work, '--override', 'num.partitions=many'], ['num.partitions', 'many']),
                (['--data', work, '--override', 'num.partitions=0'], ['num.partitions', '0', '1']),
                (['--data', work, '--override', 'compression.type=rar'], ['compression.type', 'rar', 'zstd']),
                (['--data', work, '--override', 'listeners=X'], ['listeners', 'X']),
        ):
            status, out, err = env.run(*arguments)
            expect(status, 2, f'exit status of {arguments}: {err[-300:]}')
            expect(out, '', f'standard output of {arguments}')
            for word in words:
                assert word in err, f'{arguments}: no {word!r} in {err!r}'


def test_what_is_no_file_is_not_waited_for(env):
    """A FIFO, a directory or a socket as properties file or as meta.properties: one line that names it, not 0, at once."""
    with tempfile.TemporaryDirectory() as work:
        path, data = os.path.join(work, 'path'), os.path.join(work, 'data')
        os.mkdir(data)
        for make, undo, words in ((os.mkfifo, os.unlink, 'not a regular file'), (os.mkdir, os.rmdir, 'Is a directory'),
                                  (lambda p: socket.socket(socket.AF_UNIX).bind(p), os.unlink, 'No such device')):
            make(path)
            status, out, err = env.run(path, timeout=20)
            expect((status, out), (2, ''), err[-300:])
            assert path in err and words in err and err.count('\n') == 1, err
            os.rename(path, os.path.join(data, 'meta.properties'))
            status, out, err = env.run('--data', data, '--listen', '127.0.0.1:0', timeout=20)
            assert status != 0 and out == '' and data in err, f'{status} {err}'
            os.rename(os.path.join(data, 'meta.properties'), path)
            undo(path)


def test_unknown_key_is_a_warning_that_names_the_nearest(env):
    """A misspelt key; the server runs."""
    with env.broker('log.retention.hour=5') as broker:
        line = next((l for l in broker.log().splitlines() if 'log.retention.hour' in l), '')
        assert 'log.retention.hours' in line, f'no warning: {broker.log()!r}'


def test_environment_that_is_no_config_is_harmless(env):
    """Names of Kafka's own start scripts in the environment."""
    with env.broker(env={'KAFKA_HEAP_OPTS': '-Xmx1g', 'KAFKA_OPTS': 'x', 'KAFKA_NO_SUCH_KEY': '1'}) as broker:
        with client(broker) as c:
            c.api_versions()


def log_dirs(c):
    r = c.ask(35, 1, struct.pack('>i', -1))
    r.take('i')
    return r.array(lambda: (r.take('h'), r.text(), r.array(lambda: (r.text(), r.array(lambda: r.take('iqqb'))))))


def test_ephemeral_removes_its_directory(env):
    """Without --data and --listen; the directory that DescribeLogDirs names is gone after the end."""
    with tempfile.TemporaryDirectory() as work:
        broker = env.broker(arguments=['--ephemeral'], env={'TMPDIR': work, 'KAFKA_LOG_DIRS': '/nowhere'})
        broker.command = lambda: [broker.binary, *broker.arguments]
        with broker:
            line, = [line for line in broker.log().splitlines() if 'KAFKA_LOG_DIRS' in line]
            assert 'is ignored: --ephemeral has a directory of its own' in line, line
            with client(broker) as c:
                c.create_topic('t')
                c.produce('t', 0, batch([b'v']))
                (error, path, _), = log_dirs(c)
            expect(error, 0)
            assert os.path.isdir(path), path
            expect(broker.stop(), 0, 'exit status')
            assert not os.path.exists(path), f'{path} is still there'


def test_a_directory_belongs_to_one_server(env):
    """A second one on the same directory ends with a clear line; the first goes on."""
    with env.broker() as broker:
        status, out, err = env.run('--data', broker.data, '--listen', '127.0.0.1:0')
        assert status not in (0, None) and out == '', f'status {status}, {out!r}'
        assert broker.data in err and 'in use' in err, err
        with client(broker) as c:
            c.api_versions()


def test_a_port_in_use_is_a_clear_error(env):
    """The address is in the message, the status is not 0."""
    with socket.socket() as taken, tempfile.TemporaryDirectory() as work:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        status, out, err = env.run('--data', work, '--listen', address)
        assert status != 0 and out == '', f'status {status}, {out!r}'
        assert address in err, err


def test_subcommands_print_and_end_with_0(env):
    """version, help, apis and configs; an unknown one is refused with 2."""
    for name, pattern in (('version', r'\d+\.\d+\.\d+'), ('help', r'--ephemeral'), ('apis', r'ApiVersions'),
                          ('configs', r'log\.segment\.bytes')):
        status, out, err = env.run(name)
        expect(status, 0, f'{name}: {err[-300:]}')
        assert re.search(pattern, out), f'{name} prints {out[:200]!r}'


def test_closed_standard_descriptors_are_no_sockets(env):
    """Started without any of the three; it serves, and they are /dev/null. A tool that cannot print ends with 1."""
    closed = ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh']
    with tempfile.TemporaryDirectory() as work:
        ports = os.path.join(work, 'ports')
        broker = env.broker(prefix=closed, arguments=['--ports-file', ports])
        broker.process = subprocess.Popen(broker.command(), env=broker.env)
        try:
            wait_until(lambda: os.path.exists(ports), 'its ports')
            with open(ports, encoding='ascii') as file:
                broker.host, _, port = file.read().split()[1].rpartition(':')
            broker.port = int(port)
            with client(broker) as c:
                c.api_versions()
                expect([os.readlink(f'/proc/{broker.pid}/fd/{fd}') for fd in range(3)], ['/dev/null'] * 3)
            broker.process.terminate()
            expect(broker.process.wait(60), 0, 'exit status')
        finally:
            if broker.process.poll() is None:
                broker.process.kill()
                broker.process.wait()
            broker.remove()
    for name in ('version', 'help', 'apis', 'configs'):
        expect(subprocess.run([*closed, env.binary, name], check=False).returncode, 1, name)
        expect(env.run(name)[0], 0, name)


def test_readme_shows_the_apis_that_the_program_serves(env):
    """The table between the markers is what `jackdaw apis` prints."""
    with open(os.path.join(env.top, 'README.md'), encoding='utf-8') as file:
        readme = file.read()
    table = readme.split(MARKERS[0])[1].split(MARKERS[1])[0].strip()
    status, out, _ = env.run('apis')
    expect(status, 0)
    assert table == out.strip(), 'README.md is old: replace the table by what `jackdaw apis` prints'


def test_format_makes_a_directory_that_starts(env):
    """jackdaw format apart, then a start on it; a second format is refused."""
    with tempfile.TemporaryDirectory() as work:
        data = os.path.join(work, 'data')
        status, out, err = env.run('format', '--data', data)
        expect(status, 0, f'format: {err[-300:]} {out[-300:]}')
        assert os.path.exists(os.path.join(data, 'meta.properties')), os.listdir(work)
        with open(os.path.join(data, 'meta.properties'), encoding='ascii') as file:
            before = file.read()
        with env.broker(data=data) as broker:
            write(broker_topic(broker), 't', 'f', 3)
            expect_all(broker, 't', 'f', 3)
        with open(os.path.join(data, 'meta.properties'), encoding='ascii') as file:
            after = file.read()
        find = re.compile(r'^(cluster|directory)\.id=(.*)$', re.M)
        expect(find.findall(after), find.findall(before), 'ids')
        assert env.run('format', '--data', data)[0] != 0, 'a second format was accepted'


def broker_topic(broker, name='t'):
    with client(broker) as c:
        c.create_topic(name)
    return broker


def test_everything_is_there_after_a_clean_restart(env):
    """Topics, configs and records; the offsets go on. A stop that was not clean is told at the next start, once."""
    told = 'the last stop was not a clean one: 1 of 1 logs'
    with env.broker() as broker:
        write(broker_topic(broker), 't', 'r', 50)
        broker.restart()
        expect_all(broker, 't', 'r', 50)
        expect(told in broker.log(), False, broker.log())
        broker.restart(is_clean=False)
        expect_all(broker, 't', 'r', 50)
        expect(broker.log().count(told), 1, broker.log())
        with client(broker) as c:
            expect(c.produce('t', 0, batch([b'next'])), 50)
            try:
                c.create_topic('t')
                raise AssertionError('the topic was not there')
            except Refused as refused:
                expect(refused.code, 36)


def test_a_deleted_topic_stays_deleted(env):
    """Deleted, restarted, made again: empty."""
    with env.broker() as broker:
        write(broker_topic(broker), 't', 'r', 5)
        with client(broker) as c:
            c.delete_topic('t')
        broker.restart(is_clean=False)
        broker_topic(broker)
        expect_all(broker, 't', 'r', 0)
        wait_until(lambda: len([n for n in os.listdir(broker.data) if n.startswith('t-0')]) >= 1, 'its directory')


def test_requests_in_a_pipeline_are_answered_in_order(env):
    """A hundred requests of several kinds in one write."""
    with env.broker() as broker, client(broker) as c:
        c.create_topic('t')
        frames = b''
        first = c.correlation + 1
        for i in range(100):
            frames += (c.produce_frame('t', 0, batch([b'%d' % i])) if i % 3 else
                       c.frame(3, 8, array([text('t')]) + b'\0\0\0'))
        c.socket.sendall(frames)
        answered = []
        for _ in range(100):
            c.receive()
            answered.append(c.answered)
        expect(answered, list(range(first, first + 100)))
        values = [int(value) for _, _, value in c.read_all('t')]
        expect(values, [i for i in range(100) if i % 3])
