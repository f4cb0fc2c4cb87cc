/* Every operation of the interface, called once from C. */
#ifndef DUET_TESTS_C_API_OPERATIONS_H
#define DUET_TESTS_C_API_OPERATIONS_H

#include <duet/duet.h>

/* Exits non-zero on the first call that fails or gives a wrong number. */
void test_operations(duet_context* context);

#endif
