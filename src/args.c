/* The command line of the server. An option's value is the next word or follows '='. */
#include "args.h"

#include "base/mem.h"

struct option {
    const char *name;
    const char *what; /* the value's form; NULL: a switch */
};

enum option_index {
    OPTION_OVERRIDE,
    OPTION_DATA,
    OPTION_LISTEN,
    OPTION_PORTS_FILE,
    OPTION_EPHEMERAL,
};

static const struct option options[] = {
    [OPTION_OVERRIDE] = {"--override", "KEY=VALUE"}, [OPTION_DATA] = {"--data", "DIR"},
    [OPTION_LISTEN] = {"--listen", "HOST:PORT"},     [OPTION_PORTS_FILE] = {"--ports-file", "FILE"},
    [OPTION_EPHEMERAL] = {"--ephemeral", NULL},
};

static bool refuse(char *ret_error, size_t cap, const char *format, ...) printf_like(3, 4);

static bool refuse(char *ret_error, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ret_error, cap, format, args);
    va_end(args);
    return false;
}

static bool find_option(const char *word, size_t *ret_index, const char **ret_value)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        size_t len = strlen(options[i].name);
        if (strncmp(word, options[i].name, len) != 0) {
            continue;
        }
        if (word[len] == '\0' || word[len] == '=') {
            *ret_index = i;
            *ret_value = word[len] == '=' ? word + len + 1 : NULL;
            return true;
        }
    }
    return false;
}

/* Two of them contradict each other, and which one would count is a guess. */
static bool
take_once(const char **place, size_t index, const char *value, char *ret_error, size_t cap)
{
    if (*place != NULL) {
        return refuse(ret_error, cap, "%s %s: there is one already, %s", options[index].name, value,
                      *place);
    }
    *place = value;
    return true;
}

static bool take(struct args *a, size_t index, const char *value, char *ret_error, size_t cap)
{
    if (options[index].what != NULL && value[0] == '\0') {
        return refuse(ret_error, cap, "%s: %s is empty", options[index].name, options[index].what);
    }
    switch ((enum option_index)index) {
    case OPTION_OVERRIDE:
        if (a->overrides_count == ARGS_OVERRIDES_MAX) {
            return refuse(ret_error, cap, "--override: more than %d of them", ARGS_OVERRIDES_MAX);
        }
        a->overrides[a->overrides_count++] = value;
        break;
    case OPTION_DATA:
        return take_once(&a->data, index, value, ret_error, cap);
    case OPTION_LISTEN:
        return take_once(&a->listen, index, value, ret_error, cap);
    case OPTION_PORTS_FILE:
        return take_once(&a->ports_file, index, value, ret_error, cap);
    case OPTION_EPHEMERAL:
        a->is_ephemeral = true;
        break;
    }
    return true;
}

static bool parse(int argc, char **argv, struct args *a, char *ret_error, size_t cap)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        size_t index;
        const char *value;
        if (word[0] != '-') {
            if (a->file != NULL) {
                return refuse(ret_error, cap, "%s: there is a properties file already, %s", word,
                              a->file);
            }
            a->file = word;
            continue;
        }
        if (!find_option(word, &index, &value)) {
            return refuse(ret_error, cap, "%s: no such option; see jackdaw help", word);
        }
        if (options[index].what == NULL && value != NULL) {
            return refuse(ret_error, cap, "%s takes no value", options[index].name);
        }
        if (options[index].what != NULL && value == NULL) {
            if (i + 1 == argc) {
                return refuse(ret_error, cap, "%s: %s is missing", options[index].name,
                              options[index].what);
            }
            value = argv[++i];
        }
        if (!take(a, index, value, ret_error, cap)) {
            return false;
        }
    }
    if (a->is_ephemeral && a->data != NULL) {
        return refuse(ret_error, cap, "--ephemeral has a directory of its own: leave out --data");
    }
    return true;
}

bool args_parse(int argc, char **argv, struct args *ret, char *ret_error, size_t error_cap)
{
    struct args a = {0};
    a.overrides = mem_array((size_t)argc + 1, sizeof(a.overrides[0]));
    if (!parse(argc, argv, &a, ret_error, error_cap)) {
        args_release(&a);
        return false;
    }
    *ret = a;
    return true;
}

void args_release(struct args *a)
{
    mem_free(a->overrides);
    *a = (struct args){0};
}
