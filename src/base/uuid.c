/* Kafka's Uuid as text: URL-safe base64 of 16 bytes without padding (KIP-516, class Uuid). */
#include "base/uuid.h"

#include "base/base.h"
#include "base/err.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void uuid_print(const struct uuid *u, char ret_text[static UUID_TEXT_SIZE])
{
    size_t n = 0;
    for (size_t i = 0; i < 15; i += 3) {
        uint32_t v = (uint32_t)u->bytes[i] << 16 | (uint32_t)u->bytes[i + 1] << 8 | u->bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            ret_text[n++] = alphabet[(v >> shift) & 63];
        }
    }
    ret_text[n++] = alphabet[u->bytes[15] >> 2];
    ret_text[n++] = alphabet[(u->bytes[15] << 4) & 63];
    ret_text[n] = '\0';
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int uuid_parse(struct str text, struct uuid *ret)
{
    /* Padding is accepted, as Java's decoder accepts it. */
    if (text.len == 24 && text.ptr[22] == '=' && text.ptr[23] == '=') {
        text.len = 22;
    }
    if (text.len != 22) {
        return ERR_MALFORMED;
    }
    struct uuid u = {{0}};
    uint32_t bits = 0;
    int count = 0;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.ptr[i]);
        if (digit < 0) {
            return ERR_MALFORMED;
        }
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            u.bytes[n++] = (uint8_t)(bits >> count);
        }
    }
    *ret = u;
    return 0;
}
