#!/usr/bin/env python3
"""Style as a test: what clang-format and the compiler's warnings do not see. Usage: check-style.py [--build DIR] [FILE...]

Banned calls, '//' comments, lines above 100 columns, files above 900 lines (a note above 800), tabs, blanks at line
ends, unfinished-work marks, mutable globals, guards of headers; every header of src/ compiles alone (generated
headers are looked for in DIR); and clang-format agrees, where version 14 of it is installed.
"""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ['src', 'tests', 'tools', 'interop']
COLUMNS_MAX = 100
LINES_NOTE = 800
LINES_MAX = 900

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
BANNED = re.compile(r'\b(strcpy|strcat|sprintf|vsprintf|strncpy|strncat|strtok|atoi|atol|gets|gmtime|localtime|asctime'
                    r'|ctime|alloca|rand|srand)\s*\(')
UNFINISHED = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
# A declaration of a variable at the left margin: no parenthesis before '=' or ';'.
GLOBAL = re.compile(r'^(?!typedef|struct \w+;|union \w+;|enum \w+;|extern|return|goto|case|default|static_assert|_Static'
                    r'|#|\}|\{)((?:static\s+|_Thread_local\s+|_Atomic\s+|volatile\s+)*[A-Za-z_]\w*[\w\s\*]*?[\s\*]\w+(?:\s*\[[^\]]*\])*)'
                    r'\s*(?:=|;)', re.M)
LOCAL_STATIC = re.compile(r'^[ \t]+static\s+(?!inline|_Static)([\w\s\*]+?\w+(?:\s*\[[^\]]*\])*)\s*(?:=|;)', re.M)
FUNCTION_POINTER = re.compile(r'^static\s+[\w\s\*]+\(\s*\*\s*(?!const)\w+', re.M)
# Where a mutable global is right: main alone keeps a flag for signals;
# base/sync.c knows, in builds that check lock ranks, which locks a thread holds.
GLOBALS_MAY = {'src/main.c', 'src/base/sync.c'}


def is_mutable(declaration):
    if '*' in declaration:
        return not re.search(r'\*\s*const\b[^*]*$', declaration)
    return not re.search(r'\bconst\b', declaration)


def line_of(text, position):
    return text.count('\n', 0, position) + 1


def check_text(path, text):
    """(complaints, notes) about one file."""
    bad = []
    notes = []

    def say(line, what):
        bad.append(f'{path}:{line}: {what}')

    def blank(match):
        token = match.group(0)
        if token.startswith('//'):
            say(line_of(text, match.start()), "'//' comment")
        keep = ''.join('\n' if c == '\n' else ' ' for c in token[1:-1])
        return ' ' + keep + ' ' if token[0] == '/' else token[0] + keep + token[-1]

    code = TOKEN.sub(blank, text)
    for number, line in enumerate(text.split('\n'), 1):
        if len(line) > COLUMNS_MAX:
            say(number, f'{len(line)} columns')
        if '\t' in line:
            say(number, 'a tab')
        if line != line.rstrip():
            say(number, 'blanks at the end')
    for match in UNFINISHED.finditer(text):
        say(line_of(text, match.start()), f'{match.group(1)}: do it, or state the limit where its user reads it')
    for match in BANNED.finditer(code):
        say(line_of(text, match.start()), f'{match.group(1)}() is banned')
    lines = text.count('\n')
    if lines > LINES_MAX:
        say(lines, f'{lines} lines: split it along a noun')
    elif lines > LINES_NOTE:
        notes.append(f'note: {path} has {lines} lines')
    if path.endswith('.h') and not re.search(r'^#ifndef (\w+)\n#define \1\b', text, re.M):
        say(1, 'no include guard')
    if path.startswith('src/') and path not in GLOBALS_MAY:
        for match in GLOBAL.finditer(code):
            if is_mutable(match.group(1)):
                say(line_of(text, match.start()), f'mutable global: {match.group(1).strip()}')
        for match in LOCAL_STATIC.finditer(code):
            if is_mutable(match.group(1)):
                say(line_of(text, match.start()), f'mutable static: {match.group(1).strip()}')
        for match in FUNCTION_POINTER.finditer(code):
            say(line_of(text, match.start()), 'mutable function pointer')
    return bad, notes


def check_header(path, build):
    includes = ['-I', os.path.join(TOP, 'src')]
    if build:
        includes += ['-I', os.path.join(build, 'src')]
    command = ['cc', '-std=gnu17', '-D_GNU_SOURCE', '-fsyntax-only', '-x', 'c', *includes, os.path.join(TOP, path)]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    return [f'{path}: does not compile alone: {run.stderr.strip().splitlines()[0]}'] if run.returncode else []


def check_format(path):
    run = subprocess.run(['clang-format', '--dry-run', '-Werror', os.path.join(TOP, path)], stderr=subprocess.PIPE,
                         text=True)
    if run.returncode == 0:
        return []
    first = next((line for line in run.stderr.splitlines() if 'error:' in line), run.stderr)
    number = re.search(r':(\d+):\d+:', first)
    return [f'{path}:{number.group(1) if number else 1}: clang-format disagrees']


def has_clang_format():
    if not shutil.which('clang-format'):
        return False
    run = subprocess.run(['clang-format', '--version'], stdout=subprocess.PIPE, text=True)
    return 'version 14.' in run.stdout


def find_files():
    for folder in FOLDERS:
        for where, dirs, names in os.walk(os.path.join(TOP, folder)):
            dirs.sort()
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    yield os.path.relpath(os.path.join(where, name), TOP)


def main():
    arguments = sys.argv[1:]
    build = None
    if '--build' in arguments:
        at = arguments.index('--build')
        build = arguments[at + 1]
        del arguments[at:at + 2]
    files = [os.path.relpath(os.path.abspath(f), TOP) for f in arguments] or list(find_files())
    bad = {path: [] for path in files}
    for path in files:
        with open(os.path.join(TOP, path), encoding='utf-8') as file:
            complaints, notes = check_text(path, file.read())
        bad[path] += complaints
        for note in notes:
            print(note)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = [f for f in files if f.startswith('src/') and f.endswith('.h')]
        for path, complaints in zip(headers, pool.map(lambda f: check_header(f, build), headers)):
            bad[path] += complaints
        if has_clang_format():
            for path, complaints in zip(files, pool.map(check_format, files)):
                bad[path] += complaints
    for path in files:
        for line in bad[path]:
            print(line)
    wrong = sum(1 for path in files if bad[path])
    print(f'{len(files) - wrong} passed, {wrong} failed')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
