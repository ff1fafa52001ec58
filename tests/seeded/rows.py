"""Seeded bugs for the rows of faults (docs/faults.md has the table): name, file, text, what stands there instead, and the test that must fail: a program, or a script and the
words that choose its cases."""

ENGINE, RINGS, FAULTS, RECOVER, MEMORY, EPHEMERAL = (("tests/test_engine" + name, []) for name in ("", "_rings", "_faults", "_recover", "_memory", "_ephemeral"))
LOG, LOG_CRASHES, RING, SUBMIT, HTTP, SETTLE = (("tests/test_" + name, []) for name in ("log", "log_crashes", "ring", "submit", "http", "settle"))
FULL_START = ("tests/test_full_start", [])
JSON, WALK, ROUTE, SHM = (("tests/test_" + name, []) for name in ("json", "json_walk", "route", "shm"))
LOGD_CHILD = ("tests/test_logd_child", [])


def script(path, *words):
    return (path, list(words))


BUGS = [
    # ---- A: death of processes ----
    ("A1 a slot counts when it is reserved", "common/ring_producer.c",
     "\tproducer->reserved = length;\n\treturn", "\tproducer->reserved = length;\n\tatomic_store(&producer->shared->tail, producer->tail + pad + length);\n\treturn", RING),
    ("A2 an entry counts that was not announced", "common/ring_consumer.c", " && consumer->number < consumer->published;", ";", RING),
    ("A3 what a dead worker had published is taken", "logd/take.c", "ring->incarnation != 0 && !ring->gone && !ring->broken && (", "ring->incarnation != 0 && !ring->broken && (", RINGS),
    ("A4 a repeat is done again", "logd/append.c", "first == NULL || topic_seq_lost(", "first != NULL || topic_seq_lost(", ENGINE),
    ("A5 what nobody had taken is passed over at a start", "logd/settle.c", "\t\treturn false;\n\tring_skip(", "\t\t(void)0;\n\tring_skip(", RECOVER),
    ("A6 a group counts as written before it is", "logd/log.c", "error = log_chunks_write(log, log->written.lsn);", "error = ERR_OK;", LOG),
    ("A7 what a dead log process wrote is never answered", "logd/replay.c", "\tif (!settle)\n\t\treturn ERR_OK;\n", "\tif (settle || !settle)\n\t\treturn ERR_OK;\n", RECOVER),
    ("A7 an ephemeral frame that is written counts as answered", "logd/log_file.c", "'e' ? log->e_answered :", "'e' ? log->written.lsn :", ("tests/test_log_ephemeral", [])),
    ("A8 a file is begun without its header", "logd/log_chunk.c", "error = log_file_write_header(log, chunk->file);", "error = ERR_OK;", LOG),
    ("A9 starts that are interrupted leave their copies", "logd/log_finish.c", "\t\t\tlog->ops->unlink(log->ops->world, &doomed->name);\n", "\t\t\tcontinue;\n", LOG_CRASHES),
    ("A10 workers outlive their supervisor", "worker/worker.c", "\tif (!worker->draining)\n\t\tdrain(worker, worker->inherit.common.settings.drain_ms);\n", "", script("tests/faults/test_processes.py", "killed_supervisor")),
    ("A12 nobody gives up on a log process that stands still", "worker/submit.c", "if (now_us - submission->since_us < deadline_us)", "if (deadline_us > 0)", SUBMIT),
    ("A12 nobody looks again at a section that is not whole", "worker/waiting.c", "FOR_SECTION, 0, handler);\n\tlook_later(waiting);\n", "FOR_SECTION, 0, handler);\n",
     script("tests/faults/test_processes.py", "middle_of_a_section")),
    ("A13 no back-off", "supervisor/logd_child.c", "child->restart_us = child->deaths == 1 ? now : now +", "child->restart_us = child->deaths >= 1 ? now : now +", LOGD_CHILD),
    ("A13 ready although the log process dies at every start", "worker/api_probe.c", "else if (write && atomic_load_explicit(&worker->status->heartbeat_ms", "else if (write && state == LOGD_STARTING && atomic_load_explicit(&worker->status->heartbeat_ms",
     script("tests/faults/test_processes.py", "log_process_that_dies")),
    ("A13 a poisoned entry is tried for ever", "logd/take.c", "\tif (deaths >= 2)\n", "\tif (deaths >= 1000)\n", RECOVER),
    ("A13 the worker of a poisoned entry goes before its answer", "logd/engine.c", "engine->now_us < ring->replace_us || ", "", RECOVER),
    ("A14 the log process goes first when memory is out", "supervisor/logd_child.c", "write(fd, \"-900\", 4)", "write(fd, \"900\", 3)", script("tests/faults/test_processes.py", "lack_of_memory")),
    # ---- D: errors of calls, memory, stalls ----
    ("D1 an interrupted write is a failed one", "logd/log_file.c", "((error != EINTR && error != EAGAIN) ||", "(error ||", LOG),
    ("D4 read-only is not told", "logd/engine.c", "[LOG_READ_ONLY] = LOGD_READ_ONLY", "[LOG_READ_ONLY] = LOGD_READY", FAULTS),
    ("D4 a log is given up with what it gathers", "logd/log_roll.c", "\t\tif (log->appended.lsn != log->written.lsn)\n\t\t\treturn ERR_AGAIN;", "\t\t(void)0;", FAULTS),
    ("D4 what a given-up log gathered waits for ever", "logd/log.c", "\t\tdrop_gathered(log);\n\t\treturn ERR_READ_ONLY;", "\t\treturn ERR_READ_ONLY;", LOG),
    ("D5 a used-up quota is a broken disk", "logd/log_file.c", "return error == ENOSPC || error == EDQUOT;", "return error == ENOSPC;", script("tests/faults/test_storage.py", "quota")),
    ("D5 the reserve is given to writes", "logd/log_roll.c", "kept = control ? 0 : file->size / RESERVE_PART;", "kept = control ? 0 : 0;", script("tests/faults/test_storage.py", "a_full_disk")),
    ("D5 a start on a full disk shows what nothing proves", "logd/full_start.c", "shown.head = topic->proven;", "shown.head = topic->head;", FULL_START),
    ("D5 ... or topics that nothing proves", "logd/full_start.c", "\tif (topic->unproven)\n\t\tshown.id = 0;", "\tif (topic->id == 0)\n\t\tshown.id = 0;", FULL_START),
    ("D5 ... or takes from readers what they have", "logd/full_start.c", "if (engine->options.old_catalogue != NULL)", "if (engine->ts < 0)", FULL_START),
    ("D5 ... or ends the log process", "logd/recover.c", "\tif (error == ERR_STORAGE_FULL)\n\t\treturn full_start_begin(engine);\n", "", FULL_START),
    ("D5 ... or answers what is not synced", "logd/full_start.c", "\twake_rings(engine);\n", "\tsettle_answers(engine);\n\twake_rings(engine);\n", FULL_START),
    ("D5 ... or refuses twice", "logd/engine.c", "\t\tring->settling = true;", "\t\tring->settling = !engine->options.daemon_start;", FULL_START),
    ("D5 a reader of what the tail holds is sent to the beginning", "worker/api_read.c", "exchange->partial && q->from_seq > numbers.head", "exchange->discard && q->from_seq > numbers.head", ("tests/test_api", [])),
    ("D5 want of descriptors is for good", "logd/log_file.c", " || error == EMFILE || error == ENFILE ||", " ||", script("tests/faults/test_storage.py", "descriptors")),
    ("D8 the memory of a group's undoing is not there", "logd/provide.c", "provide_undos(engine, REQUEST_UNDOS) && ", "", MEMORY),
    ("D8 a key that found no memory is forgotten", "logd/provide.c", "\n\t       keys_provide(engine->keys) &&", "", MEMORY),
    ("D9 unsynced frames have no bound", "logd/log.c", "log->appended.lsn - log->synced.lsn + size > log->options.unsynced_max)", "size > log->options.unsynced_max)", LOG),
    ("D9 every class waits for the sync", "logd/append.c", "\tif (last_seq <= topic->ceiling_safe)\n\t\treturn 0;\n\treturn topic->ceiling_end;", "\treturn end;", ENGINE),
    ("D9 a late answer loses its place to a younger request", "worker/submit.c", "\twhile (submissions->table[submissions->next_id % TABLE].id != 0)\n\t\tsubmissions->next_id++;\n", "", SUBMIT),
    ("cap takes records of another class with it", "logd/files.c", "} else if (first - to - 1 != topic_stray_count(topic, to + 1, first - 1)) {", "} else if (false) {", EPHEMERAL),
    ("cap leaves records of the disk log in the counts", "logd/publish.c", "\tif (pending->stray)\n", "\tif (false)\n", EPHEMERAL),
    ("cap adds a loss for each file that goes", "logd/files.c", "if (loss->reason != REASON_CAP || loss->to + 1 != from)", "if (loss != NULL)", EPHEMERAL),
    ("D5 lists stand still at topics that are not shown", "common/catalogue.c", " && catalogue_get(&map->topics[slot].id) != 0)", ")", ("tests/test_full_start", [])),
    ("D5 a list leaves out topics that are not shown", "worker/api_topic_read.c", "if (exchange->partial) { /* a list says", "if (false) { /* a list says", ("tests/test_api", [])),
    ("notes of files that wait for a start's answers are kept", "logd/log_roll.c", "if (!log->settling) /* else", "if (true) /* else", ("tests/test_footer_notes", [])),
    ("a footer names frames that were taken back", "logd/log_seal.c", "if (file->notes && file->notes->end != file->end)", "if (false)", ("tests/test_footer_notes", [])),
    ("a start reads the space of files", "logd/ops_system.c", "(void)posix_fadvise(*file, 0, 0, POSIX_FADV_RANDOM);", ";", ("tests/test_ops_system", [])),
    ("evicted objects keep their memory", "logd/ops_system.c", "\t\tclose(system->ephemeral[i].fd);\n\t\tsystem->ephemeral_count--;", "\t\tsystem->ephemeral_count--;", ("tests/test_ops_system", [])),
    # ---- E: rings and hostile workers ----
    ("E1 a broken ring is gone on with", "logd/take.c", "\tif (result == BROKEN)\n\t\tcut_off(engine, ring);\n", "\t(void)cut_off;\n", RINGS),
    ("E2 parts may be longer than the entry", "common/ring_consumer.c", "return head->length == size;", "return head->length <= size;", RING),
    ("E3 lengths are read again after they were checked", "common/ring_consumer.c", "\tuint64_t length = request_size(&consumer->head) - sizeof *head;",
     "\tuint64_t length = request_size((const struct request *)(const void *)(consumer->data + consumer->position % RING_BYTES)) - sizeof *head;", ("tests/hostile_ring", [])),
    ("E4 the tail may go back", "common/ring_consumer.c", "tail < consumer->tail || ", "", RING),
    ("E4 the tail may run ahead", "common/ring_consumer.c", "tail - consumer->released > RING_BYTES || ", "", RING),
    ("E5 shared objects can shrink", "common/shm.c", "fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | ", "fcntl(made, F_ADD_SEALS, ", SHM),
    ("E6 answers are put where unread ones stand", "logd/take.c", "if (completion_room(ring->completions, &error) <= ring->owed)", "if (completion_room(ring->completions, &error) == UINT32_MAX)", RINGS),
    ("E7 limits that a worker has passed over are believed", "logd/take.c", "head->node_length <= settings->max_node_bytes && ", "(settings != NULL) && ", script("tests/faults/test_hostile.py", "breaks_its_ring")),
    ("E9 a dead worker's ring is taken from", "logd/engine.c", "\tring->gone = true;\n", "\tring->gone = ring->broken;\n", RINGS),
    # ---- G: HTTP ----
    ("G1 chunked twice in one field", "worker/http.c", "if (!equals(field->value, \"chunked\"))", "if (!has_word(field->value, \"chunked\"))", HTTP),
    ("G2 a length with a leading zero is octal", "worker/http.c", "__builtin_mul_overflow(n, 10, &n)", "__builtin_mul_overflow(n, value.at[0] == '0' ? 8 : 10, &n)", HTTP),
    ("G2 a length may end with space", "worker/http.c", " || field->value.at[field->value.length] != '\\r')", ")", HTTP),
    ("G3 the size of a chunk may end with space", "worker/http.c", " || (i > digits && i == length))", ")", HTTP),
    ("G4 a name may be any text", "worker/http.c", "\t\tif (!is_token((uint8_t)*at))\n\t\t\treturn bad(problem, \"the name", "\t\tif (*at == 0)\n\t\t\treturn bad(problem, \"the name", HTTP),
    ("G5 the connection goes on behind a broken request", "worker/connection_read.c", "\texchange->close_after = true;\n", "", script("tests/blackbox/test_http.py", "g5_")),
    ("G6 a chunked body has no limit", "worker/connection_read.c", "connection->body.taken > most)", "connection->body.taken > 2 * most)", script("tests/blackbox/test_http.py", "g6_")),
    ("G7 a head has no end", "worker/http.c", "\tif (length > HTTP_HEAD_MAX) {\n", "\tif (length > 1024 * HTTP_HEAD_MAX) {\n", script("tests/blackbox/test_http.py", "g7_")),
    ("G8 half a head may stay for ever", "worker/connection_clock.c", "\tif (connection->phase != PHASE_IDLE)\n", "\tif (connection->phase != PHASE_IDLE && connection->lingering)\n",
     script("tests/blackbox/test_slow.py", "a_slow_head")),
    ("G9 any text is a topic's name", "worker/route.c", "(topic && !topic_name_valid(name, *length))", "(topic && *length == 0)", ROUTE),
    ("G12 half a request is waited for after the end", "worker/connection_read.c", "\tif (connection->reading != NULL)\n\t\tgive_up", "\tif (connection->reading != NULL && connection->reading->done)\n\t\tgive_up",
     script("tests/blackbox/test_http.py", "g12_")),
    ("G12 half a request takes the answers before it along", "worker/connection_read.c", "\tif (connection->queued == 0)\n\t\tconnection_kill", "\tif (connection->queued == 0 || connection->no_more)\n\t\tconnection_kill",
     script("tests/blackbox/test_http.py", "g12_")),
    # ---- H: JSON ----
    ("H1 nesting has no bound", "worker/json_walk.c", "\tif (walk->depth >= JSON_DEPTH_MAX)\n", "\tif (walk->depth >= JSON_DEPTH_MAX && walk->problem != NULL)\n", WALK),
    ("H2 overlong UTF-8 passes", "worker/json_walk.c", "(a == 0xe0 && at[1] < 0xa0) || ", "", WALK),
    ("H2 UTF-8 surrogates pass", "worker/json_walk.c", "(a == 0xed && at[1] > 0x9f) || ", "", WALK),
    ("H3 half a pair names a topic", "worker/json.c", "\tif (low < 0xdc00 || low > 0xdfff)\n\t\treturn 0;\n", "", JSON),
    ("H4 a field may stand twice", "worker/json.c", "\tif (*seen & bit)\n", "\tif (*seen == UINT64_MAX)\n", JSON),
    ("H5 a number may begin with 0", "worker/json_walk.c", "\tif (walk->at < walk->end && *walk->at == '0')\n\t\twalk->at++;\n\telse if (!digits(walk))", "\tif (!digits(walk))", WALK),
    ("H5 integers wrap", "worker/json.c", "__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n,", "(n = n * 10, false) || __builtin_add_overflow(n,", JSON),
    ("H6 something may stand behind the document", "worker/json.c", "\tif (walk.at != walk.end)\n", "\tif (walk.at > walk.end)\n", JSON),
]
