/* The loops of the training kernel for what every processor has: SSE2, or NEON. */

#define WIDTH 4
#define TARGET
#include "kernel_loops.h"

void recsys_train_128(const task *t, const block *b, float *room, const float *losses) {
    choose(t, b, (lanes *)room, losses);
}
