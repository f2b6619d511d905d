/* LightFM's training, written for wide vectors and for the memory of today's processors.

What is computed is what LightFM 1.17 and its successor lightfm-next compute with one thread: the same
random numbers in the same order, the same counting of draws, the loss clipped at 10, and the same
lazy regularisation, up to the rounding of single precision. What differs is how:

- Rows of vectors are padded to whole blocks of LANES floats and aligned to cache lines; a block is
  one register of AVX-512, two of AVX2, four of SSE or NEON. The loops, in kernel_loops.h, are compiled
  for each of them, and sums are made in the same order on all.
- The items to come are known, since their random numbers are drawn ahead, and so are the next
  interactions: what they need is fetched into the cache before it is used.
- 1 / sqrt(x) takes two of Newton's steps, which are multiplications, instead of a root and a
  division.
- A row of an identity matrix is a vector itself. With features, what is scored is the sum of the
  features' products with the user: no vector of the item is made for each draw.

An epoch may be cut into blocks, which threads train side by side: users and items in as many groups,
a block for each pair of groups. Blocks that share no group touch no vector of one another, and those
that share one follow each other in a fixed order, so the result depends on the groups and not on the
threads. Negatives are drawn from the block's items.

Features are shared by items, whose vectors are sums of many: reading and updating all of them for
each interaction takes most of an epoch. So with features of items, WARP and BPR by adagrad may be
trained one group of items after the other. At the beginning of a group the features of each of its
items are summed to a record. The group is trained as if its items had a feature of their own, that
record, and then hands what it has learned on to the features: the sum of an item's gradients, at the
rates that each feature would have had on the way, see `gather` and `hand_on`.

BPR by plain gradient descent, which is a baseline, is here as well: implicit's algorithm, with the same
fetching ahead, see `recsys_descend`.

No part of Python is used here; recsys/models/kernel.py calls it.

M. Kula, Metadata embeddings for user and item cold-start recommendations, CBRecSys 2015.
J. Weston, S. Bengio and N. Usunier, WSABIE: scaling up to large vocabulary image annotation,
IJCAI 2011. J. Weston, H. Yee and R. J. Weiss, Learning to rank recommendations with the k-order
statistic loss, RecSys 2013. R. Gemulla, E. Nijkamp, P. J. Haas and Y. Sismanis, Large-scale matrix
factorization with distributed stochastic gradient descent, KDD 2011. S. Rendle, C. Freudenthaler,
Z. Gantner and L. Schmidt-Thieme, BPR: Bayesian personalized ranking from implicit feedback, UAI 2009. */

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "kernel.h"

/* ---- an epoch in blocks -------------------------------------------------------------- */

/* Which of so many groups each user, or each item, is in. */
static int32_t *groups_of(const side *s, int64_t groups) {
    int32_t *found = malloc(((size_t)s->rows + 1) * sizeof *found);
    for (int64_t g = 0; found && g < groups; g++)
        for (int64_t i = s->bounds[g]; i < s->bounds[g + 1]; i++) found[s->grouped[i]] = (int32_t)g;
    return found;
}

/* Interactions block after block, (user_groups, item_groups), and where each block begins there. */
static int64_t *sort_by_block(const task *t, int64_t user_groups, int64_t item_groups) {
    int64_t blocks = user_groups * item_groups;
    int64_t *starts = calloc((size_t)blocks + 2, sizeof *starts);
    int32_t *of_user = user_groups > 1 ? groups_of(&t->users, user_groups)
                                       : calloc((size_t)t->users.rows + 1, sizeof *of_user);
    int32_t *of_item = groups_of(&t->items, item_groups);
    if (starts && of_user && of_item) {
        int64_t *counts = starts + 2, *next = starts + 1;
        for (int64_t i = 0; i < t->interactions; i++)
            counts[of_user[t->user[i]] * item_groups + of_item[t->item[i]]]++;
        for (int64_t b = 1; b < blocks; b++) next[b] += next[b - 1];
        for (int64_t i = 0; i < t->interactions; i++)
            t->order[next[of_user[t->user[i]] * item_groups + of_item[t->item[i]]]++] = (int32_t)i;
    } else {
        free(starts);
        starts = 0;
    }
    free(of_user);
    free(of_item);
    return starts;
}

/* What the threads of an epoch share: which blocks are done, and the scale of each group. */
typedef struct {
    const task *task;
    trainer *train;
    const float *losses;
    const int64_t *starts; /* of each block in the order */
    double *scales;        /* (2 groups,): of users, then of items */
    float *rooms;          /* of one thread after the other */
    int64_t *given, *done; /* (groups,): of each group of users, how many blocks */
    int64_t threads;       /* that have begun */
    pthread_mutex_t lock;
    pthread_cond_t ended;
} schedule;

/* A group of users trains with the items of its own number first, then with those of the next. So
   the items that are its turn have come from the next group of users. Returns none where all is
   given, -1 where it has to be waited for. */
static int64_t next_group(const schedule *c) {
    int64_t groups = c->task->groups, found = groups;
    for (int64_t g = 0; g < groups; g++) {
        int64_t turn = c->given[g];
        if (turn == groups) continue;
        if (found == groups) found = -1;
        if (c->done[g] < turn || c->done[(g + 1) % groups] < turn) continue;
        if (found < 0 || turn < c->given[found]) found = g;
    }
    return found;
}

/* The interactions in an order of the block's own, then trained. */
static void shuffle_and_train(const task *t, block *b, trainer *train, float *room, const float *losses) {
    for (int64_t i = b->interactions - 1; i > 0; i--) {
        int64_t j = draw(&b->seed) % (uint32_t)(i + 1);
        int32_t kept = b->order[i];
        b->order[i] = b->order[j];
        b->order[j] = kept;
    }
    if (b->interactions || b->last) train(t, b, room, losses);
}

static void train_block(const schedule *c, int64_t group, int64_t turn, float *room) {
    const task *t = c->task;
    int64_t groups = t->groups, items = (group + turn) % groups, number = group * groups + items;
    block b = {
        .order = t->order + c->starts[number],
        .interactions = c->starts[number + 1] - c->starts[number],
        .users = t->users.grouped + t->users.bounds[group],
        .items = t->items.grouped + t->items.bounds[items],
        .user_count = t->users.bounds[group + 1] - t->users.bounds[group],
        .item_count = t->items.bounds[items + 1] - t->items.bounds[items],
        .user_scale = c->scales + group,
        .item_scale = c->scales + groups + items,
        .seed = t->seeds[number],
        .last = turn == groups - 1,
    };
    shuffle_and_train(t, &b, c->train, room, c->losses);
}

static void train_blocks(schedule *c) {
    pthread_mutex_lock(&c->lock);
    float *room = c->rooms + 3 * c->task->padded * c->threads++;
    for (int64_t g = next_group(c); g < c->task->groups; g = next_group(c)) {
        if (g < 0) {
            pthread_cond_wait(&c->ended, &c->lock);
            continue;
        }
        int64_t turn = c->given[g]++;
        pthread_mutex_unlock(&c->lock);
        train_block(c, g, turn, room);
        pthread_mutex_lock(&c->lock);
        c->done[g]++;
        pthread_cond_broadcast(&c->ended);
    }
    pthread_mutex_unlock(&c->lock);
}

static void *help(void *shared) {
    schedule *c = shared;
    struct timespec spent;
    train_blocks(c);
    if (!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent)) {
        pthread_mutex_lock(&c->lock);
        *c->task->seconds += (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
        pthread_mutex_unlock(&c->lock);
    }
    return 0;
}

/* Trains an epoch on this thread and on so many others as there are, up to `threads` in all. */
static int train_groups(const task *t, trainer *train, float *rooms, const float *losses, int threads) {
    int64_t *counts = calloc(2 * (size_t)t->groups, sizeof *counts);
    double *scales = malloc(2 * (size_t)t->groups * sizeof *scales);
    pthread_t *others = malloc((size_t)threads * sizeof *others);
    int64_t *starts = sort_by_block(t, t->groups, t->groups);
    int trained = counts && scales && others && starts;
    if (trained) {
        for (int64_t g = 0; g < 2 * t->groups; g++) scales[g] = 1;
        schedule c = {t, train, losses, starts, scales, rooms, counts, counts + t->groups, 0,
                      PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};
        int begun = 0;
        while (begun < threads - 1 && !pthread_create(others + begun, 0, help, &c)) begun++;
        train_blocks(&c);
        while (begun) pthread_join(others[--begun], 0);
        pthread_mutex_destroy(&c.lock);
        pthread_cond_destroy(&c.ended);
    }
    free(counts);
    free(scales);
    free(others);
    free(starts);
    return trained;
}

/* ---- an epoch by groups of items ----------------------------------------------------- */

/* Trains with one group of items after the other. The scales are those of the whole epoch, as features
   are of all groups. */
static int train_item_groups(const task *t, trainer *train, float *room, const float *losses) {
    int64_t groups = t->item_groups, most = 1;
    const int64_t *bounds = t->items.bounds;
    for (int64_t g = 0; g < groups; g++)
        if (bounds[g + 1] - bounds[g] > most) most = bounds[g + 1] - bounds[g];
    double user_scale = 1, item_scale = 1;
    float *records = 0;
    size_t bytes = (size_t)most * (size_t)record_floats(t->padded) * sizeof *records;
    int32_t *slots = malloc((size_t)t->items.rows * sizeof *slots);
    int32_t *touched = malloc((size_t)most * sizeof *touched);
    int64_t *starts = sort_by_block(t, 1, groups);
    int trained = slots && touched && starts
                  && !posix_memalign((void **)&records, LANES * sizeof *records, bytes);
    for (int64_t g = 0; trained && g < groups; g++) {
        block b = {
            .order = t->order + starts[g],
            .interactions = starts[g + 1] - starts[g],
            .items = t->items.grouped + bounds[g],
            .item_count = bounds[g + 1] - bounds[g],
            .user_scale = &user_scale,
            .item_scale = &item_scale,
            .records = records,
            .slots = slots,
            .touched = touched,
            .seed = t->seeds[g],
            .last = g == groups - 1,
        };
        shuffle_and_train(t, &b, train, room, losses);
    }
    free(records);
    free(slots);
    free(touched);
    free(starts);
    return trained;
}

/* ---- what Python calls --------------------------------------------------------------- */

/* How large a task is, for a caller to find out that it was made for another release. */
__attribute__((visibility("default"))) int64_t recsys_task_bytes(void) { return (int64_t)sizeof(task); }

/* The bits of the longest vectors that the processor has, up to `width`. */
static int longest(int width) {
#ifdef __x86_64__
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (width >= 512 && avx2 && __builtin_cpu_supports("avx512f")) return 512;
    if (width >= 256 && avx2) return 256;
#else
    (void)width;
#endif
    return 128;
}

/* What computes with them. */
static trainer *trainer_for(int width, int *used) {
    *used = longest(width);
#ifdef __x86_64__
    if (*used == 512) return recsys_train_512;
    if (*used == 256) return recsys_train_256;
#endif
    return recsys_train_128;
}

/* Room for the vectors of so many threads, and the loss by how many items were drawn; or none. */
static float *losses_and_rooms(const task *t, int threads, float **rooms) {
    size_t room = 3 * (size_t)t->padded, sampled = (size_t)t->max_sampled + 1;
    float *losses = malloc(sampled * sizeof *losses);
    size_t bytes = (size_t)threads * room * sizeof **rooms;
    if (!losses || posix_memalign((void **)rooms, LANES * sizeof **rooms, bytes)) {
        free(losses);
        return 0;
    }
    for (int64_t s = 1; s <= t->max_sampled; s++)
        losses[s] = (float)log(fmax(1.0, (double)((t->items.rows - 1) / s)));
    return losses;
}

/* Train one epoch. `width` is the longest vectors that may be used, in bits; what the processor
   does not have is not used. Of an epoch in blocks, so many threads train at most. Returns the width
   that was used, or 0 without memory. */
__attribute__((visibility("default"))) int recsys_train_epoch(const task *t, int width, int threads) {
    if (threads > t->groups) threads = (int)t->groups;
    float *rooms = 0;
    float *losses = losses_and_rooms(t, threads, &rooms);
    if (!losses) return 0;
    int used;
    trainer *train = trainer_for(width, &used);
    double user_scale = 1, item_scale = 1;
    block whole = {.order = t->order, .interactions = t->interactions, .item_count = t->items.rows,
                   .user_scale = &user_scale, .item_scale = &item_scale, .seed = *t->seeds, .last = 1};
    int trained = 1;
    if (t->item_groups) trained = train_item_groups(t, train, rooms, losses);
    else if (t->groups > 1) trained = train_groups(t, train, rooms, losses, threads);
    else train(t, &whole, rooms, losses);
    free(rooms);
    free(losses);
    return trained ? used : 0;
}

/* Train one block of an epoch, of which nothing but the block is here: users and items are counted
   within their groups, of which `bounds` has the sizes alone. `scales` are the users' and the items',
   handed on from block to block; `last` is whether it is the last of its groups. Returns as above. */
__attribute__((visibility("default"))) int recsys_train_block(const task *t, int width, double *scales,
                                                              int last) {
    float *room = 0;
    float *losses = losses_and_rooms(t, 1, &room);
    if (!losses) return 0;
    int used;
    trainer *train = trainer_for(width, &used);
    block b = {.order = t->order, .interactions = t->interactions, .users = t->users.grouped,
               .items = t->items.grouped, .user_count = *t->users.bounds, .item_count = *t->items.bounds,
               .user_scale = scales, .item_scale = scales + 1, .seed = *t->seeds, .last = last};
    shuffle_and_train(t, &b, train, room, losses);
    free(room);
    free(losses);
    return used;
}

/* How large a descent is; see `recsys_task_bytes`. */
__attribute__((visibility("default"))) int64_t recsys_descent_bytes(void) {
    return (int64_t)sizeof(descent);
}

/* Learn from as many pairs as there are interactions, on this thread, for pairs share vectors. Some
   more are drawn ahead, and dropped at the end. Returns the width that was used. */
__attribute__((visibility("default"))) int recsys_descend(const descent *d, int width) {
    int used = longest(width);
#ifdef __x86_64__
    if (used == 512) return recsys_descend_512(d), used;
    if (used == 256) return recsys_descend_256(d), used;
#endif
    recsys_descend_128(d);
    return used;
}
