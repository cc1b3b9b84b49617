/*
 * cloud_init.h - the NoCloud seed for a guest with cloud-init: a small disk
 * with what it is to set up. Front process only.
 */
#ifndef TINAMOU_CLOUD_INIT_H
#define TINAMOU_CLOUD_INIT_H

#include "cmd/config.h"
#include "host/disk.h"

/*
 * A disk of the files that c asks for, read-only, that exists in memory alone. NULL on failure
 * with the reason for the user in err.
 */
struct disk_files *cloud_init_seed(const struct config_cloud *c, char *err, size_t errlen);

#endif
