#!/usr/bin/env python3
"""Seeded bugs: each breaks one invariant in a copy of the source, and the named test must fail on it.

    run.py --source DIR [--only WORD[,WORD]]

A bug is a replacement of one piece of text by another, so that a change of the source that makes it meaningless is noticed: the old text must stand there exactly once.
"""

import argparse
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import rows

SIMULATE = ("tests/simulate", ["--states", "64000", "--failures", "1"])
ENGINE, FAULTS, RECOVER, UNREADABLE = (("tests/test_engine" + name, []) for name in ("", "_faults", "_recover", "_unreadable"))
LOG, LOG_RECOVER, FRAME = (("tests/test_" + name, []) for name in ("log", "log_recover", "frame"))

BUGS = [
    ("I-1 an answer leaves before its sync", "logd/publish.c",
     "\tif (pending->need > log_synced(engine->disk))\n\t\treturn false;\n", "", SIMULATE),
    ("I-1 fsync is answered when it is written", "logd/append.c",
     "if (b->created || (topic->config.durability == DURABILITY_FSYNC))", "if (b->created)", ENGINE),
    ("I-1 a frame overtakes an earlier one of its topic", "logd/publish.c",
     "return pending->topic == NULL || pending->topic->blocked_pass != engine->pass;", "return true;", ENGINE),
    ("I-1 a sync that began before the write covers it", "logd/log_sync.c",
     "\tlog->synced = log->syncing;\n\tlog->reserved", "\tlog->synced = log->written;\n\tlog->reserved", LOG),
    ("I-2 half a batch counts", "logd/log_scan.c",
     "frame_whole(scan->bytes + at, &head)", "true", LOG_RECOVER),
    ("I-2 a short write counts as whole", "logd/log_file.c",
     "\t\tlength -= done;\n", "\t\tlength = 0;\n", LOG),
    ("I-3 a seq is given again after a loss", "logd/replay.c",
     "\tif (topic->head < loss.to)\n\t\ttopic->head = loss.to;\n", "", RECOVER),
    ("I-3 seqs that readers have seen are given again", "logd/recover.c",
     "return topic->head < seen->numbers.head ? lose(", "return false ? lose(", RECOVER),
    ("I-3 the seqs of a hole at the end are given again", "logd/recover.c",
     "\tif (possible_end && r->damages > topic->damage)", "\tif (false && possible_end)", UNREADABLE),
    ("I-4 a failed sync counts", "logd/log_sync.c",
     "\tif (job->error)\n\t\treturn;\n\tlog->synced", "\tlog->synced", LOG),
    ("I-4 readers are not told where a failed sync moved their records", "logd/log_leave.c",
     "\tif (!log->recovering)\n\t\ttell_moved(log);\n", "\t(void)tell_moved;\n", LOG),
    ("I-4 what a failed write assigned stays", "logd/undo.c",
     "\t\tput_back(engine, engine->undo);\n", "\t\t(void)put_back;\n", FAULTS),
    ("I-4 a failed write is refused while its frame may stand", "logd/undo.c",
     "log_leaving(engine->disk) || log_state(engine->disk) == LOG_READ_ONLY)", "false)", FAULTS),
    ("I-4 what was written before a failed write waits for space", "logd/log_leave.c",
     "(!sync_failed && log->written.lsn != log->synced.lsn && log_sync_written(log))", "(sync_failed && log->recovering)", FAULTS),
    ("I-5 recovery applies half a frame", "logd/replay.c",
     "\t\tat += entry.length;\n\t}\n\tif (!settle)", "\t\tat = end;\n\t}\n\tif (!settle)", SIMULATE),
    ("I-5 the log ends at its first bad frame", "logd/log_scan.c",
     "\t\tif (!next)\n\t\t\tbreak;\n", "\t\tif (next || !next)\n\t\t\tbreak;\n", LOG_RECOVER),
    ("I-5 damage counts as a tear", "logd/log_recover.c",
     "if (damage.proven || damage.io_error || (walk->recovered->same_boot && (next || !walk->torn)))", "if (damage.proven)", LOG_RECOVER),
    ("I-5 what cannot be read is the log's end", "logd/log_scan.c",
     "newest ? scan->bad.to > at || ", "newest ? ", UNREADABLE),
    ("I-5 a deletion that damage took refuses the start", "logd/replay.c",
     "\tif (deleted != NULL)\n\t\treplay_delete(r, deleted);\n", "\t(void)deleted;\n", RECOVER),
    ("I-6 what a power cut took is not announced", "logd/recover.c",
     "\tif (possible_end && !r->disk.same_boot && !r->disk.clean && topic->tail_unsynced)", "\tif (false && possible_end)", RECOVER),
    ("I-6 a new ceiling is not waited for", "logd/append.c",
     "return topic->ceiling_end; /*", "return 0; /*", ENGINE),
    ("I-6 what the daemon's end took of an ephemeral topic is not announced", "logd/recover.c",
     "return lose(r, topic, from, on, REASON_RESTART, 0);", "return from > on ? ERR_OK : ERR_OK;", RECOVER),
    ("I-6 an idle topic is never closed", "logd/engine.c",
     "if (engine->now_us - topic->active_us < CLOSE_AFTER_US || topic->unpublished > 0)", "if (topic != NULL)", RECOVER),
    ("I-8 a request whose frame stands is done again", "logd/settle.c",
     "\tif (!ring_is_released(ring->consumer, number) && !has_frame(engine, ring, head->id) && !completion_stands(ring->completions, head->id))\n",
     "\t(void)engine;\n\t(void)has_frame;\n\tif (!ring_is_released(ring->consumer, number))\n", SIMULATE),
    ("I-8 an answer that stands is given again", "logd/settle.c",
     "\t\t\tif (!completion_stands(ring->completions, settled->completion.request_id))\n", "", RECOVER),
    ("I-8 a second death forgets what was not answered yet", "logd/log_file.c",
     "return log->settling && frontier > log->settling_frontier ? log->settling_frontier : frontier;", "return frontier;", LOG_RECOVER),
    ("A8 an entry says sealed before the footer is synced", "logd/seal.c",
     "\terror = log_file_sync(ops, handle);\n", "\terror = ERR_OK;\n", SIMULATE),
    ("A8 a checkpoint knows what the log can still lose", "logd/checkpoint_file.c",
     "log->checkpoint && log->checkpoint->last_lsn <= log_recorded_frontier(log)", "log->checkpoint", SIMULATE),
    ("A8 a file is sealed whose frames wait for their answers", "logd/log_seal.c",
     "file->end > published || file->end > log_recorded_frontier(log)", "file->end > published", ("tests/test_seal", [])),
    ("C a footer is trusted without its sections' CRCs", "logd/replay_footer.c",
     "\t\terror = footer_check_section(file->footer, file->source, used[i]);\n", "\t\terror = ERR_OK;\n", ("tests/test_engine_seal", [])),
    ("I-9 the ring is read past its end", "common/ring_consumer.c",
     "length <= to_end &&", "", ("tests/test_ring", [])),
    ("G1 two hosts pass", "worker/http.c", "\t\tif (head->host.at != NULL)\n", "\t\tif (head->host.at != NULL && head->close)\n", ("tests/test_http", [])),
    ("G11 another version passes", "worker/http.c", "if (version[5] != '1' || version[7] > '1')", "if (version[7] > '1')", ("tests/test_http", [])),
    ("G3 what was put back of a chunk is lost", "worker/http.c", "\t\tbody->state = CHUNK_DATA;\n}", "\t\tbody->state = CHUNK_DATA_END;\n}", ("tests/test_http", [])),
    ("G13 a gzip body may end anywhere", "worker/gzip.c", "return inflater->between && inflater->any;", "return true;", ("tests/test_gzip", [])),
    ("gzip goes to who refuses it", "worker/negotiate.c", "return gzip > 0 && gzip >= identity;", "return gzip >= 0 && gzip >= identity;", ("tests/test_negotiate", [])),
]


# What scripts against the real daemon need.
PROGRAMS = ["supervisor/topicsd", "logd/topics-logd", "worker/topics-worker", "tests/faults/shim.so", "tests/faults/hostile_worker"]


def run(command, cwd, timeout=600, **env):
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, env=dict(os.environ, **env))


def goals(program):
    return PROGRAMS if program.endswith(".py") else [program]


def passes(program, arguments, tree, build):
    """Whether the test finds nothing; one that does not end has found something."""
    command = [sys.executable, os.path.join(tree, program)] if program.endswith(".py") else [os.path.join(build, program)]
    try:
        return run(command + arguments, build, 600, TOPICS_SRCDIR=tree, TOPICS_BUILDDIR=build, TOPICSD=os.path.join(build, PROGRAMS[0]), PYTHONDONTWRITEBYTECODE="1").returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Lane:
    """A copy of the source with its build."""

    def __init__(self, root):
        self.tree, self.build = os.path.join(root, "tree"), os.path.join(root, "build")

    def make(self, programs):
        return run(["make", "--no-print-directory", "-j2"] + programs, self.build)

    def attempt(self, bug):
        """The line that says how it went, and whether the bug was caught."""
        name, path, old, new, (program, arguments) = bug
        file = os.path.join(self.tree, path)
        with open(file) as f:
            good = f.read()
        if good.count(old) != 1:
            return "FAILED %s: the text to replace stands %d times in %s" % (name, good.count(old), path), False
        with open(file, "w") as f:
            f.write(good.replace(old, new))
        began = time.monotonic()
        built = self.make(goals(program))
        missing = built.returncode == 0 and passes(program, arguments, self.tree, self.build)
        with open(file, "w") as f:
            f.write(good)
        if built.returncode:
            return "FAILED %s: it does not compile: %s" % (name, built.stdout.decode("utf-8", "replace")[-500:]), False
        if missing:
            return "FAILED %s: nothing noticed it" % name, False
        return "caught in %.0f s: %s" % (time.monotonic() - began, name), True


def first_lane(root, source, programs):
    """Configured by a relative path, so that a copy of the whole is a lane too."""
    lane = Lane(root)
    shutil.copytree(source, lane.tree, ignore=shutil.ignore_patterns(".git", "build", "build-asan", "build-tsan", "build-failpoints", "topics-data"))
    os.makedirs(lane.build)
    made = run(["../tree/configure", "--quiet", "CFLAGS=-O1"], lane.build)
    made = made if made.returncode else lane.make(programs)
    if made.returncode:
        raise RuntimeError(made.stdout.decode("utf-8", "replace")[-3000:])
    return lane


def prove(lane, bugs):
    """Scripts must pass here without a bug, else they would catch anything."""
    for program, words in sorted({(b[4][0], tuple(b[4][1])) for b in bugs if b[4][0].endswith(".py")}):
        if not passes(program, list(words), lane.tree, lane.build):
            raise RuntimeError("FAILED %s %s without any bug" % (program, " ".join(words)))


def work(lane, bugs, verdicts):
    while True:
        try:
            bug = bugs.get_nowait()
        except queue.Empty:
            return
        line, caught = lane.attempt(bug)
        print(line, flush=True)
        verdicts.append(caught)


def end_what_was_left(root):
    """Some bugs are just that: a process that outlives the others."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/exe" % pid).startswith(root):
                os.kill(int(pid), signal.SIGKILL)
        except OSError:  # gone meanwhile, or not ours
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    wanted = [b for b in BUGS + rows.BUGS if any(word in b[0] for word in args.only.split(","))]
    bugs, verdicts = queue.Queue(), []
    for bug in wanted:
        bugs.put(bug)
    root = tempfile.mkdtemp(prefix="topics-seeded-")
    try:
        lanes = [first_lane(os.path.join(root, "0"), args.source, sorted({goal for b in wanted for goal in goals(b[4][0])}))]
        prove(lanes[0], wanted)
        for i in range(1, min(os.cpu_count() or 1, 4, len(wanted))):
            shutil.copytree(os.path.join(root, "0"), os.path.join(root, str(i)), symlinks=True)
            lanes.append(Lane(os.path.join(root, str(i))))
        threads = [threading.Thread(target=work, args=(lane, bugs, verdicts)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except RuntimeError as problem:
        print(problem)
    finally:
        end_what_was_left(root)
        shutil.rmtree(root, ignore_errors=True)
    caught = verdicts.count(True)
    print("%d passed, %d failed, 0 skipped" % (caught, max(len(wanted) - caught, 1 if not wanted else 0)))
    return 0 if wanted and caught == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
