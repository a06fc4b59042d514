/* Files by hand: see dump_tool.h. What a file is is told by its name, as everywhere in a data
 * directory; the name of the directory tells what its records are. */
#include "dump_tool.h"

#include "base/base.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "dump_log.h"
#include "dump_print.h"
#include "dump_records.h"
#include "dump_side_files.h"

#define SIDE_FILE_BYTES_MAX \
    ((size_t)1 << 30) /* the limit of segment.index.bytes is less than 2 GiB */
#define OFFSET_DIGITS 20

enum {
    EXIT_GOOD = 0,
    EXIT_DAMAGE = 1,
    EXIT_USAGE = 2,
};

enum dump_kind {
    DUMP_LOG,
    DUMP_METADATA_SNAPSHOT,
    DUMP_OFFSET_INDEX,
    DUMP_TIME_INDEX,
    DUMP_TXN_INDEX,
    DUMP_PRODUCER_SNAPSHOT,
    DUMP_CHECKPOINT,
    DUMP_TEXT,
    DUMP_UNKNOWN,
};

static const struct {
    const char *suffix;
    enum dump_kind kind;
} suffixes[] = {
    {".log", DUMP_LOG},
    {".checkpoint", DUMP_METADATA_SNAPSHOT},
    {".index", DUMP_OFFSET_INDEX},
    {".timeindex", DUMP_TIME_INDEX},
    {".txnindex", DUMP_TXN_INDEX},
    {".snapshot", DUMP_PRODUCER_SNAPSHOT},
    {"-checkpoint", DUMP_CHECKPOINT},
    {"meta.properties", DUMP_TEXT},
    {"partition.metadata", DUMP_TEXT},
    {"quorum-state", DUMP_TEXT},
    {"unflushed-offsets", DUMP_TEXT},
    {".kafka_cleanshutdown", DUMP_TEXT},
};

/* What stands behind the name of a file that is on its way in or out. */
static const char *const transients[] = {".deleted", ".cleaned", ".swap", ".tmp", ".part"};

struct dump_file {
    const char *path;
    struct str name;
    struct str directory; /* its last part */
    enum dump_kind kind;
    int64_t base_offset;
};

static bool strip(struct str *s, const char *suffix)
{
    size_t n = strlen(suffix);
    if (s->len < n || memcmp(s->ptr + s->len - n, suffix, n) != 0) {
        return false;
    }
    s->len -= n;
    return true;
}

static int file_of(const char *path, struct dump_file *ret, char **ret_real_path)
{
    /* A file in the working directory is known by where that is. */
    char *real = realpath(path, NULL);
    if (real == NULL) {
        return -errno;
    }
    *ret = (struct dump_file){.path = path, .kind = DUMP_UNKNOWN};
    struct str rest = str_from(real);
    struct str part = {.ptr = NULL};
    while (str_split(&rest, '/', &part)) {
        ret->directory = ret->name;
        ret->name = part;
    }
    struct str name = ret->name;
    for (size_t i = 0; i < ARRAY_LEN(transients); i++) {
        IGNORE(strip(&name, transients[i])); /* most names have none */
    }
    for (size_t i = 0; i < ARRAY_LEN(suffixes) && ret->kind == DUMP_UNKNOWN; i++) {
        if (strip(&name, suffixes[i].suffix)) {
            ret->kind = suffixes[i].kind;
        }
    }
    bool has_offset = name.len >= OFFSET_DIGITS;
    if (!has_offset || str_to_i64(str_of(name.ptr, OFFSET_DIGITS), &ret->base_offset) < 0) {
        ret->base_offset = 0;
    }
    *ret_real_path = real;
    return 0;
}

/* The segment of the same base offset, or NULL. */
static struct fs_file *open_segment(struct fs *fs, const struct dump_file *df)
{
    size_t len = strlen(df->path);
    const char *suffix = ".index";
    if (len < strlen(suffix) || strcmp(df->path + len - strlen(suffix), suffix) != 0) {
        return NULL;
    }
    struct arena arena;
    arena_init(&arena, 0);
    struct str path = arena_printf(&arena, "%.*s.log", (int)(len - strlen(suffix)), df->path);
    struct fs_file *file = NULL;
    if (fs_open(fs, path.ptr, FS_READ, &file) < 0) {
        file = NULL;
    }
    arena_release(&arena);
    return file;
}

static int print_side_file(struct dump_out *d, struct fs *fs, const struct dump_file *df)
{
    char *bytes = NULL;
    size_t len = 0;
    int r = fs_read_file(fs, df->path, SIDE_FILE_BYTES_MAX, &bytes, &len);
    if (r < 0) {
        return r;
    }
    struct view view = {.ptr = (const uint8_t *)bytes, .len = len};
    struct fs_file *segment = NULL;
    switch (df->kind) {
    case DUMP_OFFSET_INDEX:
        segment = open_segment(fs, df);
        dump_side_files_offset_index(d, view, df->base_offset, segment);
        fs_file_unref(segment);
        break;
    case DUMP_TIME_INDEX:
        dump_side_files_time_index(d, view, df->base_offset);
        break;
    case DUMP_TXN_INDEX:
        dump_side_files_txn_index(d, view);
        break;
    case DUMP_PRODUCER_SNAPSHOT:
        dump_side_files_snapshot(d, view);
        break;
    case DUMP_CHECKPOINT:
        dump_side_files_checkpoint(d, str_of(bytes, len));
        break;
    case DUMP_TEXT:
        dump_side_files_text(d, str_of(bytes, len));
        break;
    case DUMP_LOG:
    case DUMP_METADATA_SNAPSHOT:
    case DUMP_UNKNOWN:
        check(false);
    }
    mem_free(bytes);
    return 0;
}

static int print_log_file(struct dump_out *d, struct fs *fs, const struct dump_file *df)
{
    struct fs_file *file = NULL;
    int r = fs_open(fs, df->path, FS_READ, &file);
    if (r < 0) {
        return r;
    }
    /* The records of a snapshot are counted from 0, whatever its name says. */
    bool is_snapshot = df->kind == DUMP_METADATA_SNAPSHOT;
    enum dump_topic topic = is_snapshot ? DUMP_TOPIC_METADATA : dump_records_topic(df->directory);
    r = dump_log_print(d, file, is_snapshot ? 0 : df->base_offset, topic);
    fs_file_unref(file);
    return r;
}

/* The exit status for one file. */
static int print_file(struct dump_out *d, struct fs *fs, const char *path)
{
    struct dump_file df;
    char *real = NULL;
    int r = file_of(path, &df, &real);
    if (r == 0 && df.kind == DUMP_UNKNOWN) {
        fprintf(stderr, "jackdaw dump: the name of %s does not tell what it is\n", path);
        free(real);
        return EXIT_USAGE;
    }
    if (r == 0 && (df.kind == DUMP_LOG || df.kind == DUMP_METADATA_SNAPSHOT)) {
        r = print_log_file(d, fs, &df);
    } else if (r == 0) {
        r = print_side_file(d, fs, &df);
    }
    free(real);
    if (r < 0) {
        fprintf(stderr, "jackdaw dump: cannot read %s: %s\n", path, err_text(r));
        return EXIT_DAMAGE;
    }
    return d->is_damaged ? EXIT_DAMAGE : EXIT_GOOD;
}

static int usage(const char *what, const char *argument)
{
    fprintf(stderr, "jackdaw dump: %s%s; see jackdaw dump --help\n", what, argument);
    return EXIT_USAGE;
}

static int help(void)
{
    fputs("usage: jackdaw dump [--records] [--json] FILE...\n"
          "Prints files of a data directory by their names: log segments, indexes, snapshots,\n"
          "checkpoints, metadata records.\n"
          "  --records  the records of each batch, too\n"
          "  --json     a JSON object a line\n"
          "Ends with 1 when a file is damaged or cannot be read.\n",
          stdout);
    return EXIT_GOOD;
}

int dump_tool_main(int argc, char **argv)
{
    struct dump_out d = {.out = stdout};
    int first = 1;
    for (; first < argc && argv[first][0] == '-' && argv[first][1] != '\0'; first++) {
        if (strcmp(argv[first], "--") == 0) {
            first++;
            break;
        }
        if (strcmp(argv[first], "--help") == 0 || strcmp(argv[first], "-h") == 0) {
            return help();
        }
        if (strcmp(argv[first], "--records") == 0) {
            d.shows_records = true;
        } else if (strcmp(argv[first], "--json") == 0) {
            d.is_json = true;
        } else {
            return usage("unknown option ", argv[first]);
        }
    }
    if (first >= argc) {
        return usage("no file is named", "");
    }
    struct fs fs;
    fs_init_system(&fs);
    int status = EXIT_GOOD;
    for (int i = first; i < argc; i++) {
        if (argc - first > 1) {
            dump_print_begin(&d, "file");
            dump_print_text(&d, "path", str_from(argv[i]));
            dump_print_end(&d);
        }
        int s = print_file(&d, &fs, argv[i]);
        status = s > status ? s : status;
    }
    if (fflush(stdout) != 0) {
        fprintf(stderr, "jackdaw dump: cannot write: %s\n", strerror(errno));
        return EXIT_DAMAGE;
    }
    return status;
}
