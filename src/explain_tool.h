/* `jackdaw explain group NAME`: what a running broker remembers of a group's rebalances, and what
 * its members own (coord/story_print.h). Main thread. */
#ifndef EXPLAIN_TOOL_H
#define EXPLAIN_TOOL_H

/* argv[0] is "explain". The exit status: 0; 1: no broker, no such group, not now; 2: usage. */
int explain_tool_main(int argc, char **argv);

#endif
