/*
 * An io thread: see io_thread.h. The end of a turn, in this order: write the logs that were
 * appended to, wake whom that concerns (which may answer more), let go of the image; net sends
 * last.
 */
#include "broker/io_thread.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/metadata.h"
#include "broker/waiter.h"
#include "config/config.h"
#include "net/conn.h"
#include "storage/plog.h"

#define SLICE_NS          100000 /* of the processor */
#define WRITE_PIECE_BYTES (INT64_C(256) << 10)
#define KIB_NS_MIN        1024 /* what a KiB of a write is taken to cost at least */
#define KIB_NS_MAX        (8 * KIB_NS_MIN)
#define WRITE_LEARN_BYTES (32 << 10) /* shorter writes do not tell */
#define LOG_NS            6000
#define WAKE_FIRST_MAX    8 /* started requests of a connection */
#define STORAGE_REPORT_MS 5000

/* Page-cache memory that a host has to give first costs ten times what other memory does, so the
 * price is learned from the writes. One that was long for another reason is forgotten soon. */
static void learn_price(struct io_thread *io, int64_t bytes, int64_t ns)
{
    if (bytes >= WRITE_LEARN_BYTES) {
        int64_t kib_ns = max_i64(KIB_NS_MIN, min_i64(KIB_NS_MAX, ns * 1024 / bytes));
        io->write_kib_ns = (3 * io->write_kib_ns + kib_ns) / 4;
    }
}

int64_t io_thread_write_ns(const struct io_thread *io, size_t logs, size_t bytes)
{
    return to_i64(logs * LOG_NS) + to_i64(bytes) * io->write_kib_ns / 1024;
}

/* Long appends are written in pieces: one piece a turn, of one log, by ahead_task. Others do not
 * wait for them. */
static void write_dirty(struct turn_task *task, void *ctx)
{
    struct io_thread *io = ctx;
    bool is_piece_due = !list_is_linked(&io->ahead_task.node);
    struct dirty_log ahead = {0};
    size_t kept = 0;
    int64_t piece = WRITE_PIECE_BYTES * KIB_NS_MIN / io->write_kib_ns;
    int64_t bytes = 0;
    int64_t began_ns = loop_turn_ns(io->loop);
    (void)task;
    for (size_t i = 0; i < io->dirty_count; i++) {
        struct dirty_log dl = io->dirty[i];
        int64_t left = plog_staged_left(dl.pl);
        if (!loop_is_sweep(io->loop) && left > piece) {
            if (!is_piece_due) {
                io->dirty[kept++] = dl;
                continue;
            }
            if (plog_write_ahead(dl.pl, piece)) {
                is_piece_due = false;
                ahead = dl;
                bytes += piece;
                continue;
            }
        }
        bytes += left;
        if (left >= PLOG_MOST_BYTES_MIN) { /* before the owner's locks are taken */
            plog_write_most(dl.pl);
        }
        dl.duties->write(io, dl.owner);
        dl.duties->release(dl.owner);
    }
    io->dirty_count = kept;
    if (ahead.pl != NULL) {
        io->dirty[io->dirty_count++] = ahead;
        /* Room for small ones, none for long ones. */
        loop_owe_next(io->loop, io_thread_write_ns(io, 0, to_size(piece)));
        loop_at_next_turn(io->loop, &io->ahead_task);
    }
    learn_price(io, bytes, loop_turn_ns(io->loop) - began_ns);
}

static void arm_later(struct io_thread *io)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < io->later_count; i++) {
        next = min_i64(next, io->later[i].due_ms);
    }
    if (next < INT64_MAX) {
        timers_arm(loop_timers(io->loop), &io->later_timer, next);
    }
}

static void flush_due(struct timer *t, void *ctx)
{
    (void)t;
    struct io_thread *io = ctx;
    size_t kept = 0;
    for (size_t i = 0; i < io->later_count; i++) {
        struct flush_later *fl = &io->later[i];
        if (fl->due_ms > loop_now_ms(io->loop)) {
            io->later[kept++] = *fl;
            continue;
        }
        fl->duties->flush(io, fl->owner);
        fl->duties->release(fl->owner);
    }
    io->later_count = kept;
    arm_later(io);
}

void io_thread_flush_later(struct io_thread *io,
                           int64_t delay_ms,
                           const struct log_duties *duties,
                           void *owner)
{
    int64_t now_ms = loop_now_ms(io->loop);
    if (io->later_count == io->later_cap) {
        io->later = mem_grow(io->later, &io->later_cap, io->later_count + 1, sizeof(*io->later));
    }
    io->later[io->later_count++] = (struct flush_later){
        .owner = owner,
        .duties = duties,
        .due_ms = delay_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + delay_ms,
    };
    arm_later(io);
}

static struct waiter *next_to_wake(struct io_thread *io)
{
    struct list *node = list_pop_front(&io->waking);
    node = node != NULL ? node : list_pop_front(&io->waking_late);
    return node == NULL ? NULL : list_entry(node, struct waiter, ready_link);
}

/* Those whose connections wait for much come after the others. */
static void sort_ready(struct io_thread *io, struct list *ready)
{
    for (struct list *node; (node = list_pop_front(ready)) != NULL;) {
        const struct waiter *w = list_entry(node, struct waiter, ready_link);
        bool is_late = w->slot != NULL && conn_started(w->slot->cn) > WAKE_FIRST_MAX;
        list_push_back(is_late ? &io->waking_late : &io->waking, node);
    }
}

/* Wakes who is ready, as long as the slice lasts. */
static void wake_ready(struct io_thread *io)
{
    loop_begin_slice(io->loop);
    for (;;) {
        struct list ready;
        list_init(&ready);
        lock_take(&io->ready_lock);
        list_splice_back(&ready, &io->ready);
        io->is_wake_posted = !list_is_empty(&ready) || !list_is_empty(&io->waking) ||
                             !list_is_empty(&io->waking_late);
        lock_give(&io->ready_lock);
        sort_ready(io, &ready);
        struct waiter *w = next_to_wake(io);
        if (w == NULL) {
            return;
        }
        for (; w != NULL; w = next_to_wake(io)) {
            w->wake(w);
            if (loop_slice_is_over(io->loop)) {
                loop_at_next_turn(io->loop, &io->ready_task);
                return;
            }
        }
    }
}

static void run_going_on(struct turn_task *task, void *ctx)
{
    struct io_thread *io = ctx;
    loop_begin_slice(io->loop);
    struct list now;
    list_init(&now);
    list_splice_back(&now, &io->going_on);
    while (!list_is_empty(&now)) {
        struct io_step *step = list_entry(list_pop_front(&now), struct io_step, link);
        step->run(step);
        if (loop_slice_is_over(io->loop)) {
            break;
        }
    }
    list_splice_back(&now, &io->going_on); /* who was left out comes first */
    list_splice_back(&io->going_on, &now);
    if (!list_is_empty(&io->going_on)) {
        loop_at_next_turn(io->loop, task);
    }
}

void io_thread_go_on(struct io_thread *io, struct io_step *step)
{
    list_push_back(&io->going_on, &step->link);
    loop_at_next_turn(io->loop, &io->go_on_task);
}

static void wake_at_turn_end(struct turn_task *task, void *ctx)
{
    (void)task;
    wake_ready(ctx);
}

static void wake_from_mailbox(struct job *j)
{
    wake_ready(container_of(j, struct io_thread, ready_job));
}

static void drop_image(struct turn_task *task, void *ctx)
{
    (void)task;
    struct io_thread *io = ctx;
    io->image = image_unref(io->image);
}

static void reap(void *ctx, struct job *j)
{
    struct io_thread *io = ctx;
    if (io->br->background == NULL) { /* it has ended, or never began */
        j->run(j);
        return;
    }
    background_post(io->br->background, j);
}

static void look_for_room(void *ctx)
{
    struct io_thread *io = ctx;
    background_look(io->br->background);
}

static int add_conns(struct io_thread *io, const struct conn_handler *handler)
{
    struct broker *br = io->br;
    struct conn_options conns = {
        .handler = *handler,
        .memory = br->conn_memory,
        .limits = br->conn_limits,
        .metrics = &br->metrics,
        .request_bytes_max = to_size(config_get_int(br->config, "socket.request.max.bytes")),
        .idle_ms = config_get_int(br->config, "connections.max.idle.ms"),
        .answers = &br->answers,
        .on_room = look_for_room,
        .on_room_ctx = io,
        .reap = reap,
        .reap_ctx = io,
    };
    conns.handler.ctx = io;
    return conn_set_new(io->loop, &conns, &io->conns);
}

int io_thread_new(struct broker *br,
                  size_t index,
                  const struct conn_handler *handler,
                  struct io_thread **ret)
{
    struct io_thread *io = mem_zalloc(sizeof(*io));
    io->br = br;
    io->index = index;
    lock_init(&io->ready_lock, LOCK_IO_EVENTS);
    list_init(&io->ready);
    list_init(&io->waking);
    list_init(&io->waking_late);
    list_init(&io->going_on);
    list_init(&io->free_requests);
    writer_init(&io->writer);
    io->write_kib_ns = KIB_NS_MIN;
    io->ready_job.run = wake_from_mailbox;
    timer_init(&io->later_timer, flush_due, io);
    turn_task_init(&io->write_task, TURN_APPEND, write_dirty, io);
    turn_task_init(&io->ahead_task, TURN_APPEND, write_dirty, io);
    turn_task_init(&io->ready_task, TURN_WAKE, wake_at_turn_end, io);
    turn_task_init(&io->image_task, TURN_FREE, drop_image, io);
    turn_task_init(&io->go_on_task, TURN_APPEND, run_going_on, io);
    bool has_conns = handler != NULL;
    struct loop_options options = {
        .clock = br->clock, .logger = br->logger, .metrics = has_conns ? &br->metrics : NULL};
    int r = loop_new(&options, &io->loop);
    if (r >= 0 && has_conns) {
        r = add_conns(io, handler);
    }
    if (r < 0) {
        io_thread_free(io);
        return r;
    }
    *ret = io;
    return 0;
}

static void io_main(void *ctx)
{
    struct io_thread *io = ctx;
    thread_set_slice(SLICE_NS, 0);
    loop_run(io->loop);
}

int io_thread_start(struct io_thread *io)
{
    char name[16];
    if (io->conns == NULL) {
        (void)snprintf(name, sizeof(name), "coordinator");
    } else {
        (void)snprintf(name, sizeof(name), "io-%zu", io->index);
    }
    return thread_start(&io->thread, name, io_main, io);
}

void io_thread_stop(struct io_thread *io)
{
    loop_stop(io->loop);
    thread_join(&io->thread);
}

struct io_thread *io_thread_free(struct io_thread *io)
{
    if (io == NULL) {
        return NULL;
    }
    conn_set_free(io->conns);
    loop_free(io->loop);
    for (struct list *node; (node = list_pop_front(&io->free_requests)) != NULL;) {
        struct io_step *step = list_entry(node, struct io_step, link);
        step->run(step);
    }
    for (size_t i = 0; i < io->later_count; i++) {
        io->later[i].duties->release(io->later[i].owner);
    }
    mem_free(io->later);
    writer_release(&io->writer);
    for (size_t i = 0; i < io->dirty_count; i++) {
        io->dirty[i].duties->release(io->dirty[i].owner);
    }
    mem_free(io->dirty);
    image_unref(io->image);
    lock_release(&io->ready_lock);
    mem_free(io);
    return NULL;
}

struct image *io_thread_image(struct io_thread *io)
{
    if (io->image == NULL) {
        io->image = metadata_image(io->br->metadata);
        loop_at_turn_end(io->loop, &io->image_task);
    }
    return io->image;
}

void io_thread_add_dirty(struct io_thread *io,
                         struct plog *pl,
                         const struct log_duties *duties,
                         void *owner)
{
    if (io->dirty_count == io->dirty_cap) {
        io->dirty = mem_grow(io->dirty, &io->dirty_cap, io->dirty_count + 1, sizeof(*io->dirty));
    }
    io->dirty[io->dirty_count++] = (struct dirty_log){.pl = pl, .owner = owner, .duties = duties};
    loop_at_turn_end(io->loop, &io->write_task);
}

bool io_thread_push_ready(struct io_thread *io, struct waiter *w)
{
    lock_take(&io->ready_lock);
    list_push_back(&io->ready, &w->ready_link);
    bool must_wake = !io->is_wake_posted;
    io->is_wake_posted = true;
    lock_give(&io->ready_lock);
    return must_wake;
}

void io_thread_wake(struct io_thread *io, struct io_thread *self)
{
    if (io == self) {
        loop_at_turn_end(io->loop, &io->ready_task);
    } else {
        IGNORE(
            !loop_post(io->loop, &io->ready_job)); /* refused: the loop has ended, nobody waits */
    }
}

void io_thread_cancel_ready(struct io_thread *io, struct waiter *w)
{
    lock_take(&io->ready_lock);
    list_remove(&w->ready_link);
    lock_give(&io->ready_lock);
}

void io_thread_report_storage(struct io_thread *io, struct str topic, int32_t number, int err)
{
    struct log_left_out left_out;
    if (log_limit_pass(&io->storage_limit, io->br->clock, STORAGE_REPORT_MS, &left_out)) {
        LOG_ERROR(io->br->logger, FAC_STORAGE,
                  "appends to " STR_FMT
                  "-%d are refused: the log cannot be written: %s; reads go on, appends are taken "
                  "again when that ends%s",
                  STR_ARG(topic), number, err_text(err), left_out.text);
    }
}

void io_thread_report_read(struct io_thread *io, struct str topic, int32_t number, int err)
{
    struct log_left_out left_out;
    if (log_limit_pass(&io->read_limit, io->br->clock, STORAGE_REPORT_MS, &left_out)) {
        LOG_ERROR(
            io->br->logger, FAC_STORAGE,
            "reads of " STR_FMT "-%d are refused: its files cannot be read: %s; they are taken "
            "again when that ends%s%s",
            STR_ARG(topic), number, err_text(err),
            err_is_passing(err)
                ? ""
                : ". Look at the disk, and at the owner and the rights of the files; an .index "
                  "or .timeindex that is lost may be removed while the broker is stopped, and "
                  "is made again at the start",
            left_out.text);
    }
}
