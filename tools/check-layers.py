#!/usr/bin/env python3
"""Checks that every file of src/ includes only what its layer may know; a test. Usage: check-layers.py [TOP]

    main > server > broker > config > { coord | meta | raft } > storage > { wire | net } > base

- A file includes files of lower layers and of its own folder; nothing sideways, nothing upward, nothing by a
  relative path. The files in src/ itself are the server and main; nobody includes main.
- The headers of a folder do not include each other in a circle.
- Pure modules (no I/O, clock, lock, log) include none of the headers that give these.
- libevent and OpenSSL's SSL are known in net/ alone.

THINK BEFORE YOU CHANGE THE TABLES HERE: it is the plan of the house that you change.
"""
import os
import re
import sys

RANK = {'base': 0, 'wire': 1, 'net': 1, 'storage': 2, 'coord': 3, 'meta': 3, 'raft': 3, 'config': 4, 'broker': 5, '': 6}

# Folders and modules without I/O, clock, lock or log; and what of such a folder is not (config_load reads the file).
PURE = {
    'wire', 'meta', 'base/timers', 'base/list', 'base/str', 'base/uuid', 'base/hmap', 'storage/validate',
    'base/rng', 'coord', 'raft/control', 'raft/quorum', 'raft/replication', 'raft/voters', 'broker/acl', 'broker/quota', 'broker/fetch_session',
    'config',
}
PURE_NOT = {'config/config_load'}
IMPURE = re.compile(r'^(base/(clock|fs|sync|logger|metrics)\.h|pthread\.h|unistd\.h|fcntl\.h|time\.h|sys/.*|poll\.h'
                    r'|net/.*|netinet/.*|arpa/.*|signal\.h)$')
PURE_MAY = {('base/uuid', 'sys/types.h')}

# Libraries that belong to one layer.
LIBRARY_HOME = [
    (re.compile(r'^event2/'), {'net'}),
    (re.compile(r'^openssl/(ssl|tls1|bio)\.h$'), {'net'}),
    (re.compile(r'^sasl/'), {'broker'}),
    (re.compile(r'^(zlib|zstd|lz4|lz4frame|lz4hc|snappy-c)\.h$'), {'wire'}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def module_of(path):
    return os.path.splitext(path)[0]


def find_circle(graph):
    """One circle of a graph {node: set(nodes)} as a list, or None."""
    state = {}
    for root in sorted(graph):
        if root in state:
            continue
        stack = [(root, iter(sorted(graph[root])))]
        state[root] = 'open'
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if state.get(target) == 'open':
                    path = [entry[0] for entry in stack]
                    return path[path.index(target):] + [target]
                if target not in state:
                    state[target] = 'open'
                    stack.append((target, iter(sorted(graph.get(target, ())))))
                    break
            else:
                state[node] = 'done'
                stack.pop()
    return None


def check_file(path, text, folders, graph):
    """Complaints about one file; path is relative to src/. Fills graph with edges inside its folder."""
    folder = path.split('/')[0] if '/' in path else ''
    module = module_of(path)
    is_pure = (folder in PURE or module in PURE) and module not in PURE_NOT
    bad = []
    if folder not in RANK:
        return [f'src/{path}: folder {folder} is no layer']
    for bracket, name in INCLUDE.findall(text):
        if is_pure and IMPURE.match(name) and (module, name) not in PURE_MAY:
            bad.append(f'src/{path}: pure, but includes {name}')
        if bracket == '<':
            for pattern, homes in LIBRARY_HOME:
                if pattern.match(name) and folder not in homes:
                    bad.append(f'src/{path}: {name} is known in {"/".join(sorted(homes))} alone')
            continue
        if '..' in name:
            bad.append(f'src/{path}: includes {name} by a relative path')
            continue
        target = name.split('/')[0] if '/' in name else ''
        if target not in RANK:
            bad.append(f'src/{path}: includes {name}, which is in no layer')
            continue
        if target == '' and os.path.exists(os.path.join(folders, folder, name)) and folder != '':
            bad.append(f'src/{path}: includes "{name}": write the path from src/')
            continue
        if target == folder:
            if name == 'main.h':
                bad.append(f'src/{path}: includes main')
            other = module_of(name)
            if path.endswith('.h') and other != module:
                graph.setdefault(module, set()).add(other)
                graph.setdefault(other, set())
            continue
        if RANK[target] > RANK[folder]:
            bad.append(f'src/{path}: upward, includes {name}')
        elif RANK[target] == RANK[folder]:
            bad.append(f'src/{path}: sideways, includes {name}')
    return bad


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    src = os.path.join(top, 'src')
    bad = []
    graph = {}
    files = 0
    for where, dirs, names in os.walk(src):
        dirs.sort()
        for name in sorted(names):
            if name.endswith(('.c', '.h')):
                path = os.path.relpath(os.path.join(where, name), src)
                with open(os.path.join(where, name), encoding='utf-8') as file:
                    bad += check_file(path, file.read(), src, graph)
                files += 1
    for folder in RANK:
        part = {m: t for m, t in graph.items() if ('/' in m and m.split('/')[0] == folder) or ('/' not in m and not folder)}
        circle = find_circle(part)
        if circle:
            bad.append('a circle of headers: ' + ' > '.join(circle))
    for line in bad:
        print(line)
    print(f'{files - len({b.split(":")[0] for b in bad}) if bad else files} passed, {len(bad)} failed')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
