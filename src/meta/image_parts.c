/*
 * The few questions that the parts of an image answer by themselves (P). Kafka: DirectoryId,
 * Replicas.
 */
#include "meta/image_parts.h"

const struct uuid image_directory_unassigned = {.bytes = {[15] = IMAGE_DIRECTORY_UNASSIGNED}};

int image_directory_reserved(const struct uuid *id)
{
    static const uint8_t zeros[15];
    bool is_reserved = memcmp(id->bytes, zeros, sizeof(zeros)) == 0 &&
                       id->bytes[15] <= IMAGE_DIRECTORY_RESERVED_MAX;
    return is_reserved ? id->bytes[15] : -1;
}

int32_t image_slot(const int32_t *ids, int32_t count, int32_t broker_id)
{
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] == broker_id) {
            return i;
        }
    }
    return -1;
}
