// Stand-ins for the parts of the Metal shading language that tintype's kernels use, so that their sources compile as
// C++. Threads of a threadgroup are coroutines of one thread; a barrier hands over to the next one. They run in an
// order that is asked for: a kernel that lacks a barrier gives another result in another order.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

using uint = uint32_t;
using ulong_ = uint64_t;
#define ulong ulong_
#define half _Float16

#define kernel static
#define device
#define constant const
#define threadgroup
// One threadgroup runs at a time, so what it shares is static.
#define SHARED(type, name, size) static type name[size]

struct uint3 {
    uint x, y, z;
};

template <typename A> static A min(A a, A b) { return b < a ? b : a; }
using std::abs;
using std::exp;
using std::fma;
using std::sqrt;

enum class mem_flags { mem_threadgroup };

constexpr uint THREADS_A_GROUP = 256;
constexpr size_t STACK = 64 << 10;

static ucontext_t scheduler;
static ucontext_t fibers[THREADS_A_GROUP];
static bool finished[THREADS_A_GROUP];
static uint running;
static void (*body)(uint3, uint);
static uint3 group;

static void fiber(void)
{
    body(group, running);
    finished[running] = true;
    swapcontext(&fibers[running], &scheduler);
}

static void threadgroup_barrier(mem_flags) { swapcontext(&fibers[running], &scheduler); }

// Runs `f` for a grid of threadgroups; `order` 0 is forwards, 1 backwards, 2 mixed.
static void run(void (*f)(uint3, uint), uint3 grid, uint order)
{
    static std::vector<char> stacks(THREADS_A_GROUP * STACK);
    body = f;
    for (uint z = 0; z < grid.z; z++)
        for (uint y = 0; y < grid.y; y++)
            for (uint x = 0; x < grid.x; x++) {
                group = {x, y, z};
                for (uint t = 0; t < THREADS_A_GROUP; t++) {
                    finished[t] = false;
                    getcontext(&fibers[t]);
                    fibers[t].uc_stack.ss_sp = stacks.data() + t * STACK;
                    fibers[t].uc_stack.ss_size = STACK;
                    fibers[t].uc_link = &scheduler;
                    makecontext(&fibers[t], fiber, 0);
                }
                // From barrier to barrier, each thread in turn, until all have ended.
                for (uint left = THREADS_A_GROUP; left > 0;) {
                    for (uint i = 0; i < THREADS_A_GROUP; i++) {
                        uint t = order == 0 ? i : order == 1 ? THREADS_A_GROUP - 1 - i : (i * 89 + 31) % THREADS_A_GROUP;
                        if (finished[t]) continue;
                        running = t;
                        swapcontext(&scheduler, &fibers[t]);
                        if (finished[t]) left--;
                    }
                }
            }
}
