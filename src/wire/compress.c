/*
 * The four compressions of record batches.
 *
 *   gzip    RFC 1952. Several members one after another are one stream; what follows a member and
 *           is not the header of another is ignored, as Java's GZIPInputStream does.
 *   snappy  written in snappy-java's ("xerial") framing, read in both that and raw form:
 *             8 bytes  \x82 S N A P P Y \0
 *             4 + 4    version and compatible version, 1 and 1; any are read
 *             then     int32 length and that many bytes of raw snappy, each of at most 32 KiB
 * inflated A length field that begins with the magic starts another such stream
 * (SnappyInputStream). lz4     one LZ4 frame (KIP-57): 64 KiB blocks, independent. What follows the
 * frame is ignored and linked blocks are refused, as Kafka's Lz4BlockInputStream does. zstd frames
 * one after another, with a window of at most 2^27 bytes.
 *
 * A row of `codecs` holds the functions of one codec. Raw snappy cannot be streamed by its library:
 * a block is inflated as a whole, after the size that it claims was compared with what its bytes
 * can yield (a copy of 64 bytes takes at least 3) and with what is left of the output.
 */
#include "wire/compress.h"

#include "base/base.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/err.h"
#include "base/mem.h"

#define GZIP_START_BYTES     4 /* magic, method, flags */
#define GZIP_RESERVED_FLAGS  0xe0
#define PIECE_BYTES          65536 /* of output, and of what goes into a compressor at once */
#define SNAPPY_BLOCK_BYTES   32768
#define XERIAL_MAGIC_BYTES   8
#define XERIAL_HEADER_BYTES  16
#define XERIAL_LENGTH_BYTES  4
#define ZSTD_WINDOW_LOG_MAX  27
#define ZSTD_MEMORY_LARGE    (16u << 20)
#define ZSTD_OUTPUT_LARGE    (32u << 20)
#define LZ4_FAST_LEVEL       9 /* Kafka's default level means the fast compressor */
#define LZ4_MAGIC            0x184d2204u
#define LZ4_HEADER_BYTES_MIN 7
#define LZ4_FLAG_INDEPENDENT 0x20

static const uint8_t xerial_header[XERIAL_HEADER_BYTES] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                                           0,    0,   0,   1,   0,   0,   0,   1};

struct decompressor {
    const struct codec *codec;
    const uint8_t *next; /* input that is left; borrowed */
    const uint8_t *end;
    int64_t left;   /* bytes of output that may still come */
    uint8_t *piece; /* owned: the output */
    size_t piece_cap;
    int failure; /* of an earlier call, or found behind the bytes that it yielded */
    bool at_end;
    union {
        struct {
            z_stream stream;
            gz_header header;                /* of the member, to learn whether there was one */
            uint8_t start[GZIP_START_BYTES]; /* of the member, without reserved flags */
            bool is_in_member;
            bool had_member;
        } gzip;
        struct {
            bool is_xerial;
        } snappy;
        LZ4F_dctx *lz4; /* owned */
        struct {
            ZSTD_DCtx *context;    /* owned */
            uint64_t output_bytes; /* so far */
            bool is_in_frame;
        } zstd;
    } u;
};

struct compressor {
    const struct codec *codec;
    struct writer *out; /* borrowed */
    int level;
    uint8_t *
        piece; /* owned: output that is not in the writer yet; of snappy input that fills a block */
    size_t piece_cap;
    size_t piece_len;
    union {
        z_stream gzip;
        uint8_t *snappy_block; /* owned: one compressed block */
        LZ4F_cctx *lz4;        /* owned */
        ZSTD_CCtx *zstd;       /* owned */
    } u;
};

struct codec {
    const char *name;
    int (*open)(struct decompressor *d);
    int (*read)(struct decompressor *d, struct view *ret); /* sets at_end, or yields bytes */
    void (*close)(struct decompressor *d);
    int (*begin)(struct compressor *c);
    int (*write)(struct compressor *c, const uint8_t *bytes, size_t len);
    int (*finish)(struct compressor *c);
    void (*end)(struct compressor *c);
};

static size_t input_left(const struct decompressor *d)
{
    return (size_t)(d->end - d->next);
}

static int piece_reserve(struct decompressor *d, size_t bytes)
{
    if (d->piece_cap >= bytes) {
        return 0;
    }
    d->piece = mem_free(d->piece);
    d->piece_cap = 0;
    d->piece = mem_try_alloc(bytes);
    if (d->piece == NULL) {
        return ERR_NO_MEMORY;
    }
    d->piece_cap = bytes;
    return 0;
}

/* What was inflated before the stream broke is yielded first, as Java's streams do: a reader may
 * find it wrong by itself. */
static int yield(const struct decompressor *d, size_t len, struct view *ret)
{
    if (len == 0 && d->failure < 0) {
        return d->failure;
    }
    *ret = (struct view){.ptr = d->piece, .len = len};
    return 0;
}

/* ---- none ---- */

static int none_open(struct decompressor *d unused_ok)
{
    return 0;
}

static int none_read(struct decompressor *d, struct view *ret)
{
    *ret = (struct view){.ptr = d->next, .len = input_left(d)};
    d->next = d->end;
    d->at_end = ret->len == 0;
    return 0;
}

static void none_close(struct decompressor *d unused_ok)
{
}

static int none_begin(struct compressor *c unused_ok)
{
    return 0;
}

static int none_write(struct compressor *c, const uint8_t *bytes, size_t len)
{
    writer_bytes(c->out, bytes, len);
    return 0;
}

static int none_finish(struct compressor *c unused_ok)
{
    return 0;
}

static void none_end(struct compressor *c unused_ok)
{
}

/* ---- gzip ---- */

static int gzip_open(struct decompressor *d)
{
    int r = inflateInit2(&d->u.gzip.stream, 15 + 16);
    if (r != Z_OK) {
        return ERR_NO_MEMORY;
    }
    return piece_reserve(d, PIECE_BYTES);
}

static void gzip_member_begin(struct decompressor *d)
{
    IGNORE(inflateReset(&d->u.gzip.stream)); /* fails only for a stream that was never made */
    memset(&d->u.gzip.header, 0, sizeof(d->u.gzip.header));
    IGNORE(inflateGetHeader(&d->u.gzip.stream, &d->u.gzip.header)); /* the same */
    d->u.gzip.is_in_member = true;
}

/* zlib refuses reserved flags, Java does not look at them: it is shown the member's start without
 * them. (A header that has a checksum of its own is refused then.) */
static void gzip_skip_reserved(struct decompressor *d)
{
    z_stream *z = &d->u.gzip.stream;
    uint8_t *start = d->u.gzip.start;
    if (input_left(d) < GZIP_START_BYTES ||
        (d->next[GZIP_START_BYTES - 1] & GZIP_RESERVED_FLAGS) == 0) {
        return;
    }
    memcpy(start, d->next, GZIP_START_BYTES);
    start[GZIP_START_BYTES - 1] &= (uint8_t)~GZIP_RESERVED_FLAGS;
    z->next_in = start;
    z->avail_in = GZIP_START_BYTES;
    if (inflate(z, Z_NO_FLUSH) == Z_OK) { /* else the same is found again */
        d->next += GZIP_START_BYTES;
    }
}

/* One call of inflate. Sets at_end behind the last member. */
static int gzip_step(struct decompressor *d)
{
    z_stream *z = &d->u.gzip.stream;
    if (!d->u.gzip.is_in_member) {
        if (d->next == d->end && d->u.gzip.had_member) {
            d->at_end = true;
            return 0;
        }
        gzip_member_begin(d);
        gzip_skip_reserved(d);
    }
    union {
        const uint8_t *from;
        uint8_t *to;
    } input = {.from = d->next}; /* zlib does not write there, but its type says that it could */
    z->next_in = input.to;
    z->avail_in = (uInt)min_size(input_left(d), UINT32_MAX);
    int r = inflate(z, Z_NO_FLUSH);
    d->next = z->next_in;
    if (r == Z_OK) {
        return 0;
    }
    if (r == Z_STREAM_END) {
        d->u.gzip.is_in_member = false;
        d->u.gzip.had_member = true;
        return 0;
    }
    if (r != Z_MEM_ERROR && d->u.gzip.had_member && d->u.gzip.header.done != 1) {
        d->at_end = true;
        return 0;
    }
    return r == Z_MEM_ERROR ? ERR_NO_MEMORY : ERR_CORRUPT;
}

static int gzip_read(struct decompressor *d, struct view *ret)
{
    z_stream *z = &d->u.gzip.stream;
    z->next_out = d->piece;
    z->avail_out = (uInt)d->piece_cap;
    while (z->avail_out > 0 && !d->at_end && d->failure == 0) {
        d->failure = gzip_step(d);
    }
    return yield(d, d->piece_cap - z->avail_out, ret);
}

static void gzip_close(struct decompressor *d)
{
    IGNORE(inflateEnd(&d->u.gzip.stream)); /* tells only that the stream was not at its end */
}

static int gzip_begin(struct compressor *c)
{
    int r = deflateInit2(&c->u.gzip, c->level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    if (r != Z_OK) {
        return r == Z_MEM_ERROR ? ERR_NO_MEMORY : ERR_BAD_ARGUMENT;
    }
    return 0;
}

static int gzip_deflate(struct compressor *c, int flush)
{
    z_stream *z = &c->u.gzip;
    do {
        z->next_out = c->piece;
        z->avail_out = (uInt)c->piece_cap;
        int r = deflate(z, flush);
        if (r == Z_STREAM_ERROR) {
            return ERR_BAD_ARGUMENT;
        }
        writer_bytes(c->out, c->piece, c->piece_cap - z->avail_out);
    } while (z->avail_out == 0);
    return 0;
}

static int gzip_write(struct compressor *c, const uint8_t *bytes, size_t len)
{
    union {
        const uint8_t *from;
        uint8_t *to;
    } input = {.from = bytes}; /* zlib does not write there, but its type says that it could */
    c->u.gzip.next_in = input.to;
    c->u.gzip.avail_in = (uInt)len;
    return gzip_deflate(c, Z_NO_FLUSH);
}

static int gzip_finish(struct compressor *c)
{
    c->u.gzip.avail_in = 0;
    return gzip_deflate(c, Z_FINISH);
}

static void gzip_end(struct compressor *c)
{
    IGNORE(deflateEnd(&c->u.gzip)); /* tells only that the stream was not at its end */
}

/* ---- snappy ---- */

static int snappy_open(struct decompressor *d)
{
    if (input_left(d) >= XERIAL_HEADER_BYTES &&
        memcmp(d->next, xerial_header, XERIAL_MAGIC_BYTES) == 0) {
        d->u.snappy.is_xerial = true;
        d->next += XERIAL_HEADER_BYTES;
    } else if (d->next == d->end) {
        return ERR_CORRUPT;
    }
    return 0;
}

static int snappy_block(struct decompressor *d, size_t len, struct view *ret)
{
    const char *block = (const char *)d->next;
    size_t promised = 0;
    if (snappy_uncompressed_length(block, len, &promised) != SNAPPY_OK) {
        return ERR_CORRUPT;
    }
    if (promised / 64 > len / 3 + 1) {
        return ERR_CORRUPT;
    }
    if ((uint64_t)promised > (uint64_t)d->left) {
        return ERR_TOO_LARGE;
    }
    int r = piece_reserve(d, max_size(promised, 1));
    if (r < 0) {
        return r;
    }
    size_t made = promised;
    if (snappy_uncompress(block, len, (char *)d->piece, &made) != SNAPPY_OK || made != promised) {
        return ERR_CORRUPT;
    }
    d->next += len;
    *ret = (struct view){.ptr = d->piece, .len = made};
    return 0;
}

static int snappy_read(struct decompressor *d, struct view *ret)
{
    *ret = (struct view){.ptr = d->piece};
    if (!d->u.snappy.is_xerial) {
        if (d->next == d->end) {
            d->at_end = true;
            return 0;
        }
        int r = snappy_block(d, input_left(d), ret);
        d->at_end = r == 0 && ret->len == 0;
        return r;
    }
    /* Each turn takes at least four bytes of the input. */
    while (ret->len == 0) {
        if (input_left(d) < XERIAL_LENGTH_BYTES) {
            d->at_end = true;
            return 0;
        }
        if (input_left(d) >= XERIAL_HEADER_BYTES &&
            memcmp(d->next, xerial_header, XERIAL_MAGIC_BYTES) == 0) {
            d->next += XERIAL_HEADER_BYTES;
            continue;
        }
        uint32_t len = load_be32(d->next);
        d->next += XERIAL_LENGTH_BYTES;
        if (len == 0 || len > input_left(d)) {
            return ERR_CORRUPT;
        }
        int r = snappy_block(d, len, ret);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void snappy_close(struct decompressor *d unused_ok)
{
}

static int snappy_begin(struct compressor *c)
{
    c->u.snappy_block = mem_try_alloc(snappy_max_compressed_length(SNAPPY_BLOCK_BYTES));
    if (c->u.snappy_block == NULL) {
        return ERR_NO_MEMORY;
    }
    writer_bytes(c->out, xerial_header, sizeof(xerial_header));
    return 0;
}

static int snappy_flush(struct compressor *c)
{
    size_t made = snappy_max_compressed_length(SNAPPY_BLOCK_BYTES);
    if (snappy_compress((const char *)c->piece, c->piece_len, (char *)c->u.snappy_block, &made) !=
        SNAPPY_OK) {
        return ERR_NO_MEMORY;
    }
    writer_i32(c->out, to_i32(to_i64(made)));
    writer_bytes(c->out, c->u.snappy_block, made);
    c->piece_len = 0;
    return 0;
}

static int snappy_write(struct compressor *c, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t n = min_size(len, SNAPPY_BLOCK_BYTES - c->piece_len);
        memcpy(c->piece + c->piece_len, bytes, n);
        c->piece_len += n;
        bytes += n;
        len -= n;
        if (c->piece_len == SNAPPY_BLOCK_BYTES) {
            int r = snappy_flush(c);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int snappy_finish(struct compressor *c)
{
    return c->piece_len == 0 ? 0 : snappy_flush(c);
}

static void snappy_end(struct compressor *c)
{
    c->u.snappy_block = mem_free(c->u.snappy_block);
}

/* ---- lz4 ---- */

static int lz4_open(struct decompressor *d)
{
    d->u.lz4 = NULL;
    if (input_left(d) < LZ4_HEADER_BYTES_MIN ||
        __builtin_bswap32(load_be32(d->next)) != LZ4_MAGIC ||
        (d->next[4] & LZ4_FLAG_INDEPENDENT) == 0) {
        return ERR_CORRUPT;
    }
    if (LZ4F_isError(LZ4F_createDecompressionContext(&d->u.lz4, LZ4F_VERSION))) {
        d->u.lz4 = NULL;
        return ERR_NO_MEMORY;
    }
    return piece_reserve(d, PIECE_BYTES);
}

static int lz4_read(struct decompressor *d, struct view *ret)
{
    size_t made = 0;
    while (made < d->piece_cap && !d->at_end) {
        size_t taken = input_left(d);
        size_t given = d->piece_cap - made;
        size_t r = LZ4F_decompress(d->u.lz4, d->piece + made, &given, d->next, &taken, NULL);
        if (LZ4F_isError(r)) {
            return ERR_CORRUPT;
        }
        d->next += taken;
        made += given;
        d->at_end = r == 0;
        if (taken == 0 && given == 0 && !d->at_end) {
            return ERR_CORRUPT; /* cut short */
        }
    }
    *ret = (struct view){.ptr = d->piece, .len = made};
    return 0;
}

static void lz4_close(struct decompressor *d)
{
    IGNORE(
        LZ4F_freeDecompressionContext(d->u.lz4)); /* tells only that the frame was not at its end */
}

static int lz4_begin(struct compressor *c)
{
    c->u.lz4 = NULL;
    if (LZ4F_isError(LZ4F_createCompressionContext(&c->u.lz4, LZ4F_VERSION))) {
        c->u.lz4 = NULL;
        return ERR_NO_MEMORY;
    }
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
        .compressionLevel = c->level == LZ4_FAST_LEVEL ? 0 : c->level,
    };
    c->piece = mem_free(c->piece);
    c->piece_cap = LZ4F_compressBound(PIECE_BYTES, &preferences);
    c->piece = mem_alloc(c->piece_cap);
    size_t r = LZ4F_compressBegin(c->u.lz4, c->piece, c->piece_cap, &preferences);
    if (LZ4F_isError(r)) {
        return ERR_NO_MEMORY;
    }
    writer_bytes(c->out, c->piece, r);
    return 0;
}

static int lz4_write(struct compressor *c, const uint8_t *bytes, size_t len)
{
    size_t r = LZ4F_compressUpdate(c->u.lz4, c->piece, c->piece_cap, bytes, len, NULL);
    if (LZ4F_isError(r)) {
        return ERR_NO_MEMORY;
    }
    writer_bytes(c->out, c->piece, r);
    return 0;
}

static int lz4_finish(struct compressor *c)
{
    size_t r = LZ4F_compressEnd(c->u.lz4, c->piece, c->piece_cap, NULL);
    if (LZ4F_isError(r)) {
        return ERR_NO_MEMORY;
    }
    writer_bytes(c->out, c->piece, r);
    return 0;
}

static void lz4_end(struct compressor *c)
{
    IGNORE(LZ4F_freeCompressionContext(c->u.lz4)); /* cannot fail */
}

/* ---- zstd ---- */

static int zstd_open(struct decompressor *d)
{
    d->u.zstd.context = ZSTD_createDCtx();
    if (d->u.zstd.context == NULL) {
        return ERR_NO_MEMORY;
    }
    size_t r = ZSTD_DCtx_setParameter(d->u.zstd.context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    check(!ZSTD_isError(r));
    return piece_reserve(d, PIECE_BYTES);
}

static int zstd_read(struct decompressor *d, struct view *ret)
{
    ZSTD_outBuffer output = {.dst = d->piece, .size = d->piece_cap};
    while (output.pos < output.size) {
        if (d->next == d->end && !d->u.zstd.is_in_frame) {
            d->at_end = true;
            break;
        }
        size_t before = output.pos;
        ZSTD_inBuffer input = {.src = d->next, .size = input_left(d)};
        size_t r = ZSTD_decompressStream(d->u.zstd.context, &output, &input);
        if (ZSTD_isError(r)) {
            bool is_memory = ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation;
            d->failure = is_memory ? ERR_NO_MEMORY : ERR_CORRUPT;
            break;
        }
        d->next += input.pos;
        d->u.zstd.is_in_frame = r != 0;
        d->u.zstd.output_bytes += output.pos - before;
        if (d->u.zstd.output_bytes > ZSTD_OUTPUT_LARGE &&
            ZSTD_sizeof_DCtx(d->u.zstd.context) > ZSTD_MEMORY_LARGE) {
            return ERR_TOO_LARGE;
        }
        if (input.pos == 0 && output.pos == before && r != 0) {
            d->failure = ERR_CORRUPT; /* cut short */
            break;
        }
    }
    return yield(d, output.pos, ret);
}

static void zstd_close(struct decompressor *d)
{
    IGNORE(ZSTD_freeDCtx(d->u.zstd.context)); /* cannot fail, takes NULL */
}

static int zstd_begin(struct compressor *c)
{
    c->u.zstd = ZSTD_createCCtx();
    if (c->u.zstd == NULL) {
        return ERR_NO_MEMORY;
    }
    if (c->level < ZSTD_minCLevel() || c->level > ZSTD_maxCLevel()) {
        return ERR_BAD_ARGUMENT;
    }
    size_t r = ZSTD_CCtx_setParameter(c->u.zstd, ZSTD_c_compressionLevel, c->level);
    return ZSTD_isError(r) ? ERR_BAD_ARGUMENT : 0;
}

static int zstd_feed(struct compressor *c, ZSTD_inBuffer *input, ZSTD_EndDirective directive)
{
    bool is_done = false;
    while (!is_done) {
        ZSTD_outBuffer output = {.dst = c->piece, .size = c->piece_cap};
        size_t r = ZSTD_compressStream2(c->u.zstd, &output, input, directive);
        if (ZSTD_isError(r)) {
            return ERR_NO_MEMORY;
        }
        writer_bytes(c->out, c->piece, output.pos);
        is_done = directive == ZSTD_e_end ? r == 0 : input->pos == input->size;
    }
    return 0;
}

static int zstd_write(struct compressor *c, const uint8_t *bytes, size_t len)
{
    ZSTD_inBuffer input = {.src = bytes, .size = len};
    return zstd_feed(c, &input, ZSTD_e_continue);
}

static int zstd_finish(struct compressor *c)
{
    ZSTD_inBuffer input = {.src = NULL};
    return zstd_feed(c, &input, ZSTD_e_end);
}

static void zstd_end(struct compressor *c)
{
    IGNORE(ZSTD_freeCCtx(c->u.zstd)); /* cannot fail, takes NULL */
}

/* ---- all ---- */

static const struct codec codecs[] = {
    [CODEC_NONE] = {"none", none_open, none_read, none_close, none_begin, none_write, none_finish,
                    none_end},
    [CODEC_GZIP] = {"gzip", gzip_open, gzip_read, gzip_close, gzip_begin, gzip_write, gzip_finish,
                    gzip_end},
    [CODEC_SNAPPY] = {"snappy", snappy_open, snappy_read, snappy_close, snappy_begin, snappy_write,
                      snappy_finish, snappy_end},
    [CODEC_LZ4] = {"lz4", lz4_open, lz4_read, lz4_close, lz4_begin, lz4_write, lz4_finish, lz4_end},
    [CODEC_ZSTD] = {"zstd", zstd_open, zstd_read, zstd_close, zstd_begin, zstd_write, zstd_finish,
                    zstd_end},
};

static const struct codec *codec_of(enum codec_type type)
{
    return (unsigned)type < ARRAY_LEN(codecs) ? &codecs[type] : NULL;
}

int decompressor_new(enum codec_type type,
                     const void *input,
                     size_t len,
                     int64_t output_max,
                     struct decompressor **ret)
{
    const struct codec *codec = codec_of(type);
    if (codec == NULL) {
        return ERR_UNSUPPORTED;
    }
    struct decompressor *d = mem_zalloc(sizeof(*d));
    d->codec = codec;
    d->next = input;
    d->end = d->next + len;
    d->left = max_i64(output_max, 0);
    int r = codec->open(d);
    if (r < 0) {
        decompressor_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

struct decompressor *decompressor_free(struct decompressor *d)
{
    if (d != NULL) {
        d->codec->close(d);
        d->piece = mem_free(d->piece);
    }
    return mem_free(d);
}

int decompressor_read(struct decompressor *d, struct view *ret)
{
    struct view piece = {.len = 0};
    if (d->failure < 0) {
        return d->failure;
    }
    int r = d->at_end ? 0 : d->codec->read(d, &piece);
    if (r == 0 && (uint64_t)piece.len > (uint64_t)d->left) {
        r = ERR_TOO_LARGE;
    }
    if (r < 0) {
        d->failure = r;
        return r;
    }
    d->left -= to_i64(piece.len);
    *ret = piece;
    return 0;
}

int compressor_new(enum codec_type type, int level, struct writer *out, struct compressor **ret)
{
    const struct codec *codec = codec_of(type);
    if (codec == NULL) {
        return ERR_UNSUPPORTED;
    }
    struct compressor *c = mem_zalloc(sizeof(*c));
    c->codec = codec;
    c->out = out;
    c->level = level;
    if (type != CODEC_NONE) {
        c->piece_cap = PIECE_BYTES;
        c->piece = mem_alloc(c->piece_cap);
    }
    int r = codec->begin(c);
    if (r < 0) {
        compressor_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int compressor_write(struct compressor *c, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;
    while (len > 0) {
        size_t n = min_size(len, PIECE_BYTES);
        int r = c->codec->write(c, next, n);
        if (r < 0) {
            return r;
        }
        next += n;
        len -= n;
    }
    return 0;
}

int compressor_finish(struct compressor *c)
{
    return c->codec->finish(c);
}

struct compressor *compressor_free(struct compressor *c)
{
    if (c != NULL) {
        c->codec->end(c);
        c->piece = mem_free(c->piece);
    }
    return mem_free(c);
}

int compress_bytes(enum codec_type type, int level, const void *in, size_t len, struct writer *out)
{
    struct compressor *c = NULL;
    int r = compressor_new(type, level, out, &c);
    if (r == 0) {
        r = compressor_write(c, in, len);
    }
    if (r == 0) {
        r = compressor_finish(c);
    }
    compressor_free(c);
    return r;
}

const char *codec_type_name(enum codec_type type)
{
    const struct codec *codec = codec_of(type);
    return codec == NULL ? "unknown" : codec->name;
}
