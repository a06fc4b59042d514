/* The subcommand `jackdaw wire decode|encode MESSAGE VERSION`: lines of hexadecimal on standard
 * input to lines of JSON, and back. Main thread. Returns the exit status: 0, 1 when a line was
 * refused, 2 for a wrong command line. */
#ifndef WIRE_TOOL_H
#define WIRE_TOOL_H

/* argv[0] is "wire". */
int wire_tool_main(int argc, char **argv);

#endif
