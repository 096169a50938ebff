/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The plain definition, a bit at a time, as the oracle. */
static uint32_t crc_by_bits(const uint8_t *data, size_t len)
{
    uint32_t state = ~0U;
    for (size_t i = 0; i < len; i++) {
        state ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            state = (state >> 1) ^ (0x82f63b78U & (0U - (state & 1)));
    }
    return ~state;
}

static void test_check_value(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283U);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void test_all_forms_agree(void **state)
{
    (void)state;
    enum { LEN = 9001 };
    uint8_t *data = malloc(LEN);
    uint8_t *copy = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 131U + (i >> 3));
    const size_t cuts[] = {0, 1, 7, 8, 255, 256, 257, 4095, 4096, 4097, LEN};
    for (size_t i = 0; i < array_count(cuts); i++) {
        size_t cut = cuts[i];
        uint32_t whole = crc_by_bits(data, LEN);
        assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, LEN - cut), whole);
        memset(copy, 0, LEN);
        assert_int_equal(crc32c_copy(0, copy, data, LEN), whole);
        assert_memory_equal(copy, data, LEN);

        struct piece pieces[2] = {{data, (uint32_t)cut}, {data + cut, (uint32_t)(LEN - cut)}};
        struct span span = {pieces, 0, LEN};
        if (cut == 0)
            span.piece++;
        memset(copy, 0, LEN);
        assert_int_equal(crc32c_span(0, span), whole);
        assert_int_equal(crc32c_copy_span(0, copy, span), whole);
        assert_memory_equal(copy, data, LEN);
    }
    free(data);
    free(copy);
}

static void test_patch(void **state)
{
    (void)state;
    enum { LEN = 5000 };
    static uint8_t data[LEN], changed[LEN];
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 57U + (i >> 4));
    uint32_t crc = crc32c(0, data, LEN);
    const size_t froms[] = {0, 1, 22, 4000, LEN - 22};
    for (size_t i = 0; i < array_count(froms); i++) {
        memcpy(changed, data, LEN);
        for (size_t k = froms[i]; k < froms[i] + 22; k++)
            changed[k] ^= (uint8_t)(k * 7U + 1);
        uint32_t patched =
            crc32c_patch(crc, data + froms[i], changed + froms[i], 22, LEN - froms[i] - 22);
        assert_int_equal(patched, crc32c(0, changed, LEN));
    }
    assert_int_equal(crc32c_patch(crc, data, data, 10, LEN - 10), crc);
    /* Everything changes. */
    for (size_t i = 0; i < LEN; i++)
        changed[i] = (uint8_t)(i * 31U);
    assert_int_equal(crc32c_patch(crc, data, changed, LEN, 0), crc32c(0, changed, LEN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_value),
        cmocka_unit_test(test_all_forms_agree),
        cmocka_unit_test(test_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
