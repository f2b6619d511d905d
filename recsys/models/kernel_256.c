/* The loops of the training kernel for AVX2. */

#ifdef __x86_64__
#define WIDTH 8
#define TARGET __attribute__((target("avx2,fma")))
#define TRAIN recsys_train_256
#define DESCEND recsys_descend_256
#include "kernel_loops.h"
#endif
