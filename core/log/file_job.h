/* SPDX-License-Identifier: Apache-2.0
 *
 * Work of the log for the helper thread: names, space and small files, whatever blocks.
 */
#pragma once

#include "core/log/log_directory.h"
#include "core/log/recycle.h"
#include "core/log/segment.h"

struct log_swap;

enum file_job_kind {
    JOB_OPEN,  /* directory, log.id, file, space up to `length` */
    JOB_SEAL,  /* cut to `length`, sync, write the indexes */
    JOB_INDEX, /* read the indexes */
    JOB_INDEX_WRITE,
    JOB_UNLINK, /* remove one segment's files */
    JOB_REMOVE, /* rename the log's directory away and remove it */
    JOB_CLOSE,  /* a file number */
    JOB_SPACE,  /* free space of the directory */
    JOB_SWAP,   /* names of segments that are replaced by a compacted one */
    JOB_MEND,   /* bytes are read that are damaged, and put back (core/log/log_mend.c) */
};

/* Work for the helper thread: it touches nothing but this. */
struct file_job {
    struct io_op op;
    TAILQ_ENTRY(file_job) link; /* in opens, while others of its kind run */
    struct log_shard *ls;
    enum file_job_kind kind;
    struct log_body *lg;                /* not touched by the helper */
    struct segment *segment;            /* not touched by the helper */
    void (*done)(struct file_job *job); /* on the shard; then the job is freed */
    void *argument;
    struct fs *fs;
    char *root;
    char *directory;
    int64_t base;
    uint64_t length;
    uint64_t least;   /* what of it is needed now */
    uint64_t reserve; /* free space that steps beyond that do not touch */
    int file;
    struct recycle_pool pool;
    uint64_t pool_tag;          /* of files that may go to the pool; 0: none may */
    uint64_t pool_most;         /* a new file may come from the pool, and be so long */
    bool recycled;              /* one did, or went there */
    uint8_t identity[FS_BLOCK]; /* log.id as it must be */
    uint32_t replaced;          /* version of a segment that was replaced, 0: it is in place */
    const struct log_swap *swap;
    bool mistake_no_copy;
    struct index_entry *index;
    uint32_t index_count;
    struct time_entry *times;
    uint32_t times_count;
    bool index_begins_late; /* the file's entries before the first of these stay */
    bool times_unknown;     /* the file stays */
    uint64_t allocated;
    int64_t result; /* -EBUSY: the directory is another log's still */
    const char *verb;
};

struct file_job *file_job_new(struct log_shard *ls, enum file_job_kind kind, struct log_body *lg,
                              struct segment *segment, void (*done)(struct file_job *job));
void file_job_start(struct file_job *job);
/* Jobs that wait for the disk more than they work, of different logs: beside each other (fs_each).
 * Each ends as if it had been started alone. */
#define FILE_JOBS_MAX 512U
void file_jobs_start(struct file_job *const jobs[], uint32_t count);
/* Those that come while others are under way go together after them: an open waits for several
 * flushes, and many beside each other hardly longer. */
void file_job_open(struct file_job *job);
/* So many at the most; of the files that may be open, their part. */
uint32_t file_job_opens_max(const struct log_shard *ls);
char *file_job_path(const struct file_job *job, const char *suffix);
/* core/log/log_mend.c */
int64_t mend_files(struct file_job *job); /* blocking */
/* The job may put files there: nobody reads them. */
void file_job_may_recycle(struct file_job *job);
