/* Sums of sparse rows and their products, their largest entries, maxima of groups, and bounds of
   products: the inner loops of ranking and of neighbours.

Everything is added in the order in which NumPy adds it, one number after the other in single
precision, so that scores are the same to the last bit with and without this file.

No part of Python is used here; recsys/ranking/compiled.py calls it, and checks what is passed. */

#include <stdint.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define LANES 16 /* floats of a cache line */

/* Raised whenever the arguments of a function change. */
EXPORTED int64_t recsys_sums_version(void) { return 3; }

/* Add the rows of some items to one row of scores. */
static void add_rows(const int64_t *items, int64_t n, const int64_t *indptr,
                     const int32_t *indices, const float *weights, float *out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t start = indptr[items[i]], stop = indptr[items[i] + 1];
        if (i + 1 < n) {
            int64_t next = indptr[items[i + 1]];
            __builtin_prefetch(indices + next);
            __builtin_prefetch(weights + next);
        }
        for (int64_t e = start; e < stop; e++)
            out[indices[e]] += weights[e];
    }
}

/* The sums of rows for several users: items[bounds[u] : bounds[u + 1]] are those of user u, and
   out (users, width) is overwritten. */
EXPORTED void recsys_sum_rows(const int64_t *bounds, int64_t users, const int64_t *items,
                     const int64_t *indptr, const int32_t *indices, const float *weights,
                     float *out, int64_t width) {
    for (int64_t u = 0; u < users; u++) {
        float *row = out + u * width;
        for (int64_t j = 0; j < width; j++)
            row[j] = 0;
        add_rows(items + bounds[u], bounds[u + 1] - bounds[u], indptr, indices, weights, row);
    }
}

/* The same for one user, added to what is there. */
EXPORTED void recsys_add_rows(const int64_t *items, int64_t n, const int64_t *indptr,
                     const int32_t *indices, const float *weights, float *out) {
    add_rows(items, n, indptr, indices, weights, out);
}

/* Add the rows of what each of some users likes, likes[starts[u]] up to stops[u], to a line of
   scores each. What is liked beyond n_items, or below zero, has no row. */
EXPORTED void recsys_add_liked(const int64_t *starts, const int64_t *stops, int64_t users,
                               const int32_t *likes, int64_t n_items, const int64_t *indptr,
                               const int32_t *indices, const float *weights, float *out,
                               int64_t width) {
    for (int64_t u = 0; u < users; u++) {
        float *row = out + u * width;
        for (int64_t l = starts[u]; l < stops[u]; l++) {
            int64_t item = likes[l];
            if (item < 0 || item >= n_items)
                continue;
            for (int64_t e = indptr[item]; e < indptr[item + 1]; e++)
                row[indices[e]] += weights[e];
        }
    }
}

/* How many entries each row has in columns that have a place, as bounds (n_rows + 1,); columns at or
   behind n_columns have none. Returns how many there are in all. */
EXPORTED int64_t recsys_count_placed(int64_t n_rows, const int64_t *indptr, const int32_t *indices,
                                     const int32_t *places, int64_t n_columns, int64_t *bounds) {
    int64_t found = 0;
    for (int64_t row = 0; row < n_rows; row++) {
        bounds[row] = found;
        for (int64_t e = indptr[row]; e < indptr[row + 1]; e++)
            found += indices[e] < n_columns && places[indices[e]] >= 0;
    }
    return bounds[n_rows] = found;
}

/* The places of these entries, and their weights. */
EXPORTED void recsys_take_placed(int64_t n_rows, const int64_t *indptr, const int32_t *indices,
                                 const float *weights, const int32_t *places, int64_t n_columns,
                                 int32_t *taken, float *taken_weights) {
    int64_t found = 0;
    for (int64_t e = indptr[0]; e < indptr[n_rows]; e++)
        if (indices[e] < n_columns && places[indices[e]] >= 0) {
            taken[found] = places[indices[e]];
            taken_weights[found++] = weights[e];
        }
}

/* Where a column is stored in each row, whose indices ascend: the rows that have it, and the
   places of its entries. Returns how many there are. */
EXPORTED int64_t recsys_find_column(int64_t n_items, const int64_t *indptr, const int32_t *indices,
                           int32_t column, int64_t *rows, int64_t *places) {
    int64_t found = 0;
    for (int64_t row = 0; row < n_items; row++) {
        int64_t at = indptr[row], length = indptr[row + 1] - at;
        while (length > 0) { /* the first entry that is not below the column */
            int64_t half = length / 2;
            int below = indices[at + half] < column;
            at = below ? at + half + 1 : at;
            length = below ? length - half - 1 : half;
        }
        if (at < indptr[row + 1] && indices[at] == column) {
            rows[found] = row;
            places[found++] = at;
        }
    }
    return found;
}

/* The products of some rows with each other, to out (n, n). `last` has a place for each column and
   is -1 everywhere, before and after; `before` and `owner` have one for each entry of these rows,
   and `values` as well. The entries of a column are a list from the last row that has it back to
   the first, so what is taken are the pairs that are there and no others. */
EXPORTED void recsys_products(const int64_t *rows, int64_t n, const int64_t *indptr,
                              const int32_t *indices, const float *weights, int32_t *last,
                              int32_t *before, int32_t *owner, float *values, float *out) {
    int32_t place = 0;
    for (int64_t i = 0; i < n * n; i++)
        out[i] = 0;
    for (int64_t i = 0; i < n; i++) {
        float *line = out + i * n;
        double square = 0;
        for (int64_t e = indptr[rows[i]]; e < indptr[rows[i] + 1]; e++, place++) {
            float weight = weights[e];
            for (int32_t p = last[indices[e]]; p >= 0; p = before[p])
                line[owner[p]] += weight * values[p];
            square += weight * weight;
            before[place] = last[indices[e]];
            owner[place] = (int32_t)i;
            values[place] = weight;
            last[indices[e]] = place;
        }
        line[i] = (float)square;
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t e = indptr[rows[i]]; e < indptr[rows[i] + 1]; e++)
            last[indices[e]] = -1;
        for (int64_t j = i + 1; j < n; j++)
            out[i * n + j] = out[j * n + i];
    }
}

/* The bits of a number without its sign, which order as its magnitude. */
static inline uint32_t magnitude(float value) {
    uint32_t found;
    memcpy(&found, &value, sizeof found);
    return found & 0x7fffffff;
}

/* The kept-th largest magnitude of a row of more than so many, found from its highest bits to its
   lowest; `at_it` is how many numbers of exactly this magnitude are among the largest. */
#define DIGITS 2048
static uint32_t least_kept(const float *values, int64_t n, int64_t kept, int64_t *at_it) {
    static const int shifts[3] = {20, 10, 0}, widths[3] = {11, 10, 10};
    uint32_t prefix = 0;
    int64_t left = kept;
    for (int step = 0; step < 3; step++) {
        int32_t counts[DIGITS] = {0}, top = (1 << widths[step]) - 1;
        int above = shifts[step] + widths[step];
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits = magnitude(values[i]);
            if (step == 0 || bits >> above == prefix >> above)
                counts[bits >> shifts[step] & (uint32_t)top]++;
        }
        int32_t digit = top;
        for (; counts[digit] < left; digit--)
            left -= counts[digit];
        prefix |= (uint32_t)digit << shifts[step];
    }
    *at_it = left;
    return prefix;
}

/* The entries of largest magnitude of each row, at most `kept`, in the order in which they stand;
   of equal ones those that come first. Row r is at bounds[r] up to bounds[r + 1]; without indices,
   an entry's is its place in the row. What is taken is written one row after the other. */
EXPORTED void recsys_take_largest(int64_t rows, const int64_t *bounds, const int32_t *indices,
                                  const float *values, int64_t kept, int32_t *taken,
                                  float *taken_values) {
    int64_t found = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t start = bounds[row], n = bounds[row + 1] - start, equals = n;
        uint32_t least = n > kept ? least_kept(values + start, n, kept, &equals) : 0;
        int64_t stop = found + (n < kept ? n : kept);
        for (int64_t i = 0; i < n && found < stop; i++) {
            uint32_t bits = magnitude(values[start + i]);
            int64_t equal = bits == least && equals > 0;
            taken[found] = indices ? indices[start + i] : (int32_t)i;
            taken_values[found] = values[start + i];
            found += bits > least || equal;
            equals -= equal;
        }
    }
}

/* The larger of two numbers each, or a NaN if one of them is, as np.maximum: four at a time, which
   every processor of 64 bits can. */
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t bits __attribute__((vector_size(16)));

static inline four larger(four a, four b) {
    bits other = (b > a) | (b != b);
    return (four)(((bits)b & other) | ((bits)a & ~other));
}

/* The maxima of groups of neighbouring scores: of scores (users, stride), a row for each user, the
   first n_groups groups; to out (users, out_stride). The group is a multiple of LANES. */
EXPORTED void recsys_group_maxima(const float *scores, int64_t users, int64_t stride,
                                  int64_t n_groups, int64_t group, float *out,
                                  int64_t out_stride) {
    for (int64_t u = 0; u < users; u++)
        for (int64_t g = 0; g < n_groups; g++) {
            const four *part = (const four *)(scores + u * stride + g * group);
            four a = part[0], b = part[1], c = part[2], d = part[3];
            for (int64_t i = 4; i < group / 4; i += 4) {
                a = larger(a, part[i]);
                b = larger(b, part[i + 1]);
                c = larger(c, part[i + 2]);
                d = larger(d, part[i + 3]);
            }
            a = larger(larger(a, b), larger(c, d));
            float best = a[0];
            for (int j = 1; j < 4; j++)
                best = a[j] > best || a[j] != a[j] ? a[j] : best;
            out[u * out_stride + g] = best;
        }
}

/* Bounds above the products of rows with a vector, from one byte a number.

   Rows stand in groups of ROWS, and in a group pair after pair of columns: packed (n_groups, pairs,
   ROWS, 2). The vector is in pairs as well, so small that no sum of a row leaves 32 bits. Row i is
   bounded by sum * step * scales[i] + errors[i] * length + offsets[i] + added. Not wide: with the plain loop,
   whatever the processor can. */
#define ROWS 32

typedef struct {
    const int8_t *packed;
    int64_t n_groups, pairs;
    const int16_t *vector;
    const float *scales, *errors, *offsets;
    float step, length, added;
    float *out;
} bounds_task;

static void finish_group(const bounds_task *t, int64_t group, const int32_t *sums) {
    for (int64_t r = 0, i = group * ROWS; r < ROWS; r++, i++)
        t->out[i] = (float)sums[r] * (t->step * t->scales[i]) + t->errors[i] * t->length +
                    (t->offsets[i] + t->added);
}

static void bound_plainly(const bounds_task *t) {
    const int8_t *part = t->packed;
    for (int64_t group = 0; group < t->n_groups; group++) {
        int32_t sums[ROWS] = {0};
        for (int64_t pair = 0; pair < t->pairs; pair++, part += 2 * ROWS) {
            int32_t first = t->vector[2 * pair], second = t->vector[2 * pair + 1];
            for (int r = 0; r < ROWS; r++)
                sums[r] += part[2 * r] * first + part[2 * r + 1] * second;
        }
        finish_group(t, group, sums);
    }
}

#ifdef __x86_64__
typedef int8_t bytes __attribute__((vector_size(16), aligned(1), may_alias));
typedef int16_t words __attribute__((vector_size(32)));
typedef short shorts __attribute__((vector_size(32))); /* as the compiler's own functions name it */
typedef int32_t eight __attribute__((vector_size(32)));

/* Products of eight rows' pairs with a pair of the vector, each pair's sum in one instruction. */
#define PRODUCTS(place, pair)                                                                      \
    (eight) __builtin_ia32_pmaddwd256(                                                             \
        (shorts)__builtin_convertvector(*(const bytes *)(place), words), (shorts)(pair))

__attribute__((target("avx2"))) static void bound_widely(const bounds_task *t) {
    const int8_t *part = t->packed;
    for (int64_t group = 0; group < t->n_groups; group++) {
        eight a = {0}, b = {0}, c = {0}, d = {0};
        for (int64_t pair = 0; pair < t->pairs; pair++, part += 2 * ROWS) {
            int32_t both;
            __builtin_memcpy(&both, t->vector + 2 * pair, sizeof both);
            eight of_vector = both - (eight){0};
            a += PRODUCTS(part, of_vector);
            b += PRODUCTS(part + 16, of_vector);
            c += PRODUCTS(part + 32, of_vector);
            d += PRODUCTS(part + 48, of_vector);
        }
        eight sums[4] = {a, b, c, d};
        finish_group(t, group, (const int32_t *)sums);
    }
}
#endif

EXPORTED void recsys_bound_products(const int8_t *packed, int64_t n_groups, int64_t pairs,
                                    const int16_t *vector, const float *scales, const float *errors,
                                    const float *offsets, float step, float length, float added,
                                    float *out, int64_t wide) {
    bounds_task task = {packed,  n_groups, pairs,  vector, scales, errors,
                        offsets, step,     length, added,  out};
#ifdef __x86_64__
    if (wide && __builtin_cpu_supports("avx2")) {
        bound_widely(&task);
        return;
    }
#endif
    (void)wide;
    bound_plainly(&task);
}
