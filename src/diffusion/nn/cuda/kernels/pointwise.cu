// What surrounds the matrix products: the patches of a convolution, what a product is added to, activations.

// Rows of `[b, channels · kernel², band]` from `[b, channels, height, width]`: row (c, ky, kx), column an output
// pixel of the band. blockIdx.y is the channel, blockIdx.z the picture; a thread makes N neighbours of one output row.
// `halve` 1 reads a picture whose pixels count twice in each direction.
struct Patches {
    u32 channels, height, width, halve, out_width, first_row, band;
};

template <typename T, int N>
__device__ void patches(const T *x, T *out, Patches p, u32 kernel, u32 stride, u32 padding) {
    u32 at = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= p.band) return;
    u32 oy = p.first_row + at / p.out_width, ox = at % p.out_width;
    u64 plane = (u64)blockIdx.z * p.channels + blockIdx.y;
    const T *in = x + plane * p.height * p.width;
    T *column = out + plane * kernel * kernel * p.band + at;
    int tall = p.height << p.halve, broad = p.width << p.halve;
    for (u32 ky = 0; ky < kernel; ky++) {
        int iy = (int)(oy * stride + ky) - (int)padding;
        bool inside = iy >= 0 && iy < tall;
        const T *line = in + (inside ? iy >> p.halve : 0) * p.width;
        for (u32 kx = 0; kx < kernel; kx++) {
            Pack<T, N> pack;
#pragma unroll
            for (int j = 0; j < N; j++) {
                int ix = (int)((ox + j) * stride + kx) - (int)padding;
                if (inside && ix >= 0 && ix < broad) pack.at[j] = line[ix >> p.halve];
                else narrow(0.f, pack.at[j]);
            }
            *(Pack<T, N> *)(column + (u64)(ky * kernel + kx) * p.band) = pack;
        }
    }
}

// The same for a 3×3 kernel of stride 1 and padding 1: three packs of each row come from one window.
template <typename T, int N>
__device__ void patches_3x3(const T *x, T *out, Patches p) {
    u32 at = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= p.band) return;
    int oy = p.first_row + at / p.out_width, ox = at % p.out_width;
    u64 plane = (u64)blockIdx.z * p.channels + blockIdx.y;
    const T *in = x + plane * p.height * p.width;
    T *column = out + plane * 9 * p.band + at;
    int tall = p.height << p.halve, broad = p.width << p.halve;
#pragma unroll
    for (int ky = 0; ky < 3; ky++) {
        int iy = oy + ky - 1;
        bool inside = iy >= 0 && iy < tall;
        const T *line = in + (inside ? iy >> p.halve : 0) * p.width;
        T window[N + 2];
#pragma unroll
        for (int j = 0; j < N + 2; j++) narrow(0.f, window[j]);
        if (inside) {
            if (ox > 0) window[0] = line[(ox - 1) >> p.halve];
            if (ox + N < broad) window[N + 1] = line[(ox + N) >> p.halve];
            if (p.halve) {
#pragma unroll
                for (int j = 0; j < N; j++) window[j + 1] = line[(ox + j) >> 1];
            } else {
                Pack<T, N> pack = *(const Pack<T, N> *)(line + ox);
#pragma unroll
                for (int j = 0; j < N; j++) window[j + 1] = pack.at[j];
            }
        }
#pragma unroll
        for (int kx = 0; kx < 3; kx++) {
            Pack<T, N> pack;
#pragma unroll
            for (int j = 0; j < N; j++) pack.at[j] = window[j + kx];
            *(Pack<T, N> *)(column + (u64)(ky * 3 + kx) * p.band) = pack;
        }
    }
}

// bias[o] + shift[b, o] + residual over `[b, outputs, pixels]`; each may be missing. blockIdx.y is (b, o).
template <typename T, int N>
__device__ void add_to_planes(const T *bias, const T *shift, const T *residual, T *y, u32 outputs, u32 pixels,
                              u32 shift_rows) {
    u32 at = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= pixels) return;
    u32 o = blockIdx.y % outputs, b = blockIdx.y / outputs;
    float base = bias ? wide(bias[o]) : 0.f;
    if (shift) base += wide(shift[(shift_rows > 1 ? b : 0) * outputs + o]);
    u64 i = (u64)blockIdx.y * pixels + at;
    Pack<T, N> r, out;
    if (residual) r = *(const Pack<T, N> *)(residual + i);
#pragma unroll
    for (int j = 0; j < N; j++) narrow(residual ? base + wide(r.at[j]) : base, out.at[j]);
    *(Pack<T, N> *)(y + i) = out;
}

// bias[column] + residual over `[rows, columns]`; each may be missing. `count` is rows · columns.
template <typename T, int N>
__device__ void add_to_rows(const T *bias, const T *residual, T *y, u32 columns, u64 count) {
    u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= count) return;
    Pack<T, N> b, r, out;
    if (bias) b = *(const Pack<T, N> *)(bias + i % columns);
    if (residual) r = *(const Pack<T, N> *)(residual + i);
#pragma unroll
    for (int j = 0; j < N; j++)
        narrow((bias ? wide(b.at[j]) : 0.f) + (residual ? wide(r.at[j]) : 0.f), out.at[j]);
    *(Pack<T, N> *)(y + i) = out;
}

// `[rows, 2 · half]` plus bias to `[rows, half]`: the first half times the GELU of the second.
template <typename T, int N>
__device__ void geglu(const T *x, const T *bias, T *y, u32 half, u64 count) {
    u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= count) return;
    u32 column = i % half;
    const T *row = x + i / half * 2 * half + column;
    Pack<T, N> a = *(const Pack<T, N> *)row, g = *(const Pack<T, N> *)(row + half), p, q, out;
    if (bias) { p = *(const Pack<T, N> *)(bias + column); q = *(const Pack<T, N> *)(bias + half + column); }
#pragma unroll
    for (int j = 0; j < N; j++) {
        float left = wide(a.at[j]), right = wide(g.at[j]);
        if (bias) { left += wide(p.at[j]); right += wide(q.at[j]); }
        narrow(left * gelu(right), out.at[j]);
    }
    *(Pack<T, N> *)(y + i) = out;
}

// As `Activation` numbers them.
__device__ __forceinline__ float activated(float x, u32 activation) {
    switch (activation) {
    case 0: return silu(x);
    case 1: return gelu(x);
    case 2: return x / (1.f + __expf(-1.702f * x));
    case 3: return fmaxf(x, 0.f);
    default: return x * tanhf(fmaxf(x, 0.f) + log1pf(__expf(-fabsf(x))));   // softplus that does not overflow
    }
}

template <typename T, int N> __device__ void activate(const T *x, T *y, u32 activation, u64 count) {
    u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= count) return;
    Pack<T, N> in = *(const Pack<T, N> *)(x + i), out;
#pragma unroll
    for (int j = 0; j < N; j++) narrow(activated(wide(in.at[j]), activation), out.at[j]);
    *(Pack<T, N> *)(y + i) = out;
}

#define BOTH_WIDTHS(WIDTH, N)                                                                                        \
    KERNEL patches_##WIDTH(const ELEMENT *x, ELEMENT *out, Patches p, u32 kernel, u32 stride, u32 padding) {         \
        patches<ELEMENT, N>(x, out, p, kernel, stride, padding);                                                     \
    }                                                                                                                \
    KERNEL patches_3x3_##WIDTH(const ELEMENT *x, ELEMENT *out, Patches p) { patches_3x3<ELEMENT, N>(x, out, p); }    \
    KERNEL add_to_planes_##WIDTH(const ELEMENT *bias, const ELEMENT *shift, const ELEMENT *residual, ELEMENT *y,     \
                                 u32 outputs, u32 pixels, u32 shift_rows) {                                          \
        add_to_planes<ELEMENT, N>(bias, shift, residual, y, outputs, pixels, shift_rows);                            \
    }                                                                                                                \
    KERNEL add_to_rows_##WIDTH(const ELEMENT *bias, const ELEMENT *residual, ELEMENT *y, u32 columns, u64 count) {   \
        add_to_rows<ELEMENT, N>(bias, residual, y, columns, count);                                                  \
    }                                                                                                                \
    KERNEL geglu_##WIDTH(const ELEMENT *x, const ELEMENT *bias, ELEMENT *y, u32 half, u64 count) {                   \
        geglu<ELEMENT, N>(x, bias, y, half, count);                                                                  \
    }                                                                                                                \
    KERNEL activate_##WIDTH(const ELEMENT *x, ELEMENT *y, u32 activation, u64 count) {                               \
        activate<ELEMENT, N>(x, y, activation, count);                                                               \
    }
BOTH_WIDTHS(wide, WIDE)
BOTH_WIDTHS(each, 1)
