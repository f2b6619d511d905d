/* The loops of the training kernel for AVX-512. */

#ifdef __x86_64__
#define WIDTH 16
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#include "kernel_loops.h"

TARGET void recsys_train_512(const task *t, const block *b, float *room, const float *losses) {
    choose(t, b, (lanes *)room, losses);
}
#endif
