/* SPDX-License-Identifier: Apache-2.0
 *
 * A histogram as text. What it says is asked of HdrHistogram's own library by tests/histogram/run,
 * for which `--values N` prints percentiles, buckets and the text of N values.
 */
#include "tools/millrace/bench/bench_hgrm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct histogram histogram;

/* The text of what is in the histogram; the caller frees it. */
static char *text_of_histogram(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    hgrm_print(&histogram, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void few_values(void **state)
{
    (void)state;
    histogram_clear(&histogram);
    histogram_add_n(&histogram, 1000000, 3);
    histogram_add(&histogram, 2500000);
    char *text = text_of_histogram();
    static const char *const wanted[] = {
        "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
        "    1.000447 0.000000000000          3           1.00\n"
        "    1.000447 0.100000000000          3           1.11\n",
        "    1.000447 0.700000000000          3           3.33\n"
        "    2.500000 0.750000000000          4           4.00\n"
        "    2.500000 1.000000000000          4\n",
        "#[Mean    =     1.375000, ",
        "#[Max     =     2.500000, Total count    =            4]\n",
    };
    for (unsigned i = 0; i < array_count(wanted); i++)
        if (!strstr(text, wanted[i]))
            fail_msg("'%s' is not in:\n%s", wanted[i], text);
    free(text);
}

static void nothing(void **state)
{
    (void)state;
    histogram_clear(&histogram);
    char *text = text_of_histogram();
    assert_non_null(strstr(text, "Total count    =            0]\n"));
    free(text);
}

/* From 20 us up to 26 days, some of each power of two; tests/histogram/Oracle.java draws the same.
 */
static uint64_t draw(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return 20000 + (*random >> (13 + (*random & 31)));
}

static int print_values(uint64_t count)
{
    static const double quantiles[] = {0.001, 0.1,  0.25,  0.5,    0.75,    0.9,      0.95,
                                       0.98,  0.99, 0.999, 0.9999, 0.99999, 0.999999, 1};
    uint64_t random = 88172645463325252U;
    for (uint64_t i = 0; i < count; i++)
        histogram_add(&histogram, draw(&random));
    printf("quantile max %llu\n", (unsigned long long)histogram.max_ns);
    for (unsigned i = 0; i < array_count(quantiles); i++)
        printf("quantile %.6f %llu\n", quantiles[i],
               (unsigned long long)histogram_quantile_ns(&histogram, quantiles[i]));
    uint64_t ns;
    uint64_t there;
    for (uint32_t cursor = 0; histogram_next(&histogram, &cursor, &ns, &there);)
        printf("bucket %llu %llu\n", (unsigned long long)ns, (unsigned long long)there);
    hgrm_print(&histogram, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--values") == 0)
        return print_values(strtoull(argv[2], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_values),
        cmocka_unit_test(nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
