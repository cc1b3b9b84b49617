/*
 * types.h - the few types of code that knows no host: neither libc nor Linux.
 *
 * They are the same types as Linux's own, so that both may meet in one file.
 */
#ifndef TINAMOU_DRIVER_TYPES_H
#define TINAMOU_DRIVER_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#endif
