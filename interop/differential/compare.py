"""What two servers answered to one script, and what stands in their files: differences [(where, expected, came)].

Stricter than 'oracle compare': a number that is a server's own affair (an id, a time) counts by being positive or not,
an id by being zero or not, a text for people by being null, empty or not.
"""
import glob
import gzip
import json
import os

import batches

TEXTS = {'errorMessage', 'batchIndexErrorMessage', 'documentation'}
OWN = {'throttleTimeMs', 'logAppendTimeMs', 'clusterId', 'host', 'port', 'finalizedFeaturesEpoch', 'memberId', 'producerId',
       'topicId', 'totalBytes', 'usableBytes', 'logDir', 'size', 'incarnationId', 'brokerEpoch', 'leaderDirectoryId',
       'directoryId', 'replicaDirectoryId', 'sessionId', 'lastTimestamp', 'logEndOffset', 'startTimestamp', 'controllerId',
       'leader'}
ZERO_ID = 'AAAAAAAAAAAAAAAAAAAAAA'
ORDERED = {'records'}
NAMES = ('resourceType', 'resourceName', 'name', 'topic', 'topicName', 'partitionIndex', 'partition', 'index', 'source',
         'groupId', 'memberId', 'key')
APPEND_TIME = 8
NOW = (1720000000000, 1990000000000)  # later than what scripts write, unless it is far from now


def plain(x, masked, checked, ordered, name=''):
    if name in masked:
        return '(masked)'
    if isinstance(x, dict):
        return {k: plain(v, masked, checked, ordered, k) for k, v in x.items() if k not in masked}
    if isinstance(x, list):
        out = [plain(v, masked, checked, ordered, name) for v in x]
        return out if name in ordered else sorted(out, key=key_of)
    if name in TEXTS and isinstance(x, str):
        return '(text)' if x else ''
    if name in OWN and name not in checked:
        if isinstance(x, str):
            return x if x in (ZERO_ID, '') else '(own)'
        if isinstance(x, int) and not isinstance(x, bool) and (x > 0 or x == 0 and name == 'producerId'):
            return '(positive)'
    if name == 'timestamp' and isinstance(x, int) and NOW[0] < x < NOW[1]:
        return '(now)'
    return x


def key_of(x):
    """Entries about one thing meet, whatever else differs."""
    if isinstance(x, dict):
        return json.dumps([[x[k] for k in NAMES if k in x], x], sort_keys=True)
    return json.dumps(x, sort_keys=True)


def differ(path, a, b, out):
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            differ(f'{path}/{k}', a.get(k, '(absent)'), b.get(k, '(absent)'), out)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            out.append((path, f'{len(a)} entries', f'{len(b)} entries'))
        else:
            for x, y in zip(a, b):
                differ(path, x, y, out)
    elif a != b or type(a) is not type(b):
        out.append((path, a, b))


def answers(line, a, b):
    """Differences of two answers to one line."""
    out = []
    masked = set(line.get('mask', []))
    checked = set(line.get('check', []))
    drop = ('ms', 'mask', 'check', 'ordered')
    ordered = ORDERED | set(line.get('ordered', []))
    pair = [plain({k: v for k, v in x.items() if k not in drop}, masked, checked, ordered) for x in (a, b)]
    differ('', *pair, out)
    return out


def read_log(path):
    """A log file by value."""
    with open(path, 'rb') as file:
        found = batches.read(file)
    out = []
    for head, body in found:
        head['body'] = body.hex() if len(body) < 4000 else hash(body)
        if head.get('attributes', 0) & 7:
            head['length'] = '(compressed)' if head.get('crcIsRight', True) else head['length']
            if head['attributes'] & 7 == 1:
                try:
                    head['body'] = gzip.decompress(body).hex()[:4000]
                except (OSError, EOFError):
                    pass
            else:
                head['body'] = '(compressed)'  # fetched by value
            head['crc'] = '(compressed)'
        if head.get('attributes', 0) & APPEND_TIME:
            head['maxTime'] = head['crc'] = '(of append)'
        if head.get('producerId', -1) >= 0:
            head['producerId'] = head['crc'] = '(producer)'
        out.append(head)
    return out


def files(prefix, expected, came, deletes):
    """Differences of the logs of the topics that begin so, in two data directories; deletes: some may be gone."""
    found = []
    for home in (expected, came):
        logs = {}
        for path in glob.glob(f'{glob.escape(home)}/{prefix}*-*/*.log'):
            folder = os.path.basename(os.path.dirname(path))
            if not folder.endswith('-delete'):
                logs[f'{folder}/{os.path.basename(path)}'] = path
        found.append(logs)
    out = []
    for name in sorted(set(found[0]) | set(found[1])):
        if deletes and name not in found[1]:
            continue
        for_file = []
        # A log that was never written to may have no file.
        contents = [dict(enumerate(read_log(f[name]))) if name in f else {} for f in found]
        differ('file', *contents, for_file)
        out += [(f'{where} of {name}', a, b) for where, a, b in for_file[:4]]
    return out
