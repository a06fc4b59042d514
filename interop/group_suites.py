"""The clients whose groups are put to the server: what starts a member of each, and which scenarios it runs.

Members that need a runtime or a package are skipped, with a reason, where it is absent. Packages are brought by their
own installers into a directory outside the tree: JACKDAW_CACHE, or ~/.cache/jackdaw-interop.
"""
import os
import re
import shutil
import subprocess
import sys

from groups import SESSION_MS, Failed, come_and_go, come_back, leave_and_come_back, member_starter, run_scenario

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get('JACKDAW_CACHE') or os.path.join(os.path.expanduser('~'), '.cache', 'jackdaw-interop')
PYTHON_PACKAGES = {'confluent-kafka': '2.16.1', 'aiokafka': '0.14.0'}
NODE_PACKAGES = {'kafkajs': '2.2.4'}
BRING_SECONDS = 180


class Absent(Exception):
    """It cannot run here; why."""


def bring(command, what, cwd=None):
    try:
        run = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=BRING_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Absent(f'{what} could not be brought: {type(why).__name__}') from why
    if run.returncode:
        raise Absent(f'{what} could not be brought: {" ".join(run.stdout.split())[-160:]}')


def need(program):
    if not shutil.which(program):
        raise Absent(f'no {program} here')


# ---- kcat: no word of what it commits; the lines of its standard error say what it owns

KCAT_ASSIGNED = re.compile(r'^% Group \S+ rebalanced .*: (assigned|revoked): (.*)$')
KCAT_PARTITION = re.compile(r'\[(\d+)\]')


def kcat_words(line):
    match = KCAT_ASSIGNED.match(line)
    if match:
        return ['assigned', *(KCAT_PARTITION.findall(match.group(2)) if match.group(1) == 'assigned' else [])]
    words = line.split()
    return words if words and words[0] == 'record' else None


def kcat_starter(scenario, server):
    def start(name):
        settings = {'client.id': name, 'session.timeout.ms': SESSION_MS, 'heartbeat.interval.ms': 200,
                    'auto.commit.interval.ms': 200, 'auto.offset.reset': 'earliest', 'fetch.wait.max.ms': 100}
        line = ['kcat', '-b', server.address, '-u', '-f', 'record %p %o\\n']
        for key, value in settings.items():
            line += ['-X', f'{key}={value}']
        return scenario.start(name, line + ['-G', scenario.group, scenario.topic], parse=kcat_words)
    return start


def run_kcat(server, tally, _):
    need('kcat')
    run_scenario(server, tally, 'groups-kcat', 'kcat -G', lambda s: come_and_go(s, kcat_starter(s, server)), commits=False)


# ---- programs that keep to the words of groups.py

def run_plain(server, tally, suite, name, command, body=come_and_go, **settings):
    run_scenario(server, tally, suite, name, lambda s: body(s, member_starter(s, server, command, **settings)))


def build_rdkafka(work):
    need('cc')
    program = os.path.join(work, 'member-rdkafka')
    build = subprocess.run(['cc', '-std=gnu17', '-D_GNU_SOURCE', '-O1', '-o', program, f'{HERE}/rdkafka/member.c', '-lrdkafka'],
                           stderr=subprocess.PIPE, text=True)
    if build.returncode:
        if 'librdkafka/rdkafka.h' in build.stderr:
            raise Absent('no librdkafka here')
        raise RuntimeError(build.stderr[-500:])
    return [program]


def run_rdkafka(server, tally, work):
    command = build_rdkafka(work)
    for strategy in ('range', 'roundrobin', 'cooperative-sticky'):
        run_plain(server, tally, 'groups-rdkafka', f'librdkafka {strategy}', command, strategy=strategy)
    run_plain(server, tally, 'groups-rdkafka', 'librdkafka static', command, body=come_back, session=6000)


def find_python():
    """An interpreter that has the packages."""
    need('python3')
    home = os.path.join(CACHE, 'python')
    program = os.path.join(home, 'bin', 'python')
    modules = 'import aiokafka, confluent_kafka'
    if not os.path.exists(program) or subprocess.run([program, '-c', modules], stderr=subprocess.DEVNULL).returncode:
        os.makedirs(CACHE, exist_ok=True)
        bring([sys.executable, '-m', 'venv', home], 'a Python of its own')
        bring([program, '-m', 'pip', 'install', '-q', *(f'{name}=={version}' for name, version in PYTHON_PACKAGES.items())],
              'confluent-kafka and aiokafka')
    return program


def run_python(server, tally, _):
    python = find_python()
    confluent = [python, f'{HERE}/python/member_confluent.py']
    for strategy in ('range', 'roundrobin', 'cooperative-sticky'):
        run_plain(server, tally, 'groups-python', f'confluent-kafka {strategy}', confluent, strategy=strategy)
    for assignor in ('uniform', 'range'):
        run_plain(server, tally, 'groups-python', f'confluent-kafka consumer {assignor}', confluent, protocol='consumer',
                  assignor=assignor)
    run_scenario(server, tally, 'groups-python', 'confluent-kafka consumer regex', lambda s: come_and_go(
        s, member_starter(s, server, confluent, protocol='consumer', regex='^' + s.topic[:-1] + '.$')))
    run_plain(server, tally, 'groups-python', 'confluent-kafka consumer static', confluent,
              body=leave_and_come_back, protocol='consumer')
    aiokafka = [python, f'{HERE}/python/member_aiokafka.py']
    for strategy in ('range', 'roundrobin', 'sticky'):
        run_plain(server, tally, 'groups-python', f'aiokafka {strategy}', aiokafka, strategy=strategy)
    run_plain(server, tally, 'groups-python', 'aiokafka static', aiokafka, body=come_back, session=6000)


def run_node(server, tally, _):
    need('node')
    home = os.path.join(CACHE, 'node')
    if not os.path.isdir(os.path.join(home, 'node_modules', 'kafkajs')):
        need('npm')
        os.makedirs(home, exist_ok=True)
        bring(['npm', 'install', '--prefix', home, *(f'{name}@{version}' for name, version in NODE_PACKAGES.items())],
              'kafkajs', cwd=home)
    command = ['env', f'NODE_PATH={home}/node_modules', 'KAFKAJS_NO_PARTITIONER_WARNING=1', 'node',
               f'{HERE}/node/member.js']
    run_plain(server, tally, 'groups-node', 'kafkajs', command)


def run_franz(server, tally, work):
    need('go')
    program = os.path.join(work, 'member-franz')
    build = subprocess.run(['go', 'build', '-o', program, './member'], cwd=f'{HERE}/franz', stderr=subprocess.PIPE, text=True)
    if build.returncode:
        if re.search('dial tcp|lookup|requires go|toolchain', build.stderr):
            raise Absent('the modules, or a new enough Go, could not be brought')
        raise RuntimeError(build.stderr[-500:])
    for strategy in ('range', 'roundrobin', 'sticky', 'cooperative-sticky'):
        run_plain(server, tally, 'groups-franz', f'franz-go {strategy}', [program], strategy=strategy)
    run_plain(server, tally, 'groups-franz', 'franz-go static', [program], body=come_back, session=6000)
    run_plain(server, tally, 'groups-franz', 'franz-go consumer', [program], protocol='consumer')


def build_java(work, jars):
    need('javac')
    build = subprocess.run(['javac', '-cp', f'{jars}/*', '-d', work, f'{HERE}/java/Member.java'], stderr=subprocess.PIPE,
                           text=True)
    if build.returncode:
        raise RuntimeError(build.stderr[-500:])
    return ['java', '-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', f'{work}:{jars}/*', 'Member']


def run_java(server, tally, work, jars):
    command = build_java(work, jars)
    for strategy in ('range', 'roundrobin', 'sticky', 'cooperative-sticky'):
        run_plain(server, tally, 'groups-java', f'Java {strategy}', command, strategy=strategy)
    run_plain(server, tally, 'groups-java', 'Java static', command, body=come_back, session=6000)
    for assignor in ('uniform', 'range'):
        run_plain(server, tally, 'groups-java', f'Java consumer {assignor}', command, protocol='consumer', assignor=assignor)
    run_scenario(server, tally, 'groups-java', 'Java consumer regex', lambda s: come_and_go(
        s, member_starter(s, server, command, protocol='consumer', regex=s.topic[:-1] + '.')))
    run_plain(server, tally, 'groups-java', 'Java consumer static', command, body=leave_and_come_back, protocol='consumer')


# ---- both protocols in one group

def group_type(scenario):
    return scenario.client.groups().get(scenario.group, (None, None, None))[2]


def up_and_down(scenario, classic, modern, count=30):
    """Classic members, one by one replaced by those of the other protocol, and back."""
    scenario.produce(count)
    a, b = classic('classic-a'), classic('classic-b')
    scenario.wait_shared([a, b])
    if group_type(scenario) != 'classic':
        raise Failed(f'with classic members: {group_type(scenario)}')
    c = modern('modern-c')
    scenario.produce(count)
    scenario.wait_shared([a, b, c])
    if group_type(scenario) != 'consumer':
        raise Failed(f'with one of each: {group_type(scenario)}')
    scenario.wait_consumed()
    scenario.kill(a)
    scenario.produce(count)
    scenario.wait_shared([b, c])
    scenario.wait_consumed()
    d = modern('modern-d')
    scenario.wait_shared([b, c, d])
    scenario.stop(b)
    scenario.produce(count)
    scenario.wait_shared([c, d])
    scenario.wait_consumed()
    e = classic('classic-e')
    scenario.produce(count)
    scenario.wait_shared([c, d, e])
    scenario.stop(c)
    scenario.wait_shared([d, e])
    scenario.stop(d)
    scenario.produce(count)
    scenario.wait_shared([e])
    scenario.wait(lambda: group_type(scenario) == 'classic', 'a classic group again')
    scenario.wait_consumed()
    f = classic('classic-f')
    scenario.wait_shared([e, f])
    scenario.stop(e)
    scenario.stop(f)
    scenario.check_all()


def restart_in_between(scenario, server, start, count=30):
    """The server is killed under a group, and comes back; members and offsets are still there."""
    scenario.produce(count)
    a, b = start('a'), start('b')
    scenario.wait_shared([a, b])
    scenario.wait_consumed()
    scenario.client.close()
    server.restart(is_clean=False)
    scenario.connect(server)
    scenario.produce(count)
    scenario.wait_consumed()
    scenario.wait_shared([a, b])
    c = start('c')
    scenario.produce(count)
    scenario.wait_shared([a, b, c])
    scenario.wait_consumed()
    for member in (a, b, c):
        scenario.stop(member)
    scenario.check_all()


def run_mixed(server, tally, work, jars):
    """jars() raises when there are none."""
    suite = 'groups-mixed'
    pairs = []
    rdkafka = build_rdkafka(work)
    try:
        pairs.append(('librdkafka and confluent-kafka', rdkafka, [find_python(), f'{HERE}/python/member_confluent.py'],
                      ['range', 'roundrobin']))
    except Absent as why:
        tally.add(suite, 'skip', f'librdkafka and confluent-kafka: {why}')
    try:
        java = build_java(work, jars())
        pairs += [('Java', java, java, ['range', 'cooperative-sticky']), ('librdkafka and Java', rdkafka, java, ['range'])]
    except Exception as why:
        tally.add(suite, 'skip', f'Java: {why}')
    # librdkafka's cooperative-sticky has user data of its own, with which a group cannot change its protocol.
    for name, classic, modern, strategies in pairs:
        for strategy in strategies:
            run_scenario(server, tally, suite, f'{name}: up and down, {strategy}', lambda s, c=classic, m=modern, y=strategy: (
                up_and_down(s, member_starter(s, server, c, strategy=y), member_starter(s, server, m, protocol='consumer'))))
    if not server.may_restart:
        tally.add(suite, 'skip', 'restarts: not our broker')
        return
    run_scenario(server, tally, suite, 'kill -9 of the server under librdkafka', lambda s: restart_in_between(
        s, server, member_starter(s, server, rdkafka, session=6000)))
    for name, _, modern, _ in pairs[:2]:
        run_scenario(server, tally, suite, f'kill -9 of the server under consumers, {name}',
                     lambda s, m=modern: restart_in_between(s, server, member_starter(s, server, m, protocol='consumer')))
