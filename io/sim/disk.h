/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated disk of a machine, and what a power loss may do to it. The model promises no more
 * than POSIX and the drive do, so code that passes here leans on nothing that ext4 happens to give.
 *
 * Bytes. A file is a sparse array of 4096-byte blocks of eight 512-byte sectors. Each block has
 * what reads see and, while any sector is dirty (written, not flushed), what is durable.
 *  - A durable write makes its own sectors durable when it completes, and the file's size if it
 *    changed that; nothing else.
 *  - A sync makes durable what had completed when it was asked for, of this file only; with
 *    shared_flush also the overwrites of other files opened FS_DIRECT.
 *  - At power loss each dirty sector is kept, lost, or torn at some byte; a block that was being
 *    rewritten may be lost whole, the durable sectors in it included. One crash leans to keeping,
 *    another to losing.
 *  - A write in flight is dirty from its first moment; at kill -9 it happens whole, up to some
 *    block, or not.
 *  - A size that is not durable: the old, the new, or (growing) something between. When a
 *    truncation is lost, what was written later to the part that was cut is lost with it.
 *  - A flush that fails has saved nothing, and the next one that succeeds does not save it either.
 *
 * Names. Creating, renaming and removing go into a list of pending operations. Only fs_sync_dir()
 * of the directory makes those that touch it durable (with earlier ones of the same files); fsync
 * of a file saves no name. At power loss either a prefix of what is pending survives (a journalling
 * file system), or each file keeps a prefix of its own operations. A rename is atomic.
 *
 * Space. Blocks count when they are written or allocated; more than the limit fails with ENOSPC.
 */
#pragma once

#include "io/sim/sim.h"

struct fs *disk_new(struct world *world, struct machine *machine);
void disk_free(struct fs *fs);

/* The process's writes in flight at its crash: they happen or not. */
void disk_process_crash(struct fs *fs, struct process *process, enum crash crash);
/* Its files are closed, its locks gone. */
void disk_process_end(struct fs *fs, struct process *process);
void disk_power_loss(struct fs *fs);
/* The kind of crash that was laid by machine_crash_in_call() and has struck. */
enum crash disk_laid_crash(struct fs *fs);
