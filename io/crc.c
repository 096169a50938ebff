/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crc.h"

#include <isa-l/crc.h>
#include <string.h>

#define CRC_SHORT 256U
#define CRC_STEP  4096U

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_short(uint32_t state, const uint8_t *at,
                                                            size_t len)
{
    uint64_t wide = state;
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    state = (uint32_t)wide;
    for (; len > 0; at++, len--)
        state = _mm_crc32_u8(state, *at);
    return state;
}
#define CRC_HAS_SHORT 1
#else
#define CRC_HAS_SHORT 0
#endif

static uint32_t crc_run(uint32_t state, const uint8_t *data, size_t len)
{
#if CRC_HAS_SHORT
    if (len < CRC_SHORT)
        return crc_short(state, data, len);
#endif
    /* ISA-L takes an int length and a pointer without const; it only reads. */
    while (len > 0) {
        size_t run = len < (1U << 30) ? len : (1U << 30);
        union {
            const uint8_t *in;
            uint8_t *out;
        } cast = {.in = data};
        state = crc32_iscsi(cast.out, (int)run, state);
        data += run;
        len -= run;
    }
    return state;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~crc_run(~crc, data, len);
}

uint32_t crc32c_span(uint32_t crc, struct span span)
{
    while (span.len > 0) {
        uint32_t run;
        const uint8_t *data = span_front(&span, &run);
        crc = crc32c(crc, data, run);
        span_advance(&span, run);
    }
    return crc;
}

uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t len)
{
    uint32_t state = ~crc;
    uint8_t *out = to;
    const uint8_t *in = from;
    while (len > 0) {
        size_t run = len < CRC_STEP ? len : CRC_STEP;
        memcpy(out, in, run);
        state = crc_run(state, out, run);
        out += run;
        in += run;
        len -= run;
    }
    return ~state;
}

uint32_t crc32c_copy_span(uint32_t crc, void *to, struct span span)
{
    uint8_t *out = to;
    while (span.len > 0) {
        uint32_t run;
        const uint8_t *data = span_front(&span, &run);
        crc = crc32c_copy(crc, out, data, run);
        out += run;
        span_advance(&span, run);
    }
    return crc;
}

#if CRC_HAS_SHORT
/* The product of two polynomials and x^33, modulo CRC-32C's, bit-reflected (bit 31 is x^0): what
 * the instructions give for nothing. Powers that carry a factor of x^-33 stay in that form. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t polynomial_multiply(uint32_t a, uint32_t b)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}
#define CRC_ONE_ZERO_BYTE 0xbf818109U /* x^(8 - 33) */
#else
/* The product of two polynomials modulo CRC-32C's, bit-reflected: bit 31 is x^0. */
static uint32_t polynomial_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 1U << 31; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = (b >> 1) ^ (0x82f63b78U & (0U - (b & 1)));
    }
    return product;
}
#define CRC_ONE_ZERO_BYTE (1U << 23) /* x^8 */
#endif

uint32_t crc32c_patch(uint32_t crc, const void *was, const void *now, size_t len, uint64_t after)
{
    const uint8_t *old = was;
    const uint8_t *new = now;
    uint32_t state = 0;
    while (len > 0) {
        uint8_t change[64];
        size_t run = len < sizeof(change) ? len : sizeof(change);
        for (size_t i = 0; i < run; i++)
            change[i] = old[i] ^ new[i];
        state = crc_run(state, change, run);
        old += run;
        new += run;
        len -= run;
    }
    /* Each zero byte multiplies the state by x^8; x^(8 * after) by squaring. */
    uint32_t power = CRC_ONE_ZERO_BYTE;
    for (; after != 0; after >>= 1) {
        if (after & 1)
            state = polynomial_multiply(power, state);
        power = polynomial_multiply(power, power);
    }
    return crc ^ state;
}
