/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace bench report`: results become one HTML file that needs no network. The page is
 * bench_report.html, which this file carries inside; the results are put into it as JSON.
 */
#include "io/mem.h"
#include "tools/millrace/bench/bench_stored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MARK "@RESULTS@"

extern const char bench_report_page[];
extern const char bench_report_page_end[];

__asm__(".section .rodata\n"
        ".global bench_report_page\n"
        ".global bench_report_page_end\n"
        "bench_report_page:\n"
        ".incbin \"" MR_SOURCE_DIR "/tools/millrace/bench/bench_report.html\"\n"
        "bench_report_page_end:\n"
        ".byte 0\n"
        ".previous\n");

/* As JSON inside of HTML: '<' would begin a tag. */
static void write_json(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("\\u003c", to);
        else
            fputc(*text, to);
    }
}

static bool write_page(const char *path, const json_t *results)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    const char *mark = strstr(bench_report_page, MARK);
    must(mark != NULL);
    char *text = json_dumps(results, JSON_COMPACT);
    must(text != NULL);
    (void)fwrite(bench_report_page, 1, (size_t)(mark - bench_report_page), file);
    write_json(file, text);
    const char *rest = mark + strlen(MARK);
    (void)fwrite(rest, 1, (size_t)(bench_report_page_end - rest), file);
    free(text);
    const bool good = ferror(file) == 0;
    return fclose(file) == 0 && good;
}

/* RESULT.json becomes RESULT.html. */
static char *page_name(const char *path)
{
    size_t len = strlen(path);
    if (len > 5 && strcmp(path + len - 5, ".json") == 0)
        len -= 5;
    char *name = mem_alloc(len + 6);
    (void)snprintf(name, len + 6, "%.*s.html", (int)len, path);
    return name;
}

int cmd_bench_report(struct invocation *inv)
{
    json_t *results = json_array();
    for (uint32_t i = 0; i < inv->operand_count; i++) {
        if (!stored_read_all(inv, inv->operands[i], results)) {
            json_decref(results);
            return EXIT_FAILED;
        }
    }
    const char *out = option_text(inv, "out");
    char *name = out ? mem_strdup(out) : page_name(inv->operands[0]);
    int code = EXIT_OK;
    if (write_page(name, results)) {
        note(inv, "%s", name);
    } else {
        complain(inv, "cannot write %s: %s", name, strerror(errno));
        code = EXIT_FAILED;
    }
    mem_free(name);
    json_decref(results);
    return code;
}
