/* One question to a broker by its control door: see control_client.h. The socket's directory may be
 * longer than an address: it is reached as the door was bound, by way of /proc. */
#include "control_client.h"

#include "base/base.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

#define TIME_LIMIT_S   30
#define HEAD_BYTES_MAX 64
#define BODY_BYTES_MAX (INT64_C(1) << 30)

static int connect_to(int fd, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(address.sun_path)) {
        return ERR_TOO_LARGE;
    }
    memcpy(address.sun_path, path, len);
    return connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

static int open_door(const char *directory, struct arena *arena, int *ret_fd)
{
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0) {
        return -errno;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : 0;
    if (r >= 0) {
        struct timeval limit = {.tv_sec = TIME_LIMIT_S};
        IGNORE(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0); /* no limit */
        IGNORE(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0); /* as well */
        r = connect_to(
            fd, arena_printf(arena, "/proc/self/fd/%d/%s", directory_fd, CONTROL_SOCKET_NAME).ptr);
        if (r == -ENOENT || r == -ENOTDIR) {
            r = connect_to(fd, arena_printf(arena, "%s/%s", directory, CONTROL_SOCKET_NAME).ptr);
        }
    }
    IGNORE(close(directory_fd)); /* nothing was written by it */
    if (r < 0 && fd >= 0) {
        IGNORE(close(fd)); /* a socket */
    }
    if (r >= 0) {
        *ret_fd = fd;
    }
    return r;
}

static int send_all(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t n = send(fd, text.ptr, text.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            text.ptr += n;
            text.len -= (size_t)n;
        }
    }
    return 0;
}

static int receive_all(int fd, char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, bytes, len, 0);
        if (n == 0) {
            return ERR_TRUNCATED;
        }
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* "STATUS LENGTH\n". */
static int receive_head(int fd, enum control_status *ret_status, size_t *ret_len)
{
    char head[HEAD_BYTES_MAX];
    size_t len = 0;
    do {
        if (len == sizeof(head)) {
            return ERR_MALFORMED;
        }
        int r = receive_all(fd, &head[len], 1);
        if (r < 0) {
            return r;
        }
    } while (head[len++] != '\n');
    struct str rest = str_of(head, len - 1);
    struct str name;
    int64_t body;
    if (!str_split(&rest, ' ', &name) || !control_status_find(name, ret_status) ||
        str_to_i64(rest, &body) < 0 || body < 0 || body > BODY_BYTES_MAX) {
        return ERR_MALFORMED;
    }
    *ret_len = (size_t)body;
    return 0;
}

int control_client_ask(const char *directory,
                       const struct str *words,
                       size_t count,
                       struct arena *arena,
                       enum control_status *ret_status,
                       struct str *ret_body)
{
    int fd;
    int r = open_door(directory, arena, &fd);
    if (r < 0) {
        return r;
    }
    size_t len = 0;
    char *body = NULL;
    r = send_all(fd, control_line(words, count, arena));
    if (r >= 0) {
        r = receive_head(fd, ret_status, &len);
    }
    if (r >= 0) {
        body = arena_try_alloc(arena, len + 1);
        r = body == NULL ? -ENOMEM : receive_all(fd, body, len);
    }
    IGNORE(close(fd)); /* a socket */
    if (r >= 0) {
        *ret_body = str_of(body, len);
    }
    return r;
}
