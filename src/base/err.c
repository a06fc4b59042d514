/* Texts of failure codes. libc's strerrordesc_np is used since its strings are constants: no buffer
 * of ours or of the thread is shared. */
#include "base/err.h"

#include "base/base.h"

bool err_is_passing(int err)
{
    switch (err) {
    case -ENOSPC:
    case -EDQUOT:
    case -EFBIG:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case ERR_NO_MEMORY:
        return true;
    default:
        return false;
    }
}

const char *err_text(int err)
{
    if (err >= 0) {
        return "no error";
    }
    switch (err) {
#define ROW(name, value, text) \
    case name:                 \
        return text;
        ERR_TABLE(ROW)
#undef ROW
    default:
        break;
    }
    if (err >= -4095) {
        const char *text = strerrordesc_np(-err);
        if (text != NULL) {
            return text;
        }
    }
    return "unknown error";
}
