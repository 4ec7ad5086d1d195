// Element types and their conversions. Every kernel computes in f32 and rounds once, to nearest, when it stores.
// One program is built for each ELEMENT: f16, bf16 and float.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

struct f16 { u16 bits; };
struct bf16 { u16 bits; };

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
__device__ __forceinline__ float wide(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

__device__ __forceinline__ void narrow(float x, float &y) { y = x; }
__device__ __forceinline__ void narrow(float x, f16 &y) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
__device__ __forceinline__ void narrow(float x, bf16 &y) {
    u32 bits = __float_as_uint(x);
    bool nan = (bits & 0x7fffffff) > 0x7f800000;
    y.bits = nan ? 0x7fff : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// N neighbours that move in one access.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };

// How many elements fit the widest access, 16 bytes.
template <typename T> struct Wide { static constexpr int N = 16 / sizeof(T); };

__device__ __forceinline__ float silu(float x) { return x / (1.f + __expf(-x)); }
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.f + erff(x * 0.70710678118654752f)); }

