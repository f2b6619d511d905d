/* The loops of the training kernel for AVX-512. */

#ifdef __x86_64__
#define WIDTH 16
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define TRAIN recsys_train_512
#define DESCEND recsys_descend_512
#include "kernel_loops.h"
#endif
