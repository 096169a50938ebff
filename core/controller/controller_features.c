/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_features.h"

#include "net/err.h"

/* The rules are Kafka's (FeatureControlManager of 4.3). */
static bool check(const struct controller_step *step, struct control_op *op,
                  struct control_item *item)
{
    int16_t current = image_level(image_edit_peek(step->edit));
    if (!str_equal(item->name, str_of(METADATA_LEVEL)))
        return controller_refuse(op, item, ERR_INVALID_UPDATE_VERSION,
                                 "there is no feature %.*s; there is " METADATA_LEVEL,
                                 item->name.len < 64 ? item->name.len : 64, item->name.data);
    if (item->upgrade_type < UPGRADE || item->upgrade_type > UNSAFE_DOWNGRADE)
        return controller_refuse(op, item, ERR_INVALID_UPDATE_VERSION,
                                 "upgrade types are 1 to 3, not %d", item->upgrade_type);
    if (item->level < METADATA_LEVEL_OLDEST)
        return controller_refuse(op, item, ERR_INVALID_UPDATE_VERSION,
                                 METADATA_LEVEL " has levels from %d on, not %d",
                                 METADATA_LEVEL_OLDEST, item->level);
    if (item->level > step->lowest.level && !step->mutate_level)
        return controller_refuse(op, item, ERR_INVALID_UPDATE_VERSION,
                                 "broker %d takes part in " METADATA_LEVEL
                                 " up to level %d, not %d: upgrade it first",
                                 step->lowest.node, step->lowest.level, item->level);
    if (item->level < current)
        return controller_refuse(op, item, ERR_INVALID_UPDATE_VERSION,
                                 METADATA_LEVEL " is at level %d, and there is no way back to %d",
                                 current, item->level);
    if (item->level > current && item->upgrade_type != UPGRADE)
        return controller_refuse(op, item, ERR_INVALID_UPDATE_VERSION,
                                 METADATA_LEVEL " is at level %d: %d is no downgrade", current,
                                 item->level);
    return true;
}

void controller_update_features(struct controller_step *step, struct control_op *op)
{
    for (int32_t i = 0; i < op->item_count; i++)
        if (op->items[i].error != ERR_NONE || !check(step, op, &op->items[i]))
            return;
    for (int32_t i = 0; i < op->item_count && !op->validate_only; i++)
        if (op->items[i].level > image_level(image_edit_peek(step->edit)))
            controller_step_record(
                step, &(struct metadata_record){
                          .kind = METADATA_FEATURE,
                          .feature = {.name = op->items[i].name, .level = op->items[i].level}});
}
