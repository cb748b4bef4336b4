/* start.c: what runs before main on Arm's board AN547 (Cortex-M55), and what board.h promises.
 *
 *   reset --FPU on, .data copied, .bss zeroed, stack painted--> main --its code--> the emulator ends
 *
 * Not here: where memory lies (board.ld), what the board is for (main.c). Source: Armv8-M Architecture
 * Reference Manual; Semihosting for AArch32; Arm CoreLink SSE-300, system counter. */
#include "ports/bare-arm/board.h"

#include <string.h>

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, STOPPED_APPLICATION_EXIT = 0x20026 };
enum { PAINT = 0x5ae0f1e5 };

/* board.ld */
extern unsigned char code_start[], code_end[], model_start[], model_end[], heap_start[], heap_end[];
extern unsigned char data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern uint32_t stack_bottom[], stack_top[];

static volatile uint32_t *const cpacr = (volatile uint32_t *)0xe000ed88;    /* who may use the FPU */
static volatile uint32_t *const counter = (volatile uint32_t *)0x58100000;  /* CNTCR, CNTSR, CNTCV */

static unsigned char *heap_now = heap_start, *heap_most = heap_start;

int main(void);

/* ---- the console: a breakpoint that a debugger or an emulator takes for a call ---- */

static void semihost(int operation, const void *argument)
{
    register int         r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_say(const char *text) { semihost(SYS_WRITE0, text); }

static void quit(int code)
{
    const uint32_t reason[] = { STOPPED_APPLICATION_EXIT, (uint32_t)code };
    for (;;)
        semihost(SYS_EXIT_EXTENDED, reason);
}

/* ---- measures ---- */

/* The counter runs at 32 MHz. An instruction takes 1 ns under qemu's -icount shift=0. */
uint64_t board_instructions(void)
{
    uint32_t high, low;
    do {
        high = counter[3];
        low = counter[2];
    } while (high != counter[3]);
    return ((uint64_t)high << 32 | low) * 125 / 4;
}

board_memory board_measure(void)
{
    const uint32_t *p = stack_bottom;
    while (*p == PAINT)
        p++;
    const size_t initialised = (size_t)(data_end - data_start);
    return (board_memory){ .code = (size_t)(code_end - code_start) + initialised,
                           .model = (size_t)(model_end - model_start),
                           .data = initialised + (size_t)(bss_end - bss_start),
                           .heap = (size_t)(heap_most - heap_start),
                           .stack = (size_t)(stack_top - p) * sizeof *p };
}

/* Of newlib's malloc: more bytes for the heap, or fewer; where they begin. */
void *_sbrk(ptrdiff_t more)
{
    unsigned char *begin = heap_now;
    if (more > heap_end - heap_now)
        return (void *)-1;
    heap_now += more;
    heap_most = heap_now > heap_most ? heap_now : heap_most;
    return begin;
}

/* ---- start ---- */

/* The FPU's control word is 0 then: it rounds to nearest and keeps subnormals. */
static void reset(void)
{
    uint32_t here;
    *cpacr |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    for (volatile uint32_t *p = stack_bottom; p < &here; p++)
        *p = PAINT;
    *counter = 1;
    quit(main());
}

static void fault(void)
{
    board_say("a fault: no memory there (is the stack too small?), or no such instruction\n");
    quit(1);
}

/* After the stack's top (board.ld): reset, NMI, HardFault, which all other faults become. */
__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = { reset, fault, fault };
