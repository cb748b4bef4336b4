#include "test.h"
const test_case collect_tests[] = { { 0, 0 } };
