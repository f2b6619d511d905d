/* LightFM's training, written for wide vectors and for the memory of today's processors.

What is computed is what LightFM 1.17 and its successor lightfm-next compute with one thread: the same
random numbers in the same order, the same counting of draws, the loss clipped at 10, and the same
lazy regularisation, up to the rounding of single precision. What differs is how:

- Rows of vectors are padded to whole blocks of LANES floats and aligned to cache lines; a block is
  one register of AVX-512, two of AVX2, four of SSE or NEON. Sums are made in the same order on all.
- The items to come are known, since their random numbers are drawn ahead, and so are the next
  interactions: what they need is fetched into the cache before it is used.
- 1 / sqrt(x) takes three of Newton's steps, which are multiplications, instead of a root and a
  division.
- A row of an identity matrix is a vector itself. With features, what is scored is the sum of the
  features' products with the user: no vector of the item is made for each draw.

No part of Python is used here; recsys/models/kernel.py calls it.

M. Kula, Metadata embeddings for user and item cold-start recommendations, CBRecSys 2015.
J. Weston, S. Bengio and N. Usunier, WSABIE: scaling up to large vocabulary image annotation,
IJCAI 2011. J. Weston, H. Yee and R. J. Weiss, Learning to rank recommendations with the k-order
statistic loss, RecSys 2013. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 16       /* floats of a block: a cache line */
#define RING 1024      /* random numbers drawn at a time */
#define AHEAD 12       /* draws by which an item's vectors are fetched before they are used */
#define BLOCK 1024     /* interactions gathered at a time */
#define NEXT 2         /* interactions by which a user and an item are fetched before */
#define MAX_LOSS 10.0
#define MAX_SCALE 1e6  /* of the lazy regularisation, before vectors are divided by it */

typedef float lanes __attribute__((vector_size(4 * LANES), may_alias));
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
    const int32_t *order;       /* (interactions,): in which they are trained */
    const int64_t *starts;      /* (users + 1,): of each user's items, ascending */
    const int32_t *liked;
    int64_t components, padded;
    int64_t max_sampled, k, n;
    double rate, rho, epsilon;
    int32_t loss, adadelta;
    uint32_t seed;
} task;

/* What each step needs, with the scales of the lazy regularisation. */
typedef struct {
    const task *task;
    int64_t blocks;          /* of a row */
    int64_t used;            /* lanes of its last block that are no padding */
    double user_scale, item_scale;
    lanes *user, *positive, *negative; /* room for sums of features */
} state;

/* ---- blocks of floats ---------------------------------------------------------------- */

INLINE float sum(lanes a, int64_t first) {
    float parts[LANES];
    memcpy(parts, &a, sizeof parts);
    for (int i = (int)first; i < LANES; i++) parts[i] = 0;
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    return parts[0];
}

/* 1 / sqrt(x) to the last bit or two; large and finite for 0, so that 0 times it is 0. */
INLINE lanes inverse_root(lanes x) {
    lanes half = x * 0.5f;
    lanes y = (lanes)(0x5f375a86 - ((bits)x >> 1));
    y = y * (1.5f - half * y * y);
    y = y * (1.5f - half * y * y);
    return y * (1.5f - half * y * y);
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

INLINE void draw_ahead(const task *t, ring *r, int64_t from) {
    uint32_t range = (uint32_t)(t->loss == BPR ? t->interactions : t->items.rows);
    for (int64_t i = from; i < RING + 2 * AHEAD; i++) {
        r->numbers[i] = draw(&r->seed);
        uint32_t x = r->numbers[i] % range;
        r->items[i] = t->loss == BPR ? t->item[x] : (int32_t)x;
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
INLINE int32_t next_item(const task *t, ring *r, int featured, uint32_t *number) {
    if (r->at == RING) {
        memmove(r->numbers, r->numbers + RING, 2 * AHEAD * sizeof *r->numbers);
        memmove(r->items, r->items + RING, 2 * AHEAD * sizeof *r->items);
        draw_ahead(t, r, 2 * AHEAD);
    }
    fetch_row(&t->items, r->items[r->at + AHEAD], t->padded, featured, 0);
    if (featured) fetch_names(&t->items, r->items[r->at + 2 * AHEAD]);
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

/* A user's score of an item, both scaled. */
INLINE float score(const state *x, const lanes *user, float user_bias, int64_t item, int featured) {
    const side *s = &x->task->items;
    lanes total = {0};
    float bias = 0;
    if (featured) {
        for (int64_t f = s->starts[item]; f < s->starts[item + 1]; f++) {
            int64_t feature = s->features[f];
            const lanes *vector = (const lanes *)(s->vectors + feature * x->task->padded);
            add_product(user, vector, s->weights[f], x->blocks, &total);
            bias += s->weights[f] * s->biases[feature];
        }
    } else {
        add_product(user, (const lanes *)(s->vectors + item * x->task->padded), 1, x->blocks, &total);
        bias = s->biases[item];
    }
    float scale = (float)(x->user_scale * x->item_scale);
    return (float)x->user_scale * user_bias + (float)x->item_scale * bias + scale * sum(total, LANES);
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
INLINE double update_bias(const task *t, const side *s, int64_t feature, double gradient,
                          int adadelta) {
    float *value = s->biases + feature, *squares = s->bias_squares + feature;
    double rate, step;
    if (adadelta) {
        float *updates = s->bias_updates + feature;
        *squares = (float)(t->rho * *squares + (1 - t->rho) * gradient * gradient);
        rate = sqrt(*updates + t->epsilon) / sqrt(*squares + t->epsilon);
        step = rate * gradient;
        *updates = (float)(t->rho * *updates + (1 - t->rho) * step * step);
    } else {
        rate = t->rate / sqrt(*squares);
        step = rate * gradient;
        *squares += (float)(gradient * gradient);
    }
    *value -= (float)step;
    *value *= (float)(1.0 + s->alpha * rate);
    return rate;
}

/* Updates the features of one row with the gradient factor * (towards - from); `from` may be none.
   Returns the sum of the local learning rates. */
INLINE double update_row(const state *x, const side *s, int64_t row, const lanes *towards,
                         const lanes *from, float factor, double bias_gradient, int featured,
                         int adadelta) {
    const task *t = x->task;
    int64_t first = featured ? s->starts[row] : row;
    int64_t last = featured ? s->starts[row + 1] : row + 1;
    double total = 0;
    for (int64_t f = first; f < last; f++) {
        int64_t feature = featured ? s->features[f] : row;
        float weight = featured ? s->weights[f] : 1, alpha = (float)s->alpha;
        total += update_bias(t, s, feature, bias_gradient * weight, adadelta);
        lanes *value = (lanes *)(s->vectors + feature * t->padded);
        lanes *squares = (lanes *)(s->squares + feature * t->padded);
        lanes *updates = adadelta ? (lanes *)(s->updates + feature * t->padded) : 0;
        lanes rates = {0}, end = {0};
        for (int64_t k = 0; k < x->blocks; k++) {
            lanes gradient = towards[k];
            if (from) gradient -= from[k];
            gradient *= factor * weight;
            rates += end;
            end = update_block(t, value + k, squares + k, adadelta ? updates + k : 0, gradient, alpha,
                               adadelta);
        }
        total += sum(rates, LANES) + sum(end, x->used);
    }
    return total;
}

INLINE int64_t features_of(const side *s, int64_t row, int featured) {
    return featured ? s->starts[row + 1] - s->starts[row] : 1;
}

INLINE void divide(const side *s, double scale, int64_t padded) {
    float by = (float)scale;
    for (int64_t i = 0; i < s->count * padded; i++) s->vectors[i] /= by;
    for (int64_t i = 0; i < s->count; i++) s->biases[i] /= by;
}

INLINE void regularize(state *x, double limit) {
    if (x->item_scale <= limit && x->user_scale <= limit) return;
    divide(&x->task->items, x->item_scale, x->task->padded);
    divide(&x->task->users, x->user_scale, x->task->padded);
    x->item_scale = x->user_scale = 1;
}

INLINE void grow(state *x, double rates, int64_t rows) {
    double mean = rates / (double)((x->task->components + 1) * rows);
    x->item_scale *= 1.0 + x->task->items.alpha * mean;
    x->user_scale *= 1.0 + x->task->users.alpha * mean;
}

/* Moves a user towards one item and away from another, and these likewise. All three vectors are
   those before the step, so the gradients of the items are taken of a copy of the user. */
INLINE void update_pair(state *x, int64_t user, const lanes *own, int32_t positive, int32_t negative,
                        double loss, int user_featured, int item_featured, int adadelta) {
    const task *t = x->task;
    float unused;
    const lanes *near = represent(&t->items, positive, x, item_featured, x->positive, &unused);
    const lanes *far = represent(&t->items, negative, x, item_featured, x->negative, &unused);
    if (!item_featured) {
        memcpy(x->positive, near, (size_t)x->blocks * sizeof *near);
        memcpy(x->negative, far, (size_t)x->blocks * sizeof *far);
    }
    float by_user = (float)(loss * x->user_scale), by_items = (float)(loss * x->item_scale);
    double rates = update_row(x, &t->items, positive, own, 0, -by_user, -loss, item_featured, adadelta);
    rates += update_row(x, &t->items, negative, own, 0, by_user, loss, item_featured, adadelta);
    rates += update_row(x, &t->users, user, x->negative, x->positive, by_items, loss, user_featured,
                        adadelta);
    grow(x, rates,
         features_of(&t->users, user, user_featured) + features_of(&t->items, positive, item_featured)
             + features_of(&t->items, negative, item_featured));
}

/* ---- losses -------------------------------------------------------------------------- */

/* Draws items until one is scored too close to the positive one, which is learned from. */
INLINE void sample_violation(state *x, ring *r, const float *losses, int64_t user, const lanes *own,
                             float user_bias, int32_t positive, float positive_score, double weight,
                             int user_featured, int item_featured, int adadelta) {
    const task *t = x->task;
    uint32_t unused;
    for (int64_t sampled = 1; sampled <= t->max_sampled; sampled++) {
        int32_t negative = next_item(t, r, item_featured, &unused);
        if (!(score(x, own, user_bias, negative, item_featured) > positive_score - 1)) continue;
        fetch_row(&t->items, negative, t->padded, item_featured, 1);
        if (likes(t, user, negative)) continue;
        double loss = weight * losses[sampled];
        if (loss > MAX_LOSS) loss = MAX_LOSS;
        update_pair(x, user, own, positive, negative, loss, user_featured, item_featured, adadelta);
        return;
    }
}

/* The item of the k-th highest score among n of a user's items, drawn with replacement. */
INLINE int32_t choose_positive(state *x, ring *r, int64_t user, const lanes *own, float user_bias,
                               int item_featured, float *found) {
    const task *t = x->task;
    int64_t liked = t->starts[user + 1] - t->starts[user];
    int64_t count = t->n < liked ? t->n : liked, place = (t->k < count ? t->k : count) - 1;
    float scores[place + 1]; /* the highest so far, descending */
    int32_t items[place + 1];
    for (int64_t j = 0; j < count; j++) {
        uint32_t number;
        next_item(t, r, item_featured, &number);
        int32_t item = t->liked[t->starts[user] + number % (uint32_t)liked];
        float value = score(x, own, user_bias, item, item_featured);
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

/* One interaction of each loss. */
INLINE void train_one(state *x, ring *r, const float *losses, int64_t user, int32_t item, double weight,
                      int loss, int user_featured, int item_featured, int adadelta) {
    const task *t = x->task;
    float bias;
    const lanes *own = represent(&t->users, user, x, user_featured, x->user, &bias);
    if (loss == WARP) {
        if (!(weight > 0)) return;
        float found = score(x, own, bias, item, item_featured);
        sample_violation(x, r, losses, user, own, bias, item, found, weight, user_featured,
                         item_featured, adadelta);
    } else if (loss == WARP_KOS) {
        float found;
        if (t->starts[user + 1] == t->starts[user]) return;
        int32_t positive = choose_positive(x, r, user, own, bias, item_featured, &found);
        sample_violation(x, r, losses, user, own, bias, positive, found, 1, user_featured,
                         item_featured, adadelta);
    } else if (loss == BPR) {
        if (!(weight > 0)) return;
        int32_t negative = item;
        uint32_t unused;
        for (int64_t j = 0; j < t->interactions; j++) {
            negative = next_item(t, r, item_featured, &unused);
            if (!likes(t, user, negative)) break;
        }
        fetch_row(&t->items, negative, t->padded, item_featured, 1);
        float near = score(x, own, bias, item, item_featured);
        float far = score(x, own, bias, negative, item_featured);
        update_pair(x, user, own, item, negative, weight * (1.0 - sigmoid(near - far)), user_featured,
                    item_featured, adadelta);
    } else {
        float unused, found = sigmoid(score(x, own, bias, item, item_featured));
        double error = weight * (found - (weight > 0));
        const lanes *vector = represent(&t->items, item, x, item_featured, x->positive, &unused);
        if (!item_featured) memcpy(x->positive, vector, (size_t)x->blocks * sizeof *vector);
        double rates = update_row(x, &t->items, item, own, 0, (float)(error * x->user_scale), error,
                                  item_featured, adadelta);
        rates += update_row(x, &t->users, user, x->positive, 0, (float)(error * x->item_scale), error,
                            user_featured, adadelta);
        grow(x, rates,
             features_of(&t->users, user, user_featured) + features_of(&t->items, item, item_featured));
    }
}

/* ---- an epoch ------------------------------------------------------------------------ */

INLINE void run(const task *t, lanes *room, float *losses, int loss, int user_featured,
                int item_featured, int adadelta) {
    int64_t blocks = t->padded / LANES, n = t->interactions;
    state x = {t, blocks, t->components - (blocks - 1) * LANES, 1, 1,
               room, room + blocks, room + 2 * blocks};
    ring r = {.seed = t->seed};
    if (loss != LOGISTIC) draw_ahead(t, &r, 0);
    for (int64_t s = 1; s <= t->max_sampled; s++)
        losses[s] = (float)log(fmax(1.0, (double)((t->items.rows - 1) / s)));
    int32_t users[BLOCK + 2 * NEXT], items[BLOCK + 2 * NEXT];
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t size = n - start < BLOCK ? n - start : BLOCK;
        for (int64_t i = 0; i < size + 2 * NEXT; i++) {
            int32_t row = t->order[start + i < n ? start + i : n - 1];
            users[i] = t->user[row];
            items[i] = t->item[row];
        }
        for (int64_t i = 0; i < size; i++) {
            if (user_featured) fetch_names(&t->users, users[i + 2 * NEXT]);
            if (item_featured) fetch_names(&t->items, items[i + 2 * NEXT]);
            fetch_row(&t->users, users[i + NEXT], t->padded, user_featured, 1);
            fetch_row(&t->items, items[i + NEXT], t->padded, item_featured, 1);
            fetch_liked(t, users[i + NEXT]);
            double weight = t->weight ? t->weight[t->order[start + i]] : 1;
            train_one(&x, &r, losses, users[i], items[i], weight, loss, user_featured, item_featured,
                      adadelta);
            regularize(&x, MAX_SCALE);
        }
    }
    regularize(&x, 1);
}

/* The compiler makes a loop of its own of each of these cases. */
INLINE void choose(const task *t, lanes *room, float *losses) {
    int users = t->users.starts != 0, items = t->items.starts != 0;
    if (t->loss == WARP && !t->adadelta && !users && !items)
        run(t, room, losses, WARP, 0, 0, 0);
    else if (t->loss == WARP && !t->adadelta)
        run(t, room, losses, WARP, users, items, 0);
    else
        run(t, room, losses, t->loss, users, items, t->adadelta);
}

#ifdef __x86_64__
__attribute__((target("avx512f,avx2,fma"))) static void wide(const task *t, lanes *r, float *l) {
    choose(t, r, l);
}
__attribute__((target("avx2,fma"))) static void medium(const task *t, lanes *r, float *l) {
    choose(t, r, l);
}
#endif
static void plain(const task *t, lanes *r, float *l) { choose(t, r, l); }

/* Train one epoch. `width` is the longest vectors that may be used, in bits; what the processor
   does not have is not used. Returns the width that was used, or 0 without memory. */
__attribute__((visibility("default"))) int recsys_train_epoch(const task *t, int width) {
    size_t blocks = (size_t)(t->padded / LANES), sampled = (size_t)t->max_sampled + 1;
    lanes *room = 0;
    float *losses = malloc(sampled * sizeof *losses);
    int used = 0;
    if (losses && !posix_memalign((void **)&room, sizeof *room, 3 * blocks * sizeof *room)) {
        used = 128;
#ifdef __x86_64__
        int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        if (width >= 512 && avx2 && __builtin_cpu_supports("avx512f")) used = 512;
        else if (width >= 256 && avx2) used = 256;
        if (used == 512) wide(t, room, losses);
        else if (used == 256) medium(t, room, losses);
        else
#endif
        plain(t, room, losses);
    }
    free(room);
    free(losses);
    return used;
}
