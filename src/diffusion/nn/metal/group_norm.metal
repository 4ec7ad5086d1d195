// Group normalisation in two passes: statistics of chunks, then every chunk with the statistics of its whole group.
// The values of one group of one picture lie together: channels_per_group * pixels of them.

#define THREADS 256
#define PER_THREAD 16
#define CHUNK (THREADS * PER_THREAD)

struct GroupNormParams {
    uint size;
    uint chunks;
    uint groups;
    uint channels_per_group;
    uint pixels;
    float eps;
    uint silu;
};

// Mean of a chunk, and the sum of the squares of what its values are off it.
// Threadgroups: (chunks, pictures * groups).
kernel void group_norm_stats(
    device const T *x [[buffer(0)]],
    device float *partial [[buffer(1)]],
    constant GroupNormParams &p [[buffer(2)]],
    uint3 place [[threadgroup_position_in_grid]],
    uint thread_at [[thread_index_in_threadgroup]])
{
    SHARED(float, sums, THREADS);
    uint from = place.x * CHUNK;
    uint count = min(uint(CHUNK), p.size - from);
    device const T *chunk = x + ulong(place.y) * p.size + from;

    float values[PER_THREAD];
    float sum = 0.0f;
    for (uint i = 0; i < PER_THREAD; i++) {
        uint at = i * THREADS + thread_at;
        values[i] = at < count ? float(chunk[at]) : 0.0f;
        sum += values[i];
    }
    sums[thread_at] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint stride = THREADS / 2; stride > 0; stride /= 2) {
        if (thread_at < stride) sums[thread_at] += sums[thread_at + stride];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    float mean = sums[0] / float(count);
    // everybody has read the sum before its place is used again
    threadgroup_barrier(mem_flags::mem_threadgroup);

    float squares = 0.0f;
    for (uint i = 0; i < PER_THREAD; i++) {
        float off = i * THREADS + thread_at < count ? values[i] - mean : 0.0f;
        squares += off * off;
    }
    sums[thread_at] = squares;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint stride = THREADS / 2; stride > 0; stride /= 2) {
        if (thread_at < stride) sums[thread_at] += sums[thread_at + stride];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (thread_at == 0) {
        ulong at = 2 * (ulong(place.y) * p.chunks + place.x);
        partial[at] = mean;
        partial[at + 1] = sums[0];
    }
}

// Threadgroups: (chunks, pictures * groups).
kernel void group_norm_apply(
    device const T *x [[buffer(0)]],
    device const float *partial [[buffer(1)]],
    device const T *weight [[buffer(2)]],
    device const T *bias [[buffer(3)]],
    device T *y [[buffer(4)]],
    constant GroupNormParams &p [[buffer(5)]],
    uint3 place [[threadgroup_position_in_grid]],
    uint thread_at [[thread_index_in_threadgroup]])
{
    SHARED(float, counts, THREADS);
    SHARED(float, means, THREADS);
    SHARED(float, squares, THREADS);

    // Chunks are joined as Chan, Golub and LeVeque do: no difference of large sums.
    float n = 0.0f;
    float mean = 0.0f;
    float square = 0.0f;
    for (uint c = thread_at; c < p.chunks; c += THREADS) {
        ulong at = 2 * (ulong(place.y) * p.chunks + c);
        float count = float(min(uint(CHUNK), p.size - c * CHUNK));
        float off = partial[at] - mean;
        float both = n + count;
        mean += off * (count / both);
        square += partial[at + 1] + off * off * (n * count / both);
        n = both;
    }
    counts[thread_at] = n;
    means[thread_at] = mean;
    squares[thread_at] = square;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint stride = THREADS / 2; stride > 0; stride /= 2) {
        float count = thread_at < stride ? counts[thread_at + stride] : 0.0f;
        if (count > 0.0f) {
            float both = counts[thread_at] + count;
            float off = means[thread_at + stride] - means[thread_at];
            squares[thread_at] += squares[thread_at + stride] + off * off * (counts[thread_at] * count / both);
            means[thread_at] += off * (count / both);
            counts[thread_at] = both;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    mean = means[0];
    float scale = 1.0f / sqrt(squares[0] / float(p.size) + p.eps);

    uint from = place.x * CHUNK;
    ulong group_at = ulong(place.y) * p.size;
    uint first_channel = (place.y % p.groups) * p.channels_per_group;
    for (uint i = 0; i < PER_THREAD; i++) {
        uint at = from + i * THREADS + thread_at;
        if (at >= p.size) return;
        uint channel = first_channel + at / p.pixels;
        float value = (float(x[group_at + at]) - mean) * scale * float(weight[channel]) + float(bias[channel]);
        // e^80 is finite, so nothing here ever is not
        if (p.silu != 0) value = value / (1.0f + exp(min(-value, 80.0f)));
        y[group_at + at] = T(value);
    }
}
