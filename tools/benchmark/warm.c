/*
 * Warm pages. See warm.h. The file is unlinked at once; its pages die with the descriptor.
 */
#include "benchmark/warm.h"

#include <fcntl.h>
#include <unistd.h>

#define PIECE      (1 << 20)
#define AHEAD      (INT64_C(96) << 20)
#define STEP       (INT64_C(16) << 20)
#define PATH_BYTES 512

void warm_open(struct warm *w, const char *directory, int64_t bytes)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/warm-%d", directory, (int)getpid());
    *w = (struct warm){.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
                       .fed = -AHEAD};
    char *piece = calloc(1, PIECE);
    while (w->fd >= 0 && piece != NULL && w->left < bytes && write(w->fd, piece, PIECE) == PIECE) {
        w->left += PIECE;
    }
    free(piece);
    if (w->fd >= 0) {
        unlink(path);
    }
}

void warm_feed(struct warm *w, int64_t load_bytes)
{
    while (w->fd >= 0 && w->fed + STEP <= load_bytes && w->left >= STEP) {
        w->left -= STEP;
        w->fed += STEP;
        IGNORE(ftruncate(w->fd, w->left)); /* then the figures are those of cold pages */
    }
}

void warm_close(struct warm *w)
{
    if (w->fd >= 0) {
        close(w->fd);
    }
    w->fd = -1;
}
