/* Functions of every shape that a walk of the stack meets. What runs between the two hints is recorded, instruction by
   instruction. */
#include <alloca.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE __attribute__((noinline, noclone, noipa))

SHAPE static long leaf(long a, long b) { return a * b + 3; }

SHAPE static long small_frame(long n) { return leaf(n, n + 1) + n; }

SHAPE static long kept_registers(long a, long b, long c, long d)
{
    long e = leaf(a, b), f = leaf(b, c), g = leaf(c, d), h = leaf(d, a), i = leaf(a, c), j = leaf(b, d);
    return small_frame(e) + a * b + c * d + e * f + g * h + i * j;
}

SHAPE static long large_frame(long n)
{
    volatile char room[20000];
    room[n & 4095] = (char)n;
    return small_frame(n) + room[n & 4095];
}

SHAPE static long frame_of_any_size(long n)
{
    volatile char *room = alloca((size_t)n);
    room[0] = 1;
    return kept_registers(n, n + 1, n + 2, n + 3) + room[0];
}

SHAPE static long returns_early(long n)
{
    if (n < 3)
        return n;
    return small_frame(n) * small_frame(n + 1);
}

SHAPE static long jumps_on(long n) { return frame_of_any_size(n & 63); }

SHAPE static long recursion(long n) { return n == 0 ? small_frame(1) : recursion(n - 1) + n; }

SHAPE static double with_floats(double x, double y) { return small_frame((long)x) * x + y * 1.5 + x / y; }

static int descending(const void *a, const void *b) { return *(const int *)b - *(const int *)a; }

SHAPE static long in_the_c_library(void)
{
    int numbers[24];
    char text[128], copy[128];
    for (int i = 0; i < 24; i++)
        numbers[i] = i * 7919 % 101;
    qsort(numbers, 24, sizeof *numbers, descending);
    snprintf(text, sizeof text, "%s %d %g", "words", numbers[0], 2.5);
    memcpy(copy, text, sizeof copy);
    char *block = realloc(malloc(5000), 9000);
    memset(block, 1, 9000);
    long sum = block[77] + memcmp(copy, text, sizeof copy) + strtol("1234", NULL, 10);
    free(block);
    return sum;
}

SHAPE static long all(void)
{
    return small_frame(5) + kept_registers(1, 2, 3, 4) + large_frame(7) + frame_of_any_size(48) + returns_early(2)
        + returns_early(4) + jumps_on(40) + recursion(6) + (long)with_floats(3.5, 2.5) + in_the_c_library();
}

int main(void)
{
    /* What is left of all ones when the processor takes a signature off: `xpaclri`. */
    register uint64_t mask __asm__("x30") = ~(1ull << 55);
    __asm__ volatile("hint #7" : "+r"(mask));
    register uint64_t told __asm__("x0") = mask & (~0ull >> 8);
    __asm__ volatile("hint #101" : : "r"(told));
    long sum = all();
    __asm__ volatile("hint #102");
    printf("%ld\n", sum);
    return 0;
}
