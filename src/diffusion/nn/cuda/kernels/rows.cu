// Rows: the probabilities of attention that keeps its scores, and the vectors of a table.

__device__ __forceinline__ float largest(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ float sum(float a, float b) { return a + b; }

// One value of all threads of a block; every thread gets it.
template <float (*merge)(float, float)> __device__ float over_block(float x) {
    __shared__ float warps[32];
#pragma unroll
    for (int lane = 16; lane > 0; lane >>= 1) x = merge(x, __shfl_xor_sync(~0u, x, lane));
    __syncthreads();   // the last call's values have been read
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    x = warps[0];
    for (u32 i = 1; i < blockDim.x / 32; i++) x = merge(x, warps[i]);
    return x;
}

// Softmax of each row of `[.., rows, columns]`, one block a row. `causal`: row r of each `[rows, columns]` is query
// `first_row + r`, and sees the columns up to its own.
template <typename T> __device__ void softmax(const T *x, T *y, u32 rows, u32 columns, u32 first_row, u32 causal) {
    u64 base = (u64)blockIdx.x * columns;
    u32 end = causal ? min(columns, first_row + blockIdx.x % rows + 1) : columns;
    float top = -INFINITY, total = 0.f;
    for (u32 i = threadIdx.x; i < end; i += blockDim.x) top = fmaxf(top, wide(x[base + i]));
    top = over_block<largest>(top);
    for (u32 i = threadIdx.x; i < end; i += blockDim.x) total += __expf(wide(x[base + i]) - top);
    total = over_block<sum>(total);
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x)
        narrow(i < end ? __expf(wide(x[base + i]) - top) / total : 0.f, y[base + i]);
}

KERNEL softmax(const ELEMENT *x, ELEMENT *y, u32 rows, u32 columns, u32 first_row, u32 causal) {
    softmax<ELEMENT>(x, y, rows, columns, first_row, causal);
}

// Row `ids[blockIdx.x]` of a table `[rows, columns]`; not a number where there is none, which is noticed later.
KERNEL table_rows(const ELEMENT *table, const u32 *ids, ELEMENT *y, u32 rows, u32 columns) {
    u32 id = ids[blockIdx.x];
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) {
        ELEMENT *to = y + (u64)blockIdx.x * columns + i;
        if (id < rows) *to = table[(u64)id * columns + i];
        else narrow(NAN, *to);
    }
}
