/* The subcommand `jackdaw configs`: prints every key with type, default, what is allowed, where it
 * may be changed and what it means, as Markdown tables. Main thread. Returns the exit status. */
#ifndef CONFIGS_TOOL_H
#define CONFIGS_TOOL_H

/* argv[0] is "configs". */
int configs_tool_main(int argc, char **argv);

#endif
