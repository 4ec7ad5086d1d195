// Runs one kernel on buffers from standard input and writes its output to standard output.
//
// Usage: PROGRAM KERNEL ORDER GRID_X GRID_Y GRID_Z. Input: for each buffer that the kernel reads its bytes' number as
// 64 bits and its bytes; then the number of the output's bytes; then the parameters as a buffer.

#include "shim.h"

#include <cstring>
#include <string>

namespace group_norm {
#include KERNELS_GROUP_NORM
#undef THREADS
}
namespace im2col_ {
#include KERNELS_IM2COL
#undef THREADS
}
namespace add_ {
#include KERNELS_ADD
#undef THREADS
}
namespace geglu_ {
#include KERNELS_GEGLU
#undef THREADS
}

static std::vector<std::vector<char>> in;
static std::vector<char> out;
static std::vector<char> params;

static uint64_t number()
{
    uint64_t n;
    if (fread(&n, sizeof n, 1, stdin) != 1) exit(3);
    return n;
}

static std::vector<char> bytes()
{
    std::vector<char> b(number());
    if (!b.empty() && fread(b.data(), b.size(), 1, stdin) != 1) exit(3);
    return b;
}

template <typename A> static A *at(int i) { return reinterpret_cast<A *>(in[i].data()); }
template <typename A> static A *result() { return reinterpret_cast<A *>(out.data()); }
template <typename A> static const A &given()
{
    if (params.size() != sizeof(A)) exit(4);
    return *reinterpret_cast<const A *>(params.data());
}

static void stats(uint3 g, uint t)
{
    group_norm::group_norm_stats(at<T>(0), result<float>(), given<group_norm::GroupNormParams>(), g, t);
}
static void apply(uint3 g, uint t)
{
    auto &p = given<group_norm::GroupNormParams>();
    group_norm::group_norm_apply(at<T>(0), at<float>(1), at<T>(2), at<T>(3), result<T>(), p, g, t);
}
static void im2col(uint3 g, uint t)
{
    im2col_::im2col(at<T>(0), result<T>(), given<im2col_::Im2colParams>(), g, t);
}
static void add(uint3 g, uint t)
{
    add_::add(at<T>(0), at<T>(1), at<T>(2), at<T>(3), result<T>(), given<add_::AddParams>(), g, t);
}
static void geglu(uint3 g, uint t)
{
    geglu_::geglu(at<T>(0), at<T>(1), result<T>(), given<geglu_::GegluParams>(), g, t);
}

int main(int, char **args)
{
    std::string name = args[1];
    uint order = uint(atoi(args[2]));
    uint3 grid = {uint(atoi(args[3])), uint(atoi(args[4])), uint(atoi(args[5]))};
    struct {
        const char *name;
        void (*run)(uint3, uint);
        int inputs;
    } kernels[] = {{"group_norm_stats", stats, 1}, {"group_norm_apply", apply, 4}, {"im2col", im2col, 1},
                   {"add", add, 4}, {"geglu", geglu, 2}};
    for (auto &k : kernels) {
        if (name != k.name) continue;
        for (int i = 0; i < k.inputs; i++) in.push_back(bytes());
        out.resize(number());
        params = bytes();
        run(k.run, grid, order);
        fwrite(out.data(), out.size(), 1, stdout);
        return 0;
    }
    return 2;
}
