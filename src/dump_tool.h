/* The subcommand `jackdaw dump [--records] [--json] FILE...`: prints what the files of a data
 * directory hold. Main thread. Returns the exit status: 0, 1 when something is damaged or cannot be
 * read, 2 for a wrong command line. */
#ifndef DUMP_TOOL_H
#define DUMP_TOOL_H

/* argv[0] is "dump". */
int dump_tool_main(int argc, char **argv);

#endif
