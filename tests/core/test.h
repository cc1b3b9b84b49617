/* test.h - what cmocka wants to have included before it. */
#ifndef TINAMOU_TEST_H
#define TINAMOU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
