/*
 * Warm pages. A virtual machine whose free pages go back to its host pays ten times the price of a
 * write for the first touch of a page; that is no figure of a broker. So a file is written before a
 * load, which keeps its pages, and is made shorter as the load goes on: the broker's page cache is
 * made of the pages that have just become free.
 */
#ifndef BENCHMARK_WARM_H
#define BENCHMARK_WARM_H

#include "base/base.h"

struct warm {
    int fd;       /* -1: none */
    int64_t left; /* bytes of the file */
    int64_t fed;  /* bytes of load for which pages were freed */
};

void warm_open(struct warm *w, const char *directory, int64_t bytes);
void warm_feed(struct warm *w,
               int64_t load_bytes); /* so many bytes of load have been sent in all */
void warm_close(struct warm *w);

#endif
