/* Runs the export's self-test on QEMU's board mps2-an386, a Cortex-M4F, and exits with its result. */
#include <stdint.h>

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88)
#define FPU_ON (0xFU << 20)
#define SYS_EXIT_EXTENDED 0x20
#define APPLICATION_EXIT 0x20026
#define CRASHED 99

int l3clf_selftest(void);
void board_start(void);

extern uint32_t board_stack_top;

/* Ends the emulation with an exit status, by semihosting. */
static void leave(uint32_t answer)
{
    const uint32_t block[2] = {APPLICATION_EXIT, answer};
    register uint32_t operation __asm__("r0") = SYS_EXIT_EXTENDED;
    register const uint32_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(argument) : "memory");
    for (;;) {
    }
}

static void crashed(void)
{
    leave(CRASHED);
}

void board_start(void)
{
    COPROCESSOR_ACCESS |= FPU_ON;
    __asm__ volatile("dsb\n isb" : : : "memory");
    leave((uint32_t)l3clf_selftest());
}

typedef union {
    void *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = &board_stack_top},   {.handler = board_start}, {.handler = crashed}, {.handler = crashed},
    {.handler = crashed},          {.handler = crashed},     {.handler = crashed}, {.handler = crashed},
    {.handler = crashed},          {.handler = crashed},     {.handler = crashed}, {.handler = crashed},
    {.handler = crashed},          {.handler = crashed},     {.handler = crashed}, {.handler = crashed},
};
