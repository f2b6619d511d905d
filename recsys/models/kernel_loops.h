/* The loops of the training kernel, for vectors of WIDTH floats and the instructions of TARGET, called
as TRAIN and DESCEND.

kernel_512.c, kernel_256.c and kernel_128.c are these loops, for a register of one size each: a
compiler makes poor code of vectors that are longer than its registers. Sums are made in the same order
in all of them, lane by lane of a block of LANES floats. */

#include <math.h>
#include <string.h>

#include "kernel.h"

#define INLINE TARGET static inline __attribute__((always_inline))
#define PARTS (LANES / WIDTH) /* vectors of a block */
#define EACH_PART(p) _Pragma("GCC unroll 4") for (int p = 0; p < PARTS; p++)
#define RING 1024      /* random numbers drawn at a time */
#define AHEAD 12       /* draws by which an item's vectors are fetched before they are used */
#define AHEAD_FEATURED 2 /* the same, of an item with features */
#define BLOCK 1024     /* interactions gathered at a time */
#define NEXT 2         /* interactions by which a user and an item are fetched before */
#define MAX_LOSS 10.0
#define TINY 1e-20f    /* keeps padding, whose squares are 0, from a division by 0 */
#define MAX_SCALE 1e6  /* of the lazy regularisation, before vectors are divided by it */

typedef float lanes __attribute__((vector_size(4 * WIDTH), may_alias));
typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16)));
typedef int32_t bits __attribute__((vector_size(4 * WIDTH), may_alias));

/* What each step needs, with the scales of the lazy regularisation. */
typedef struct {
    const task *task;
    const block *block;
    int64_t vectors;         /* of WIDTH floats in a row */
    lanes used[PARTS];       /* 1 in the lanes of its last block that are no padding, else 0 */
    double user_scale, item_scale;
    lanes *user, *positive, *negative; /* room for sums of features */
    int64_t touched;         /* items of the block that have been learned from */
} state;

/* Of an item with features, while the items of its group are trained: the weighted sums of its
   features, which are trained as if they were one feature of its own. Behind it are the vector, its
   accumulated squares, its summed gradients, and the squares at the beginning, a row each. */
typedef struct {
    float bias, squares, gradient, first_squares; /* the same of the bias */
    float size;     /* the sum of the squares of its features' weights */
    float fraction; /* of a squared gradient that its squares accumulate */
    float times;    /* it has been learned from */
    float share;    /* of its rates in the growth of the scales, see `grow`, summed over these times */
    float unused[LANES - 8];
} record;

/* ---- blocks of floats ---------------------------------------------------------------- */

/* Of all lanes of a block. */
INLINE float sum(const lanes *block) {
    four quarters[2];
#if WIDTH == 4
    quarters[0] = block[0] + block[2];
    quarters[1] = block[1] + block[3];
#else
    eight halves[2];
    memcpy(halves, block, sizeof halves);
    eight half = halves[0] + halves[1];
    memcpy(quarters, &half, sizeof half);
#endif
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

/* Adds weight times the product of two rows to a block of sums. */
INLINE void add_product(const lanes *a, const lanes *b, float weight, int64_t vectors, lanes *total) {
    EACH_PART(p) {
        lanes even = {0}, odd = {0};
        int64_t k = p;
        for (; k + PARTS < vectors; k += 2 * PARTS) {
            even += a[k] * b[k];
            odd += a[k + PARTS] * b[k + PARTS];
        }
        if (k < vectors) even += a[k] * b[k];
        total[p] += weight * (even + odd);
    }
}

/* ---- random numbers ------------------------------------------------------------------ */

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

/* ---- records ------------------------------------------------------------------------- */

INLINE int recorded(const state *x, int item_featured) { return item_featured && x->block->records; }

INLINE record *record_of(const state *x, int64_t item) {
    return (record *)(x->block->records + x->block->slots[item] * record_floats(x->task->padded));
}

/* The vector of a record; the other rows are behind it, `state.vectors` each. */
INLINE lanes *vector_of(record *of) { return (lanes *)(of + 1); }

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

/* What is updated of an item of the block. */
INLINE void fetch_item(const state *x, int64_t item, int featured) {
    int64_t padded = x->task->padded;
    if (recorded(x, featured)) fetch((const float *)record_of(x, item), 1 + 3 * padded / LANES);
    else fetch_row(&x->task->items, item, padded, featured, 1);
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
    if (recorded(x, featured)) {
        fetch((const float *)record_of(x, r->items[r->at + AHEAD]), 1 + t->padded / LANES);
    } else {
        int64_t ahead = featured ? AHEAD_FEATURED : AHEAD;
        fetch_row(&t->items, r->items[r->at + ahead], t->padded, featured, 0);
        if (featured) fetch_names(&t->items, r->items[r->at + 2 * ahead]);
    }
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
    memset(room, 0, (size_t)x->vectors * sizeof *room);
    *bias = 0;
    for (int64_t f = s->starts[row]; f < s->starts[row + 1]; f++) {
        const lanes *vector = (const lanes *)(s->vectors + s->features[f] * x->task->padded);
        float weight = s->weights[f];
        for (int64_t k = 0; k < x->vectors; k++) room[k] += weight * vector[k];
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
    lanes total[PARTS] = {{0}};
    add_product(v->own, vector, 1, x->vectors, total);
    return v->bias + v->item_scale * bias + v->scale * sum(total);
}

INLINE float score(const state *x, const viewer *v, int64_t item, int featured) {
    const side *s = &x->task->items;
    if (!featured)
        return score_vector(x, v, (const lanes *)(s->vectors + item * x->task->padded), s->biases[item]);
    lanes total[PARTS] = {{0}};
    float bias = 0;
    for (int64_t f = s->starts[item]; f < s->starts[item + 1]; f++) {
        int64_t feature = s->features[f];
        const lanes *vector = (const lanes *)(s->vectors + feature * x->task->padded);
        add_product(v->own, vector, s->weights[f], x->vectors, total);
        bias += s->weights[f] * s->biases[feature];
    }
    return v->bias + v->item_scale * bias + v->scale * sum(total);
}

/* Of an item of the block. */
INLINE float score_item(const state *x, const viewer *v, int64_t item, int featured) {
    if (!recorded(x, featured)) return score(x, v, item, featured);
    record *of = record_of(x, item);
    return score_vector(x, v, vector_of(of), of->bias);
}

/* Whether an item is among those of a user, which ascend. */
INLINE int is_among(const int64_t *starts, const int32_t *items, int64_t user, int32_t item) {
    int64_t low = starts[user], high = starts[user + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (items[middle] == item) return 1;
        if (items[middle] < item) low = middle + 1; else high = middle;
    }
    return 0;
}

INLINE int likes(const task *t, int64_t user, int32_t item) {
    return is_among(t->starts, t->liked, user, item);
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
    lanes rates[PARTS] = {{0}}, ends[PARTS] = {{0}}; /* of all blocks but the last, and of the last */
    for (int64_t f = first; f < last; f++) {
        int64_t feature = featured ? s->features[f] : row;
        float weight = featured ? s->weights[f] : 1, alpha = (float)s->alpha;
        of_biases += update_bias(t, s, feature, bias_gradient * weight, adadelta);
        lanes *value = (lanes *)(s->vectors + feature * t->padded);
        lanes *squares = (lanes *)(s->squares + feature * t->padded);
        lanes *updates = adadelta ? (lanes *)(s->updates + feature * t->padded) : 0;
        EACH_PART(p) {
            lanes end = {0}, before = rates[p];
            for (int64_t k = p; k < x->vectors; k += PARTS) {
                lanes gradient = towards[k];
                if (from) gradient -= from[k];
                gradient *= factor * weight;
                before += end;
                end = update_block(t, value + k, squares + k, adadelta ? updates + k : 0, gradient, alpha,
                                   adadelta);
            }
            rates[p] = before;
            ends[p] += end;
        }
    }
    EACH_PART(p) rates[p] += ends[p] * x->used[p];
    return of_biases + sum(rates);
}

/* A copy of an item's vector, to be used after the item has been updated. */
INLINE const lanes *copied(const state *x, int64_t item, int featured, lanes *room) {
    float unused;
    const lanes *found = represent(&x->task->items, item, x, featured, room, &unused);
    if (!featured) memcpy(room, found, (size_t)x->vectors * sizeof *room);
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
        for (int64_t k = 0; k < padded / WIDTH; k++) vector[k] /= by;
        s->biases[feature] /= by;
    }
}

INLINE int is_large(const state *x, double limit) {
    return x->item_scale > limit || x->user_scale > limit;
}

/* Divides vectors by the scales. */
INLINE void regularize(state *x) {
    const block *b = x->block;
    const int32_t *of_items = b->records ? 0 : b->items; /* features are shared by groups */
    divide(&x->task->items, of_items, b->item_count, x->item_scale, x->task->padded);
    divide(&x->task->users, b->users, b->user_count, x->user_scale, x->task->padded);
    x->item_scale = x->user_scale = 1;
}

/* What a local learning rate counts where as many features are learned from at a time. */
INLINE double share_of(const state *x, int64_t features) {
    return 1.0 / (double)((x->task->components + 1) * features);
}

/* Lets the scales grow by the regularisation at the mean of rates. A group takes part in one of so many
   interactions of an epoch, and its scale grows by as much. */
INLINE void grow(state *x, double rates, double share) {
    double mean = (double)x->task->groups * rates * share;
    x->item_scale *= 1.0 + x->task->items.alpha * mean;
    x->user_scale *= 1.0 + x->task->users.alpha * mean;
}

/* Of a row, without its padding. */
INLINE float sum_row(const state *x, const lanes *row) {
    lanes total[PARTS];
    EACH_PART(p) {
        total[p] = row[x->vectors - PARTS + p] * x->used[p];
        for (int64_t k = p; k < x->vectors - PARTS; k += PARTS) total[p] += row[k];
    }
    return sum(total);
}

/* Makes the records of the block's items. As one feature, an item learns at the mean rate of its
   features, weighted by how much of a step each of them is, and accumulates the mean of what they do. */
INLINE void gather(state *x) {
    const task *t = x->task;
    const block *b = x->block;
    const side *s = &t->items;
    int64_t n = x->vectors;
    x->touched = 0;
    for (int64_t i = 0; i < b->item_count; i++) b->slots[b->items[i]] = (int32_t)i;
    for (int64_t i = 0; i < b->item_count; i++) {
        int64_t item = b->items[i];
        if (i + AHEAD_FEATURED < b->item_count)
            fetch_row(s, b->items[i + AHEAD_FEATURED], t->padded, 1, 1);
        record *of = record_of(x, item);
        lanes *vector = vector_of(of), *squares = vector + n, *gradient = vector + 2 * n;
        lanes *first = vector + 3 * n;
        float size = 0, fourth = 0, bias_rate = 0;
        memset(squares, 0, 2 * (size_t)n * sizeof *squares);
        represent(s, item, x, 1, vector, &of->bias);
        for (int64_t f = s->starts[item]; f < s->starts[item + 1]; f++) {
            float power = s->weights[f] * s->weights[f];
            const lanes *found = (const lanes *)(s->squares + s->features[f] * t->padded);
            for (int64_t k = 0; k < n; k++) squares[k] += power * inverse_root(found[k]);
            bias_rate += power / sqrtf(s->bias_squares[s->features[f]]);
            size += power;
            fourth += power * power;
        }
        for (int64_t k = 0; k < n; k++) {
            lanes root = size / (squares[k] + TINY);
            squares[k] = root * root;
        }
        EACH_PART(p) squares[n - PARTS + p] *= x->used[p]; /* padding is 0: tiny numbers are slow */
        memcpy(first, squares, (size_t)n * sizeof *first);
        float root = size / (bias_rate + TINY);
        of->first_squares = of->squares = root * root;
        of->gradient = of->times = of->share = 0;
        of->size = size;
        of->fraction = fourth > 0 ? fourth / size : 1;
    }
}

/* Steps in the direction of an item's gradients, which were made one by one: the first at the rate
   that a feature had before them, the others at the mean of adagrad's rates until after the last but
   one, the integral of 1 / sqrt(squares) over even steps. */
INLINE lanes mean_rate(lanes before, lanes added, float rest) {
    lanes root = inverse_root(before), end = before + rest * added;
    return (1 - rest) * root + (2 * rest) / (before * root + end * inverse_root(end) + TINY);
}

/* Lets the features of the items that were learned from learn what these have learned, one item after
   the other. Each accumulates the squares of its share of the gradients. The scales grow by the rates
   that the features had. */
INLINE void hand_on(state *x) {
    const task *t = x->task;
    const block *b = x->block;
    const side *s = &t->items;
    int64_t n = x->vectors;
    for (int64_t i = 0; i < x->touched; i++) {
        if (i + AHEAD_FEATURED < x->touched)
            fetch_row(s, b->touched[i + AHEAD_FEATURED], t->padded, 1, 1);
        int64_t item = b->touched[i];
        record *of = record_of(x, item);
        lanes *vector = vector_of(of); /* not needed any more: room for rates */
        lanes *squares = vector + n, *gradient = vector + 2 * n, *first = vector + 3 * n;
        float rest = 1 - 1 / of->times, growth = (float)s->alpha * of->times;
        double rates = 0;
        for (int64_t k = 0; k < n; k++) squares[k] = (squares[k] - first[k]) / of->fraction;
        float of_bias = (of->squares - of->first_squares) / of->fraction;
        for (int64_t f = s->starts[item]; f < s->starts[item + 1]; f++) {
            int64_t feature = s->features[f];
            float weight = s->weights[f], power = weight * weight;
            lanes *value = (lanes *)(s->vectors + feature * t->padded);
            lanes *summed = (lanes *)(s->squares + feature * t->padded);
            for (int64_t k = 0; k < n; k++) {
                lanes rate = (float)t->rate * mean_rate(summed[k], power * squares[k], rest);
                vector[k] = rate;
                lanes moved = value[k] - weight * rate * gradient[k], grown = growth * rate;
                value[k] = moved + (moved * grown) * (1 + 0.5f * rest * grown);
                summed[k] += power * squares[k];
            }
            float before = s->bias_squares[feature], added = power * of_bias;
            float rate = (1 - rest) / sqrtf(before);
            rate += 2 * rest / (sqrtf(before) + sqrtf(before + rest * added));
            rate *= (float)t->rate;
            float moved = s->biases[feature] - weight * rate * of->gradient, grown = growth * rate;
            s->biases[feature] = moved + (moved * grown) * (1 + 0.5f * rest * grown);
            s->bias_squares[feature] += added;
            rates += rate + sum_row(x, vector);
        }
        grow(x, rates, of->share);
    }
    x->touched = 0;
}

/* Updates the record of an item with the gradient factor * towards. */
INLINE void update_record(state *x, int64_t item, const lanes *towards, float factor,
                          float bias_gradient, double share) {
    record *of = record_of(x, item);
    int64_t n = x->vectors;
    lanes *vector = vector_of(of), *squares = vector + n, *gradient = squares + n;
    float eta = (float)x->task->rate, alpha = (float)x->task->items.alpha;
    float size = of->size, fraction = of->fraction;
    if (!of->times) x->block->touched[x->touched++] = (int32_t)item;
    of->times += 1;
    of->share += (float)share;
    float of_bias = eta / sqrtf(of->squares);
    of->squares += fraction * bias_gradient * bias_gradient;
    of->gradient += bias_gradient;
    float bias = of->bias - size * of_bias * bias_gradient;
    of->bias = bias + bias * (alpha * of_bias);
    for (int64_t k = 0; k < n; k++) {
        lanes step = factor * towards[k], rate = eta * inverse_root(squares[k]);
        squares[k] += fraction * step * step;
        gradient[k] += step;
        lanes moved = vector[k] - size * rate * step;
        vector[k] = moved + moved * (alpha * rate);
    }
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
    lanes rates[PARTS];
    EACH_PART(p) {
        lanes before = {0}, end = {0};
        for (int64_t k = p; k < x->vectors; k += PARTS) {
            lanes of_items = by_user * own[k], of_user = by_items * (far[k] - near[k]);
            before += end;
            end = update_block(t, near + k, near_squares + k, adadelta ? near_updates + k : 0, -of_items,
                               item_alpha, adadelta);
            end += update_block(t, far + k, far_squares + k, adadelta ? far_updates + k : 0, of_items,
                                item_alpha, adadelta);
            end += update_block(t, own + k, own_squares + k, adadelta ? own_updates + k : 0, of_user,
                                user_alpha, adadelta);
        }
        rates[p] = before + end * x->used[p];
    }
    return sum(rates);
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
        grow(x, rates, share_of(x, 3));
        return;
    }
    double share = share_of(x, features_of(&t->users, user, user_featured)
                                   + features_of(&t->items, positive, item_featured)
                                   + features_of(&t->items, negative, item_featured));
    if (recorded(x, item_featured)) {
        const lanes *far = vector_of(record_of(x, negative));
        near = vector_of(record_of(x, positive));
        memcpy(x->negative, own, (size_t)x->vectors * sizeof *own); /* before it is updated */
        rates = update_row(x, &t->users, user, far, near, by_items, bias, user_featured, adadelta);
        update_record(x, positive, x->negative, -by_user, -bias, share);
        update_record(x, negative, x->negative, by_user, bias, share);
    } else {
        const lanes *far = copied(x, negative, item_featured, x->negative);
        if (!near) near = copied(x, positive, item_featured, x->positive);
        rates = update_row(x, &t->items, positive, own, 0, -by_user, -bias, item_featured, adadelta);
        rates += update_row(x, &t->items, negative, own, 0, by_user, bias, item_featured, adadelta);
        rates += update_row(x, &t->users, user, far, near, by_items, bias, user_featured, adadelta);
    }
    grow(x, rates, share);
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
        if (!(score_item(x, v, *negative, featured) > positive_score - 1)) continue;
        fetch_item(x, *negative, featured);
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
    if (recorded(x, item_featured)) {
        found = score_item(x, &v, item, item_featured);
    } else if (loss != WARP_KOS) {
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
        fetch_item(x, negative, item_featured);
        float ahead = found - score_item(x, &v, negative, item_featured);
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
    grow(x, rates, share_of(x, features_of(&t->users, user, user_featured)
                                   + features_of(&t->items, item, item_featured)));
}

/* ---- an epoch ------------------------------------------------------------------------ */

INLINE void run(const task *t, const block *b, lanes *room, const float *losses, int loss,
                int user_featured, int item_featured, int adadelta) {
    int64_t vectors = t->padded / WIDTH, n = b->interactions;
    state x = {t, b, vectors, {{0}}, *b->user_scale, *b->item_scale, room, room + vectors,
               room + 2 * vectors, 0};
    for (int64_t i = t->padded - LANES; i < t->components; i++)
        x.used[i % LANES / WIDTH][i % WIDTH] = 1;
    ring r = {.seed = b->seed};
    if (recorded(&x, item_featured)) gather(&x);
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
            if (item_featured && !b->records) fetch_names(&t->items, items[i + 2 * NEXT]);
            fetch_row(&t->users, users[i + NEXT], t->padded, user_featured, 1);
            fetch_item(&x, items[i + NEXT], item_featured);
            fetch_liked(t, users[i + NEXT]);
            double weight = t->weight ? t->weight[b->order[start + i]] : 1;
            if (loss == LOGISTIC)
                train_logistic(&x, users[i], items[i], weight, user_featured, item_featured, adadelta);
            else
                train_pair(&x, &r, losses, users[i], items[i], weight, loss, user_featured,
                           item_featured, adadelta);
            if (!is_large(&x, MAX_SCALE)) continue;
            if (recorded(&x, item_featured)) hand_on(&x);
            regularize(&x);
            if (recorded(&x, item_featured)) gather(&x);
        }
    }
    if (recorded(&x, item_featured)) hand_on(&x);
    if (is_large(&x, b->last ? 1 : MAX_SCALE)) regularize(&x);
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

TARGET void TRAIN(const task *t, const block *b, float *room, const float *losses) {
    choose(t, b, (lanes *)room, losses);
}

/* ---- BPR by gradient descent --------------------------------------------------------- */

#define PAIRS_AHEAD 8 /* by which vectors are fetched before; their names, twice as many before */
#define KNOWN 32      /* room for the pairs that are drawn: a power of two, above 2 * PAIRS_AHEAD */

/* Two interactions drawn at random: of the first, the user and the item; of the other, the item. */
typedef struct {
    int64_t liked, other;
} pair;

/* A number below a limit, of a generator with 64 bits (splitmix64). */
INLINE int64_t draw_below(uint64_t *seed, int64_t limit) {
    uint64_t x = *seed += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    return (int64_t)(((unsigned __int128)x * (uint64_t)limit) >> 64);
}

INLINE pair draw_pair(const descent *d) {
    pair drawn;
    drawn.liked = draw_below(d->seed, d->interactions);
    drawn.other = draw_below(d->seed, d->interactions);
    __builtin_prefetch(d->user + drawn.liked, 0, 3);
    __builtin_prefetch(d->item + drawn.liked, 0, 3);
    __builtin_prefetch(d->item + drawn.other, 0, 3);
    return drawn;
}

INLINE void fetch_pair(const descent *d, pair p) {
    int64_t blocks = d->padded / LANES;
    fetch(d->users + d->user[p.liked] * d->padded, blocks);
    fetch(d->items + d->item[p.liked] * d->padded, blocks);
    fetch(d->items + d->item[p.other] * d->padded, blocks);
    __builtin_prefetch(d->starts + d->user[p.liked], 0, 3);
}

/* By how much one item's score is above another's. */
INLINE float margin(const lanes *own, const lanes *near, const lanes *far, int64_t vectors) {
    lanes total[PARTS] = {{0}};
    EACH_PART(p) {
        for (int64_t k = p; k < vectors; k += PARTS) total[p] += own[k] * (near[k] - far[k]);
    }
    return sum(total);
}

INLINE void learn_pair(const descent *d, pair p) {
    int64_t user = d->user[p.liked], vectors = d->padded / WIDTH;
    if (is_among(d->starts, d->item, user, d->item[p.other])) return;
    float *row = d->users + user * d->padded;
    lanes *own = (lanes *)row;
    lanes *near = (lanes *)(d->items + d->item[p.liked] * d->padded);
    lanes *far = (lanes *)(d->items + d->item[p.other] * d->padded);
    float push = 1 / (1 + expf(margin(own, near, far, vectors)));
    float rate = (float)d->rate, regularization = (float)d->regularization;
    for (int64_t k = 0; k < vectors; k++) {
        lanes before = own[k], liked = near[k], other = far[k], towards = push * before;
        own[k] = before + rate * (push * (liked - other) - regularization * before);
        near[k] = liked + rate * (towards - regularization * liked);
        far[k] = other - rate * (towards + regularization * other);
    }
    row[d->bias] = 1;
}

TARGET void DESCEND(const descent *d) {
    pair known[KNOWN];
    for (int64_t i = -2 * PAIRS_AHEAD; i < d->interactions; i++) {
        known[(i + 2 * PAIRS_AHEAD) & (KNOWN - 1)] = draw_pair(d);
        if (i >= -PAIRS_AHEAD) fetch_pair(d, known[(i + PAIRS_AHEAD) & (KNOWN - 1)]);
        if (i >= 0) learn_pair(d, known[i & (KNOWN - 1)]);
    }
}
