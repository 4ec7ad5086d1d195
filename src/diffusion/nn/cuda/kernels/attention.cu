// softmax(q kᵀ · scale) v without a matrix of scores: a block holds 64 query rows of one head (16 a warp) and passes
// over the keys in tiles, two of which are in shared memory, one in use and one on its way.
//
// q is `[b, n, q_row]`, k and v `[b, m, kv_row]`, head h at column h · D; the result is `[b, n, heads · D]`.
// The accumulators are those of mma.m16n8k16: of its 16×8 results, a thread has columns 2t and 2t+1 of rows g and g+8,
// where g = lane / 4 and t = lane % 4.

template <typename T> struct Mma;
template <> struct Mma<f16> {
    static __device__ __forceinline__ void add(float *c, const u32 *a, u32 b0, u32 b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ __forceinline__ u32 pair(float low, float high) {
        u32 y;
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
        return y;
    }
};
template <> struct Mma<bf16> {
    static __device__ __forceinline__ void add(float *c, const u32 *a, u32 b0, u32 b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ __forceinline__ u32 pair(float low, float high) {
        u32 y;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
        return y;
    }
};

__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void ldmatrix4(u32 *r, u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ __forceinline__ void ldmatrix4_transposed(u32 *r, u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ __forceinline__ void ldmatrix2_transposed(u32 *r, u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
}
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

template <typename T, int D, int KEYS>
__device__ __forceinline__ void attention(const T *q, const T *k, const T *v, T *out, u32 n, u32 m, u32 heads,
                                          u32 q_row, u32 kv_row, float scale_log2, u32 causal) {
    constexpr int DEPTH = (D + 15) / 16 * 16;   // of the contraction q kᵀ; columns beyond D are zeros
    constexpr int ROW = DEPTH + 8;              // an odd number of 16-byte units: no bank conflicts
    constexpr int STEPS = DEPTH / 16, TILES = KEYS / 8, PANELS = D / 8, CHUNKS = D / 8;
    constexpr float LOW = -1e30f;
    __shared__ alignas(16) u16 keys[2][KEYS][ROW], values[2][KEYS][ROW];

    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 head = blockIdx.y % heads, batch = blockIdx.y / heads;
    u32 row = blockIdx.x * 64 + threadIdx.x / 32 * 16 + g;
    const u16 *q_head = (const u16 *)q + (u64)batch * n * q_row + head * D;
    const u16 *k_head = (const u16 *)k + (u64)batch * m * kv_row + head * D;
    const u16 *v_head = (const u16 *)v + (u64)batch * m * kv_row + head * D;

    if constexpr (DEPTH > D)
        for (u32 i = threadIdx.x; i < 2 * KEYS * (DEPTH - D); i += blockDim.x)
            keys[i / (DEPTH - D) / KEYS][i / (DEPTH - D) % KEYS][D + i % (DEPTH - D)] = 0;

    auto fetch = [&](u32 tile, int slot) {
        for (u32 i = threadIdx.x; i < KEYS * CHUNKS; i += blockDim.x) {
            u32 r = i / CHUNKS, c = i % CHUNKS * 8, key = tile * KEYS + r;
            u32 bytes = key < m ? 16 : 0;   // the rest is filled with zeros
            u64 from = (u64)(key < m ? key : 0) * kv_row + c;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                         :: "r"(shared_address(&keys[slot][r][c])), "l"(k_head + from), "r"(bytes) : "memory");
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                         :: "r"(shared_address(&values[slot][r][c])), "l"(v_head + from), "r"(bytes) : "memory");
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    u32 queries[STEPS][4];
#pragma unroll
    for (int s = 0; s < STEPS; s++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            u32 r = row + (i & 1) * 8, c = s * 16 + (i >> 1) * 8 + t * 2;
            queries[s][i] = (r < n && c < D) ? *(const u32 *)(q_head + (u64)r * q_row + c) : 0;
        }

    float acc[PANELS][4], top[2] = {LOW, LOW}, total[2] = {0.f, 0.f};
#pragma unroll
    for (int p = 0; p < PANELS; p++)
#pragma unroll
        for (int i = 0; i < 4; i++) acc[p][i] = 0.f;

    u32 tiles = (m + KEYS - 1) / KEYS;
    fetch(0, 0);
    for (u32 tile = 0; tile < tiles; tile++) {
        int slot = tile & 1;
        if (tile + 1 < tiles) {
            fetch(tile + 1, slot ^ 1);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();

        float score[TILES][4];
#pragma unroll
        for (int j = 0; j < TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) score[j][i] = 0.f;
#pragma unroll
        for (int s = 0; s < STEPS; s++)
#pragma unroll
            for (int j = 0; j < TILES; j += 2) {
                u32 b[4];
                ldmatrix4(b, shared_address(&keys[slot][(j + lane / 16) * 8 + lane % 8][s * 16 + lane / 8 % 2 * 8]));
                Mma<T>::add(score[j], queries[s], b[0], b[1]);
                Mma<T>::add(score[j + 1], queries[s], b[2], b[3]);
            }

        u32 base = tile * KEYS;
        bool whole = base + KEYS <= m && !causal;
        float best[2] = {top[0], top[1]};
#pragma unroll
        for (int j = 0; j < TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float x = score[j][i] * scale_log2;
                if (!whole) {
                    u32 key = base + j * 8 + t * 2 + (i & 1);
                    if (key >= m || (causal && key > row + (i >> 1) * 8)) x = LOW;
                }
                score[j][i] = x;
                best[i >> 1] = fmaxf(best[i >> 1], x);
            }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            best[h] = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], 1));
            best[h] = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], 2));
            float fade = exp2_fast(top[h] - best[h]);
            top[h] = best[h];
            total[h] *= fade;
#pragma unroll
            for (int p = 0; p < PANELS; p++) { acc[p][h * 2] *= fade; acc[p][h * 2 + 1] *= fade; }
        }
        u32 weights[TILES / 2][4];
#pragma unroll
        for (int j = 0; j < TILES; j++) {
            float e[4];
#pragma unroll
            for (int i = 0; i < 4; i++) { e[i] = exp2_fast(score[j][i] - top[i >> 1]); total[i >> 1] += e[i]; }
            weights[j / 2][j % 2 * 2] = Mma<T>::pair(e[0], e[1]);
            weights[j / 2][j % 2 * 2 + 1] = Mma<T>::pair(e[2], e[3]);
        }
#pragma unroll
        for (int s = 0; s < TILES / 2; s++) {
#pragma unroll
            for (int p = 0; p + 1 < PANELS; p += 2) {
                u32 b[4];
                ldmatrix4_transposed(b, shared_address(&values[slot][s * 16 + lane % 16][(p + lane / 16) * 8]));
                Mma<T>::add(acc[p], weights[s], b[0], b[1]);
                Mma<T>::add(acc[p + 1], weights[s], b[2], b[3]);
            }
            if (PANELS % 2) {
                u32 b[2];
                ldmatrix2_transposed(b, shared_address(&values[slot][s * 16 + lane % 16][(PANELS - 1) * 8]));
                Mma<T>::add(acc[PANELS - 1], weights[s], b[0], b[1]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int h = 0; h < 2; h++) {
        total[h] += __shfl_xor_sync(~0u, total[h], 1);
        total[h] += __shfl_xor_sync(~0u, total[h], 2);
        u32 r = row + h * 8;
        if (r >= n) continue;
        float inverse = 1.f / total[h];
        u16 *to = (u16 *)out + ((u64)batch * n + r) * heads * D + head * D + t * 2;
#pragma unroll
        for (int p = 0; p < PANELS; p++)
            *(u32 *)(to + p * 8) = Mma<T>::pair(acc[p][h * 2] * inverse, acc[p][h * 2 + 1] * inverse);
    }
}

#define ATTENTION(D, KEYS)                                                                                           \
    KERNEL __launch_bounds__(128)                                                                                    \
        attention_##D(const ELEMENT *q, const ELEMENT *k, const ELEMENT *v, ELEMENT *out, u32 n, u32 m, u32 heads,   \
                      u32 q_row, u32 kv_row, float scale_log2, u32 causal) {                                         \
        attention<ELEMENT, D, KEYS>(q, k, v, out, n, m, heads, q_row, kv_row, scale_log2, causal);                   \
    }
#ifndef NO_ATTENTION
ATTENTION(16, 64) ATTENTION(32, 64) ATTENTION(40, 64) ATTENTION(64, 64) ATTENTION(80, 64)
ATTENTION(128, 32) ATTENTION(160, 32)
#endif
