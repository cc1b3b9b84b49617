/* main.c - argv to cmd/; the only other place that ends the process is cmd/. */
#include "cmd/cmd.h"

int main(int argc, char **argv)
{
	return cmd_main(argc, argv);
}
