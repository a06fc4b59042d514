#!/usr/bin/env python3
"""tools/turns on traces that were made by hand: what is a turn's own work, and what the machine's."""
import importlib.machinery
import importlib.util
import os
import sys
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
loader = importlib.machinery.SourceFileLoader('turns', f'{TOP}/tools/turns')
sys.dont_write_bytecode = True
turns = importlib.util.module_from_spec(importlib.util.spec_from_loader('turns', loader))
loader.exec_module(turns)

WAIT, WRITE = 232, 296


def event(us, name, rest, task='io-0-7', processor=1):
    return f'  {task}   [{processor:03d}] ..... {us / 1e6:.6f}: {name}: {rest}\n'


def enter(us, number, **more):
    return event(us, 'sys_enter', f'NR {number} (3, 0, 0, 0, 0, 0)', **more)


def leave(us, number, **more):
    return event(us, 'sys_exit', f'NR {number} = 1', **more)


def switch(us, before, after, processor=1):
    return event(us, 'sched_switch', f'prev_comm={before[0]} prev_pid={before[1]} prev_prio=120 prev_state=R ==> '
                 f'next_comm={after[0]} next_pid={after[1]} next_prio=120', processor=processor)


def beats(begin, end, processor=1):
    return [event(us, 'hrtimer_expire_entry', 'hrtimer=0 function=f now=1', task='other-9', processor=processor)
            for us in (*range(begin, end, turns.BEAT_US), end)]


def softirq(begin, end, processor=1):
    return [event(us, f'softirq_{what}', 'vec=3 [action=NET_RX]', processor=processor)
            for us, what in ((begin, 'entry'), (end, 'exit'))]


def one_turn(lines):
    found, at = turns.parse(['# tracer: nop\n'] + lines, 'x86_64')
    assert len(found) == 1, found
    return found[0], at


def near(a, b):
    return abs(a - b) < 1


def test_work_is_the_turns_own_while_interrupts_come():
    turn, at = one_turn([leave(1000, WAIT), enter(4000, WAIT)] + beats(0, 6000))
    assert near(turn.processor_us(), 3000) and near(turn.own_us(at), 3000)


def test_a_gap_between_interrupts_is_the_machines():
    turn, at = one_turn([leave(1000, WAIT), enter(4000, WAIT)] + beats(0, 1500) + beats(3500, 6000))
    assert near(turn.processor_us(), 3000)
    assert near(turn.own_us(at), 3000 - (3500 - 1500 - turns.BEAT_US - turns.BEAT_SLACK_US))


def test_a_gap_on_another_processor_does_not_count():
    turn, at = one_turn([leave(1000, WAIT), enter(4000, WAIT)] + beats(0, 6000) + beats(0, 1500, 0) + beats(3500, 6000, 0))
    assert near(turn.own_us(at), 3000)


def test_a_gap_before_the_turn_does_not_count():
    turn, at = one_turn([leave(3500, WAIT), enter(6000, WAIT)] + beats(0, 500) + beats(3500, 9000))
    assert near(turn.own_us(at), 2500)


def test_without_the_processor_is_no_work():
    turn, at = one_turn([
        leave(1000, WAIT), switch(1500, ('io-0', 7), ('client', 8)), switch(3000, ('client', 8), ('io-0', 7), 0),
        enter(3200, WAIT, processor=0)] + beats(0, 6000) + beats(0, 6000, 0))
    assert near(turn.processor_us(), 700) and near(turn.own_us(at), 700)
    assert [s[2] for s in turn.stretches] == [1, 0]


def test_softirqs_are_told_apart_and_gaps_in_them_count_once():
    turn, at = one_turn([leave(1000, WAIT), *softirq(500, 1200), *softirq(2000, 2600), *softirq(3900, 4300),
                         enter(4000, WAIT), *softirq(5000, 5500)] + beats(0, 2250) + beats(3250, 6000))
    gap = 3250 - 2250 - turns.BEAT_US - turns.BEAT_SLACK_US
    assert near(turn.own_us(at, True), 3000 - gap)
    assert near(turn.own_us(at), 3000 - 200 - 600 - 100 - (gap - (2600 - 2250 - turns.BEAT_US - turns.BEAT_SLACK_US)))


def test_a_softirq_that_ended_before_does_not_count():
    turn, at = one_turn([*softirq(200, 300), leave(1000, WAIT), enter(2000, WAIT)] + beats(0, 3000))
    assert near(turn.own_us(at), 1000)


def test_calls_are_timed_and_two_threads_kept_apart():
    found, _ = turns.parse([
        leave(1000, WAIT), leave(1100, WAIT, task='io-1-8', processor=0), enter(1200, WRITE), leave(1900, WRITE),
        enter(2000, WAIT), enter(2500, WAIT, task='io-1-8', processor=0)] + beats(0, 6000), 'x86_64')
    assert [(t.name, [n for _, n in t.calls]) for t in found] == [('io-0', [WRITE]), ('io-1', [])]
    assert near(found[0].calls[0][0], 700)


def main():
    tests = [(name, f) for name, f in globals().items() if name.startswith('test_')]
    failed = 0
    for name, function in tests:
        try:
            function()
        except Exception:
            failed += 1
            print(f'FAILED {name}')
            traceback.print_exc(file=sys.stdout)
    print(f'{len(tests) - failed} passed, {failed} failed')
    sys.exit(1 if failed else 0)


main()
