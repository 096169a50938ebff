/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/metadata_seed.h"

#include "core/metadata/membership.h"

bool metadata_seed_write(const struct metadata_seed *seed, const struct metadata_records *batches,
                         uint32_t count, struct log_error *error)
{
    struct store_tree tree;
    struct store_op ops[MEMBERSHIP_NODES + 1];
    uint8_t head[64];
    char json[MEMBERSHIP_CLUSTER_BYTES];
    uint32_t bad_op;
    store_tree_init(&tree);
    uint32_t nodes = membership_nodes(ops, head);
    ops[nodes] = membership_cluster(seed->cluster_id, json);
    must(store_tree_multi(&tree, ops, nodes + 1, 0, &bad_op, NULL) == STORE_OK);
    for (uint32_t i = 0; i < count; i++)
        must(metadata_log_seed(&tree, i + 1ULL, seed->nonce + i, &batches[i]) == STORE_OK);
    bool good = store_file_write(seed->fs, seed->directory, seed->uuid, seed->nonce, &tree, error);
    store_tree_fini(&tree);
    return good;
}
