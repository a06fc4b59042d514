"""The smallest script that still shows a difference: fewer lines, then fewer entries in lists and fields in bodies."""
import copy
import time

TRIES_MAX = 150
SECONDS_MAX = 40


class Budget:
    def __init__(self, shows):
        self.left = TRIES_MAX
        self.end = time.monotonic() + SECONDS_MAX
        self.shows = shows

    def try_it(self, lines):
        if self.left <= 0 or time.monotonic() > self.end:
            return False
        self.left -= 1
        return self.shows(lines)


def fewer_lines(lines, budget):
    size = max(1, len(lines) // 2)
    while True:
        at = 0
        while at < len(lines):
            # What waits for topics stays: without it a difference may only be that one server is slower.
            less = lines[:at] + [x for x in lines[at:at + size] if 'until' in x or 'retry' in x] + lines[at + size:]
            if len(less) == len(lines):
                at += size
                continue
            if less and budget.try_it(less):
                lines = less
            else:
                at += size
        if size == 1:
            return lines
        size = max(1, size // 2)


def places(x, path=()):
    """Where a list's entry or a field may be left out."""
    if isinstance(x, dict):
        for k, v in x.items():
            yield from places(v, path + (k,))
        for k in x:
            yield path + (k,)
    elif isinstance(x, list):
        for i, v in enumerate(x):
            yield path + (i,)
            yield from places(v, path + (i,))


def without(x, path):
    x = copy.deepcopy(x)
    at = x
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return x


def smaller_bodies(lines, budget):
    for i in range(len(lines) - 1, -1, -1):
        changed = True
        while changed and budget.left > 0:
            changed = False
            if 'until' in lines[i] or 'retry' in lines[i]:
                break
            for path in list(places(lines[i].get('body', {}))):
                less = dict(lines[i], body=without(lines[i]['body'], path))
                some = lines[:i] + [less] + lines[i + 1:]
                if budget.try_it(some):
                    lines = some
                    changed = True
                    break
    return lines


def reduce(lines, at, shows):
    """at: the line that differs, or -1; shows(lines) -> does it still? None when it does not happen again."""
    budget = Budget(shows)
    if at >= 0 and budget.try_it(lines[:at + 1]):
        lines = lines[:at + 1]
    elif not budget.try_it(lines):
        return None
    return smaller_bodies(fewer_lines(lines, budget), budget)
