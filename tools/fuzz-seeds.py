#!/usr/bin/env python3
"""First inputs of a fuzz target from the vectors in tests/golden: fuzz-seeds.py TARGET DIRECTORY"""
import glob
import json
import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def first_version(versions):
    return int(versions.rstrip('+').split('-')[0])


def codec_seeds():
    """Two bytes for the message, one for the version (highest bit: JSON), the bytes or the text."""
    specs = {}
    for path in glob.glob(f'{TOP}/proto-specs/*/*.json'):
        with open(path, encoding='utf-8') as file:
            spec = json.load(file)
        specs[spec['name']] = spec['validVersions']
    place = {name: i for i, name in enumerate(sorted(specs))}
    with open(f'{TOP}/tests/golden/vectors.jsonl', encoding='utf-8') as file:
        for line in file:
            row = json.loads(line)
            if row['message'] not in place:
                continue
            head = place[row['message']].to_bytes(2, 'big')
            version = row['version'] - first_version(specs[row['message']])
            yield head + bytes([version]) + bytes.fromhex(row['hex'])
            yield head + bytes([version | 0x80]) + json.dumps(row['json'], separators=(',', ':')).encode()


def segment_seeds():
    """Pieces of real segments, behind the bytes that choose rules and codec."""
    for path in glob.glob(f'{TOP}/tests/golden/**/*.log', recursive=True):
        with open(path, 'rb') as file:
            data = file.read(4096)
        for choice in (b'\0\0', b'\x04\x01', b'\x28\x04'):
            yield choice + data


SEEDS = {'fuzz_codec': codec_seeds, 'fuzz_batch': segment_seeds}


def main():
    target, directory = sys.argv[1:3]
    for i, seed in enumerate(SEEDS.get(target, lambda: [])()):
        with open(os.path.join(directory, f'seed-{i}'), 'wb') as file:
            file.write(seed)


main()
