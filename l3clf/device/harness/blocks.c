/* Counts how often each block of code runs. Unicorn calls count_block before each; from Python it would take a minute. */
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t runs;
    uint64_t jumped; /* how often what ran next was not what follows it */
    uint64_t bytes;
} block;

typedef struct {
    uint64_t start, size; /* of the code */
    block *blocks;        /* one for each two bytes */
    uint64_t last, follows;
    uint64_t strange; /* blocks outside of the code, or of another length than before */
} block_counter;

void count_block(void *cpu, uint64_t address, uint32_t bytes, void *user);

void count_block(void *cpu, uint64_t address, uint32_t bytes, void *user)
{
    block_counter *counter = user;
    const uint64_t place = address - counter->start;
    (void)cpu;
    if (address != counter->follows) {
        counter->blocks[counter->last].jumped++;
    }
    if (place >= counter->size || (counter->blocks[place / 2].bytes && counter->blocks[place / 2].bytes != bytes)) {
        counter->strange++;
        return;
    }
    counter->last = place / 2;
    counter->follows = address + bytes;
    counter->blocks[counter->last].runs++;
    counter->blocks[counter->last].bytes = bytes;
}
