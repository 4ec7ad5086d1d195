// Group and layer normalisation. Statistics are a mean and a sum of squared distances from it, never a
// difference of large sums.

struct Moments { float count, mean, m2; };

// Of both sets together (Chan's formula).
__device__ __forceinline__ Moments merge(Moments a, Moments b) {
    float count = a.count + b.count;
    if (count == 0.f) return a;
    float delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

__device__ __forceinline__ Moments merge_warp(Moments x) {
#pragma unroll
    for (int lane = 16; lane > 0; lane >>= 1) {
        Moments y;
        y.count = __shfl_xor_sync(~0u, x.count, lane);
        y.mean = __shfl_xor_sync(~0u, x.mean, lane);
        y.m2 = __shfl_xor_sync(~0u, x.m2, lane);
        // Both lanes must get the same bits: the lower lane is always the left operand.
        x = (threadIdx.x & lane) ? merge(y, x) : merge(x, y);
    }
    return x;
}

__device__ __forceinline__ Moments merge_block(Moments x) {
    __shared__ Moments warps[32];
    x = merge_warp(x);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    u32 lane = threadIdx.x % 32;
    return merge_warp(lane < blockDim.x / 32 ? warps[lane] : Moments{0.f, 0.f, 0.f});
}

template <typename T, int N> __device__ __forceinline__ Moments moments_of(const Pack<T, N> &x) {
    float sum = 0.f, m2 = 0.f;
#pragma unroll
    for (int i = 0; i < N; i++) sum += wide(x.at[i]);
    float mean = sum / N;
#pragma unroll
    for (int i = 0; i < N; i++) { float d = wide(x.at[i]) - mean; m2 += d * d; }
    return {(float)N, mean, m2};
}

// `[groups of all pictures, size]`, blockIdx.x the part of a group, blockIdx.y the group.
// First launch: the moments of each part.
template <typename T, int N>
__device__ void group_moments(const T *x, float *partial, u32 size, u32 part) {
    const T *row = x + (u64)blockIdx.y * size;
    u32 end = min(size, (blockIdx.x + 1) * part);
    Moments m = {0.f, 0.f, 0.f};
    for (u32 i = blockIdx.x * part + threadIdx.x * N; i < end; i += blockDim.x * N)
        m = merge(m, moments_of(*(const Pack<T, N> *)(row + i)));
    m = merge_block(m);
    if (threadIdx.x == 0) {
        float *out = partial + (blockIdx.y * gridDim.x + blockIdx.x) * 3;
        out[0] = m.count; out[1] = m.mean; out[2] = m.m2;
    }
}

// Second launch: every block merges the moments of its group, then normalises its part.
template <typename T, int N>
__device__ void group_norm(const T *x, const float *partial, const T *weight, const T *bias, T *y, u32 size,
                           u32 part, u32 groups, u32 pixels, float eps, u32 activate) {
    __shared__ float shared_mean, shared_scale;
    if (threadIdx.x < 32) {
        Moments m = {0.f, 0.f, 0.f};
        for (u32 i = threadIdx.x; i < gridDim.x; i += 32) {
            const float *p = partial + (blockIdx.y * gridDim.x + i) * 3;
            m = merge(m, Moments{p[0], p[1], p[2]});
        }
        m = merge_warp(m);
        if (threadIdx.x == 0) { shared_mean = m.mean; shared_scale = rsqrtf(m.m2 / m.count + eps); }
    }
    __syncthreads();
    float mean = shared_mean, scale = shared_scale;
    u32 first = (blockIdx.y % groups) * (size / pixels), end = min(size, (blockIdx.x + 1) * part);
    u64 base = (u64)blockIdx.y * size;
    for (u32 i = blockIdx.x * part + threadIdx.x * N; i < end; i += blockDim.x * N) {
        Pack<T, N> in = *(const Pack<T, N> *)(x + base + i), out;
        u32 channel = first + i / pixels;   // N divides the pixels: one channel a pack
        float w = wide(weight[channel]) * scale, b = wide(bias[channel]) - mean * w;
#pragma unroll
        for (int j = 0; j < N; j++) {
            float v = wide(in.at[j]) * w + b;
            narrow(activate ? silu(v) : v, out.at[j]);
        }
        *(Pack<T, N> *)(y + base + i) = out;
    }
}

// One block a group, the group in registers between the two passes: up to MAX packs a thread.
template <typename T, int N, int MAX>
__device__ void group_norm_small(const T *x, const T *weight, const T *bias, T *y, u32 size, u32 groups, u32 pixels,
                                 float eps, u32 activate) {
    u64 base = (u64)blockIdx.x * size;
    Pack<T, N> held[MAX];
    Moments m = {0.f, 0.f, 0.f};
#pragma unroll
    for (int i = 0; i < MAX; i++) {
        u32 at = (i * blockDim.x + threadIdx.x) * N;
        if (at < size) {
            held[i] = *(const Pack<T, N> *)(x + base + at);
            m = merge(m, moments_of(held[i]));
        }
    }
    m = merge_block(m);
    float scale = rsqrtf(m.m2 / m.count + eps);
    u32 first = (blockIdx.x % groups) * (size / pixels);
#pragma unroll
    for (int i = 0; i < MAX; i++) {
        u32 at = (i * blockDim.x + threadIdx.x) * N;
        if (at < size) {
            u32 channel = first + at / pixels;
            float w = wide(weight[channel]) * scale, b = wide(bias[channel]) - m.mean * w;
            Pack<T, N> out;
#pragma unroll
            for (int j = 0; j < N; j++) {
                float v = wide(held[i].at[j]) * w + b;
                narrow(activate ? silu(v) : v, out.at[j]);
            }
            *(Pack<T, N> *)(y + base + at) = out;
        }
    }
}

// `[rows, size]`, one warp a row, the row in registers: size is a multiple of N and at most 32 · N · MAX.
template <typename T, int N, int MAX>
__device__ void layer_norm(const T *x, const T *weight, const T *bias, T *y, u32 rows, u32 size, float eps) {
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    u64 base = (u64)row * size;
    Pack<T, N> held[MAX];
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < MAX; i++) {
        u32 at = (i * 32 + lane) * N;
        if (at < size) {
            held[i] = *(const Pack<T, N> *)(x + base + at);
#pragma unroll
            for (int j = 0; j < N; j++) sum += wide(held[i].at[j]);
        }
    }
#pragma unroll
    for (int l = 16; l > 0; l >>= 1) sum += __shfl_xor_sync(~0u, sum, l);
    float mean = sum / size, m2 = 0.f;
#pragma unroll
    for (int i = 0; i < MAX; i++)
        if ((i * 32 + lane) * N < size)
#pragma unroll
            for (int j = 0; j < N; j++) { float d = wide(held[i].at[j]) - mean; m2 += d * d; }
#pragma unroll
    for (int l = 16; l > 0; l >>= 1) m2 += __shfl_xor_sync(~0u, m2, l);
    float scale = rsqrtf(m2 / size + eps);
#pragma unroll
    for (int i = 0; i < MAX; i++) {
        u32 at = (i * 32 + lane) * N;
        if (at < size) {
            Pack<T, N> w = *(const Pack<T, N> *)(weight + at), b = *(const Pack<T, N> *)(bias + at), out;
#pragma unroll
            for (int j = 0; j < N; j++)
                narrow((wide(held[i].at[j]) - mean) * scale * wide(w.at[j]) + wide(b.at[j]), out.at[j]);
            *(Pack<T, N> *)(y + base + at) = out;
        }
    }
}

#define KERNEL extern "C" __global__ void
#define WIDE Wide<ELEMENT>::N

KERNEL group_moments_wide(const ELEMENT *x, float *partial, u32 size, u32 part) {
    group_moments<ELEMENT, WIDE>(x, partial, size, part);
}
KERNEL group_moments_each(const ELEMENT *x, float *partial, u32 size, u32 part) {
    group_moments<ELEMENT, 1>(x, partial, size, part);
}
KERNEL group_norm_wide(const ELEMENT *x, const float *partial, const ELEMENT *w, const ELEMENT *b, ELEMENT *y, u32 size,
                       u32 part, u32 groups, u32 pixels, float eps, u32 activate) {
    group_norm<ELEMENT, WIDE>(x, partial, w, b, y, size, part, groups, pixels, eps, activate);
}
KERNEL group_norm_each(const ELEMENT *x, const float *partial, const ELEMENT *w, const ELEMENT *b, ELEMENT *y, u32 size,
                       u32 part, u32 groups, u32 pixels, float eps, u32 activate) {
    group_norm<ELEMENT, 1>(x, partial, w, b, y, size, part, groups, pixels, eps, activate);
}
KERNEL __launch_bounds__(1024)
    group_norm_small(const ELEMENT *x, const ELEMENT *w, const ELEMENT *b, ELEMENT *y, u32 size, u32 groups, u32 pixels,
                     float eps, u32 activate) {
    group_norm_small<ELEMENT, WIDE, 6>(x, w, b, y, size, groups, pixels, eps, activate);
}
KERNEL layer_norm(const ELEMENT *x, const ELEMENT *w, const ELEMENT *b, ELEMENT *y, u32 rows, u32 size, float eps) {
    layer_norm<ELEMENT, WIDE, 8>(x, w, b, y, rows, size, eps);
}
