/* The subcommand `jackdaw apis`: prints the APIs that are served with their versions, as a Markdown
 * table. Main thread. Returns the exit status. */
#ifndef APIS_TOOL_H
#define APIS_TOOL_H

/* argv[0] is "apis". */
int apis_tool_main(int argc, char **argv);

#endif
