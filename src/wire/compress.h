/*
 * gzip, snappy (xerial framing and raw), lz4 (frame) and zstd behind one table (P).
 *
 * A decompressor is a stream: feed it all input at once, pull output in pieces, so that a batch is
 * never held inflated. `output_max` is a hard cap over the whole stream: ERR_TOO_LARGE beyond it.
 * Memory of a stream is bounded and is touched only as output comes: zstd windows above 128 MiB
 * (the largest that Kafka's producers write) are refused, and above 8 MiB the stream is
 * (ERR_TOO_LARGE) after 32 MiB of output; lz4 blocks have at most 4 MiB by their format, and a
 * snappy block is given no more memory than its input can yield. Errors: ERR_CORRUPT,
 * ERR_TOO_LARGE, ERR_NO_MEMORY, ERR_UNSUPPORTED (no such codec).
 *
 * A compressor is the way back: it appends to a writer as its input comes.
 */
#ifndef WIRE_COMPRESS_H
#define WIRE_COMPRESS_H

#include "base/base.h"
#include "wire/cursor.h"

enum codec_type {
    CODEC_NONE = 0,
    CODEC_GZIP = 1,
    CODEC_SNAPPY = 2,
    CODEC_LZ4 = 3,
    CODEC_ZSTD = 4,
};

struct decompressor;

/* The input is borrowed until the decompressor is freed. */
must_check int decompressor_new(enum codec_type type,
                                const void *input,
                                size_t len,
                                int64_t output_max,
                                struct decompressor **ret);
struct decompressor *decompressor_free(struct decompressor *d); /* takes NULL, returns NULL */
/* The next bytes: a view that is valid until the next call; len 0 at the end of the stream. */
must_check int decompressor_read(struct decompressor *d, struct view *ret);

struct compressor;

/* level: the codec's own (Kafka: gzip -1, lz4 9, zstd 3; snappy has none). ERR_BAD_ARGUMENT: the
 * codec has no such level. `out` is borrowed. After a failure the compressor can only be freed. */
must_check int
compressor_new(enum codec_type type, int level, struct writer *out, struct compressor **ret);
must_check int compressor_write(struct compressor *c, const void *bytes, size_t len);
must_check int
compressor_finish(struct compressor *c); /* ends the stream; nothing may be written after */
struct compressor *compressor_free(struct compressor *c); /* takes NULL, returns NULL */

/* Compresses all of `in` and appends to out. */
must_check int
compress_bytes(enum codec_type type, int level, const void *in, size_t len, struct writer *out);

/* "none", "gzip", "snappy", "lz4", "zstd"; "unknown" for the others. */
const char *codec_type_name(enum codec_type type);

#endif
