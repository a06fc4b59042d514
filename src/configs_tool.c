/* `jackdaw configs`: the tables of options for people to read. */
#include "configs_tool.h"

#include "base/mem.h"
#include "config/config_table.h"
#include "config/config_value.h"

/* A text inside a table: bars would end the cell. */
static void print_cell(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '|') {
            putchar('\\');
        }
        putchar(*p);
    }
}

static void print_row(const struct config_row *row)
{
    static const char *const effects[] = {
        [CONFIG_NO_EFFECT] = "accepted without effect",
        [CONFIG_EFFECT] = "yes",
        [CONFIG_EFFECT_AT_START] = "at a start; a change while it runs is refused",
    };
    char memory[512];
    struct strbuf allowed;
    strbuf_init(&allowed, memory, sizeof(memory));
    config_value_allowed(row, &allowed);
    printf("| %s | %s | ", row->name, config_table_type_name(row->type));
    if (row->default_text == NULL) {
        printf("(not set)");
    } else if (row->default_text[0] == '\0') {
        printf("(empty)");
    } else {
        print_cell(row->default_text);
    }
    printf(" | ");
    print_cell(allowed.ptr);
    printf(" | %s | %s | ", config_table_scope_name(row->scope), effects[row->effect]);
    print_cell(row->doc);
    printf(" |\n");
}

static void print_head(const char *title)
{
    printf("## %s\n\n", title);
    printf("| key | type | default | allowed | change | effect | meaning |\n");
    printf("| --- | --- | --- | --- | --- | --- | --- |\n");
}

static void print_brokers(const char *title, enum config_audience audience)
{
    size_t count = config_table_broker_count();
    const struct config_row **rows = mem_array(count, sizeof(const struct config_row *));
    config_table_broker_sorted(rows);
    print_head(title);
    for (size_t i = 0; i < count; i++) {
        if (rows[i]->audience == audience) {
            print_row(rows[i]);
        }
    }
    mem_free(rows);
    printf("\n");
}

static void print_table(const char *title, const struct config_table *table)
{
    print_head(title);
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].audience == CONFIG_PUBLIC) {
            print_row(&table->rows[i]);
        }
    }
    printf("\n");
}

int configs_tool_main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "jackdaw configs: %s: takes no arguments\n", argv[1]);
        return 2;
    }
    print_brokers("Keys of jackdaw's own", CONFIG_OWN);
    print_brokers("Broker", CONFIG_PUBLIC);
    print_brokers("Broker, set while it runs only", CONFIG_DYNAMIC_ONLY);
    print_table("Topic", &config_table_topic);
    print_table("Group", &config_table_group_resource);
    print_table("Client metrics subscription", &config_table_client_metrics);
    return fflush(stdout) == 0 ? 0 : 1;
}
