/* The loops of the training kernel for what every processor has: SSE2, or NEON. */

#define WIDTH 4
#define TARGET
#define TRAIN recsys_train_128
#define DESCEND recsys_descend_128
#include "kernel_loops.h"
