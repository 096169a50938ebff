/* SPDX-License-Identifier: Apache-2.0 */
#include "io/diag_level.h"

#include "io/io.h"

#include <assert.h>
#include <string.h>

enum { LEVEL_UNSET = 0 };

const struct diag_logger diag_loggers[] = {
#define DIAG_LOGGER(name, doc) {#name, doc},
#include "io/diag_loggers.def"
#undef DIAG_LOGGER
};
const uint32_t diag_logger_count = array_count(diag_loggers);
static_assert(array_count(diag_loggers) <= IO_LOGGERS_MAX, "the door has a level for each");

uint32_t diag_logger_of(const char *event)
{
    const size_t len = strcspn(event, ".");
    for (uint32_t i = DIAG_ROOT + 1; i < diag_logger_count; i++)
        if (strncmp(diag_loggers[i].name, event, len) == 0 && diag_loggers[i].name[len] == '\0')
            return i;
    return DIAG_ROOT;
}

enum diag_level diag_level_of(uint32_t logger)
{
    must(logger < diag_logger_count);
    uint8_t level = io_log_level(logger);
    if (level == LEVEL_UNSET)
        level = io_log_level(DIAG_ROOT);
    return level == LEVEL_UNSET ? DIAG_INFO : (enum diag_level)level;
}

void diag_level_set(uint32_t logger, enum diag_level level)
{
    must(logger < diag_logger_count);
    io_log_level_set(logger, (uint8_t)level);
}

void diag_level_unset(uint32_t logger)
{
    must(logger != DIAG_ROOT && logger < diag_logger_count);
    io_log_level_set(logger, LEVEL_UNSET);
}
