"""Cases: functions whose name says condition and outcome. A run prints a line for each that fails and closes with the count."""

import sys
import time
import traceback

_CASES = []


def case(function):
    _CASES.append(function)
    return function


def same(got, want, what="value"):
    if got != want:
        raise AssertionError("%s is %r, not %r" % (what, got, want))


def truth(condition, what):
    if not condition:
        raise AssertionError(what)


def main(make_context, close_context=None):
    """Runs the cases whose name holds one of the words given as arguments (all without); each gets the context."""
    words = [a for a in sys.argv[1:] if not a.startswith("-")]
    context = make_context()
    passed = failed = 0
    try:
        for function in _CASES:
            if words and not any(w in function.__name__ for w in words):
                continue
            began = time.monotonic()
            try:
                function(context)
                passed += 1
            except Exception as problem:
                failed += 1
                print("FAILED %s: %s" % (function.__name__, str(problem)[:4000]))
                print("  again with: python3 %s %s" % (sys.argv[0], function.__name__))
                if "-v" in sys.argv:
                    traceback.print_exc(file=sys.stdout)
            if "-t" in sys.argv:
                print("%6.2f s %s" % (time.monotonic() - began, function.__name__))
    finally:
        if close_context is not None:
            try:
                close_context(context)
            except Exception as problem:
                failed += 1
                print("FAILED at the end: %s" % str(problem)[:4000])
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed or not passed else 0
