/* cmd.h - the command line: one file a subcommand. */
#ifndef TINAMOU_CMD_H
#define TINAMOU_CMD_H

/* Parses argv, runs the subcommand, returns the process's exit status. */
int cmd_main(int argc, char **argv);

/* Without program and subcommand. */
int cmd_disk(int argc, char **argv);

/*
 * list, status, console, ...: what is done with machines that have a name; their
 * exit status, or -1 if there is no such verb.
 */
int cmd_verb(const char *verb, int argc, char **argv);

#endif
