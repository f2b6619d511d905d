/* Sums of sparse rows, their products, and maxima of groups: the inner loops of neighbours.

Everything is added in the order in which NumPy adds it, one number after the other in single
precision, so that scores are the same to the last bit with and without this file.

No part of Python is used here; recsys/ranking/compiled.py calls it, and checks what is passed. */

#include <stdint.h>

#define EXPORTED __attribute__((visibility("default")))
#define LANES 16 /* floats of a cache line */

/* Raised whenever the arguments of a function change. */
EXPORTED int64_t recsys_sums_version(void) { return 2; }

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
