/* cmocka with the headers it needs before it: what every unit test includes. */
#ifndef TESTS_LIB_UNIT_H
#define TESTS_LIB_UNIT_H

#include "base/base.h"

#include <setjmp.h>

/* This one must come after setjmp.h. */
#include <cmocka.h>

#endif
