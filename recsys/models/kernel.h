/* What the training kernel is asked for: the arrays of a model, and a part of an epoch. */

#ifndef RECSYS_KERNEL_H
#define RECSYS_KERNEL_H

#include <stdint.h>

#define LANES 16 /* floats of a block: a cache line */

enum loss { WARP, BPR, LOGISTIC, WARP_KOS };

/* Users or items: what is learned of each feature, and which features each of them has. */
typedef struct {
    float *vectors;       /* (count, padded) */
    float *squares;       /* (count, padded): of gradients, summed or averaged */
    float *updates;       /* (count, padded): squares of updates, averaged; adadelta alone */
    float *biases;        /* (count,), and its squares and updates */
    float *bias_squares;
    float *bias_updates;
    int64_t count;        /* features */
    int64_t rows;         /* users or items */
    const int32_t *grouped;  /* (rows,): users or items, group after group */
    const int64_t *bounds;   /* where each group begins there, and where the last one ends */
    const int64_t *starts;   /* (rows + 1,): of the features of each; none for an identity */
    const int32_t *features; /* and their weights */
    const float *weights;
    double alpha;         /* regularisation */
} side;

typedef struct {
    side users, items;
    int64_t interactions;
    const int32_t *user, *item; /* (interactions,) */
    const float *weight;        /* (interactions,), or none where each counts one */
    int32_t *order;             /* (interactions,): in which they are trained; found for blocks */
    const int64_t *starts;      /* (users + 1,): of each user's items, ascending */
    const int32_t *liked;
    int64_t components, padded;
    int64_t max_sampled, k, n;
    double rate, rho, epsilon;
    int32_t loss, adadelta;
    int64_t groups;             /* of users and of items: one for an epoch that is not cut */
    int64_t item_groups;        /* that are trained one after the other with records, or 0 */
    const uint32_t *seeds;      /* (groups, groups) or (item_groups,): of each block */
    double *seconds;            /* CPU seconds of all threads but the caller's are added */
} task;

/* A part of an epoch: the interactions of some users with some items, in their order. */
typedef struct {
    int32_t *order;
    int64_t interactions;
    const int32_t *users, *items; /* or none for all */
    int64_t user_count, item_count;
    double *user_scale, *item_scale; /* of the lazy regularisation, handed on */
    float *records;                  /* room for one of each of its items, see `record`; or none */
    int32_t *slots;                  /* (rows,): where those of its items are */
    int32_t *touched;                /* room for those of its items that are learned from */
    uint32_t seed;
    int last;                        /* of these users and items in this epoch */
} block;

/* BPR by gradient descent with one rate for all. The row of an item ends with its bias, in a column
   where each user has 1; what is behind it is padding. */
typedef struct {
    float *users, *items;       /* (rows, padded) */
    int64_t padded, bias;       /* floats of a row; which of them are biases */
    int64_t interactions;       /* so many pairs are drawn */
    const int32_t *user, *item; /* (interactions,), the items of a user ascending */
    const int64_t *starts;      /* (users + 1,): of each user's items */
    double rate, regularization;
    uint64_t *seed;             /* of the random numbers, handed on */
} descent;

/* A random number, as LightFM draws it. */
static inline uint32_t draw(uint32_t *seed) {
    uint32_t x = *seed = *seed * 1103515245u + 12345u;
    x ^= x >> 11;
    x ^= (x << 7) & 0x9D2C5680u;
    x ^= (x << 15) & 0xEFC60000u;
    x ^= x >> 18;
    return x >> 1;
}

/* Of an item's record: what it begins with, and four rows. */
static inline int64_t record_floats(int64_t padded) { return LANES + 4 * padded; }

/* Trains a part of an epoch; `room` is for three rows, `losses` are by how many items were drawn. The
   number is that of the bits of a vector. */
typedef void trainer(const task *t, const block *b, float *room, const float *losses);
trainer recsys_train_128, recsys_train_256, recsys_train_512;

typedef void descender(const descent *d);
descender recsys_descend_128, recsys_descend_256, recsys_descend_512;

#endif
