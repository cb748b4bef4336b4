/* test.h: the test harness, whole. A suite is a file tests/test_NAME.c that ends with a table
 *
 *     const test_case NAME_tests[] = { { "dot_blocks", dot_blocks }, ..., { NULL, NULL } };
 *
 * and is listed in tests/main.c. A test fails when any CHECK in it does; it goes on after a failed CHECK. */
#ifndef SAEURON_TEST_H
#define SAEURON_TEST_H

#include <stdbool.h>
#include <stddef.h>

#include "files/print.h"

typedef struct test_case { const char *name; void (*run)(void); } test_case;

void test_failed(const char *file, int line, const char *format, ...) PRINTS(3, 4);
/* Says why a test did not run here; it is counted as skipped, neither passed nor failed. */
void test_skip(const char *format, ...) PRINTS(1, 2);
/* A figure worth seeing beside a passed test (a ratio to a bar); printed with -v and in CI. */
void test_note(const char *format, ...) PRINTS(1, 2);

/* CHECK(x == y, "x is %d", x): the message says what was found. */
#define CHECK(condition, ...) do { if (!(condition)) test_failed(__FILE__, __LINE__, __VA_ARGS__); } while (0)

/* A folder for this run's files, made before the first test and removed after the last. */
const char *test_tmp(void);

/* text holds every one of words, which are separated by '|'. */
bool test_holds(const char *text, const char *words);
/* Writes a file whole; a failure is the test's. */
void test_write_file(const char *path, const void *bytes, size_t n);

#endif
