/* `jackdaw apis`: from the rows that ApiVersions and dispatch use. */
#include "apis_tool.h"

#include "base/base.h"
#include "wire/gen/api.h"

int apis_tool_main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "jackdaw apis: %s: takes no arguments\n", argv[1]);
        return 2;
    }
    printf("| key | API | versions |\n| --- | --- | --- |\n");
    const struct api_info *api;
    for (size_t i = 0; (api = api_info_at(i)) != NULL; i++) {
        if ((api->listeners & API_LISTENER_BROKER) == 0) {
            continue;
        }
        printf("| %d | %s | ", api->key, api->name);
        if (api->handle_min == api->max_version) {
            printf("%d |\n", api->max_version);
        } else {
            printf("%d-%d |\n", api->handle_min, api->max_version);
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
