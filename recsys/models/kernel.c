/* LightFM's training, written for wide vectors and for the memory of today's processors.

What is computed is what LightFM 1.17 and its successor lightfm-next compute with one thread: the same
random numbers in the same order, the same counting of draws, the loss clipped at 10, and the same
lazy regularisation, up to the rounding of single precision. What differs is how:

- Rows of vectors are padded to whole blocks of LANES floats and aligned to cache lines; a block is
  one register of AVX-512, two of AVX2, four of SSE or NEON. Sums are made in the same order on all.
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

No part of Python is used here; recsys/models/kernel.py calls it.

M. Kula, Metadata embeddings for user and item cold-start recommendations, CBRecSys 2015.
J. Weston, S. Bengio and N. Usunier, WSABIE: scaling up to large vocabulary image annotation,
IJCAI 2011. J. Weston, H. Yee and R. J. Weiss, Learning to rank recommendations with the k-order
statistic loss, RecSys 2013. R. Gemulla, E. Nijkamp, P. J. Haas and Y. Sismanis, Large-scale matrix
factorization with distributed stochastic gradient descent, KDD 2011. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 16       /* floats of a block: a cache line */
#define RING 1024      /* random numbers drawn at a time */
#define AHEAD 12       /* draws by which an item's vectors are fetched before they are used */
#define AHEAD_FEATURED 2 /* the same, of an item with features */
#define BLOCK 1024     /* interactions gathered at a time */
#define NEXT 2         /* interactions by which a user and an item are fetched before */
#define MAX_LOSS 10.0
#define MAX_SCALE 1e6  /* of the lazy regularisation, before vectors are divided by it */

typedef float lanes __attribute__((vector_size(4 * LANES), may_alias));
typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16)));
typedef int32_t bits __attribute__((vector_size(4 * LANES), may_alias));

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
    const int64_t *bounds;   /* (groups + 1,): where each group begins there */
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
    const uint32_t *seeds;      /* (groups, groups): of each block */
    double *seconds;            /* CPU seconds of all threads but the caller's are added */
} task;

/* A part of an epoch: the interactions of some users with some items, in their order. */
typedef struct {
    int32_t *order;
    int64_t interactions;
    const int32_t *users, *items; /* or none for all */
    int64_t user_count, item_count;
    double *user_scale, *item_scale; /* of the lazy regularisation, handed on */
    uint32_t seed;
    int last;                        /* of these users and items in this epoch */
} block;

/* What each step needs, with the scales of the lazy regularisation. */
typedef struct {
    const task *task;
    const block *block;
    int64_t blocks;          /* of LANES floats in a row */
    lanes used;              /* 1 in the lanes of its last block that are no padding, else 0 */
    double user_scale, item_scale;
    lanes *user, *positive, *negative; /* room for sums of features */
} state;

/* ---- blocks of floats ---------------------------------------------------------------- */

INLINE float sum(lanes a) {
    eight halves[2];
    memcpy(halves, &a, sizeof a);
    eight half = halves[0] + halves[1];
    four quarters[2];
    memcpy(quarters, &half, sizeof half);
    four quarter = quarters[0] + quarters[1];
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

/* 1 / sqrt(x) to the last bit or two; large and finite for 0, so that 0 times it is 0. A first guess
   by its bits, one of Newton's steps, and one of the third order. */
INLINE lanes inverse_root(lanes x) {
    lanes y = (lanes)(0x5f375a86 - ((bits)x >> 1));
    y = y * (1.5f - 0.5f * x * y * y);
    lanes h = x * y * y;
    return y * (1.875f + h * (0.375f * h - 1.25f));
}

INLINE void add_product(const lanes *a, const lanes *b, float weight, int64_t blocks, lanes *total) {
    lanes even = {0}, odd = {0};
    int64_t k = 0;
    for (; k + 1 < blocks; k += 2) {
        even += a[k] * b[k];
        odd += a[k + 1] * b[k + 1];
    }
    if (k < blocks) even += a[k] * b[k];
    *total += weight * (even + odd);
}

/* ---- random numbers, as LightFM draws them ------------------------------------------- */

INLINE uint32_t draw(uint32_t *seed) {
    uint32_t x = *seed = *seed * 1103515245u + 12345u;
    x ^= x >> 11;
    x ^= (x << 7) & 0x9D2C5680u;
    x ^= (x << 15) & 0xEFC60000u;
    x ^= x >> 18;
    return x >> 1;
}

/* Random numbers drawn ahead, and the items that they mean where a negative is drawn. */
typedef struct {
    uint32_t seed;
    int64_t at;
    uint32_t numbers[RING + 2 * AHEAD];
    int32_t items[RING + 2 * AHEAD];
} ring;

INLINE void draw_ahead(const task *t, const block *b, ring *r, int64_t from) {
    uint32_t range = (uint32_t)(t->loss == BPR ? b->interactions : b->item_count);
    for (int64_t i = from; i < RING + 2 * AHEAD; i++) {
        r->numbers[i] = draw(&r->seed);
        uint32_t x = r->numbers[i] % range;
        if (t->loss == BPR) r->items[i] = t->item[b->items ? b->order[x] : (int32_t)x];
        else r->items[i] = b->items ? b->items[x] : (int32_t)x;
    }
    r->at = 0;
}

/* ---- what is about to be used -------------------------------------------------------- */

INLINE void fetch(const float *row, int64_t blocks) {
    for (int64_t k = 0; k < blocks; k++) __builtin_prefetch(row + LANES * k, 0, 3);
}

INLINE void fetch_feature(const side *s, int64_t feature, int64_t padded, int updated) {
    fetch(s->vectors + feature * padded, padded / LANES);
    __builtin_prefetch(s->biases + feature, 0, 3);
    if (!updated) return;
    fetch(s->squares + feature * padded, padded / LANES);
    __builtin_prefetch(s->bias_squares + feature, 0, 3);
}

INLINE void fetch_row(const side *s, int64_t row, int64_t padded, int featured, int updated) {
    if (!featured) {
        fetch_feature(s, row, padded, updated);
        return;
    }
    for (int64_t f = s->starts[row]; f < s->starts[row + 1]; f++)
        fetch_feature(s, s->features[f], padded, updated);
}

/* Where the features of a row are, some time before the row itself is fetched. */
INLINE void fetch_names(const side *s, int64_t row) {
    __builtin_prefetch(s->features + s->starts[row], 0, 3);
    __builtin_prefetch(s->weights + s->starts[row], 0, 3);
}

INLINE void fetch_liked(const task *t, int64_t user) {
    const int32_t *row = t->liked + t->starts[user];
    int64_t lines = (t->starts[user + 1] - t->starts[user]) / LANES + 1;
    for (int64_t k = 0; k < lines && k < 8; k++) __builtin_prefetch(row + LANES * k, 0, 3);
}

/* The item that is drawn now. */
INLINE int32_t next_item(const state *x, ring *r, int featured, uint32_t *number) {
    const task *t = x->task;
    if (r->at == RING) {
        memmove(r->numbers, r->numbers + RING, 2 * AHEAD * sizeof *r->numbers);
        memmove(r->items, r->items + RING, 2 * AHEAD * sizeof *r->items);
        draw_ahead(t, x->block, r, 2 * AHEAD);
    }
    int64_t ahead = featured ? AHEAD_FEATURED : AHEAD;
    fetch_row(&t->items, r->items[r->at + ahead], t->padded, featured, 0);
    if (featured) fetch_names(&t->items, r->items[r->at + 2 * ahead]);
    *number = r->numbers[r->at];
    return r->items[r->at++];
}

/* ---- representations and scores ------------------------------------------------------ */

/* The vector of a row before its scale: the feature's own, or the weighted sum in `room`. */
INLINE const lanes *represent(const side *s, int64_t row, const state *x, int featured, lanes *room,
                              float *bias) {
    if (!featured) {
        *bias = s->biases[row];
        return (const lanes *)(s->vectors + row * x->task->padded);
    }
    memset(room, 0, (size_t)x->blocks * sizeof *room);
    *bias = 0;
    for (int64_t f = s->starts[row]; f < s->starts[row + 1]; f++) {
        const lanes *vector = (const lanes *)(s->vectors + s->features[f] * x->task->padded);
        float weight = s->weights[f];
        for (int64_t k = 0; k < x->blocks; k++) room[k] += weight * vector[k];
        *bias += weight * s->biases[s->features[f]];
    }
    return room;
}

/* What a user's scores are made of: their vector, and the scales that all of them have. */
typedef struct {
    const lanes *own;
    float bias, item_scale, scale;
} viewer;

INLINE viewer view_of(const state *x, int64_t user, int featured) {
    viewer v;
    v.own = represent(&x->task->users, user, x, featured, x->user, &v.bias);
    v.bias *= (float)x->user_scale;
    v.item_scale = (float)x->item_scale;
    v.scale = (float)(x->user_scale * x->item_scale);
    return v;
}

/* Of an item whose vector and bias are known. */
INLINE float score_vector(const state *x, const viewer *v, const lanes *vector, float bias) {
    lanes total = {0};
    add_product(v->own, vector, 1, x->blocks, &total);
    return v->bias + v->item_scale * bias + v->scale * sum(total);
}

INLINE float score(const state *x, const viewer *v, int64_t item, int featured) {
    const side *s = &x->task->items;
    if (!featured)
        return score_vector(x, v, (const lanes *)(s->vectors + item * x->task->padded), s->biases[item]);
    lanes total = {0};
    float bias = 0;
    for (int64_t f = s->starts[item]; f < s->starts[item + 1]; f++) {
        int64_t feature = s->features[f];
        const lanes *vector = (const lanes *)(s->vectors + feature * x->task->padded);
        add_product(v->own, vector, s->weights[f], x->blocks, &total);
        bias += s->weights[f] * s->biases[feature];
    }
    return v->bias + v->item_scale * bias + v->scale * sum(total);
}

INLINE int likes(const task *t, int64_t user, int32_t item) {
    int64_t low = t->starts[user], high = t->starts[user + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (t->liked[middle] == item) return 1;
        if (t->liked[middle] < item) low = middle + 1; else high = middle;
    }
    return 0;
}

/* ---- updates ------------------------------------------------------------------------- */

/* One step of adagrad or adadelta on a block; returns the local learning rates. Regularisation is
   lazy: what is touched grows, and everything is divided by the mean growth in the end. */
INLINE lanes update_block(const task *t, lanes *value, lanes *squares, lanes *updates, lanes gradient,
                          float alpha, int adadelta) {
    lanes rate, step;
    if (adadelta) {
        float rho = (float)t->rho, rest = (float)(1 - t->rho), epsilon = (float)t->epsilon;
        *squares = rho * *squares + rest * gradient * gradient;
        lanes moved = *updates + epsilon;
        rate = moved * inverse_root(moved) * inverse_root(*squares + epsilon);
        step = rate * gradient;
        *updates = rho * *updates + rest * step * step;
    } else {
        rate = (float)t->rate * inverse_root(*squares);
        step = rate * gradient;
        *squares += gradient * gradient;
    }
    lanes moved = *value - step;
    *value = moved + moved * (alpha * rate);
    return rate;
}

/* The same for a single number. */
INLINE float update_bias(const task *t, const side *s, int64_t feature, float gradient, int adadelta) {
    float *value = s->biases + feature, *squares = s->bias_squares + feature, rate, step;
    if (adadelta) {
        float *updates = s->bias_updates + feature;
        float rho = (float)t->rho, rest = (float)(1 - t->rho), epsilon = (float)t->epsilon;
        *squares = rho * *squares + rest * gradient * gradient;
        rate = sqrtf(*updates + epsilon) / sqrtf(*squares + epsilon);
        step = rate * gradient;
        *updates = rho * *updates + rest * step * step;
    } else {
        rate = (float)t->rate / sqrtf(*squares);
        step = rate * gradient;
        *squares += gradient * gradient;
    }
    float moved = *value - step;
    *value = moved + moved * ((float)s->alpha * rate);
    return rate;
}

/* Updates the features of one row with the gradient factor * (towards - from); `from` may be none.
   Returns the sum of the local learning rates. */
INLINE double update_row(const state *x, const side *s, int64_t row, const lanes *towards,
                         const lanes *from, float factor, float bias_gradient, int featured,
                         int adadelta) {
    const task *t = x->task;
    int64_t first = featured ? s->starts[row] : row;
    int64_t last = featured ? s->starts[row + 1] : row + 1;
    float of_biases = 0;
    lanes rates = {0}, ends = {0}; /* of all blocks but the last, and of the last */
    for (int64_t f = first; f < last; f++) {
        int64_t feature = featured ? s->features[f] : row;
        float weight = featured ? s->weights[f] : 1, alpha = (float)s->alpha;
        of_biases += update_bias(t, s, feature, bias_gradient * weight, adadelta);
        lanes *value = (lanes *)(s->vectors + feature * t->padded);
        lanes *squares = (lanes *)(s->squares + feature * t->padded);
        lanes *updates = adadelta ? (lanes *)(s->updates + feature * t->padded) : 0;
        lanes end = {0};
        for (int64_t k = 0; k < x->blocks; k++) {
            lanes gradient = towards[k];
            if (from) gradient -= from[k];
            gradient *= factor * weight;
            rates += end;
            end = update_block(t, value + k, squares + k, adadelta ? updates + k : 0, gradient, alpha,
                               adadelta);
        }
        ends += end;
    }
    return of_biases + sum(rates + ends * x->used);
}

/* A copy of an item's vector, to be used after the item has been updated. */
INLINE const lanes *copied(const state *x, int64_t item, int featured, lanes *room) {
    float unused;
    const lanes *found = represent(&x->task->items, item, x, featured, room, &unused);
    if (!featured) memcpy(room, found, (size_t)x->blocks * sizeof *room);
    return room;
}

INLINE int64_t features_of(const side *s, int64_t row, int featured) {
    return featured ? s->starts[row + 1] - s->starts[row] : 1;
}

/* Divides these features, or all of them. */
INLINE void divide(const side *s, const int32_t *features, int64_t count, double scale, int64_t padded) {
    float by = (float)scale;
    if (!features) count = s->count;
    for (int64_t i = 0; i < count; i++) {
        int64_t feature = features ? features[i] : i;
        lanes *vector = (lanes *)(s->vectors + feature * padded);
        for (int64_t k = 0; k < padded / LANES; k++) vector[k] /= by;
        s->biases[feature] /= by;
    }
}

INLINE void regularize(state *x, double limit) {
    if (x->item_scale <= limit && x->user_scale <= limit) return;
    const block *b = x->block;
    divide(&x->task->items, b->items, b->item_count, x->item_scale, x->task->padded);
    divide(&x->task->users, b->users, b->user_count, x->user_scale, x->task->padded);
    x->item_scale = x->user_scale = 1;
}

/* A group takes part in one of so many interactions of an epoch, and its scale grows by as much. */
INLINE void grow(state *x, double rates, int64_t rows) {
    double mean = (double)x->task->groups * rates / (double)((x->task->components + 1) * rows);
    x->item_scale *= 1.0 + x->task->items.alpha * mean;
    x->user_scale *= 1.0 + x->task->users.alpha * mean;
}

/* Moves a user towards one item and away from another, and these likewise, in one pass: the
   gradients are of the vectors before the step. Without features, so each row is its own. */
INLINE double update_vectors(const state *x, int64_t user, int64_t positive, int64_t negative,
                             float by_user, float by_items, int adadelta) {
    const task *t = x->task;
    const side *users = &t->users, *items = &t->items;
    int64_t rows[3] = {user * t->padded, positive * t->padded, negative * t->padded};
    lanes *own = (lanes *)(users->vectors + rows[0]), *own_squares = (lanes *)(users->squares + rows[0]);
    lanes *near = (lanes *)(items->vectors + rows[1]), *near_squares = (lanes *)(items->squares + rows[1]);
    lanes *far = (lanes *)(items->vectors + rows[2]), *far_squares = (lanes *)(items->squares + rows[2]);
    lanes *own_updates = 0, *near_updates = 0, *far_updates = 0;
    if (adadelta) {
        own_updates = (lanes *)(users->updates + rows[0]);
        near_updates = (lanes *)(items->updates + rows[1]);
        far_updates = (lanes *)(items->updates + rows[2]);
    }
    float user_alpha = (float)users->alpha, item_alpha = (float)items->alpha;
    lanes rates = {0}, end = {0};
    for (int64_t k = 0; k < x->blocks; k++) {
        lanes of_items = by_user * own[k], of_user = by_items * (far[k] - near[k]);
        rates += end;
        end = update_block(t, near + k, near_squares + k, adadelta ? near_updates + k : 0, -of_items,
                           item_alpha, adadelta);
        end += update_block(t, far + k, far_squares + k, adadelta ? far_updates + k : 0, of_items,
                            item_alpha, adadelta);
        end += update_block(t, own + k, own_squares + k, adadelta ? own_updates + k : 0, of_user,
                            user_alpha, adadelta);
    }
    return sum(rates + end * x->used);
}

/* The same, with features of users or items; and their biases. `near` is the positive item's vector,
   in room of its own, or none where it has not been made yet. */
INLINE void update_pair(state *x, int64_t user, const lanes *own, const lanes *near, int32_t positive,
                        int32_t negative, double loss, int user_featured, int item_featured,
                        int adadelta) {
    const task *t = x->task;
    float by_user = (float)(loss * x->user_scale), by_items = (float)(loss * x->item_scale);
    float bias = (float)loss;
    double rates;
    if (!user_featured && !item_featured) {
        rates = update_bias(t, &t->items, positive, -bias, adadelta);
        rates += update_bias(t, &t->items, negative, bias, adadelta);
        rates += update_bias(t, &t->users, user, bias, adadelta);
        rates += update_vectors(x, user, positive, negative, by_user, by_items, adadelta);
        grow(x, rates, 3);
        return;
    }
    if (!near) near = copied(x, positive, item_featured, x->positive);
    const lanes *far = copied(x, negative, item_featured, x->negative);
    rates = update_row(x, &t->items, positive, own, 0, -by_user, -bias, item_featured, adadelta);
    rates += update_row(x, &t->items, negative, own, 0, by_user, bias, item_featured, adadelta);
    rates += update_row(x, &t->users, user, far, near, by_items, bias, user_featured, adadelta);
    grow(x, rates,
         features_of(&t->users, user, user_featured) + features_of(&t->items, positive, item_featured)
             + features_of(&t->items, negative, item_featured));
}

/* ---- losses -------------------------------------------------------------------------- */

/* Draws items until one is scored too close to the positive one. Returns the loss,
   which may be 0, or -1 where none is. */
INLINE double sample_violation(const state *x, ring *r, const float *losses, int64_t user,
                               const viewer *v, float positive_score, int featured, int32_t *negative) {
    const task *t = x->task;
    uint32_t unused;
    for (int64_t sampled = 1; sampled <= t->max_sampled; sampled++) {
        *negative = next_item(x, r, featured, &unused);
        if (!(score(x, v, *negative, featured) > positive_score - 1)) continue;
        fetch_row(&t->items, *negative, t->padded, featured, 1);
        if (!likes(t, user, *negative)) return losses[sampled];
    }
    return -1;
}

/* The item of the k-th highest score among n of a user's items, drawn with replacement. */
INLINE int32_t choose_positive(state *x, ring *r, int64_t user, const viewer *v,
                               int item_featured, float *found) {
    const task *t = x->task;
    int64_t liked = t->starts[user + 1] - t->starts[user];
    int64_t count = t->n < liked ? t->n : liked, place = (t->k < count ? t->k : count) - 1;
    float scores[place + 1]; /* the highest so far, descending */
    int32_t items[place + 1];
    for (int64_t j = 0; j < count; j++) {
        uint32_t number;
        next_item(x, r, item_featured, &number);
        int32_t item = t->liked[t->starts[user] + number % (uint32_t)liked];
        float value = score(x, v, item, item_featured);
        int64_t at = j <= place ? j : place + 1;
        if (at > place && !(value > scores[place])) continue;
        if (at > place) at = place;
        for (; at > 0 && scores[at - 1] < value; at--) {
            scores[at] = scores[at - 1];
            items[at] = items[at - 1];
        }
        scores[at] = value;
        items[at] = item;
    }
    *found = scores[place];
    return items[place];
}

INLINE float sigmoid(float x) { return (float)(1.0 / (1.0 + exp(-x))); }

/* One interaction: the pair that is learned from, if there is one, and its loss. */
INLINE void train_pair(state *x, ring *r, const float *losses, int64_t user, int32_t item, double weight,
                       int loss, int user_featured, int item_featured, int adadelta) {
    const task *t = x->task;
    int32_t positive = item, negative = item;
    if (!(weight > 0)) return;
    viewer v = view_of(x, user, user_featured);
    const lanes *near = 0;
    float found, bias;
    if (loss != WARP_KOS) {
        near = represent(&t->items, item, x, item_featured, x->positive, &bias);
        found = score_vector(x, &v, near, bias);
        if (!item_featured) near = 0; /* it is the item's own and will change */
    }
    if (loss == BPR) {
        uint32_t unused;
        for (int64_t j = 0; j < x->block->interactions; j++) {
            negative = next_item(x, r, item_featured, &unused);
            if (!likes(t, user, negative)) break;
        }
        fetch_row(&t->items, negative, t->padded, item_featured, 1);
        float ahead = found - score(x, &v, negative, item_featured);
        weight *= 1.0 - sigmoid(ahead);
    } else {
        if (loss == WARP_KOS) positive = choose_positive(x, r, user, &v, item_featured, &found);
        double sampled = sample_violation(x, r, losses, user, &v, found, item_featured, &negative);
        if (sampled < 0) return;
        weight *= sampled;
        if (weight > MAX_LOSS) weight = MAX_LOSS;
    }
    update_pair(x, user, v.own, near, positive, negative, weight, user_featured, item_featured, adadelta);
}

/* One interaction, liked or not (with a weight of 0 or less), by itself. */
INLINE void train_logistic(state *x, int64_t user, int32_t item, double weight, int user_featured,
                           int item_featured, int adadelta) {
    const task *t = x->task;
    viewer v = view_of(x, user, user_featured);
    float error = (float)(weight * (sigmoid(score(x, &v, item, item_featured)) - (weight > 0)));
    float by_user = (float)(error * x->user_scale), by_item = (float)(error * x->item_scale);
    const lanes *vector = copied(x, item, item_featured, x->positive);
    double rates = update_row(x, &t->items, item, v.own, 0, by_user, error, item_featured, adadelta);
    rates += update_row(x, &t->users, user, vector, 0, by_item, error, user_featured, adadelta);
    grow(x, rates,
         features_of(&t->users, user, user_featured) + features_of(&t->items, item, item_featured));
}

/* ---- an epoch ------------------------------------------------------------------------ */

INLINE void run(const task *t, const block *b, lanes *room, const float *losses, int loss,
                int user_featured, int item_featured, int adadelta) {
    int64_t blocks = t->padded / LANES, n = b->interactions;
    state x = {t, b, blocks, {0}, *b->user_scale, *b->item_scale, room, room + blocks, room + 2 * blocks};
    for (int64_t i = (blocks - 1) * LANES; i < t->components; i++) x.used[i % LANES] = 1;
    ring r = {.seed = b->seed};
    if (loss != LOGISTIC && n) draw_ahead(t, b, &r, 0);
    int32_t users[BLOCK + 2 * NEXT], items[BLOCK + 2 * NEXT];
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t size = n - start < BLOCK ? n - start : BLOCK;
        for (int64_t i = 0; i < size + 2 * NEXT; i++) {
            int32_t row = b->order[start + i < n ? start + i : n - 1];
            users[i] = t->user[row];
            items[i] = t->item[row];
        }
        for (int64_t i = 0; i < size; i++) {
            if (user_featured) fetch_names(&t->users, users[i + 2 * NEXT]);
            if (item_featured) fetch_names(&t->items, items[i + 2 * NEXT]);
            fetch_row(&t->users, users[i + NEXT], t->padded, user_featured, 1);
            fetch_row(&t->items, items[i + NEXT], t->padded, item_featured, 1);
            fetch_liked(t, users[i + NEXT]);
            double weight = t->weight ? t->weight[b->order[start + i]] : 1;
            if (loss == LOGISTIC)
                train_logistic(&x, users[i], items[i], weight, user_featured, item_featured, adadelta);
            else
                train_pair(&x, &r, losses, users[i], items[i], weight, loss, user_featured,
                           item_featured, adadelta);
            regularize(&x, MAX_SCALE);
        }
    }
    if (b->last) regularize(&x, 1);
    *b->user_scale = x.user_scale;
    *b->item_scale = x.item_scale;
}

/* The compiler makes a loop of its own of each of these cases. */
INLINE void choose(const task *t, const block *b, lanes *room, const float *losses) {
    int users = t->users.starts != 0, items = t->items.starts != 0;
    if (t->loss == WARP && !t->adadelta && !users && !items)
        run(t, b, room, losses, WARP, 0, 0, 0);
    else if (t->loss == WARP && !t->adadelta)
        run(t, b, room, losses, WARP, users, items, 0);
    else
        run(t, b, room, losses, t->loss, users, items, t->adadelta);
}

typedef void trainer(const task *, const block *, lanes *, const float *);

#ifdef __x86_64__
__attribute__((target("avx512f,avx2,fma"))) static void wide(const task *t, const block *b, lanes *r,
                                                             const float *l) {
    choose(t, b, r, l);
}
__attribute__((target("avx2,fma"))) static void medium(const task *t, const block *b, lanes *r,
                                                       const float *l) {
    choose(t, b, r, l);
}
#endif
static void plain(const task *t, const block *b, lanes *r, const float *l) { choose(t, b, r, l); }

/* ---- an epoch in blocks -------------------------------------------------------------- */

/* Interactions block after block, (groups, groups), and where each block begins there. */
static int64_t *sort_by_block(const task *t) {
    int64_t groups = t->groups, blocks = groups * groups;
    int64_t *starts = calloc((size_t)blocks + 2, sizeof *starts);
    int32_t *of_user = malloc((size_t)t->users.rows * sizeof *of_user);
    int32_t *of_item = malloc((size_t)t->items.rows * sizeof *of_item);
    if (starts && of_user && of_item) {
        for (int64_t g = 0; g < groups; g++) {
            for (int64_t i = t->users.bounds[g]; i < t->users.bounds[g + 1]; i++)
                of_user[t->users.grouped[i]] = (int32_t)(g * groups);
            for (int64_t i = t->items.bounds[g]; i < t->items.bounds[g + 1]; i++)
                of_item[t->items.grouped[i]] = (int32_t)g;
        }
        int64_t *counts = starts + 2, *next = starts + 1;
        for (int64_t i = 0; i < t->interactions; i++)
            counts[of_user[t->user[i]] + of_item[t->item[i]]]++;
        for (int64_t b = 1; b < blocks; b++) next[b] += next[b - 1];
        for (int64_t i = 0; i < t->interactions; i++)
            t->order[next[of_user[t->user[i]] + of_item[t->item[i]]]++] = (int32_t)i;
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
    lanes *rooms;          /* of one thread after the other */
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
static void shuffle_and_train(const task *t, block *b, trainer *train, lanes *room, const float *losses) {
    for (int64_t i = b->interactions - 1; i > 0; i--) {
        int64_t j = draw(&b->seed) % (uint32_t)(i + 1);
        int32_t kept = b->order[i];
        b->order[i] = b->order[j];
        b->order[j] = kept;
    }
    if (b->interactions || b->last) train(t, b, room, losses);
}

static void train_block(const schedule *c, int64_t group, int64_t turn, lanes *room) {
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
    lanes *room = c->rooms + 3 * (c->task->padded / LANES + 1) * c->threads++;
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
static int train_groups(const task *t, trainer *train, lanes *rooms, const float *losses, int threads) {
    int64_t *counts = calloc(2 * (size_t)t->groups, sizeof *counts);
    double *scales = malloc(2 * (size_t)t->groups * sizeof *scales);
    pthread_t *others = malloc((size_t)threads * sizeof *others);
    int64_t *starts = sort_by_block(t);
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

/* ---- what Python calls --------------------------------------------------------------- */

/* How large a task is, for a caller to find out that it was made for another release. */
__attribute__((visibility("default"))) int64_t recsys_task_bytes(void) { return (int64_t)sizeof(task); }

/* What computes with vectors of `width` bits at most, as far as the processor has them. */
static trainer *trainer_for(int width, int *used) {
    *used = 128;
#ifdef __x86_64__
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (width >= 512 && avx2 && __builtin_cpu_supports("avx512f")) return *used = 512, wide;
    if (width >= 256 && avx2) return *used = 256, medium;
#else
    (void)width;
#endif
    return plain;
}

/* Room for the vectors of so many threads, and the loss by how many items were drawn; or none. */
static float *losses_and_rooms(const task *t, int threads, lanes **rooms) {
    size_t room = 3 * ((size_t)(t->padded / LANES) + 1), sampled = (size_t)t->max_sampled + 1;
    float *losses = malloc(sampled * sizeof *losses);
    if (!losses || posix_memalign((void **)rooms, sizeof **rooms, (size_t)threads * room * sizeof **rooms)) {
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
    lanes *rooms = 0;
    float *losses = losses_and_rooms(t, threads, &rooms);
    if (!losses) return 0;
    int used;
    trainer *train = trainer_for(width, &used);
    double user_scale = 1, item_scale = 1;
    block whole = {.order = t->order, .interactions = t->interactions, .item_count = t->items.rows,
                   .user_scale = &user_scale, .item_scale = &item_scale, .seed = *t->seeds, .last = 1};
    if (t->groups == 1) train(t, &whole, rooms, losses);
    else if (!train_groups(t, train, rooms, losses, threads)) used = 0;
    free(rooms);
    free(losses);
    return used;
}

/* Train one block of an epoch, of which nothing but the block is here: users and items are counted
   within their groups, of which `bounds` has the sizes alone. `scales` are the users' and the items',
   handed on from block to block; `last` is whether it is the last of its groups. Returns as above. */
__attribute__((visibility("default"))) int recsys_train_block(const task *t, int width, double *scales,
                                                              int last) {
    lanes *room = 0;
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
