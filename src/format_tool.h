/* The subcommand `jackdaw format`: makes data directories as `kafka-storage format` does, with its
 * options. Main thread. Returns the exit status: 0, 1 when a directory could not be formatted (or
 * is formatted already), 2 for a wrong command line or configuration. */
#ifndef FORMAT_TOOL_H
#define FORMAT_TOOL_H

/* argv[0] is "format". */
int format_tool_main(int argc, char **argv);

#endif
